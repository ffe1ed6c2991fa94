"""Orthogonality for every shape, and the right distribution over the rotations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from initlab._base.streams import stream
from initlab.initializers import get


def rotations(n: int, count: int) -> np.ndarray:
    source = stream(0, "rotations", n)
    return np.stack([get("orthogonal").sample((n, n), source) for _ in range(count)])


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    gain=st.floats(0.01, 100),
    seed=st.integers(0, 2**32),
)
def test_every_singular_value_is_the_gain(shape: list[int], gain: float, seed: int):
    weight = get(f"orthogonal({gain!r})").sample(shape, stream(seed, "init"))
    assert weight.shape == tuple(shape)
    matrix = weight.reshape(shape[0], -1)
    values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(values, np.full(min(matrix.shape), gain), rtol=1e-12)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 3, 2, 2), (20, 3, 2)])
def test_the_std_is_exact_in_every_single_draw(shape: tuple[int, ...]):
    orthogonal = get("orthogonal(gain=1.5)")
    weight = orthogonal.sample(shape, stream(3, "init"))
    root_mean_square = math.sqrt(np.mean(weight**2))
    assert root_mean_square == pytest.approx(orthogonal.std(shape), rel=1e-13)


def test_the_diagonal_has_mean_zero():
    # LAPACK's signs alone would make it negative: E|q_11| = 0.42 for n = 4.
    n, count = 4, 2000
    diagonals = np.diagonal(rotations(n, count), axis1=1, axis2=2)
    assert np.abs(diagonals.mean(axis=0)).max() < 5 / math.sqrt(n * count)


def test_moments_of_the_haar_measure():
    # For O(n) with n >= 4: E[tr Q] = 0, E[(tr Q)²] = 1, E[(tr Q)^4] = 3, and det Q = ±1 alike.
    count = 3000
    q = rotations(5, count)
    traces = np.trace(q, axis1=1, axis2=2)
    assert abs(traces.mean()) < 5 / math.sqrt(count)
    assert abs(np.mean(traces**2) - 1) < 5 * math.sqrt(2 / count)
    determinants = np.linalg.det(q)
    np.testing.assert_allclose(np.abs(determinants), 1, rtol=1e-12)
    assert abs(determinants.mean()) < 5 / math.sqrt(count)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (4, 4)])
def test_an_entry_is_distributed_as_a_coordinate_on_the_sphere(row: int, column: int):
    # The square of a coordinate of a random unit vector in n dimensions is Beta(1/2, (n - 1)/2).
    entries = rotations(5, 2000)[:, row, column]
    assert stats.kstest(entries**2, stats.beta(0.5, 2.0).cdf).pvalue > 1e-4
    assert stats.binomtest(int((entries > 0).sum()), len(entries)).pvalue > 1e-6


def test_rotating_changes_nothing():
    # Haar measure is invariant: R Q is distributed as Q. A fixed R tells a skewed one.
    rotation = get("orthogonal").sample((5, 5), stream(9, "rotation"))
    q = rotations(5, 4000)
    before, after = q[:2000, 0, 0], (rotation @ q[2000:])[:, 0, 0]
    assert stats.ks_2samp(before, after).pvalue > 1e-4
