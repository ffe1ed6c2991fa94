"""Numbers as arguments: finite, positive, in a range; refused by the argument's name."""

from __future__ import annotations

import math
from numbers import Real

from initlab._base.errors import InvalidValueError


def finite(name: str, value: object) -> float:
    """Return a finite number as a float; -0 becomes 0.

    Raises
    ------
    InvalidValueError
        If the value is none; the message carries the argument's name.
    """
    try:
        if not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value):
            return float(value) + 0.0
    except OverflowError:  # an int that has hundreds of digits
        raise InvalidValueError(f"{name} is not finite as a float") from None
    raise InvalidValueError(f"{name}={value!r} is not a finite number")


def positive(name: str, value: object) -> float:
    """Return a finite number above 0 as a float; raise as :func:`finite` does."""
    number = finite(name, value)
    if number <= 0:
        raise InvalidValueError(f"{name}={value!r} is not above 0")
    return number


def not_negative(name: str, value: object) -> float:
    """Return a finite number of at least 0 as a float; raise as :func:`finite` does."""
    number = finite(name, value)
    if number < 0:
        raise InvalidValueError(f"{name}={value!r} is negative; accepted: 0 or more")
    return number


def within(name: str, value: object, least: float, most: float) -> float:
    """Return a number between two bounds, themselves included; raise as :func:`finite` does."""
    number = finite(name, value)
    if not least <= number <= most:
        raise InvalidValueError(f"{name}={value!r} is not between {least:g} and {most:g}")
    return number
