"""A weight drawn to be looked at: its mean and std, the values it repeats, how the rest spreads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab.initializers import Initializer
from initlab.initializers._definition import Elementwise
from initlab.sampling import Key

MOST = 2**16  # entries drawn; of a larger weight, the first of them
LARGEST = 2**20  # entries of a weight that cannot be drawn in part
BINS = 60
_FEW = 8  # values that are listed one by one
_MARGIN = 2  # bins left free at either end, so that walls are seen as such

Floats = NDArray[np.float64]
Pattern = NDArray[np.bool_]


@dataclass(frozen=True)
class Repeated:
    """One value that many entries have."""

    value: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """Counts between equally spaced edges, one more than there are counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """What was drawn.

    Attributes
    ----------
    entries
        How many, from the first of the flattened weight on.
    mean, std
        Of the entries; nan where there are none.
    repeated
        Values that a hundredth of the entries or more have, or all of them where they are few;
        the smallest first.
    rest
        Histogram of the other entries; ``None`` where there are none.
    pattern
        Where an entry is not 0, or where it is positive if none is 0: ``(out, everything else)``.
        ``None`` where there is nothing to be seen in it.
    signs
        Whether the pattern tells positive from negative ones.
    """

    entries: int
    mean: float
    std: float
    repeated: tuple[Repeated, ...]
    rest: Histogram | None
    pattern: Pattern | None = None
    signs: bool = False


def draw(initializer: Initializer, shape: tuple[int, ...]) -> Sample:
    """Draw from the stream of a fixed key, so that it looks the same each time.

    Raises
    ------
    InvalidValueError
        If the initialiser is not for this shape, its entries do not fit into float32, or it can
        only be drawn as a whole and has more than :data:`LARGEST` entries.
    """
    size = math.prod(shape)
    elementwise = isinstance(initializer.distribution, Elementwise)
    if size > LARGEST and not elementwise:
        raise InvalidValueError(
            f"it can be drawn only as a whole, and has {size:,} entries, more than {LARGEST:,}"
        )
    out = np.empty(min(size, MOST) if elementwise else size, np.float32)
    initializer.fill(out, Key.derive(0, initializer.name), shape=shape)
    return _summarise(out[:MOST].astype(np.float64), None if elementwise else out.reshape(shape))


def _summarise(values: Floats, whole: NDArray[np.float32] | None) -> Sample:
    found, counts = np.unique(values, return_counts=True)
    often = counts >= (1 if len(found) <= _FEW else max(2.0, 0.01 * len(values)))
    if often.sum() > _FEW:
        often[:] = False
    rest = values[~np.isin(values, found[often])]
    mean = _mean(values)
    pattern, signs = _pattern(whole) if whole is not None and often.any() else (None, False)
    return Sample(
        entries=len(values),
        mean=mean,
        std=math.sqrt(_mean((values - mean) ** 2)) if len(values) else math.nan,
        repeated=tuple(
            Repeated(float(value), int(count))
            for value, count in zip(found[often], counts[often], strict=True)
        ),
        rest=_histogram(rest, mean) if len(rest) else None,
        pattern=pattern,
        signs=signs,
    )


def _mean(values: Floats) -> float:
    """Sum exactly: what cancels is 0, and the last digit is the same on every machine."""
    return math.fsum(values.tolist()) / len(values) if len(values) else math.nan


def _histogram(values: Floats, mean: float) -> Histogram:
    low, high = float(values.min()), float(values.max())
    below, above = mean - low, high - mean
    if 0 < max(below, above) < 1.5 * min(below, above):  # as good as symmetric: show it so
        low, high = mean - max(below, above), mean + max(below, above)
        if abs(mean) < 0.02 * (high - low):
            low, high = -max(-low, high), max(-low, high)
    margin = (high - low) * _MARGIN / (BINS - 2 * _MARGIN) or max(abs(low), 1.0) / 2
    counts, edges = np.histogram(values, BINS, (low - margin, high + margin))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _pattern(weight: NDArray[np.float32]) -> tuple[Pattern | None, bool]:
    if weight.ndim < 2:
        return None, False
    matrix = weight.reshape(len(weight), -1)
    signs = bool((matrix != 0).all())
    pattern = matrix > 0 if signs else matrix != 0
    return (pattern if 0 < pattern.sum() < pattern.size else None), signs
