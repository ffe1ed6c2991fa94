"""Scale rules against values worked out by hand or printed in papers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlab._base.fans import fans
from initlab._base.streams import stream
from initlab.initializers import get


@pytest.mark.parametrize(
    ("channels", "std"), [(64, 0.058926), (128, 0.041667), (256, 0.029463), (512, 0.020833)]
)
def test_vgg_b_stds_of_he_2015(channels: int, std: float):
    # The paper initialises for the backward pass there: kernels whose layer has as many outputs.
    for mode in ("fan_in", "fan_out"):
        found = get(f"he_normal(mode='{mode}')").std((channels, channels, 3, 3))
        assert abs(found - std) < 5.1e-7


@pytest.mark.parametrize(
    ("text", "shape", "std"),
    [
        ("lecun_normal", (7, 100), 0.1),
        ("lecun_uniform", (7, 100), 0.1),
        ("lecun_normal(gain=3)", (7, 25, 2, 2), 0.3),
        ("glorot_normal", (120, 80), 0.1),
        ("glorot_uniform(gain=2)", (120, 80), 0.2),
        ("glorot_normal", (12, 8, 10), 0.1),
        ("he_normal", (7, 200), 0.1),
        ("he_uniform", (7, 200), 0.1),
        ("he_normal(mode='fan_out')", (200, 7), 0.1),
        ("he_normal(mode='fan_avg')", (300, 100), 0.1),
        ("he_normal(slope=1)", (7, 100), 0.1),
        ("he_normal(slope=-3)", (7, 20), 0.1),
        ("variance_scaling(0.5, 'fan_out', 'uniform')", (50, 3), 0.1),
        ("variance_scaling(4, 'fan_avg', 'truncated_normal')", (500, 300), 0.1),
        ("uniform(bound=3)", (2, 2), math.sqrt(3)),
        ("orthogonal(gain=2)", (400, 30), 0.1),
        ("orthogonal(gain=2)", (30, 40, 10), 0.1),
    ],
)
def test_std_by_hand(text: str, shape: tuple[int, ...], std: float):
    assert get(text).std(shape) == pytest.approx(std, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "shape", "bound"),
    [
        ("lecun_uniform", (9, 300), 0.1),
        ("glorot_uniform", (350, 250), 0.1),
        ("he_uniform", (9, 600), 0.1),
        ("he_uniform(slope=2)", (9, 120), 0.1),
        ("variance_scaling(scale=1, distribution='uniform')", (9, 300), 0.1),
        ("uniform(bound=0.1)", (9, 300), 0.1),
    ],
)
def test_uniform_draws_fill_their_bounds(text: str, shape: tuple[int, ...], bound: float):
    source = stream(0, "bounds")
    weights = np.stack([get(text).sample(shape, source) for _ in range(20)])
    # The largest of n draws falls short of the bound by a share 20/n with probability e^-20.
    for extreme in (weights.max(), -weights.min()):
        assert bound * (1 - 40 / weights.size) < extreme <= bound * (1 + 1e-15)


@pytest.mark.parametrize(
    ("named", "general"),
    [
        ("lecun_normal", "variance_scaling"),
        ("lecun_uniform", "variance_scaling(distribution='uniform')"),
        ("glorot_normal", "variance_scaling(mode='fan_avg')"),
        ("glorot_uniform", "variance_scaling(mode='fan_avg', distribution='uniform')"),
        ("he_normal", "variance_scaling(2)"),
        ("he_uniform(mode='fan_out')", "variance_scaling(2, 'fan_out', 'uniform')"),
    ],
)
def test_named_rules_are_cases_of_variance_scaling(named: str, general: str):
    shape = (6, 5, 3)
    weights = [get(text).sample(shape, stream(2, "init")) for text in (named, general)]
    np.testing.assert_array_equal(*weights)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_rules_in_terms_of_the_shape(shape: tuple[int, ...]):
    out, into, *receptive = shape
    positions = math.prod(receptive)
    assert get("he_normal").std(shape) == pytest.approx(math.sqrt(2 / (into * positions)))
    assert get("he_normal(mode='fan_out')").std(shape) == pytest.approx(
        math.sqrt(2 / (out * positions))
    )
    assert get("glorot_uniform").std(shape) == pytest.approx(
        math.sqrt(2 / ((into + out) * positions))
    )


def test_fans_can_be_given_where_the_shape_hides_them():
    shape = (64, 1, 3, 3)  # depthwise: 64 groups, so an input value reaches 9 outputs, not 576
    he = get("he_normal(mode='fan_out')")
    true = fans(shape, groups=64)
    assert he.std(shape) == pytest.approx(math.sqrt(2 / 576))
    assert he.std(shape, fans=true) == pytest.approx(math.sqrt(2 / 9))
    plain, corrected = (he.sample(shape, stream(0, "init"), fans=f) for f in (None, true))
    np.testing.assert_allclose(corrected, plain * 8, rtol=1e-14)
    assert he.mean(shape, fans=true) == 0


def test_constants():
    for text, value in (("zeros", 0.0), ("ones", 1.0), ("constant(-2.5)", -2.5)):
        weight = get(text).sample((2, 3, 4), stream(0, "init"))
        np.testing.assert_array_equal(weight, np.full((2, 3, 4), value))
        assert get(text).mean((2, 3)) == value
        assert get(text).std((2, 3)) == 0
