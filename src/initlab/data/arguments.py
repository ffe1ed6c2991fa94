"""The arguments of the data sets that are drawn: checked in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from initlab._base.errors import InvalidValueError

LARGEST_SAMPLE = 10_000_000
LARGEST_NOISE = 1e6
# The published circles take the stream after the seed's too, and NumPy's legacy seeds end at 2^32.
LARGEST_SEED = 2**32 - 2


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``.

    Raises
    ------
    InvalidValueError
        If the value is none; the message carries the argument's name.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and low <= value <= high:
        return int(value)
    raise InvalidValueError(f"{name}={value!r} is not a whole number from {low} to {high}")


def seed_of(value: Any) -> int:
    """Return a seed; raise as :func:`whole` does."""
    return whole("seed", value, 0, LARGEST_SEED)


def noise_of(value: Any) -> float:
    """Return a standard deviation of noise.

    Raises
    ------
    InvalidValueError
        If the value is no number from 0 to a million.
    """
    if (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and 0 <= value <= LARGEST_NOISE
    ):
        return float(value) + 0.0  # 0, not -0
    raise InvalidValueError(f"noise={value!r} is not a number from 0 to {LARGEST_NOISE:.0f}")
