"""The order in which an epoch visits the samples: one function for every engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from initlab._base.compiled import compiled


@compiled
def mix(x: np.uint64) -> np.uint64:
    """Scramble 64 bits: the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def shuffle(key: np.uint64, epoch: np.int64, order: NDArray[np.int64]) -> None:
    """Fill ``order`` with the permutation of epoch number ``epoch`` under ``key``.

    Fisher-Yates, its draws taken from SplitMix64 started at a state that follows from (key, epoch)
    alone, so any epoch can be had without the ones before it. The modulo's bias is below
    samples / 2^64.
    """
    state = mix(key + mix(np.uint64(epoch)))
    for i in range(order.size):
        order[i] = i
    for i in range(order.size - 1, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        j = np.int64(mix(state) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]


def batches(key: int, samples: int, size: int | None) -> Iterator[NDArray[np.int64]]:
    """Yield the sample indices of step 0, 1, 2, ... without end.

    Parameters
    ----------
    key
        64-bit key of the stream.
    samples
        Number of samples.
    size
        Samples per batch; ``None``, or as many as there are, gives every sample at every step in
        their own order.
    """
    order = np.arange(samples)
    if size is None or size >= samples:
        while True:
            yield order
    epoch = 0
    while True:
        shuffle(np.uint64(key), np.int64(epoch), order)
        for start in range(0, samples, size):
            yield order[start : start + size].copy()
        epoch += 1
