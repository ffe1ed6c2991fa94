"""Random streams: each one follows from (seed, purpose, key), never from the order of calls."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.whole import require_whole


class Stream(Protocol):
    """What a sampler may ask of a stream; NumPy's ``Generator`` and ``RandomState`` both have it.

    The two methods exist under these names and argument orders in both classes.
    """

    def standard_normal(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from N(0, 1)."""
        ...

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Draw from U(low, high)."""
        ...


_SEPARATOR = "\x1f"


def require_seed(seed: object) -> int:
    """Return a seed, a whole number of at least 0 of Python or NumPy, as an ``int``.

    Raises
    ------
    InvalidValueError
        If it is none; True, 1.0 and "1" are none, and would each hash to another stream.
    """
    return require_whole("seed", seed)


def derive_key(seed: int, purpose: str, key: str | int = "") -> int:
    """Hash (seed, purpose, key) to 128 bits with BLAKE2b.

    The same triple gives the same key on every platform and in every process.

    Raises
    ------
    InvalidValueError
        If the seed is none, or purpose or key holds U+001F, which stands between the three.
    """
    seed = require_seed(seed)
    for name, part in (("purpose", purpose), ("key", key)):
        if _SEPARATOR in str(part):
            raise InvalidValueError(f"{name}={part!r} holds U+001F; expected a text without it")
    text = f"{seed}{_SEPARATOR}{purpose}{_SEPARATOR}{key}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def stream(seed: int, purpose: str, key: str | int = "") -> np.random.Generator:
    """Open the stream of (seed, purpose, key): a Philox generator under :func:`derive_key`."""
    return np.random.Generator(np.random.Philox(key=derive_key(seed, purpose, key)))


def legacy(seed: int) -> np.random.RandomState:
    """Open NumPy's legacy stream, as ``np.random.seed(seed)`` did, without touching the global one.

    Published runs were drawn from it; it is kept for reproducing them.
    """
    return np.random.RandomState(seed)
