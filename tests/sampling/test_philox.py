"""Philox4x32-10 against the known answers of its authors (Random123) and plain whole numbers."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from initlab.sampling import kernels, reference

MASK = 2**32 - 1
PI = ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((MASK,) * 4, (MASK,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (*PI, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
word = st.integers(0, MASK)


@nb.njit
def fill_words(key, block, words):  # noqa: ANN001 - compiled
    kernels._fill_words(key, block, words)


def compiled(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Return the words of one counter, taken out of its block."""
    number = counter[0] + 2**32 * counter[1]
    words = np.zeros(kernels.BLOCK, np.uint32)
    parts = tuple(np.uint64(part) for part in (*key, *counter[2:]))
    fill_words(parts, np.uint64(number // 64), words)
    return [int(each) for each in words.reshape(4, 64)[:, number % 64]]


def plain(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Return the words of one counter by Python's whole numbers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (right >> 32) ^ c1 ^ k0, right & MASK, (left >> 32) ^ c3 ^ k1, left & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


def by_reference(counter: tuple[int, ...], key: tuple[int, ...]) -> list[int]:
    """Return the words of one counter by the NumPy definition."""
    number = np.array([counter[0] + 2**32 * counter[1]], dtype=np.uint64)
    return [int(each[0]) for each in reference.philox((*key, *counter[2:]), number)]


@pytest.mark.parametrize("function", [compiled, plain, by_reference])
@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers(function, counter, key, answer):  # noqa: ANN001 - of three functions
    assert " ".join(f"{each:08x}" for each in function(counter, key)) == answer


@settings(deadline=None, max_examples=200)
@given(st.tuples(word, word, word, word), st.tuples(word, word))
def test_any_counter_and_key(counter: tuple[int, ...], key: tuple[int, ...]):
    assert compiled(counter, key) == plain(counter, key) == by_reference(counter, key)


def test_a_block_is_64_counters_and_their_words_in_rows():
    words = reference.blocks((1, 2, 3, 4), 5 * 256 + 17, 300)
    assert words.shape == (2, 4, 64)
    counters = np.arange(5 * 64, 7 * 64, dtype=np.uint64)
    expected = reference.philox((1, 2, 3, 4), counters).reshape(4, 2, 64)
    assert_array_equal(words, expected.transpose(1, 0, 2))
