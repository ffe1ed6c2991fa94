"""Data of the user's own: read, told apart into classes or quantities, split, standardised."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from initlab._base import streams
from initlab._base.errors import DataError, UnknownNameError
from initlab.data.dataset import Dataset, Matrix
from initlab.data.labels import TaskChoice, encode, encode_as, infer_task
from initlab.data.npz_file import read_npz
from initlab.data.scaling import Standardised, scaling_notes, standardise
from initlab.data.split import stratified, unstratified
from initlab.data.table import Table, read_bytes


class _Parts(NamedTuple):
    """Training and test set before standardisation, and how they were divided."""

    train_x: Matrix
    train_y: NDArray[Any]
    test_x: Matrix
    test_y: NDArray[Any]
    note: str


SUFFIXES = (".csv", ".npz")
FEWEST_SAMPLES = 8


def load_file(text: str, target: str | None = None, task: TaskChoice | None = None) -> Dataset:
    """Load a ``.csv`` or ``.npz`` file; see :func:`initlab.data.load`.

    The split into training and test set is the same every time; for classes it is stratified.
    Features are standardised, and so are the targets of a regression, which makes a learning rate
    mean the same whatever their unit.

    Parameters
    ----------
    text
        Path of the file; ``~`` is the home folder.
    target
        Name of the target column or array.
    task
        ``"classification"`` or ``"regression"``; by default
        :func:`initlab.data.labels.infer_task` decides.

    Raises
    ------
    DataError
        If the file cannot be read, or what it holds cannot be trained on.
    UnknownNameError
        If the task is neither of the two.
    """
    if task is not None and task not in get_args(TaskChoice):
        raise UnknownNameError("task", task, get_args(TaskChoice))
    path, source = Path(text), repr(text)
    table = _read(path, source, target)
    if len(table.y) < FEWEST_SAMPLES:
        raise DataError(
            f"{source} holds {len(table.y)} samples; at least {FEWEST_SAMPLES} are needed"
        )
    chosen, reason = _decide(table, task)
    build = _classification if chosen == "classification" else _regression
    return build(path.name, table, reason)


def _read(path: Path, source: str, target: str | None) -> Table:
    content = read_bytes(path, source)
    if path.suffix.lower() == ".npz":
        return read_npz(content, source, target)
    from initlab.data.csv_file import read_csv  # noqa: PLC0415 - imports pandas, half a second

    return read_csv(content, source, target)


def _decide(table: Table, asked: TaskChoice | None) -> tuple[TaskChoice, str]:
    """Return the task and the reason for it, as the notes give it."""
    if asked is not None:
        return asked, "as asked"
    task, why = infer_task(table.y)
    other = "regression" if task == "classification" else "classification"
    override = "" if why == "text" else f" (task='{other}' overrides)"
    return task, f"because the target holds {why}{override}"


def _classification(name: str, table: Table, reason: str) -> Dataset:
    y, classes = encode(table.y)
    _check_classes(table, np.bincount(y), classes)
    test_y = None if table.test is None else encode_as(table.test[1], classes, table.source)
    parts = _divide(table, y, test_y, stratify=True)
    scaled = _scaled_features(table, parts)
    sizes = [f"{name!r} ({count})" for name, count in zip(classes, np.bincount(y), strict=True)]
    shown = ", ".join(sizes[:10]) + (", ..." if len(sizes) > 10 else "")
    return Dataset(
        name=name,
        task="binary" if len(classes) == 2 else "multiclass",
        train_x=scaled.train,
        train_y=parts.train_y,
        test_x=scaled.test,
        test_y=parts.test_y,
        classes=classes,
        feature_names=table.feature_names,
        notes=(
            f"classification, {reason}; {len(classes)} classes: {shown}",
            *table.notes,
            parts.note,
            *scaling_notes(scaled, table.feature_names),
        ),
    )


def _regression(name: str, table: Table, reason: str) -> Dataset:
    test_y = None if table.test is None else _quantities(table.test[1], table)
    parts = _divide(table, _quantities(table.y, table), test_y, stratify=False)
    scaled = _scaled_features(table, parts)
    targets = standardise(
        parts.train_y[:, None], parts.test_y[:, None], [table.target], table.source
    )
    if targets.constant.all():
        raise DataError(
            f"{table.source}: {table.target} is {targets.mean[0]:g} in every training sample; "
            "there is nothing to learn"
        )
    return Dataset(
        name=name,
        task="regression",
        train_x=scaled.train,
        train_y=targets.train[:, 0],
        test_x=scaled.test,
        test_y=targets.test[:, 0],
        classes=(),
        feature_names=table.feature_names,
        notes=(
            f"regression, {reason}",
            *table.notes,
            parts.note,
            *scaling_notes(scaled, table.feature_names),
            f"targets standardised likewise (mean {targets.mean[0]:g}, std {targets.std[0]:g})",
        ),
    )


def _check_classes(table: Table, counts: NDArray[np.int64], classes: tuple[str, ...]) -> None:
    """Refuse a single class, and a class that cannot be in both training and test set."""
    if len(classes) == 1:
        raise DataError(
            f"{table.source}: {table.target} holds one class only, {classes[0]!r}; at least 2 are "
            "needed"
        )
    single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
    if single and table.test is None:
        more = len(single) - 1
        others = f", like {more} other{'s' * (more > 1)}" if more else ""
        hint = "" if table.y.dtype.kind == "O" else "; for a quantity, give task='regression'"
        raise DataError(
            f"{table.source}: class {single[0]!r} of {table.target} has a single sample{others}; "
            f"at least 2 are needed, one to train and one to test{hint}"
        )


def _quantities(y: NDArray[Any], table: Table) -> Matrix:
    """Return the targets as numbers; text cannot be a quantity."""
    if y.dtype.kind != "O":
        return y.astype(np.float64)
    first = next((row for row, value in enumerate(y) if not _is_number(value)), 0)
    raise DataError(
        f"{table.source}: {table.target}, row {first + 1}: {y[first]!r} is text; the target of a "
        "regression must be numbers"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _divide(
    table: Table, y: NDArray[Any], test_y: NDArray[Any] | None, *, stratify: bool
) -> _Parts:
    """Take the file's own test set, or set a quarter of the samples aside."""
    if table.test is not None and test_y is not None:
        note = f"{len(y)} training and {len(test_y)} test samples, divided as in the file"
        return _Parts(table.x, y, table.test[0], test_y, note)
    random = streams.stream(0, "split")
    train, test = stratified(y, random) if stratify else unstratified(len(y), random)
    how = "stratified" if stratify else "at random"
    note = (
        f"split 75/25 into {train.size} training and {test.size} test samples, {how}, the same "
        "every time"
    )
    return _Parts(table.x[train], y[train], table.x[test], y[test], note)


def _scaled_features(table: Table, parts: _Parts) -> Standardised:
    scaled = standardise(parts.train_x, parts.test_x, table.features, table.source)
    if scaled.constant.all():
        raise DataError(
            f"{table.source}: every feature is constant in the training set, {table.features[0]} "
            f"being {scaled.mean[0]:g}; there is nothing to learn from"
        )
    return scaled
