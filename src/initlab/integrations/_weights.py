"""What every adapter asks before it draws a weight, and sees to after."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.initializers import Entry, Initializer


def single(text: str | Initializer) -> Initializer:
    """Return an initialiser that can draw a weight which stands by itself.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the text cannot be read, or the initialiser looks at data, or draws several weights
        together.
    """
    initializer = initializers.get(text)
    entry = _entry(initializer)
    if entry is None:
        return initializer
    if entry.family == "data-driven":
        raise InvalidValueError(
            f"{initializer.spec!r} looks at data, which initlab.initialize does, for PyTorch "
            "alone; use one that does not, such as 'he_normal'"
        )
    if entry.joint:
        raise InvalidValueError(
            f"{initializer.spec!r} draws several weights together, which initlab.initialize does, "
            "for PyTorch alone; use one that draws each by itself, such as 'he_normal', or fill "
            f"arrays from one key: initlab.get({initializer.spec!r}).fill(array, key, shape=...)"
        )
    return initializer


def looks_at_models(initializer: Initializer) -> bool:
    """Tell whether :func:`initlab.initialize` does more than drawing each weight from it."""
    entry = _entry(initializer)
    return entry is not None and bool(entry.model)


def _entry(initializer: Initializer) -> Entry | None:
    """Return what the catalogue says; nothing of an initialiser that was built by hand."""
    known = initializer.name in initializers.catalogue
    return initializers.catalogue[initializer.name] if known else None


def require_floating(wanted: np.dtype[Any]) -> np.dtype[Any]:
    """Return a type that holds real numbers with a fraction, or refuse any other."""
    if wanted.kind != "f" and "float" not in wanted.name:  # ml_dtypes' types are of another kind
        raise InvalidValueError(f"dtype {wanted.name} is no floating type; weights need one")
    return wanted


def rounded(values: NDArray[np.float32], wanted: np.dtype[Any]) -> NDArray[Any]:
    """Return values in another floating type.

    Raises
    ------
    InvalidValueError
        If a value is beyond the largest number of the type.
    """
    if wanted.itemsize < values.itemsize:
        require_range(values, _largest(wanted), wanted.name)
    return values.astype(wanted, copy=False)


def require_range(values: NDArray[np.float32], largest: float, name: str) -> None:
    """Refuse values that a narrow type would turn into infinities, or cut off."""
    reached = float(np.abs(values).max(initial=0.0))
    if reached > largest:
        raise InvalidValueError(
            f"a value of size {reached:.6g} is beyond dtype {name}, which ends at {largest:.6g}; "
            "draw as float32, or choose a smaller scale"
        )


def _largest(wanted: np.dtype[Any]) -> float:
    if wanted.type is np.float16:
        return float(np.finfo(wanted).max)
    import ml_dtypes  # noqa: PLC0415 - whoever has such a type has loaded it

    return float(ml_dtypes.finfo(wanted).max)
