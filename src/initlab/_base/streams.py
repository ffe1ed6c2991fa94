"""Random streams: each one follows from (seed, purpose, key), never from the order of calls."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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


def derive_key(seed: int, purpose: str, key: str | int = "") -> int:
    """Hash (seed, purpose, key) to 128 bits with BLAKE2b.

    The same triple gives the same key on every platform and in every process.
    """
    text = f"{seed}\x1f{purpose}\x1f{key}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def stream(seed: int, purpose: str, key: str | int = "") -> np.random.Generator:
    """Open the stream of (seed, purpose, key): a Philox generator under :func:`derive_key`."""
    return np.random.Generator(np.random.Philox(key=derive_key(seed, purpose, key)))


def legacy(seed: int) -> np.random.RandomState:
    """Open NumPy's legacy stream, as ``np.random.seed(seed)`` did, without touching the global one.

    Published runs were drawn from it; it is kept for reproducing them.
    """
    return np.random.RandomState(seed)
