"""Whole numbers, as Python and NumPy have them."""

from __future__ import annotations

import contextlib
import operator
from typing import SupportsIndex

from initlab._base.errors import InvalidValueError


def require_whole(name: str, value: object, least: int = 0, most: int | None = None) -> int:
    """Return a whole number between two bounds as an ``int``; True and False are none.

    Raises
    ------
    InvalidValueError
        If the value is not one; the message carries the argument's name.

    Examples
    --------
    >>> import numpy as np
    >>> require_whole("groups", np.int64(3), 1)
    3
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # an array of several numbers
            number = operator.index(value)
            if most is not None and number > most:
                # Without the number, which may have thousands of digits.
                raise InvalidValueError(f"{name} is above {most}, the most that is accepted")
            if number >= least:
                return number
    raise InvalidValueError(f"{name}={value!r} is not a whole number of at least {least}")
