"""The block functions of the compiled kernels alone, on words of the test's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
import pytest
from numpy.typing import NDArray

from initlab.sampling import kernels, reference

Words = NDArray[np.uint32]
Floats = NDArray[np.float32]


@nb.njit(error_model="numpy")
def _normals(words, out, std, mean):  # noqa: ANN001, ANN202 - compiled
    for row in range(words.shape[0]):
        kernels._normal_block(words[row], out, row, std, mean)


@nb.njit(error_model="numpy")
def _truncated(words, out, cut, scale):  # noqa: ANN001, ANN202 - compiled
    depths = np.empty(kernels.BLOCK, np.float32)
    for row in range(words.shape[0]):
        kernels._truncated_block(words[row], depths, out, row, cut, scale)


@pytest.fixture
def extreme_words() -> Words:
    """Return sorted words ``(blocks, 256)``: both ends densely, powers of two, a grid."""
    powers = 2 ** np.arange(32)
    every = [np.arange(3000), powers, powers - 1, np.linspace(0, 2**32 - 1, 120_000)]
    low = np.concatenate(every).astype(np.uint64).astype(np.uint32)
    words = np.unique(np.concatenate([low, ~low]))
    return np.pad(words, (0, -words.size % kernels.BLOCK), mode="edge").reshape(-1, kernels.BLOCK)


@pytest.fixture
def given_words(monkeypatch: pytest.MonkeyPatch) -> Callable[[Words], None]:
    """Let the reference read these words, from entry 0 on, whatever the key."""

    def give(words: Words) -> None:
        monkeypatch.setattr(reference, "blocks", lambda *_: words.reshape(-1, 4, 64))

    return give


@pytest.fixture
def normal_of() -> Callable[[Words, float, float], Floats]:
    """Return what the compiled code makes of words: a function of (words, std, mean)."""

    def make(words: Words, std: float, mean: float) -> Floats:
        out = np.empty(words.shape, np.float32)
        _normals(words, out, np.float32(std), np.float32(mean))
        return out.reshape(-1)

    return make


@pytest.fixture
def truncated_of() -> Callable[..., Floats]:
    """Return what the compiled code makes of words: a function of (words, low, high, std, mean)."""

    def make(words: Words, low: float, high: float, std: float = 1, mean: float = 0) -> Floats:
        out = np.empty(words.shape, np.float32)
        sign, count, exponent, parameters = reference.cut(low, high)
        cut: tuple[Any, ...] = (np.uint32(count), np.int32(exponent), *parameters)
        bounds = reference.inward(mean + low * std, mean + high * std)
        _truncated(words, out, cut, (np.float32(sign * std), np.float32(mean), *bounds))
        return out.reshape(-1)

    return make
