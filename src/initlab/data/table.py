"""What is read from a file, before anything is done to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import DataError
from initlab.data.dataset import Matrix


@dataclass(frozen=True)
class Table:
    """The content of a data file.

    Attributes
    ----------
    source
        The file as errors name it: its path, quoted.
    x
        ``(samples, features)``, finite.
    y
        ``(samples,)``: finite numbers, booleans, or text as an object array of ``str``.
    feature_names
        One a column of ``x``.
    features
        The same as errors and notes name them: ``"column 'age'"``.
    target
        What ``y`` is called there: ``"column 'label'"``.
    notes
        How the target was found, and whatever was left out or reshaped.
    test
        ``x`` and ``y`` of a test set that the file brings along.
    """

    source: str
    x: Matrix
    y: NDArray[Any]
    feature_names: tuple[str, ...]
    features: tuple[str, ...]
    target: str
    notes: tuple[str, ...]
    test: tuple[Matrix, NDArray[Any]] | None = None


def read_bytes(path: Path, source: str) -> bytes:
    """Return a file's content; a leading ``~`` is the home folder.

    Raises
    ------
    DataError
        If there is no such file, it is a folder or a device, may not be read, or is empty.
    """
    try:
        path = path.expanduser()
        if path.is_dir():
            problem = "it is a folder"
        elif path.exists() and not path.is_file():  # a pipe would wait, a device may never end
            problem = "it is not a regular file"
        else:
            content = path.read_bytes()
            if content.strip():
                return content
            problem = "it is empty"
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte; no such user's home
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DataError(f"cannot read {source}: {reason}") from error
    raise DataError(f"cannot read {source}: {problem}")


def require_finite(values: Matrix, places: tuple[str, ...], source: str) -> None:
    """Refuse nan and infinity.

    Parameters
    ----------
    values
        ``(rows, columns)``.
    places, source
        What the error calls the columns and the file.

    Raises
    ------
    DataError
        Naming the first row that holds one, and its column.
    """
    rows, columns = np.nonzero(~np.isfinite(values))
    if not rows.size:
        return
    value = values[rows[0], columns[0]]
    found = "a missing value (nan)" if np.isnan(value) else f"{value:g}"
    more = f" (and {rows.size - 1} more such values)" if rows.size > 1 else ""
    raise DataError(
        f"{source}: {places[columns[0]]}, row {rows[0] + 1}: {found}{more}; every value must be a "
        "finite number, so fill it in or drop the row"
    )


def listing(names: Iterable[str], most: int = 8) -> str:
    """Quote names and join them with commas; beyond ``most``, only count them."""
    quoted = [repr(name) for name in names]
    rest = len(quoted) - most
    return ", ".join(quoted[:most]) + (f" and {rest} more" if rest > 0 else "")


def no_such_target(kind: str, given: str, known: Iterable[str], source: str) -> DataError:
    """Build the error for a target that the file lacks; it suggests the nearest name.

    Parameters
    ----------
    kind
        ``"column"`` or ``"array"``.
    given
        What the user wrote.
    known, source
        The names that exist, and the file.
    """
    names = tuple(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.6)
    near = near or [name for name in names if name.lower() == given.lower()]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {listing(names)}"
    return DataError(f"{source} has no {kind} {given!r}; {hint}")
