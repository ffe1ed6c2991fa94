"""The truncated normal against scipy.stats, into the tails."""

import numpy as np
import pytest
from scipy import stats

from initlab._base.errors import InvalidValueError
from initlab._base.streams import stream
from initlab.initializers import get
from initlab.initializers.distributions import TruncatedNormal
from initlab.sampling import Key


class Uniforms:
    """A stream that hands out given numbers."""

    def __init__(self, *values: float) -> None:
        self.values = np.array(values)

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        assert (low, high) == (-1.0, 1.0)
        return self.values.reshape(size)

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(size)


def test_the_factor_of_keras_and_jax():
    # Both write it as a literal; scipy computes it by another route.
    assert TruncatedNormal(2.0).std == pytest.approx(0.87962566103423978, rel=1e-15)
    assert stats.truncnorm(-2, 2).std() == pytest.approx(0.87962566103423978, rel=1e-14)
    keras_he = get("variance_scaling(2, distribution='truncated_normal')")
    weight = keras_he.sample((50, 40), stream(0, "init"))
    raw = get("truncated_normal").sample((50, 40), stream(0, "init"))
    np.testing.assert_allclose(weight, raw * np.sqrt(2 / 40) / 0.87962566103423978, rtol=1e-14)


@pytest.mark.parametrize("cut", [0.01, 0.1, 0.5, 1, 2, 3, 6, 40, 1e6])
def test_std_for_any_cut(cut: float):
    expected = 0.3 * stats.truncnorm(-min(cut, 1e3), min(cut, 1e3)).std()
    assert get(f"truncated_normal(0.3, {cut!r})").std((4, 4)) == pytest.approx(expected, rel=1e-9)
    corrected = get(f"truncated_normal(0.3, {cut!r}, corrected=True)")
    assert corrected.std((4, 4)) == pytest.approx(0.3, rel=1e-15)


@pytest.mark.parametrize("cut", [0.01, 0.5, 2, 4])
@pytest.mark.parametrize("correction", ["", ", corrected=True"])
def test_distribution(cut: float, correction: str):
    text = f"truncated_normal(0.02, {cut}{correction})"
    values = get(text).sample((200, 100), stream(1, "truncated", text)).ravel()
    truth = stats.truncnorm(-cut, cut)
    parent = 0.02 / truth.std() if correction else 0.02
    assert np.abs(values).max() <= cut * parent
    assert stats.kstest(values / parent, truth.cdf).pvalue > 1e-4


@pytest.mark.parametrize("cut", [0.01, 2.0, 10.0, 37.0])
def test_tails_are_exact(cut: float):
    shares = np.array([2.0**-52, 1e-10, 1e-3, 0.4, 0.999, 1.0])
    values = TruncatedNormal(cut).draw((12,), Uniforms(*shares, *-shares))
    np.testing.assert_array_equal(values[6:], -values[:6])
    # A draw with share s leaves (outside + inside · s) of the normal's mass beyond it.
    outside = stats.norm.sf(cut)
    beyond = outside + (0.5 - outside) * shares
    np.testing.assert_allclose(stats.norm.sf(values[:6]), beyond, rtol=1e-11)


@pytest.mark.parametrize("cut", [2.0, 10.0, 60.0])
def test_the_ends_of_the_stream_stay_inside(cut: float):
    values = TruncatedNormal(cut).draw((4,), Uniforms(-1.0, -0.0, 0.0, np.nextafter(1.0, 0)))
    assert np.isfinite(values).all()
    assert np.abs(values).max() == pytest.approx(cut)
    assert np.abs(values).max() <= cut
    assert abs(values[0]) == 0
    assert abs(values[3]) < 1e-15


def test_a_cut_that_cuts_nothing_leaves_the_std():
    assert get("truncated_normal(cut=1e308)").std((2, 2)) == 1.0
    assert TruncatedNormal(39.9).std == TruncatedNormal(40.1).std == 1.0


def test_what_no_fill_takes_is_refused_at_once():
    with pytest.raises(InvalidValueError, match=r"less than 0\.001 std apart"):
        get("truncated_normal(low=1, high=1.0000001)")
    out = np.empty(9, np.float32)
    get("truncated_normal(low=1, high=1.0011)").fill(out, Key.derive(0, "w"), shape=(9,))
    assert ((out >= 1) & (out <= 1.0011)).all()
