"""A truncated normal is SciPy's quantile of each word, in the tails as well."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from initlab.sampling import Key, fill_truncated_normal, reference

BOUNDS = [
    (-2, 2),
    (-1, 3),
    (-3, 1),
    (1, 3),
    (-3, -1),
    (0, math.inf),
    (-math.inf, 0.5),
    (-math.inf, math.inf),
    (-5000, 5000),
    (-4, 4),
    (-6, 6),
    (-3.3, 3.3),
    (-0.01, 0.02),
    (2, 2.001),
    (5, math.inf),
    (-9, -8),
    (10, 11),
    (-13.5, -10),
]


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_the_error_is_below_4e_7_of_1_and_its_size(
    low: float, high: float, extreme_words: Any, truncated_of: Callable[..., Any]
):
    got = truncated_of(extreme_words, low, high).astype(np.float64)
    words = extreme_words.reshape(-1).astype(np.float64)
    from_low, from_high = (words + 0.5) / 2**32, (2**32 - 0.5 - words) / 2**32
    if low + high < 0:
        from_low, from_high = from_high, from_low
    exact = stats.truncnorm(low, high)
    near_low = from_low < 0.5
    expected = np.empty_like(got)
    expected[near_low] = exact.ppf(from_low[near_low])
    expected[~near_low] = exact.isf(from_high[~near_low])
    assert (np.abs(got - expected) < 4e-7 * (1 + np.abs(expected))).all()
    assert (got >= low).all()
    assert (got <= high).all()


@pytest.mark.parametrize("z", [-13, -5, -1.5, 0, 0.1, 1, 2, 3.7, 6, 10, 12.9])
def test_tail_probabilities(z: float):
    # SciPy's own error grows to some 1e-14 in the far tail.
    assert float(reference.tail(z)) == pytest.approx(special.ndtr(-z), rel=1e-13)


def test_bounds_that_cut_nothing_off_leave_the_tails():
    # An absolute cut at ±100 of weights with std 0.02.
    out = np.empty(2**22, np.float32)
    fill_truncated_normal(out, Key.derive(0, "w"), std=0.02, low=-5000, high=5000)
    values = np.abs(out.astype(np.float64) / 0.02)
    for z in (3, 4, 4.5):
        expected = out.size * 2 * stats.norm.sf(z)
        assert abs((values > z).sum() - expected) < 5 * math.sqrt(expected)
    assert 4.5 < values.max() < 6.4


def test_the_largest_of_bounds_that_cut_nothing_off(
    extreme_words: Any, truncated_of: Callable[..., Any]
):
    largest = np.abs(truncated_of(extreme_words, -math.inf, math.inf)).max()
    assert largest == pytest.approx(stats.norm.isf(2.0**-33), rel=1e-6)
