"""Columns brought to mean 0 and standard deviation 1 over the training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import DataError
from initlab.data.dataset import Matrix


class Standardised(NamedTuple):
    """Both sets after the same shift and scale.

    Attributes
    ----------
    train, test
        ``(samples, columns)``; a constant column is 0 in both.
    mean, std
        ``(columns,)``: of the training set as it was.
    constant
        ``(columns,)``: whether all training values are the same.
    """

    train: Matrix
    test: Matrix
    mean: Matrix
    std: Matrix
    constant: NDArray[np.bool_]


def standardise(train: Matrix, test: Matrix, names: Sequence[str], source: str) -> Standardised:
    """Subtract the training set's mean and divide by its standard deviation, column by column.

    A column that is constant over the training set tells nothing and is set to 0 in both sets.

    Parameters
    ----------
    train, test
        ``(samples, columns)``, finite.
    names, source
        What an error calls the columns and the file.

    Raises
    ------
    DataError
        If double precision cannot hold a column's variance: its values are too large, too close to
        0, or too close to each other.
    """
    constant = (train == train[0]).all(axis=0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean = np.where(constant, train[0], train.mean(axis=0))
        std = np.where(constant, 0.0, train.std(axis=0))
        scaled = [
            np.where(constant, 0.0, (part - mean) / np.where(constant, 1.0, std))
            for part in (train, test)
        ]
        unit = np.abs(scaled[0].std(axis=0) - 1) < 1e-3
    lost = ~(constant | unit) | ~np.isfinite(scaled[1]).all(axis=0)
    if lost.any():
        first = int(lost.argmax())
        column = train[:, first]
        raise DataError(
            f"{source}: {names[first]} cannot be standardised in double precision; its training "
            f"values run from {column.min():g} to {column.max():g}"
        )
    return Standardised(scaled[0], scaled[1], mean, std, constant)


def scaling_notes(scaled: Standardised, names: Sequence[str]) -> tuple[str, ...]:
    """Say what was done to the features, constant ones apart."""
    done = "features standardised with the training set's mean and standard deviation"
    dull = [name for name, constant in zip(names, scaled.constant, strict=True) if constant]
    if not dull:
        return (done,)
    shown = ", ".join(dull[:5]) + (", ..." if len(dull) > 5 else "")
    count = f"{len(dull)} of {len(names)} features"
    return (done, f"set to 0, being constant in the training set: {count} ({shown})")
