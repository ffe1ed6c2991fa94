"""Targets: classes told from quantities, and classes numbered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import DataError

TaskChoice = Literal["classification", "regression"]

MOST_CLASSES = 20


def infer_task(y: NDArray[Any]) -> tuple[TaskChoice, str]:
    """Tell classes from quantities, and say why.

    Text and booleans are classes. Numbers are classes if all are whole, with at most 20 distinct
    values, and at least two samples a value on average; everything else is a quantity.

    Parameters
    ----------
    y
        ``(samples,)``: numbers, booleans, or an object array of text.
    """
    if y.dtype.kind == "O":
        return "classification", "text"
    if y.dtype.kind == "b":
        return "classification", "True and False"
    if not (y == np.round(y)).all():
        return "regression", "numbers that are not all whole"
    distinct = np.unique(y).size
    few = distinct <= min(MOST_CLASSES, y.size / 2)
    return "classification" if few else "regression", f"{distinct} distinct whole numbers"


def encode(y: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Give each class its number, in sorted order: numbers by value, text by code point.

    Returns
    -------
    codes, classes
        ``(samples,)``, and the name of each class: 3.0 is called ``"3"``.
    """
    values, codes = np.unique(y, return_inverse=True)
    return codes.reshape(y.shape).astype(np.int64), tuple(map(_name, values))


def encode_as(y: NDArray[Any], classes: Sequence[str], source: str) -> NDArray[np.int64]:
    """Give the classes of a test set their numbers from the training set.

    Raises
    ------
    DataError
        If the test set has a class that the training set lacks.
    """
    codes, names = encode(y)
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DataError(f"{source}: class {unknown[0]!r} is in the test set but not in training")
    return np.array([classes.index(name) for name in names], dtype=np.int64)[codes]


def _name(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and value == round(float(value)):
        return str(int(value))
    return str(value)
