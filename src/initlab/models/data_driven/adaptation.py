"""What a data-driven initialiser did to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What :func:`initlab.models.data_driven.adapt` changed.

    Attributes
    ----------
    factors
        By parameter: what it was multiplied by, the ratio of its norms where channels differ.
        Parameters that were left as they are do not appear.
    shifts
        By bias: what was added to each entry.
    before, after
        The objective: ``lsuv``: largest distance of a layer's variance from the target;
        ``krahenbuhl``: largest over smallest rate of change; ``metainit``: gradient quotient;
        ``gradinit``: loss after the first step. nan for these two where nothing can be tuned.
    steps
        How many rescalings, rounds or updates.
    notes
        What could not be done, and why, each one line.
    """

    factors: Mapping[str, float]
    shifts: Mapping[str, NDArray[np.float64]]
    before: float
    after: float
    steps: int
    notes: tuple[str, ...] = ()
