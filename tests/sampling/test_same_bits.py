"""Every entry has the bits of the NumPy definition: any slice, any threads, any processor."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform, reference

KEY = Key.derive(7, "layers.0.weight")
FILLS = {"normal": fill_normal, "uniform": fill_uniform, "truncated": fill_truncated_normal}

word = st.integers(0, 2**32 - 1)
keys = st.tuples(word, word, word, word).map(Key)
# Ends of blocks, the change from c0 to c1, and the far end of a stream.
starts = st.one_of(
    st.integers(0, 2000), st.integers(2**34 - 600, 2**34 + 600), st.integers(0, 2**62)
)
sizes = st.integers(0, 1500)
number = st.floats(-1e4, 1e4, width=32)
scale = st.floats(2.0**-20, 1e4, width=32)
bound = st.one_of(st.floats(-9, 9), st.sampled_from([math.inf, -math.inf, 5000.0, -5000.0, 0.0]))


def bits(values: Any) -> Any:
    """Return the bits of float32 numbers: zeros keep their sign, nan would equal nan."""
    return np.ascontiguousarray(values).view(np.uint32)


def filled(fill: Callable[..., None], key: Key, size: int, **options: Any) -> Any:
    """Return an array filled by one of the functions; what is not filled stays nan."""
    out = np.full(size, np.nan, np.float32)
    fill(out, key, **options)
    return out


def holds_numbers(low: float, high: float) -> bool:
    """Whether there is a float32 within two bounds."""
    least, most = reference.inward(low, high)
    return bool(least <= most)


@settings(deadline=None)
@given(keys, starts, sizes, st.one_of(st.just(0.0), scale), number)
def test_normal(key: Key, start: int, size: int, std: float, mean: float):
    got = filled(fill_normal, key, size, start=start, std=std, mean=mean)
    assert_array_equal(bits(got), bits(reference.normal(key.words, start, size, std, mean)))


@settings(deadline=None)
@given(keys, starts, sizes, number, scale)
def test_uniform(key: Key, start: int, size: int, low: float, width: float):
    high = low + width
    assume(holds_numbers(low, math.nextafter(high, -math.inf)))
    got = filled(fill_uniform, key, size, start=start, low=low, high=high)
    assert_array_equal(bits(got), bits(reference.uniform(key.words, start, size, low, high)))
    assert (got >= low).all()
    assert (got.astype(np.float64) < high).all()


@settings(deadline=None)
@given(keys, starts, sizes, st.tuples(bound, bound), scale, number)
def test_truncated_normal(
    key: Key, start: int, size: int, bounds: tuple[float, float], std: float, mean: float
):
    low, high = min(bounds), max(bounds)
    assume(high - low >= 1e-3 and low <= 10 and high >= -10)
    assume(holds_numbers(mean + low * std, mean + high * std))
    got = filled(
        fill_truncated_normal, key, size, start=start, std=std, mean=mean, low=low, high=high
    )
    expected = reference.truncated_normal(key.words, start, size, low, high, std, mean)
    assert_array_equal(bits(got), bits(expected))
    assert np.isfinite(got).all()
    assert (got >= mean + low * std).all()
    assert (got <= mean + high * std).all()


@pytest.mark.parametrize(
    "bounds", [(-2, 2), (1, 3), (-3, -1), (-5000, 5000), (9.9, math.inf), (-0.1, 4)]
)
def test_truncated_normal_of_extreme_words(
    bounds: tuple[float, float],
    extreme_words: Any,
    given_words: Callable[[Any], None],
    truncated_of: Callable[..., Any],
):
    given_words(extreme_words)
    expected = reference.truncated_normal((), 0, extreme_words.size, *bounds, 0.02, 0.5)
    assert_array_equal(bits(truncated_of(extreme_words, *bounds, 0.02, 0.5)), bits(expected))


def test_normal_of_extreme_words(
    extreme_words: Any, given_words: Callable[[Any], None], normal_of: Callable[..., Any]
):
    # Both as radii and as angles; the other word is shuffled.
    shuffled = np.random.default_rng(0).permutation(extreme_words.reshape(-1))
    halves = extreme_words.reshape(-1, 128), shuffled.reshape(-1, 128)
    for words in (np.hstack(halves), np.hstack(halves[::-1])):
        given_words(words)
        expected = reference.normal((), 0, words.size, 1.5, -0.25)
        assert_array_equal(bits(normal_of(words, 1.5, -0.25)), bits(expected))


@pytest.mark.parametrize("name", FILLS)
def test_a_slice_is_what_the_whole_has_there(name: str):
    whole = filled(FILLS[name], KEY, 5000)
    for start, size in ((0, 1), (255, 2), (256, 256), (300, 100), (1000, 4000), (4999, 1)):
        part = filled(FILLS[name], KEY, size, start=start)
        assert_array_equal(bits(part), bits(whole[start : start + size]))


@pytest.mark.parametrize("name", FILLS)
def test_the_number_of_threads_changes_nothing(name: str):
    size, start = 2_500_001, 12_345  # several shares, and a part of a block at each end
    alone = filled(FILLS[name], KEY, size, start=start, threads=1)
    assert np.isfinite(alone).all()
    for threads in (2, 3, 7, None):
        several = filled(FILLS[name], KEY, size, start=start, threads=threads)
        assert_array_equal(bits(several), bits(alone))


def test_an_array_is_filled_in_c_order():
    matrix = np.empty((30, 5, 7), np.float32)
    fill_normal(matrix, KEY)
    assert_array_equal(matrix.reshape(-1), filled(fill_normal, KEY, matrix.size))


def test_the_definition_can_be_copied_as_it_stands():
    copied: dict[str, Any] = {"__name__": "copied"}
    source = inspect.getsource(reference)
    assert "import initlab" not in source
    assert "from initlab" not in source
    exec(source, copied)  # noqa: S102 - that is the test
    words = copied["derive"](7, "layers.0.weight")
    expected = filled(fill_truncated_normal, KEY, 1000, start=50, std=0.02)
    got = copied["truncated_normal"](words, 50, 1000, -2, 2, std=0.02)
    assert_array_equal(bits(got), bits(expected))


DIGEST = """
import hashlib
import numpy as np
from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform
digest = hashlib.sha256()
out = np.empty(300_000, np.float32)
for fill, options in (
    (fill_uniform, {"low": -0.3, "high": 0.7}),
    (fill_normal, {"std": 0.02, "mean": 0.1}),
    (fill_truncated_normal, {"std": 0.02, "low": -2.5, "high": 2}),
    (fill_truncated_normal, {"low": -50, "high": 50}),
):
    fill(out, Key.derive(7, "layers.0.weight"), start=99, **options)
    digest.update(out.tobytes())
"""


def test_code_for_a_processor_without_extensions_gives_the_same_bits(tmp_path: Path):
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    result = subprocess.run(
        [sys.executable, "-c", DIGEST + "print(digest.hexdigest())"],
        env=os.environ | generic | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here: dict[str, Any] = {"hashlib": hashlib}
    exec(DIGEST, here)  # noqa: S102 - the text above
    assert result.stdout.strip() == here["digest"].hexdigest()
