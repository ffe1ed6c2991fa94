"""The entries follow their distributions: SciPy's tests, moments, tails and independence.

Every key is fixed, so nothing here is left to chance; bounds are at five standard errors, and
p-values above one in a million.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform, reference

ROOT = Key.derive(0, "layers.0.weight")
SIZE = 2**20
LEAST_P = 1e-6


@cache
def draw(kind: str, key: Key, size: int = SIZE) -> NDArray[np.float64]:
    """Return entries: normal, uniform on (0, 1), or normal cut at -2 and 2 or at other bounds."""
    out = np.empty(size, np.float32)
    if kind == "normal":
        fill_normal(out, key)
    elif kind == "uniform":
        fill_uniform(out, key)
    else:
        low, high = map(float, kind.split())
        fill_truncated_normal(out, key, low=low, high=high)
    values = out.astype(np.float64)
    values.flags.writeable = False
    return values


def distribution(kind: str) -> Any:
    """Return SciPy's distribution of the same."""
    if kind in {"normal", "uniform"}:
        return stats.norm() if kind == "normal" else stats.uniform()
    return stats.truncnorm(*map(float, kind.split()))


KINDS = ("normal", "uniform", "-2 2", "-1 3", "1 3", "-3 -1", "0 inf", "-5000 5000", "6 8", "9 20")


@pytest.mark.parametrize("kind", KINDS)
def test_kolmogorov_smirnov(kind: str):
    for label in range(2):
        values = draw(kind, ROOT.child(label), 2**18)
        assert stats.kstest(values, distribution(kind).cdf).pvalue > LEAST_P


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_four_moments(kind: str):
    values, exact = draw(kind, ROOT), distribution(kind)
    standard = (values - exact.mean()) / exact.std()
    powers = np.arange(1, 5)
    # Moments of the standardised distribution up to the eighth, by quantiles of a fine grid.
    grid = (exact.ppf((np.arange(2**17) + 0.5) / 2**17) - exact.mean()) / exact.std()
    for power in powers:
        error = np.std(grid**power) / math.sqrt(SIZE)
        assert abs(np.mean(standard**power) - np.mean(grid**power)) < 5 * error


def test_the_tails_of_the_normal():
    values = np.abs(draw("normal", ROOT, 2**23))
    for z in (2, 3, 4, 5):
        expected = values.size * 2 * stats.norm.sf(z)
        assert abs((values > z).sum() - expected) < 5 * math.sqrt(expected)


def test_the_largest_normal_is_6_76_std(normal_of: Callable[..., Any]):
    words = np.zeros((1, 256), np.uint32)  # the least word as radius, a whole turn as angle
    largest = normal_of(words, 1.0, 0.0)
    assert largest[:128] == pytest.approx(math.sqrt(66 * math.log(2)), rel=1e-6)
    words[0, :128] = 2**32 - 1
    assert (np.abs(normal_of(words, 1.0, 0.0)) < 1e-3).all()


def test_the_normal_is_box_and_muller_to_a_few_units_in_the_last_place(
    extreme_words: Any, normal_of: Callable[..., Any]
):
    words = extreme_words.reshape(-1, 128)
    angles = np.random.default_rng(1).permutation(extreme_words.reshape(-1)).reshape(-1, 128)
    got = normal_of(np.hstack([words, angles]), 1.0, 0.0).reshape(-1, 2, 128)
    u = (words.astype(np.float64) + 0.5) / 2**32
    radius = np.sqrt(-2 * np.log(u))
    turn = 2 * np.pi * angles.astype(np.float64) / 2**32
    # A word next to 2^32 is rounded as a float32 is; -2 ln u near 0 then is off by up to 2^-24.
    allowed = 4e-7 * radius + np.minimum(2.0**-24 / radius, 2.0**-11.5)
    assert (np.abs(got[:, 0] - radius * np.cos(turn)) < allowed).all()
    assert (np.abs(got[:, 1] - radius * np.sin(turn)) < allowed).all()


def test_every_bit_of_the_words_is_fair():
    words = reference.blocks(ROOT.words, 0, SIZE).reshape(-1)
    ones = [int((words >> np.uint32(bit) & np.uint32(1)).sum()) for bit in range(32)]
    assert np.abs(np.array(ones) - words.size / 2).max() < 5 * math.sqrt(words.size) / 2
    for shift in (0, 8, 16, 24):
        counts = np.bincount(words >> np.uint32(shift) & np.uint32(255), minlength=256)
        assert stats.chisquare(counts).pvalue > LEAST_P


def test_uniform_entries_fill_their_bins_and_pairs_of_bins():
    values = draw("uniform", ROOT)
    assert stats.chisquare(np.bincount((values * 4096).astype(int))).pvalue > LEAST_P
    for lag in (1, 64, 128):
        pairs = (values[:-lag] * 32).astype(int) * 32 + (values[lag:] * 32).astype(int)
        assert stats.chisquare(np.bincount(pairs[:: 2 * lag])).pvalue > LEAST_P


def correlated(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Whether x and y or their squares are correlated, by five standard errors."""
    pairs = ((x, y), (x**2, y**2), (x, y**2), (x**2, y))
    return any(abs(np.corrcoef(a, b)[0, 1]) > 5 / math.sqrt(x.size) for a, b in pairs)


@pytest.mark.parametrize("kind", ["normal", "-2 2", "-1 1.5"])
def test_entries_are_independent_of_their_neighbours(kind: str):
    values = draw(kind, ROOT)
    for lag in (1, 2, 3, 32, 63, 64, 65, 127, 128, 129, 192, 255, 256, 257, 4096):
        assert not correlated(values[:-lag], values[lag:])


def test_correlation_would_be_seen():
    values = draw("normal", ROOT)
    other = draw("normal", ROOT.child("other"))
    assert correlated(values, other + 0.01 * values)
    assert correlated(values, other * (1 + 0.01 * values**2))


def test_streams_are_independent_of_each_other():
    related = [
        ROOT,
        Key.derive(1, "layers.0.weight"),
        Key.derive(0, "layers.1.weight"),
        Key.derive(0, "layers.0.weight", "bias"),
        ROOT.child(0),
        ROOT.child(1),
        ROOT.child(0).child(0),
        Key(tuple(word ^ (i == 3) for i, word in enumerate(ROOT.words))),  # pyright: ignore[reportArgumentType] - four they are
        Key(tuple(word ^ (i == 0) for i, word in enumerate(ROOT.words))),  # pyright: ignore[reportArgumentType]
    ]
    for one, two in itertools.combinations(related, 2):
        assert not correlated(draw("normal", one, 2**18), draw("normal", two, 2**18))
