"""Reading a NumPy archive: an array of features, an array of targets."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import DataError
from initlab.data.dataset import Matrix
from initlab.data.table import Table, listing, no_such_target, require_finite

_X = ("x", "X", "x_train", "X_train")
_Y = ("y", "Y", "y_train", "Y_train")
_X_TEST = ("x_test", "X_test")
_Y_TEST = ("y_test", "Y_test")
_EXPECTED = "expected arrays x (samples, features) and y (samples,)"


class _Names(NamedTuple):
    """What the four arrays are called; the last two are both there or both ``None``."""

    x: str
    y: str
    x_test: str | None
    y_test: str | None


def read_npz(content: bytes, source: str, target: str | None) -> Table:
    """Read a table from the bytes of an ``.npz`` file; pickled objects are never loaded.

    Features are called ``x`` (or ``X``, ``x_train``, ``X_train``), targets ``y`` likewise, and an
    optional test set ``x_test`` and ``y_test``. The first axis of the features counts samples,
    further ones are flattened. Rows and columns are counted from 1.

    Parameters
    ----------
    content
        The file.
    source
        What errors call it.
    target
        Name of the array of targets. If there is no array called ``x``, the only other array then
        holds the features.

    Raises
    ------
    DataError
        If the file is no such archive, or its arrays do not fit each other.
    """
    names, arrays = _load(content, source, target)
    x, y = _samples(arrays, names.x, names.y, source)
    notes = [f"target: array {names.y!r}, {'as asked' if target else 'chosen by its name'}"]
    if arrays[names.x].ndim > 2:
        shape = " x ".join(map(str, arrays[names.x].shape[1:]))
        notes.append(f"samples of {shape} values flattened to {x.shape[1]} features")
    test = None
    if names.x_test is not None and names.y_test is not None:
        test = _samples(arrays, names.x_test, names.y_test, source)
        if test[0].shape[1] != x.shape[1]:
            raise DataError(
                f"{source}: array {names.x_test!r} has {test[0].shape[1]} features, the training "
                f"set {x.shape[1]}"
            )
    return Table(
        source=source,
        x=x,
        y=y,
        feature_names=tuple(f"{names.x}{i}" for i in range(1, x.shape[1] + 1)),
        features=_places(names.x, x.shape[1]),
        target=f"array {names.y!r}",
        notes=tuple(notes),
        test=test,
    )


def _load(
    content: bytes, source: str, target: str | None
) -> tuple[_Names, dict[str, NDArray[Any]]]:
    """Read the arrays that are needed, and no other."""
    if not content.startswith(b"PK"):  # every zip file does
        raise DataError(f"{source} is no NumPy archive, as numpy.savez writes it; {_EXPECTED}")
    place = source
    try:
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            names = _choose(archive.files, target, source)
            arrays: dict[str, NDArray[Any]] = {}
            for name in filter(None, names):
                place = f"array {name!r} of {source}"
                arrays[name] = np.asanyarray(archive[name])
    except DataError:
        raise
    # A damaged archive makes NumPy raise nearly anything: BadZipFile, zlib.error, TokenError, ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "allow_pickle" in reason or "pickled" in reason:  # NumPy advises to allow it
            reason = "neither numbers nor text, but Python objects or something unknown"
        raise DataError(f"cannot read {place}: {reason[:200]}") from error
    return names, arrays


def _choose(names: Sequence[str], target: str | None, source: str) -> _Names:
    """Tell by their names which array is what."""
    x_test, y_test = _pick(names, _X_TEST, source), _pick(names, _Y_TEST, source)
    if (x_test is None) != (y_test is None):
        raise DataError(
            f"{source} holds {x_test or y_test!r} alone; a test set is both 'x_test' and 'y_test'"
        )
    if target is not None and target not in names:
        raise no_such_target("array", target, names, source)
    y = target or _pick(names, _Y, source)
    rest = [name for name in names if name not in (y, x_test, y_test)]
    x = _pick(rest, _X, source)
    if x is None and target is not None and len(rest) == 1:
        x = rest[0]
    if x is None or y is None:
        held = listing(names) if names else "no array"
        raise DataError(
            f"{source} holds {held}; {_EXPECTED}, or the name of the targets as target=..."
        )
    return _Names(x, y, x_test, y_test)


def _pick(names: Sequence[str], wanted: Sequence[str], source: str) -> str | None:
    found = [name for name in wanted if name in names]
    if len(found) > 1:
        raise DataError(f"{source} holds both {' and '.join(map(repr, found))}; keep one of them")
    return found[0] if found else None


def _samples(
    arrays: dict[str, NDArray[Any]], x_name: str, y_name: str, source: str
) -> tuple[Matrix, NDArray[Any]]:
    """Return features and targets, as many of the one as of the other."""
    x = _features(arrays[x_name], x_name, source)
    y = _targets(arrays[y_name], y_name, source)
    if len(x) != len(y):
        raise DataError(
            f"{source}: array {x_name!r} has {len(x)} samples and array {y_name!r} {len(y)}; "
            "expected as many in both"
        )
    return x, y


def _features(array: NDArray[Any], name: str, source: str) -> Matrix:
    """Return an array as ``(samples, features)``, finite."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"{source}: array {name!r} holds {array.dtype} values; expected numbers")
    if array.ndim == 0 or not array.size:
        raise DataError(
            f"{source}: array {name!r} of shape {array.shape} holds no samples; {_EXPECTED}"
        )
    with np.errstate(over="ignore"):  # an extended-precision value becomes inf, and is refused
        x = array.reshape(len(array), -1).astype(np.float64)
    require_finite(x, _places(name, x.shape[1]), source)
    return x


def _places(name: str, columns: int) -> tuple[str, ...]:
    return tuple(f"array {name!r}, column {i}" for i in range(1, columns + 1))


def _targets(array: NDArray[Any], name: str, source: str) -> NDArray[Any]:
    """Return an array as ``(samples,)``: finite numbers, booleans or text."""
    if array.ndim == 0 or array.size != len(array):
        raise DataError(
            f"{source}: array {name!r} has shape {array.shape}; expected one target a sample, "
            "(samples,)"
        )
    y = array.reshape(-1)
    if y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{source}: array {name!r} holds bytes that are not UTF-8") from error
    if y.dtype.kind == "U":
        try:
            return y.astype(object)
        except (SystemError, ValueError) as error:
            raise DataError(f"{source}: array {name!r} holds text that is not Unicode") from error
    if y.dtype.kind not in "biuf":
        raise DataError(
            f"{source}: array {name!r} holds {y.dtype} values; expected numbers, booleans or text"
        )
    if y.dtype.kind == "f":
        with np.errstate(over="ignore"):
            y = y.astype(np.float64)
        require_finite(y[:, None], (f"array {name!r}",), source)
    return y
