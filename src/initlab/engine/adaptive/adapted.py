"""What a data-driven initialiser did to a network of the laboratory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from initlab.engine.network import Layer


@dataclass(frozen=True, eq=False)
class Adapted:
    """A network's layers after a data-driven initialiser.

    Attributes
    ----------
    layers
        Weights ``(fan_out, fan_in)`` and biases ``(fan_out,)``, float64.
    factors
        What each weight was multiplied by; the ratio of its norms where channels differ.
    before, after
        The objective: ``lsuv``: largest distance of a layer's variance from the target;
        ``krahenbuhl``: largest over smallest rate of change; ``metainit``: gradient quotient;
        ``gradinit``: loss after the first step.
    steps
        How many rescalings, rounds or updates.
    notes
        What could not be done, and why, each one line.
    """

    layers: tuple[Layer, ...]
    factors: tuple[float, ...]
    before: float
    after: float
    steps: int
    notes: tuple[str, ...] = ()


def own(layers: Sequence[Layer]) -> list[Layer]:
    """Copy layers to float64."""
    return [Layer(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]


def ratios(before: Sequence[Layer], after: Sequence[Layer]) -> tuple[float, ...]:
    """Return the ratio of each weight's norms, 1 where it was 0."""
    pairs = [(norm(old.weight), norm(new.weight)) for old, new in zip(before, after, strict=True)]
    return tuple(new / old if old else 1.0 for old, new in pairs)


def norm(array: np.ndarray) -> float:
    """Return the 2-norm of all entries."""
    peak = float(np.abs(array).max(initial=0.0))
    if not 0 < peak < np.inf:
        return peak
    return peak * float(np.sqrt(((array / peak) ** 2).sum()))  # a square may overflow
