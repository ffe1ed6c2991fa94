"""Reading a CSV file: a header line, numeric features, one target column.

The only module here that imports pandas, so it is imported itself when a CSV file is read.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from initlab._base.errors import DataError
from initlab.data.dataset import Matrix
from initlab.data.table import Table, listing, no_such_target, require_finite

TARGET_NAMES = ("target", "label", "class", "y")


def read_csv(content: bytes, source: str, target: str | None) -> Table:
    """Read a table from the bytes of a CSV file.

    UTF-8, separated by commas, column names in the first line. Empty cells and pandas' other marks
    for a missing value (``NA``, ``nan``, ``None``, ``null``, ...) count as missing. Rows are
    counted from 1 below the header, blank lines left out. A nameless first column that counts the
    rows, as pandas writes it, is left out.

    Parameters
    ----------
    content
        The file.
    source
        What errors call it.
    target
        Name of the target column; by default the first of ``target``, ``label``, ``class`` and
        ``y`` that exists, in any letter case, else the last column.

    Raises
    ------
    DataError
        If the file is no such table, or a cell is missing or not a number.
    """
    names = _header(content, source)
    frame = _body(content, source, len(names))
    if not len(frame):
        raise DataError(f"{source} holds a header line only; expected rows of data below it")
    notes: tuple[str, ...] = ()
    columns = list(range(len(names)))
    if not names[0] and _counts_rows(frame[0]):
        columns = columns[1:]
        notes = ("the nameless first column counts the rows and was left out",)
    _check_names([names[i] for i in columns], len(names) - len(columns), source)
    chosen, why = _choose_target(names, columns, target, source)
    features = tuple(i for i in columns if i != chosen)
    x = _numbers(frame, features, names, source)
    places = tuple(f"column {names[i]!r}" for i in features)
    require_finite(x, places, source)
    return Table(
        source=source,
        x=x,
        y=_target_values(frame[chosen], f"column {names[chosen]!r}", source),
        feature_names=tuple(names[i] for i in features),
        features=places,
        target=f"column {names[chosen]!r}",
        notes=(f"target: column {names[chosen]!r}, {why}", *notes),
    )


def _parse(content: bytes, source: str, **options: Any) -> pd.DataFrame:
    if b"\0" in content:
        raise DataError(f"{source} is binary or UTF-16; expected comma-separated UTF-8 text")
    try:
        with warnings.catch_warnings():
            # A first row longer than the header is cut short with a warning; later ones are errors.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(BytesIO(content), skipinitialspace=True, **options)
    except pd.errors.ParserWarning as error:
        raise DataError(f"{source}: row 1 has more cells than the header has names") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text; save it as comma-separated UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{source} is empty") from error
    except (ValueError, OverflowError, MemoryError) as error:  # ParserError is a ValueError
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"cannot read {source} as comma-separated text: {reason}") from error


def _header(content: bytes, source: str) -> list[str]:
    """Return the cells of the first line that is not blank, just as they are written."""
    options = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False}
    return [str(name).strip() for name in _parse(content, source, **options).iloc[0]]


def _body(content: bytes, source: str, width: int) -> pd.DataFrame:
    """Return the rows below the header as columns 0, 1, ..."""
    return _parse(content, source, header=0, names=range(width), index_col=False, low_memory=False)


def _counts_rows(column: pd.Series[Any]) -> bool:
    """Whether a column holds 0, 1, 2, ... or 1, 2, 3, ..."""
    count = np.arange(len(column))
    return any(np.array_equal(column.to_numpy(), count + start) for start in (0, 1))


def _check_names(names: Sequence[str], skipped: int, source: str) -> None:
    for position, name in enumerate(names, skipped + 1):
        if not name:
            raise DataError(f"{source}: column {position} has no name in the header line")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{source} has more than one column called {listing(twice)}; expected a header line of "
            "column names, no two the same"
        )
    if len(names) < 2:
        raise DataError(
            f"{source} has one column only, {names[0]!r}; expected at least one feature and a "
            "target, separated by commas"
        )
    counted = tuple(names) == tuple(map(str, range(len(names))))
    if any(re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", name) for name in names) or (
        all(re.fullmatch(r"[+-]?\d+", name) for name in names) and not counted
    ):
        raise DataError(
            f"{source}: the first line holds numbers ({listing(names, 3)}); expected a header line "
            "of column names"
        )


def _choose_target(
    names: Sequence[str], columns: Sequence[int], target: str | None, source: str
) -> tuple[int, str]:
    """Return the number of the target column, and why it is that one."""
    by_name = {names[i]: i for i in columns}
    if target is not None:
        if target not in by_name:
            raise no_such_target("column", target, by_name, source)
        return by_name[target], "as asked"
    by_lower = {name.lower(): i for name, i in reversed(by_name.items())}
    for name in TARGET_NAMES:
        if name in by_lower:
            return by_lower[name], "chosen by its name"
    return columns[-1], "the last one; target=... names another"


def _numbers(
    frame: pd.DataFrame, features: Sequence[int], names: Sequence[str], source: str
) -> Matrix:
    """Return the feature columns as ``(rows, features)``; booleans become 0 and 1."""
    x = np.empty((len(frame), len(features)))
    text: list[str] = []
    for place, i in enumerate(features):
        column = frame[i]
        numbers = pd.to_numeric(column, errors="coerce")
        bad = np.flatnonzero(numbers.isna() & column.notna())
        if bad.size:
            text.append(f"column {names[i]!r} (row {bad[0] + 1}: {str(column.iloc[bad[0]])!r})")
        x[:, place] = numbers.to_numpy(np.float64)
    if text:
        more = f" and {len(text) - 4} more" if len(text) > 4 else ""
        raise DataError(
            f"{source} is not numeric in {', '.join(text[:4])}{more}; whether to one-hot encode or "
            "drop such a column is yours to decide"
        )
    return x


def _target_values(column: pd.Series[Any], place: str, source: str) -> NDArray[Any]:
    """Return the target as numbers or booleans where all of it is, else as text."""
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise DataError(
            f"{source}: {place}, row {missing[0] + 1}: a missing value; fill it in or drop the row "
            "(an empty cell, NA, nan, None and null all count as missing)"
        )
    if column.dtype.kind == "b":
        return column.to_numpy(np.bool_)
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        return np.array([str(value) for value in column], dtype=object)
    values = numbers.to_numpy(np.float64)
    require_finite(values[:, None], (place,), source)
    return numbers.to_numpy() if numbers.dtype.kind in "iu" else values
