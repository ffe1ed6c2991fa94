"""A quarter of the samples set aside for testing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def stratified(labels: NDArray[Any], random: np.random.Generator) -> tuple[Indices, Indices]:
    """Set a quarter of each class aside, rounded: at least one sample of two or more.

    Parameters
    ----------
    labels
        ``(samples,)``, each value on two samples or more.
    random
        Decides which samples.

    Returns
    -------
    train, test
        Indices in rising order.
    """
    groups = (np.flatnonzero(labels == value) for value in np.unique(labels))
    test = np.concatenate([_quarter(group, random) for group in groups])
    return _with_rest(test, labels.size)


def unstratified(samples: int, random: np.random.Generator) -> tuple[Indices, Indices]:
    """Set a quarter of all samples aside; as :func:`stratified` for a single class."""
    return _with_rest(_quarter(np.arange(samples), random), samples)


def _quarter(members: Indices, random: np.random.Generator) -> Indices:
    return random.permutation(members)[: (members.size + 2) // 4]


def _with_rest(test: Indices, samples: int) -> tuple[Indices, Indices]:
    return np.setdiff1d(np.arange(samples), test), np.sort(test)
