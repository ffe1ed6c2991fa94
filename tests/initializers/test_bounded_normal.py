"""The truncated normal between absolute bounds: moments, tails, and PyTorch's trunc_normal_."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from initlab._base.streams import stream
from initlab.initializers import get
from initlab.initializers.distributions import BoundedNormal
from initlab.sampling import Key

BOUNDS = [
    (-2.0, 2.0),
    (-1.0, 3.0),
    (-100.0, 100.0),
    (-100.0, 0.3),
    (0.0, 1.0),
    (0.5, 0.6),
    (-0.6, -0.5),
    (-8.0, -6.0),
    (7.0, 30.0),
    (9.9, 50.0),
    (-1e-3, 2e-3),
    (2.0, 2.0 + 1e-7),
]


def exact(low: float, high: float) -> tuple[float, float]:
    """Mean and std by the closed forms, in 60 digits."""
    with mpmath.workdps(60):
        a, b = mpmath.mpf(low), mpmath.mpf(high)
        mass = (mpmath.erfc(a / mpmath.sqrt(2)) - mpmath.erfc(b / mpmath.sqrt(2))) / 2
        mean = (mpmath.npdf(a) - mpmath.npdf(b)) / mass
        variance = 1 + (a * mpmath.npdf(a) - b * mpmath.npdf(b)) / mass - mean**2
        return float(mean), float(mpmath.sqrt(variance))


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_moments_are_exact(low: float, high: float):
    mean, std = exact(low, high)
    found = BoundedNormal(low, high).moments((2, 2))
    assert found.std == pytest.approx(std, rel=1e-7 if high - low < 1e-6 else 1e-11)
    assert abs(found.mean - mean) < 1e-13 * max(1, abs(mean))


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_draws_follow_the_distribution(low: float, high: float):
    truth = stats.truncnorm(low, high)
    drawn = BoundedNormal(low, high).draw((20_000,), stream(0, "bounded", f"{low} {high}"))
    assert low <= drawn.min() <= drawn.max() <= high
    assert stats.kstest(drawn, truth.cdf).pvalue > 1e-4
    if high - low > 1e-3:  # float32 tells closer points apart too badly
        filled = np.empty(20_000, np.float32)
        key = Key.derive(0, f"{low} {high}")
        get(f"truncated_normal(low={low}, high={high})").fill(filled, key, shape=(20_000,))
        assert low <= filled.min() <= filled.max() <= high
        assert stats.kstest(filled.astype(float), truth.cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0.0, 0.02, -2.0, 2.0), (0.0, 1.0, -2.0, 2.0), (0.5, 1.0, -1.0, 1.0), (1.0, 0.5, 0.0, 3.0)],
)
def test_it_is_pytorchs_trunc_normal(mean: float, std: float, low: float, high: float):
    generator = torch.Generator().manual_seed(1)
    empty = torch.empty((300, 200), dtype=torch.float64)
    theirs = nn.init.trunc_normal_(empty, mean, std, low, high, generator=generator).numpy()
    initializer = get(f"truncated_normal({std}, mean={mean}, low={low}, high={high})")
    ours = initializer.sample((300, 200), stream(0, "torch", initializer.spec))
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-4
    assert abs(theirs.mean() - initializer.mean((2, 2))) < 5 * theirs.std() / math.sqrt(60_000)
    squares = (theirs - theirs.mean()) ** 2
    bound = 5 * squares.std() / math.sqrt(squares.size)
    assert abs(squares.mean() - initializer.std((2, 2)) ** 2) < bound


def test_a_mean_moves_the_cut_with_it():
    moved, centred = (get(f"truncated_normal(0.5, 1.5{m})") for m in (", mean=3", ""))
    assert moved.std((2, 2)) == centred.std((2, 2))
    assert moved.mean((2, 2)) == 3
    weights = [i.sample((30, 40), stream(0, "init")) for i in (moved, centred)]
    np.testing.assert_array_equal(weights[0], weights[1] + 3)
