"""Median and quartiles over seeds, against NumPy, and where NumPy has no answer."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from initlab.experiments import Results
from initlab.report.spread import by_start, spread

INF, NAN = math.inf, math.nan


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 4)),
        elements=st.floats(-1e6, 1e6),
    )
)
def test_finite_quantiles_are_numpys(values: np.ndarray):
    found = spread(values)
    expected = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose([found.low, found.median, found.high], expected, atol=1e-9)
    assert found.seeds == len(values)


def test_inf_keeps_its_place_in_the_order():
    found = spread([[1.0], [2.0], [INF]])
    assert (found.low[0], found.median[0], found.high[0]) == (1.5, 2.0, INF)


def test_between_two_infinite_values_lies_inf_not_nan():
    found = spread([[INF], [INF]])
    assert (found.low[0], found.median[0], found.high[0]) == (INF, INF, INF)


def test_nan_counts_as_worse_than_inf_and_is_not_left_out():
    assert spread([[1.0], [INF], [NAN]]).median[0] == INF
    assert math.isnan(spread([[1.0], [NAN], [NAN]]).median[0])


def test_starts_keep_the_order_in_which_they_first_appear(course: Results):
    assert list(by_start(course.runs)) == ["zeros", "normal(std=10)", "he_normal"]
