"""Data to train on: drawn, shipped with scikit-learn, or the user's own CSV and NPZ files."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path

from initlab._base.catalogue import Catalogue
from initlab._base.errors import DataError, InvalidValueError
from initlab._base.spec import parse_call
from initlab.data import digits, generators
from initlab.data.dataset import Dataset, Task
from initlab.data.files import SUFFIXES, load_file
from initlab.data.labels import TaskChoice

catalogue: Catalogue[Callable[..., Dataset]] = Catalogue(
    "data set",
    {
        make.__name__: make
        for make in (
            generators.circles,
            generators.moons,
            generators.spirals,
            generators.blobs,
            generators.xor,
            digits.digits,
        )
    },
)


def load(
    text: str | os.PathLike[str], target: str | None = None, task: TaskChoice | None = None
) -> Dataset:
    """Load a data set by its name, or from a file.

    Parameters
    ----------
    text
        A name of the catalogue, with arguments where wanted, ``"circles"``,
        ``"moons(n=1000, noise=0.3, seed=4)"``; or the path of a ``.csv`` or ``.npz`` file.
    target
        Files only: the column or array to predict. By default a column called ``target``,
        ``label``, ``class`` or ``y``, else the last one; the array ``y``.
    task
        Files only: ``"classification"`` or ``"regression"``. By default text, booleans, and whole
        numbers with at most 20 distinct values (and two samples a value) are classes, anything
        else a quantity.

    Returns
    -------
    dataset
        Its ``notes`` tell what was chosen and done. What comes from a file is split 75/25, unless
        it brings a test set, and standardised, the targets of a regression too.

    Raises
    ------
    UnknownNameError
        If no data set carries the name, or the task is neither of the two.
    InvalidValueError
        If an argument is unknown or out of range.
    DataError
        If the file cannot be read, or what it holds cannot be trained on.

    Examples
    --------
    >>> load("circles")
    <dataset circles: binary, 300 training and 100 test samples, 2 features>
    """
    text = os.fspath(text)
    suffix = Path(text).suffix.lower()
    if suffix in SUFFIXES:
        return load_file(text, target, task)
    if re.fullmatch(r".*([/\\].*|\.[A-Za-z]\w*)", text, re.DOTALL) and not text.endswith(")"):
        raise DataError(f"cannot read {text!r}; a data file ends in {' or '.join(SUFFIXES)}")
    call = parse_call(text, "data set", "moons(noise=0.3)")
    make = catalogue[call.name]
    for name, value in (("target", target), ("task", task)):
        if value is not None:
            raise InvalidValueError(f"{name}={value!r} goes with a data file; {text!r} has its own")
    signature = inspect.signature(make)
    try:
        signature.bind(*call.args, **dict(call.kwargs))
    except TypeError as error:
        accepted = ", ".join(f"{key}={p.default!r}" for key, p in signature.parameters.items())
        raise InvalidValueError(
            f"data set {text!r} does not fit: {error}; accepted: {make.__name__}({accepted})"
        ) from error
    return make(*call.args, **dict(call.kwargs))


__all__ = ["Dataset", "Task", "TaskChoice", "catalogue", "load"]
