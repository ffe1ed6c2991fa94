"""Fixed points, depth scales and laws, against what iterating the maps does, and closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab.theory import (
    Point,
    correlation_map,
    depth_scales,
    edge_of_chaos,
    fixed_point,
    fixed_points,
    variance_map,
)
from initlab.theory.function import AnyFunction
from initlab.theory.maps import MeanField
from initlab.theory.pairs import pair

# In both phases, with a bias and without, with kinks and without.
CASES = [
    ("relu", 1.5, 0.1),
    ("relu", 0.7, 0.0),
    ("leaky_relu(0.2)", 1.7, 0.3),
    ("tanh", 1.5, 0.05),
    ("tanh", 4.0, 0.3),
    ("tanh", 1.8, 0.0),
    ("sigmoid", 3.0, 0.2),
    ("sigmoid", 150.0, 0.0),
    ("softsign", 6.0, 0.1),
    ("softplus", 1.2, 0.0),
    ("elu", 1.8, 0.05),
    ("selu", 1.0, 0.0),
    ("gelu", 1.5, 0.1),
    ("silu", 1.8, 0.2),
    ("mish", 1.6, 0.1),
    ("sin", 2.0, 0.1),
    ("sin", 3.0, 0.0),
    ("erf", 2.0, 0.1),
    ("hardtanh", 2.0, 0.1),
    ("identity", 0.9, 0.1),
    (np.cos, 4.0, 0.0),
]
all_cases = pytest.mark.parametrize(("f", "weight_var", "bias_var"), CASES)


def variances(f: AnyFunction, weight_var: float, bias_var: float, start: float) -> Iterator[float]:
    """Yield the variance of one layer after another."""
    q = start
    while True:
        yield q
        q = variance_map(f, q, weight_var=weight_var, bias_var=bias_var)


def after(f: AnyFunction, weight_var: float, bias_var: float, start: float, layers: int) -> float:
    """Return the variance some layers on."""
    return next(itertools.islice(variances(f, weight_var, bias_var, start), layers, None))


@all_cases
def test_what_is_fixed_stays(f: AnyFunction, weight_var: float, bias_var: float):
    options = {"weight_var": weight_var, "bias_var": bias_var}
    point = fixed_point(f, **options)
    assert point.q_star is not None
    assert point.c_star is not None
    assert (point.weight_var, point.bias_var) == (weight_var, bias_var)
    kept = variance_map(f, point.q_star, **options)
    assert kept == pytest.approx(point.q_star, rel=1e-12)
    assert point.stable
    if point.q_star == 0:
        return
    kept = correlation_map(f, point.c_star, q=point.q_star, **options)
    assert kept == pytest.approx(point.c_star, rel=0, abs=1e-12)
    # It is stable: between it and 1 the map lies below the diagonal, and below it above.
    below, above = point.c_star - 0.05, (point.c_star + 1) / 2
    assert correlation_map(f, below, q=point.q_star, **options) > below
    if point.regime == "chaotic":
        assert correlation_map(f, above, q=point.q_star, **options) < above
    else:
        assert point.c_star == 1


@all_cases
def test_deep_networks_get_there(f: AnyFunction, weight_var: float, bias_var: float):
    point = fixed_point(f, weight_var=weight_var, bias_var=bias_var)
    assert point.q_star is not None
    assert point.xi_q is not None
    layers = math.ceil(30 * point.xi_q) + 2
    found = after(f, weight_var, bias_var, 1.0, layers)
    assert found == pytest.approx(point.q_star, rel=1e-10, abs=1e-10)


@all_cases
def test_deviations_shrink_by_e_over_a_depth_scale(
    f: AnyFunction, weight_var: float, bias_var: float
):
    point = fixed_point(f, weight_var=weight_var, bias_var=bias_var)
    assert point.q_star is not None
    assert point.xi_q is not None
    assert point.xi_c is not None
    start = point.q_star * (1 + 1e-5) + 1e-12
    one, two = itertools.islice(variances(f, weight_var, bias_var, start), 2)
    measured = -1 / math.log(abs((two - point.q_star) / (one - point.q_star)))
    assert point.xi_q == pytest.approx(measured, rel=1e-3)
    if point.q_star == 0:
        assert point.xi_c == pytest.approx(-1 / math.log(point.chi_star or 0), rel=1e-12)
        return
    # Correlations by what they lack to 1, which keeps its digits.
    layer = MeanField.of(f, weight_var, bias_var)
    gap = 1 - (point.c_star or 0)
    small = 1e-10 if gap == 0 else gap * 1e-5
    ratio = (layer.gap(point.q_star, gap + small) - gap) / small
    assert point.xi_c == pytest.approx(-1 / math.log(ratio), rel=1e-3)
    assert point.chi_star == pytest.approx(ratio, rel=1e-3)


def test_depth_scales_are_those_of_the_point():
    for f, weight_var, bias_var in CASES[:6]:
        point = fixed_point(f, weight_var=weight_var, bias_var=bias_var)
        scales = depth_scales(f, weight_var=weight_var, bias_var=bias_var)
        assert (scales.xi_q, scales.xi_c, scales.law) == (point.xi_q, point.xi_c, point.law)


@pytest.mark.parametrize(("weight_var", "bias_var"), [(1.5, 0.1), (1.0, 0.2), (1.99, 1e-4)])
def test_rectifiers_in_closed_form(weight_var: float, bias_var: float):
    # V(q) = σw² q/2 + σb², χ1 = V' = σw²/2.
    point = fixed_point("relu", weight_var=weight_var, bias_var=bias_var)
    assert point.q_star == pytest.approx(bias_var / (1 - weight_var / 2), rel=1e-12)
    assert point.chi_1 == pytest.approx(weight_var / 2, rel=1e-13)
    for scale in (point.xi_q, point.xi_c):
        assert scale == pytest.approx(-1 / math.log(weight_var / 2), rel=1e-12)
    assert point.growth == pytest.approx(weight_var / 2, rel=1e-12)


def test_sine_in_closed_form():
    # V(q) = σw² (1 - e^-2q) / 2 + σb², q C(c) = σw² e^-q sinh(c q) + σb².
    weight_var, bias_var = 2.5, 0.2
    point = fixed_point("sin", weight_var=weight_var, bias_var=bias_var)
    q = optimize.brentq(
        lambda q: -weight_var * math.expm1(-2 * q) / 2 + bias_var - q, 0.1, 3, xtol=1e-14
    )
    size = weight_var * math.exp(-q)
    c = optimize.brentq(lambda c: size * math.sinh(c * q) + bias_var - c * q, 0, 0.9, xtol=1e-14)
    assert point.q_star == pytest.approx(q, rel=1e-12)
    assert point.c_star == pytest.approx(c, rel=1e-12)
    slope = weight_var * math.exp(-q) * math.cosh(c * q)
    assert point.chi_star == pytest.approx(slope, rel=1e-12)
    assert point.regime == "chaotic"


def test_cosine_whose_variance_falls():
    # V(q) = σw² (1 + e^-2q) / 2: V' is negative, and the variance approaches q* in turns.
    point = fixed_point(np.cos, weight_var=1)
    q = optimize.brentq(lambda q: (1 + math.exp(-2 * q)) / 2 - q, 0, 1, xtol=1e-14)
    assert point.q_star == pytest.approx(q, rel=1e-12)
    assert point.fixed_points[0].slope == pytest.approx(-math.exp(-2 * q), rel=1e-10)
    assert point.xi_q == pytest.approx(1 / (2 * q), rel=1e-10)
    assert point.stable
    assert point.growth == 0


@pytest.mark.parametrize(
    ("f", "weight_var", "bias_var", "stable"),
    [
        ("gelu", 2.5, 0.0, [True, False]),
        ("gelu", 3.5, 0.0, [True, False]),
        ("silu", 3.0, 0.0, [True, False]),
        ("silu", 2.5, 0.03, [True, False]),
        ("gelu", 2.2, 0.05, [True, False]),
        ("mish", 2.2, 0.02, [True, False]),
        ("gelu", 4.1, 0.0, [False]),
        ("tanh", 3.0, 0.0, [False, True]),
        ("tanh", 3.0, 0.1, [True]),
        ("relu", 1.0, 0.0, [True]),
        ("relu", 3.0, 0.0, [False]),
        ("relu", 3.0, 0.1, []),
        ("softplus", 1.0, 0.0, [True]),
        ("softplus", 2.5, 0.0, []),
        ("sigmoid", 3.0, 0.0, [True]),
        (np.square, 1.0, 0.0, [True, False]),
        (np.square, 1.0, 0.05, [True, False]),
        (np.square, 1.0, 0.2, []),
        (lambda x: 0.8 * np.tanh(2 * x) + 6 * np.tanh((x / 4) ** 3), 1.0, 0.05, [1, 0, 1]),
    ],
)
def test_every_fixed_point_and_whether_it_is_stable(
    f: AnyFunction, weight_var: float, bias_var: float, stable: list[bool]
):
    points = fixed_points(f, weight_var=weight_var, bias_var=bias_var)
    assert [point.stable for point in points] == [bool(each) for each in stable]
    assert [point.q for point in points] == sorted(point.q for point in points)
    for point in points:
        kept = variance_map(f, point.q, weight_var=weight_var, bias_var=bias_var)
        assert kept == pytest.approx(point.q, rel=1e-12)
        assert (abs(point.slope) < 1) == point.stable
        # Either way a small deviation grows or shrinks.
        for start in (point.q * 0.999, point.q * 1.001 + 1e-9):
            later = after(f, weight_var, bias_var, start, 5)
            assert (abs(later - point.q) <= abs(start - point.q)) == point.stable or start == 0
    # And there are no others: the variance moves one way between any two, away from the unstable.
    ends = [1e-6, *(point.q for point in points if point.q > 0), 1e6]
    for low, high in itertools.pairwise(ends):
        inner = np.geomspace(max(low, bias_var) * 1.01, high / 1.01, 40)
        moves = {
            variance_map(f, float(q), weight_var=weight_var, bias_var=bias_var) > q for q in inner
        }
        assert len(moves) == 1


def test_fixed_points_of_a_square_in_closed_form():
    # E[x⁴] = 3 q²: q = 3 σw² q² + σb².
    low, high = fixed_points(np.square, weight_var=1, bias_var=0.05)
    root = math.sqrt(1 - 4 * 3 * 0.05)
    assert low.q == pytest.approx((1 - root) / 6, rel=1e-12)
    assert high.q == pytest.approx((1 + root) / 6, rel=1e-12)
    assert low.slope == pytest.approx(1 - root, rel=1e-11)
    assert high.slope == pytest.approx(1 + root, rel=1e-11)
    assert low.chi_1 == pytest.approx(4 * low.q, rel=1e-11)


@pytest.mark.parametrize(
    ("f", "weight_var", "bias_var"),
    [("silu", 2.5, 0.03), ("gelu", 3.0, 0.0), (np.square, 1.0, 0.05)],
)
def test_the_start_decides_between_a_fixed_point_and_divergence(
    f: AnyFunction, weight_var: float, bias_var: float
):
    options = {"weight_var": weight_var, "bias_var": bias_var}
    low, high = fixed_points(f, **options)
    for start in (1e-3, high.q * 0.99):
        point = fixed_point(f, **options, start=start)
        assert (point.q_star, point.stable) == (low.q, True)
        assert after(f, weight_var, bias_var, start, 1000) == pytest.approx(low.q, abs=1e-9)
        assert point.fixed_points == (low, high)
    point = fixed_point(f, **options, start=high.q * 1.01)
    assert (point.q_star, point.regime, point.stable) == (None, "diverges", False)
    assert point.growth > 1
    # On the unstable one itself the variance stays, for as long as nothing moves it.
    point = fixed_point(f, **options, start=high.q)
    assert (point.q_star, point.stable, point.xi_q) == (high.q, False, None)


def test_the_start_decides_between_two_stable_fixed_points():
    def f(x: np.ndarray) -> np.ndarray:
        return 0.8 * np.tanh(2 * x) + 6 * np.tanh((x / 4) ** 3)

    low, middle, high = fixed_points(f, weight_var=1, bias_var=0.05)
    for start, expected in ((0.06, low), (middle.q * 0.99, low), (middle.q * 1.01, high)):
        point = fixed_point(f, weight_var=1, bias_var=0.05, start=start)
        assert (point.q_star, point.chi_1) == (expected.q, expected.chi_1)
        assert after(f, 1.0, 0.05, start, 200) == pytest.approx(expected.q, rel=1e-6)
    assert fixed_point(f, weight_var=1, bias_var=0.05, start=1e6).q_star == high.q


def test_where_the_variance_falls_a_step_may_lead_past_a_fixed_point():
    def bump(x: np.ndarray) -> np.ndarray:
        return np.exp(-x * x) + math.sqrt(0.002) * x**3

    low, high = fixed_points(bump, weight_var=3)
    assert variance_map(bump, 1e-3, weight_var=3) > high.q  # V(0) = 3
    assert fixed_point(bump, weight_var=3, start=1e-3).regime == "diverges"
    for start in (0.1, 0.5, 2.7):
        assert fixed_point(bump, weight_var=3, start=start).q_star == low.q
        assert after(bump, 3.0, 0.0, start, 60) == pytest.approx(low.q, rel=1e-9)


@pytest.mark.parametrize(("f", "weight_var"), [("silu", 2.5), ("gelu", 2.3), (np.square, 1.0)])
def test_a_double_fixed_point_is_found(f: AnyFunction, weight_var: float):
    # The bias for which V touches the diagonal: V - q is least there.
    least = optimize.minimize_scalar(
        lambda q: variance_map(f, q, weight_var=weight_var) - q,
        bounds=(0.01, 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    bias_var, touching = -float(least.fun), float(least.x)
    assert 0.01 < bias_var < 0.5
    options = {"weight_var": weight_var, "bias_var": bias_var}
    (double,) = fixed_points(f, **options)
    assert double.q == pytest.approx(touching, rel=1e-5)
    assert double.slope == pytest.approx(1, abs=1e-6)
    # What comes from below stops there; what is above leaves.
    assert not double.stable
    point = fixed_point(f, **options, start=touching / 2)
    assert (point.q_star, point.xi_q) == (double.q, None)
    assert fixed_point(f, **options, start=touching * 1.1).regime == "diverges"
    # A little less bias parts it in two, a little more leaves none. V - q is a parabola there: its
    # roots lie twice the square root of the bias apart, in units in which the slopes say the same.
    parted = fixed_points(f, weight_var=weight_var, bias_var=bias_var - 1e-8)
    assert [each.stable for each in parted] == [True, False]
    assert parted[0].q < touching < parted[1].q
    apart, turned = parted[1].q - parted[0].q, parted[1].slope - parted[0].slope
    assert apart * turned == pytest.approx(8e-8, rel=1e-3)
    assert fixed_points(f, weight_var=weight_var, bias_var=bias_var + 1e-8) == ()


@pytest.mark.parametrize(
    ("f", "weight_var", "bias_var", "growth"),
    [
        ("relu", 3.0, 0.0, 1.5),
        ("relu", 3.0, 0.1, 1.5),
        ("relu", 2.0, 0.1, 1.0),
        ("identity", 2.0, 0.0, 2.0),
        ("leaky_relu(0.2)", 2.5, 1.0, 1.3),
        ("softplus", 2.5, 0.1, 1.25),
        ("gelu", 3.0, 0.1, 1.5),
        (np.square, 1.0, 0.0, math.inf),
        (lambda x: x * np.sqrt(1 + x * x), 1.0, 0.0, math.inf),
        (np.exp, 1.0, 0.0, math.inf),
    ],
)
def test_divergence_has_a_rate(f: AnyFunction, weight_var: float, bias_var: float, growth: float):
    point = fixed_point(f, weight_var=weight_var, bias_var=bias_var)
    assert point.regime == "diverges"
    assert not point.stable
    assert {point.q_star, point.chi_1, point.c_star, point.chi_star, point.xi_q, point.xi_c} == {
        None
    }
    assert point.law is None
    assert point.growth == pytest.approx(growth, rel=1e-6)


def test_bounded_functions_do_not_grow():
    for f in ("tanh", "sigmoid", "sin", "hardtanh", np.cos):
        assert fixed_point(f, weight_var=5, bias_var=0.1).growth == 0
    assert fixed_point("softsign", weight_var=5).growth == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.2)", "leaky_relu(-0.5)", "identity"])
def test_where_every_variance_is_kept(name: str):
    slope = float(activations.get(name).slope(-1.0))
    weight_var = 2 / (1 + slope**2)
    for start in (1e-6, 1.0, 300.0):
        point = fixed_point(name, weight_var=weight_var, start=start)
        assert (point.q_star, point.regime, point.stable) == (start, "critical", True)
        assert (point.xi_q, point.xi_c, point.c_star) == (math.inf, math.inf, 1)
        assert point.growth == pytest.approx(1, rel=1e-12)
        assert [each.q for each in point.fixed_points] == [0]
        assert (point.law is None) == (name == "identity")


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "softplus", "selu"])
@pytest.mark.parametrize("bias_var", [0.0, 0.3, 7.0])
def test_without_weights_the_bias_is_all(name: str, bias_var: float):
    point = fixed_point(name, weight_var=0, bias_var=bias_var)
    assert [each.q for each in point.fixed_points] == [bias_var]
    assert (point.q_star, point.chi_1, point.c_star) == (bias_var, 0, 1)
    assert (point.xi_q, point.xi_c, point.regime, point.stable) == (0, 0, "ordered", True)
    assert point.growth == 0


def test_hardtanh_that_shrinks_ever_more_slowly():
    # Below its kinks it is the identity: the variance goes to 0, but by no power.
    point = fixed_point("hardtanh", weight_var=1)
    assert (point.q_star, point.chi_1, point.regime, point.law) == (0, 1, "critical", None)
    assert (point.xi_q, point.xi_c, point.stable) == (math.inf, math.inf, True)
    q = after("hardtanh", 1.0, 0.0, 1.0, 300)
    assert 0.05 < q < 0.1
    assert variance_map("hardtanh", q, weight_var=1) < q


def test_tanh_without_bias_on_both_sides_of_its_edge():
    below = fixed_point("tanh", weight_var=0.9)
    assert [(each.q, each.stable) for each in below.fixed_points] == [(0, True)]
    assert (below.q_star, below.c_star, below.regime) == (0, 1, "ordered")
    assert below.chi_1 == below.chi_star
    assert below.chi_1 == pytest.approx(0.9, rel=1e-13)
    assert below.xi_q == pytest.approx(-1 / math.log(0.9), rel=1e-12)
    assert below.xi_c == pytest.approx(-1 / math.log(0.9), rel=1e-12)
    at = fixed_point("tanh", weight_var=1)
    assert (at.q_star, at.regime, at.stable) == (0, "critical", True)
    above = fixed_point("tanh", weight_var=1.1)
    assert [each.stable for each in above.fixed_points] == [False, True]
    assert above.fixed_points[0].slope == pytest.approx(1.1, rel=1e-13)
    # tanh² = x² - 2/3 x⁴ + 17/45 x⁶ - ...: 1 - 1/σw² = 2 q - 17/3 q² + ...
    assert above.q_star is not None
    assert 2 * above.q_star - 17 / 3 * above.q_star**2 == pytest.approx(1 - 1 / 1.1, rel=0.06)
    assert above.regime == "chaotic"
    # Odd, without a bias: unrelated inputs stay so.
    assert above.c_star == pytest.approx(0, abs=1e-13)


def test_tiny_fixed_points_are_found():
    # V(q) ≈ σw² q + σb².
    for name in ("tanh", "hardtanh", "sin"):
        point = fixed_point(name, weight_var=0.5, bias_var=1e-13)
        assert point.q_star == pytest.approx(2e-13, rel=1e-10)
    for weight_var in (1e-9, 1e-20, 1e-200):
        point = fixed_point("sigmoid", weight_var=weight_var)
        assert point.q_star == pytest.approx(weight_var / 4, rel=1e-8)


def test_huge_fixed_points_are_found():
    point = fixed_point("relu", weight_var=2 - 1e-6, bias_var=1e8)
    assert point.q_star == pytest.approx(2e14, rel=1e-8)
    point = fixed_point("tanh", weight_var=1e10)
    assert point.q_star == pytest.approx(1e10, rel=1e-4)


NAMES = sorted(activations.catalogue)
examples = given(
    name=st.sampled_from(NAMES),
    weight_var=st.floats(0, 5),
    bias_var=st.just(0.0) | st.floats(1e-6, 3),
    start=st.floats(0.01, 30),
)


@settings(max_examples=60)
@examples
def test_any_point_is_what_iterating_gives(
    name: str, weight_var: float, bias_var: float, start: float
):
    options = {"weight_var": weight_var, "bias_var": bias_var}
    point = fixed_point(name, **options, start=start)
    if point.q_star is None:
        assert variance_map(name, start, **options) > start
        assert all(each.q < start or not each.stable for each in point.fixed_points)
        assert point.growth >= 1 - 1e-9
        return
    assert variance_map(name, point.q_star, **options) == pytest.approx(point.q_star, rel=1e-11)
    q = start
    away = abs(q - point.q_star)
    for _ in range(30):  # closer at each layer, or there
        q = variance_map(name, q, **options)
        if q < 1e-200:  # on its way to 0
            break
        assert abs(q - point.q_star) <= away * (1 + 1e-12) + 1e-13 * point.q_star
        away = abs(q - point.q_star)
    if point.xi_q is not None and point.xi_q < 1:
        assert q == pytest.approx(point.q_star, rel=1e-9, abs=1e-9)


@settings(max_examples=60)
@examples
def test_any_point_is_consistent(name: str, weight_var: float, bias_var: float, start: float):
    point = fixed_point(name, weight_var=weight_var, bias_var=bias_var, start=start)
    assume(point.q_star is not None)
    q, chi_1, c, chi_star = (
        number
        for number in (point.q_star, point.chi_1, point.c_star, point.chi_star)
        if number is not None
    )
    layer = MeanField.of(name, weight_var, bias_var)
    assert chi_1 == pytest.approx(layer.chi(q), rel=1e-12)
    if point.regime == "chaotic":
        assert chi_1 > 1
        assert 0 <= c < 1
        assert chi_star < 1
        assert layer.gap(q, 1 - c) == pytest.approx(1 - c, rel=1e-9)
    else:
        assert (c, chi_star) == (1, chi_1)
        assert chi_1 <= 1 + 1e-9
    expected = math.inf if point.regime == "critical" else -1 / math.log(chi_star or 1e-300)
    assert point.xi_c == pytest.approx(expected, rel=1e-9, abs=2e-3 if chi_star == 0 else 0)
    # Every odd function without a bias keeps unrelated inputs unrelated.
    if bias_var == 0 and name in {"tanh", "erf", "sin", "softsign", "hardtanh"} and chi_1 > 1:
        assert c == pytest.approx(0, abs=1e-10)


def gaps(layer: MeanField, q: float, layers: int) -> list[float]:
    """Return 1 - c of two inputs without correlation, layer by layer."""
    gap, found = 1.0, []
    for _ in range(layers):
        gap = layer.weight_var * pair(layer.activation, q, gap, accuracy=1e-9).distance / q
        found.append(gap)
    return found


def critical(name: str, bias_var: float) -> tuple[MeanField, float, Point]:
    """Return a layer on the edge, the variance there, and what is said of it."""
    edge = edge_of_chaos(name, bias_var=bias_var)
    assert edge.weight_var is not None
    assert edge.q_star is not None
    layer = MeanField.of(name, edge.weight_var, bias_var)
    return layer, edge.q_star, fixed_point(name, weight_var=edge.weight_var, bias_var=bias_var)


@pytest.mark.parametrize(
    ("name", "bias_var"), [("relu", 0.0), ("leaky_relu(0.2)", 0.0), ("hardtanh", 0.1)]
)
def test_law_of_functions_with_kinks(name: str, bias_var: float):
    layer, q, point = critical(name, bias_var)
    assert point.regime == "critical"
    assert point.law is not None
    assert point.law.power == 2
    # g' = g - A g^(3/2) + O(g^(5/2)) makes h = g^(-1/2) grow by A/2 + 3/8 A²/h + O(1/h²): over the
    # layers from n to 2n, by A/2 + 3/4 A ln 2 / n each, but for a share of (ln n / n)².
    n = 600
    h = np.array(gaps(layer, q, 2 * n)) ** -0.5
    rate = 2 / math.sqrt(point.law.coefficient)
    expected = rate / 2 + 0.75 * rate * math.log(2) / n
    assert (h[-1] - h[n - 1]) / n == pytest.approx(expected, rel=3 * (math.log(n) / n) ** 2)
    # And so g l² goes to the coefficient as 1 - 3 ln l / l - O(1 / l).
    for layers in (n, 2 * n):
        share = h[layers - 1] ** -2 * layers**2 / point.law.coefficient
        assert 1 - 6 * math.log(layers) / layers < share < 1


def second_moment_of(function: Callable[[Any], Any], q: float) -> float:
    """Integrate f(u)² with QUADPACK."""
    return sum(
        integrate.quad(
            lambda u: float(function(u)) ** 2 * stats.norm.pdf(u, scale=math.sqrt(q)), a, b
        )[0]
        for a, b in itertools.pairwise((-12, -3, 0, 3, 12))
    )


@pytest.mark.parametrize(
    ("name", "bias_var", "third"),
    [
        ("tanh", 0.05, lambda x: -2 * (1 - np.tanh(x) ** 2) * (1 - 3 * np.tanh(x) ** 2)),
        ("erf", 0.1, lambda x: 2 / math.sqrt(math.pi) * (4 * x * x - 2) * np.exp(-x * x)),
        ("sin", 0.2, lambda x: -np.cos(x)),
    ],
)
def test_law_of_smooth_functions(name: str, bias_var: float, third: Callable[[Any], Any]):
    layer, q, point = critical(name, bias_var)
    assert point.regime == "critical"
    assert point.law is not None
    assert point.law.power == 1
    # g' = g - κ g² + β g³ with β = C'''(1) / 6 makes y = 1/g grow by κ + (κ² - β)/y + O(1/y²): over
    # the layers from n to 2n, by κ + (κ - β/κ) ln 2 / n each, but for a share of (ln n / n)².
    n = 500
    y = 1 / np.array(gaps(layer, q, 2 * n))
    kappa = 1 / point.law.coefficient
    beta = layer.weight_var * q * q * second_moment_of(third, q) / 6
    expected = kappa + (kappa - beta / kappa) * math.log(2) / n
    assert (y[-1] - y[n - 1]) / n == pytest.approx(expected, rel=5 * (math.log(n) / n) ** 2)
    share = 2 * n / y[-1] / point.law.coefficient
    assert share == pytest.approx(1, abs=2 * (1 + beta / kappa**2) * math.log(2 * n) / (2 * n))


def test_law_of_a_function_whose_curvature_jumps():
    layer, q, point = critical("elu", 0.1)
    assert point.law is not None
    assert point.law.power == 1
    # φ'' jumps by 1 at 0, which takes √(2g)/2π from E[φ'' φ''], as from E[φ' φ'] of ReLU: so
    # g' = g - κ g² + β g^(5/2) with β = 4/15 σw² q √2/2π, and y = 1/g grows by κ - β/√y + O(1/y).
    n = 700
    y = 1 / np.array(gaps(layer, q, 2 * n))
    kappa = 1 / point.law.coefficient
    beta = 4 / 15 * layer.weight_var * q * math.sqrt(2) / (2 * math.pi)
    expected = kappa - 2 * beta * (math.sqrt(y[-1]) - math.sqrt(y[n - 1])) / kappa / n
    assert (y[-1] - y[n - 1]) / n == pytest.approx(expected, rel=10 / n)
    share = 2 * n / y[-1] / point.law.coefficient
    assert share == pytest.approx(1, abs=4 * beta / kappa**1.5 / math.sqrt(2 * n))
    assert share > 1


def test_laws_in_closed_form():
    relu = depth_scales("relu", weight_var=2).law
    assert relu is not None
    assert relu.coefficient == pytest.approx(4.5 * math.pi**2, rel=1e-13)
    # A leak of a: jumps of 1 - a, and σw² = 2 / (1 + a²).
    leaky = depth_scales("leaky_relu(0.2)", weight_var=2 / 1.04).law
    assert leaky is not None
    assert leaky.coefficient == pytest.approx(4.5 * math.pi**2 * (1.04 / 0.64) ** 2, rel=1e-12)
    # E[cos²] = (1 + e^-2q)/2, E[sin²] = (1 - e^-2q)/2: C''(1) = q tanh q.
    edge = edge_of_chaos("sin", bias_var=0.2)
    assert edge.q_star is not None
    sine = depth_scales("sin", weight_var=edge.weight_var or 0, bias_var=0.2).law
    assert sine is not None
    assert sine.coefficient == pytest.approx(2 / (edge.q_star * math.tanh(edge.q_star)), rel=1e-9)


def test_off_the_edge_there_is_no_law():
    for weight_var in (1.7, 1.8):
        assert fixed_point("tanh", weight_var=weight_var, bias_var=0.05).law is None
    edge = edge_of_chaos("tanh", bias_var=0.05).weight_var or 0
    for share in (-1e-10, 1e-10):  # as good as on it
        point = fixed_point("tanh", weight_var=edge * (1 + share), bias_var=0.05)
        assert (point.regime, point.xi_c) == ("critical", math.inf)
        assert point.law is not None


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True])
@pytest.mark.parametrize("name", ["weight_var", "bias_var", "start"])
def test_bad_arguments_are_refused(name: str, value: object):
    options: dict[str, Any] = {"weight_var": 1.0, "bias_var": 0.1, name: value}
    with pytest.raises(InvalidValueError, match=rf"^{name}=") as caught:
        fixed_point("tanh", **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidValueError, match=rf"^{name}="):
        depth_scales("tanh", **options)
    if name != "start":
        with pytest.raises(InvalidValueError, match=rf"^{name}="):
            fixed_points("tanh", **options)


def test_a_start_at_0_is_refused():
    with pytest.raises(InvalidValueError, match="start=0 is not above 0"):
        fixed_point("tanh", weight_var=1, start=0)


def test_points_are_frozen():
    point = fixed_point("tanh", weight_var=1.5, bias_var=0.05)
    with pytest.raises(AttributeError):
        point.q_star = 1.0
    assert point.activation == "tanh"


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var"), [("tanh", 1e6, 1e5), ("erf", 3e5, 9e4), ("tanh", 3e6, 9e5)]
)
def test_chaos_far_in_saturation(name: str, weight_var: float, bias_var: float):
    # As q grows, tanh and erf become the sign, whose kernel is 2/π asin c; q = σw² + σb².
    point = fixed_point(name, weight_var=weight_var, bias_var=bias_var)
    assert point.regime == "chaotic"
    assert point.q_star == pytest.approx(weight_var + bias_var, rel=5e-3)
    assert point.c_star is not None
    kernel = 2 / math.pi * math.asin(point.c_star)
    expected = (weight_var * kernel + bias_var) / (weight_var + bias_var)
    assert point.c_star == pytest.approx(expected, rel=5e-3)


def test_no_law_where_nothing_is_left_to_bend():
    # At q = 0, φ is linear on either side of 0: correlations stay unless 0 is a kink.
    for name in ("elu", "softsign", "tanh", "hardtanh"):
        assert depth_scales(name, weight_var=1).law is None
    relu = depth_scales("relu", weight_var=2).law
    assert relu is not None
    assert relu.power == 2


def test_functions_that_have_no_moments_far_out():
    point = fixed_point(lambda x: x + np.sin(x) ** 2, weight_var=1.5, bias_var=0.05)
    assert point.regime == "diverges"
