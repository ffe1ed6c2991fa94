"""A stream for samplers that need numbers in sequence."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from initlab.sampling.fill import BLOCK, fill_normal, fill_uniform
from initlab.sampling.keys import Key


class CounterStream:
    """Draw one after the other from the stream of a key.

    It is an :class:`initlab._base.streams.Stream`. Two calls give what one of both sizes would. As
    normal and uniform entries are made of the same words, a change of distribution goes on at the
    next whole block.

    Parameters
    ----------
    key
        Key of the stream.

    Examples
    --------
    >>> stream = CounterStream(Key.derive(0, "layers.0.weight"))
    >>> stream.standard_normal((2, 3)).shape
    (2, 3)
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self._place = 0
        self._last = ""

    def standard_normal(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(0, 1): float32 numbers, widened."""
        out = np.empty(size, np.float32)
        fill_normal(out, self.key, start=self._take("normal", out.size))
        return out.astype(np.float64)

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from U(low, high): float32 numbers, widened."""
        out = np.empty(size, np.float32)
        fill_uniform(out, self.key, start=self._take("uniform", out.size), low=low, high=high)
        return out.astype(np.float64)

    def _take(self, distribution: str, count: int) -> int:
        """Return the place of the next entry, and move on past so many."""
        if distribution != self._last:
            self._place = math.ceil(self._place / BLOCK) * BLOCK
            self._last = distribution
        place = self._place
        self._place += count
        return place
