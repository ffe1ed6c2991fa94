"""Keys use all 128 bits of their hash; a stream continues where it ended."""

from __future__ import annotations

import hashlib
from typing import Any, get_type_hints

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from initlab._base.errors import InvalidValueError
from initlab._base.streams import Stream, derive_key
from initlab.sampling import CounterStream, Key, fill_normal, fill_uniform, reference

KEY = Key.derive(3, "layers.0.weight")


def test_a_key_is_all_of_the_hash():
    k0, k1, c2, c3 = KEY.words
    hashed = derive_key(3, "weight", "layers.0.weight")
    assert k0 + (k1 << 32) + (c2 << 64) + (c3 << 96) == hashed
    assert reference.derive(3, "layers.0.weight") == KEY.words
    assert reference.derive(3, "w", "bias") == Key.derive(3, "w", "bias").words


def test_a_child_is_a_hash_of_words_and_label():
    packed = b"".join(word.to_bytes(4, "little") for word in KEY.words)
    digest = hashlib.blake2b(packed + b"\x1fexpert 2", digest_size=16).digest()
    assert b"".join(w.to_bytes(4, "little") for w in KEY.child("expert 2").words) == digest
    assert KEY.child(1) == KEY.child("1")


def test_keys_differ():
    keys = [KEY, Key.derive(4, "layers.0.weight"), Key.derive(3, "layers.0.bias")]
    keys += [Key.derive(3, "layers.0.weight", "bias"), KEY.child(0), KEY.child(1)]
    keys += [KEY.child(0).child(1), KEY.child(1).child(0), KEY.child("01")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "words", [(1, 2, 3), (1, 2, 3, 2**32), (-1, 0, 0, 0), (0.5, 0, 0, 0), None, 7]
)
def test_words_that_are_no_key(words: Any):
    with pytest.raises(InvalidValueError, match="four whole numbers from 0 to 2\\^32 - 1"):
        Key(words)


@pytest.mark.parametrize("seed", [1.0, True, "1", -1, None, np.float64(1), np.True_])
def test_seeds_that_are_none(seed: Any):
    with pytest.raises(InvalidValueError, match=r"seed=.* is not a whole number of at least 0"):
        Key.derive(seed, "w")


def test_a_seed_of_numpy_is_the_same_seed():
    assert Key.derive(np.int64(3), "w") == Key.derive(3, "w")  # pyright: ignore[reportArgumentType] - as many callers do


@pytest.mark.parametrize(("name", "purpose"), [("a\x1fb", "weight"), ("b", "weight\x1fa")])
def test_names_that_would_be_mistaken_for_another(name: str, purpose: str):
    with pytest.raises(InvalidValueError, match="holds U\\+001F"):
        Key.derive(0, name, purpose)


@pytest.mark.parametrize("name", [None, 3, b"w"])
def test_names_that_are_no_text(name: Any):
    with pytest.raises(InvalidValueError, match=r"name=.* is not a text"):
        Key.derive(0, name)


def test_a_stream_continues_where_it_ended():
    expected = np.empty(1000, np.float32)
    fill_normal(expected, KEY)
    stream = CounterStream(KEY)
    parts = [stream.standard_normal((n,)) for n in (1, 254, 3, 0, 742)]
    assert all(part.dtype == np.float64 for part in parts)
    assert_array_equal(np.concatenate(parts), expected)


def test_a_change_of_distribution_goes_on_at_the_next_block():
    stream = CounterStream(KEY)
    stream.standard_normal((257,))
    expected = np.empty(12, np.float32)
    fill_uniform(expected, KEY, start=512, low=-1, high=2)
    assert_array_equal(stream.uniform(-1, 2, (3, 4)), expected.reshape(3, 4))
    fill_normal(expected, KEY, start=768)
    assert_array_equal(stream.standard_normal((2, 6)), expected.reshape(2, 6))


def test_normal_and_uniform_numbers_in_turn_are_independent():
    stream = CounterStream(KEY)
    pairs = [(stream.standard_normal((10,)), stream.uniform(-1, 1, (10,))) for _ in range(2000)]
    x, y = (np.concatenate(each) for each in zip(*pairs, strict=True))
    for a, b in ((x, y), (x**2, y**2), (x**2, y)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(x.size)


def test_it_is_a_stream():
    stream: Stream = CounterStream(KEY)
    for name in ("standard_normal", "uniform"):
        hints = get_type_hints(getattr(Stream, name))
        assert get_type_hints(getattr(type(stream), name)) == hints
