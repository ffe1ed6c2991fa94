"""A quantity over seeds: median and quartiles that keep the meaning of inf and nan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initlab.experiments.records import RunRecord

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Median, first and third quartile over seeds, each ``(points,)``."""

    median: Floats
    low: Floats
    high: Floats
    seeds: int


def spread(values: ArrayLike) -> Spread:
    """Summarise ``(seeds, points)`` over seeds.

    Quantiles are NumPy's linear ones, with two additions: ``nan`` counts as worse than ``inf``
    (a run that is no number any more is not a run to leave out), and between a finite and a
    non-finite neighbour the quantile is the non-finite one.

    Examples
    --------
    >>> spread([[1.0], [3.0], [float("inf")]]).median
    array([3.])
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=0)  # nan last
    low, median, high = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    return Spread(median, low, high, len(ordered))


def _quantile(ordered: Floats, share: float) -> Floats:
    position = share * (len(ordered) - 1)
    index = int(position)
    part = position - index
    if part == 0:
        return ordered[index]
    below, above = ordered[index], ordered[index + 1]
    with np.errstate(invalid="ignore"):
        between = below + part * (above - below)
    return np.where(np.isfinite(above), between, above)


def by_start(runs: Iterable[RunRecord]) -> Mapping[str, Sequence[RunRecord]]:
    """Group runs by their start, in the order in which the starts first appear."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.init, []).append(run)
    return groups
