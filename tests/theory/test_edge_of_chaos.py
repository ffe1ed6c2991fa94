"""The edge of chaos, against integrals by QUADPACK, closed forms and what the variance does."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from initlab import activations
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.activations import Activation
from initlab.theory import (
    chi,
    critical_point,
    edge_curve,
    edge_of_chaos,
    fixed_point,
    fixed_points,
    variance_map,
)

BIASES = [0.0, 0.05, 0.3, 0.5]

# Where a network can stay on the edge, and where it cannot.
EVERYWHERE = ["tanh", "softsign", "elu", "selu", "sin", "erf", "hardtanh"]
HOMOGENEOUS = ["identity", "relu", "leaky_relu", "leaky_relu(0.2)", "leaky_relu(-0.5)"]
EDGES = [
    *itertools.product(EVERYWHERE, BIASES[1:]),
    *((name, 0.0) for name in HOMOGENEOUS),
    ("elu(0.5)", 0.05),
    ("gelu", 0.3),
    ("gelu", 0.5),
    ("mish", 0.3),
    ("mish", 0.5),
]
NO_EDGES = [
    *itertools.product(["sigmoid", "softplus"], BIASES),
    *((name, bias_var) for name in HOMOGENEOUS for bias_var in BIASES if bias_var > 0),
    *itertools.product(["silu"], BIASES),
    *itertools.product(["gelu", "mish"], BIASES[:2]),
]


def integral(activation: Activation, function: Callable[[Any], Any], q: float) -> float:
    """Integrate with cubature against the density of variance q, between the kinks and 0."""
    root = math.sqrt(q)
    points = {-12.0, -4.0, 0.0, 4.0, 12.0, -4 / root, 4 / root}
    points |= {kink / root for kink in activation.kinks}
    inner = sorted(z for z in points if abs(z) <= 12)
    size = float(np.abs(function(root * np.linspace(-3, 3, 12))).max())

    def integrand(z: np.ndarray) -> np.ndarray:
        return (function(root * z) * stats.norm.pdf(z)).ravel()

    found = [
        integrate.cubature(integrand, [left], [right], rtol=1e-11, atol=1e-13 * size)
        for left, right in itertools.pairwise(inner)
    ]
    assert {each.status for each in found} == {"converged"}
    return math.fsum(float(each.estimate) for each in found)


def critical_by_hand(name: str, q: float) -> tuple[float, float]:
    """Return σw² = 1 / E[φ'²] and σb² = q - σw² E[φ²]."""
    activation = activations.get(name)
    weight_var = 1 / integral(activation, lambda x: activation.slope(x) ** 2, q)
    return weight_var, q - weight_var * integral(activation, lambda x: activation(x) ** 2, q)


def test_every_activation_is_looked_at():
    looked_at = {name for name, _ in EDGES + NO_EDGES} | set(EVERYWHERE)
    assert looked_at >= set(activations.catalogue)


@pytest.mark.parametrize(("name", "bias_var"), EDGES)
def test_on_the_edge_gradients_and_variances_are_kept(name: str, bias_var: float):
    edge = edge_of_chaos(name, bias_var=bias_var)
    assert edge.weight_var is not None
    assert edge.q_star is not None
    assert (edge.activation, edge.bias_var, edge.why) == (name, bias_var, None)
    q = edge.q_star
    weight_var, bias = critical_by_hand(name, q)
    assert edge.weight_var == pytest.approx(weight_var, rel=1e-9)
    assert bias == pytest.approx(bias_var, abs=1e-9 * q)
    # And the variance does not leave: it comes closer, or stays, from both sides.
    for start in (0.999, 1.001):
        after = variance_map(name, start * q, weight_var=edge.weight_var, bias_var=bias_var)
        assert abs(after - q) <= abs(start * q - q) * (1 + 1e-9)
    point = fixed_point(name, weight_var=edge.weight_var, bias_var=bias_var, start=q)
    assert (point.regime, point.stable) == ("critical", True)
    assert point.q_star == pytest.approx(q, rel=1e-9)


@pytest.mark.parametrize("name", [*EVERYWHERE, "elu(0.5)"])
def test_without_a_bias_the_edge_is_the_slope_at_0(name: str):
    left, right = activations.get(name).slope([-1e-9, 1e-9])
    edge = edge_of_chaos(name)
    assert edge.q_star == 0
    assert edge.weight_var == pytest.approx(2 / (left**2 + right**2), rel=1e-7)
    # The variance falls to 0, and on the way there the gradient is less than kept.
    for q in (1e-6, 1e-2, 1.0):
        assert variance_map(name, q, weight_var=edge.weight_var) <= q * (1 + 1e-15)
        assert chi(name, q=q, weight_var=edge.weight_var) <= 1 + 1e-12
    point = fixed_point(name, weight_var=edge.weight_var)
    assert (point.regime, point.q_star, point.stable) == ("critical", 0, True)


@pytest.mark.parametrize(("name", "bias_var"), NO_EDGES)
def test_where_there_is_no_edge_it_says_why(name: str, bias_var: float):
    edge = edge_of_chaos(name, bias_var=bias_var)
    assert (edge.weight_var, edge.q_star) == (None, None)
    assert edge.why
    assert "\n" not in edge.why
    # By hand: up to q = 25, wherever χ1 = 1 at this bias, a deviation of the variance grows.
    grid = np.geomspace(1e-3, 25, 12)
    excess = [critical_by_hand(name, float(q))[1] - bias_var for q in grid]
    for (left, right), (before, after) in zip(
        itertools.pairwise(grid), itertools.pairwise(excess), strict=True
    ):
        if before * after < 0 and bias_var > 0:
            q = optimize.brentq(lambda q: critical_by_hand(name, q)[1] - bias_var, left, right)
            up, down = (
                variance_map(name, q * s, weight_var=critical_by_hand(name, q)[0])
                for s in (1.001, 0.999)
            )
            assert up - down > 0.002 * q


def test_sine_in_closed_form():
    # σw² = 2 / (1 + e^-2q), σb² = q - tanh q.
    for q in (0.2, 1.0, 3.0, 20.0):
        edge = edge_of_chaos("sin", bias_var=q - math.tanh(q))
        assert edge.q_star == pytest.approx(q, rel=1e-10)
        assert edge.weight_var == pytest.approx(2 / (1 + math.exp(-2 * q)), rel=1e-12)


def test_error_function_in_closed_form():
    # Williams 1997: σw² = π sqrt(1 + 4q) / 4, σb² = q - σw² 2/π asin(2q / (1 + 2q)).
    for q in (0.2, 1.0, 3.0, 20.0):
        weight_var = math.pi / 4 * math.sqrt(1 + 4 * q)
        bias_var = q - weight_var * 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
        edge = edge_of_chaos("erf", bias_var=bias_var)
        assert edge.q_star == pytest.approx(q, rel=1e-10)
        assert edge.weight_var == pytest.approx(weight_var, rel=1e-10)


def test_hardtanh_in_closed_form():
    # E[φ'²] = P(|x| < 1), and E[x²; |x| < 1] = q (P - 2 p(1/√q)/√q) by parts.
    q = 0.6
    near = 1 / math.sqrt(q)
    inside = special.erf(near / math.sqrt(2))
    weight_var = 1 / inside
    second = q * (inside - 2 * near * stats.norm.pdf(near)) + 1 - inside
    edge = edge_of_chaos("hardtanh", bias_var=q - weight_var * second)
    assert edge.q_star == pytest.approx(q, rel=1e-10)
    assert edge.weight_var == pytest.approx(weight_var, rel=1e-10)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, -0.5, 1.0])
def test_rectifiers_have_a_point_for_an_edge(slope: float):
    name = f"leaky_relu({slope})"
    edge = edge_of_chaos(name)
    assert edge.weight_var == pytest.approx(2 / (1 + slope**2), rel=1e-13)
    assert edge.q_star == 1
    refused = edge_of_chaos(name, bias_var=0.1)
    assert refused.weight_var is None
    assert refused.why is not None
    assert f"weight variance {2 / (1 + slope**2):.6g}, where every layer adds" in refused.why
    assert "at bias variance 0" in refused.why


def test_softplus_would_need_a_negative_bias():
    why = edge_of_chaos("softplus", bias_var=0.1).why
    assert why is not None
    # At q → 0, where it is nearest: σw² = 4, σb² = -4 ln²2.
    assert f"at best {-4 * math.log(2) ** 2:.3g}" in why
    assert all(critical_by_hand("softplus", q)[1] < -1.92 for q in (1e-3, 0.1, 10.0, 1e3))


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_an_unstable_edge_is_said_to_be(name: str):
    why = edge_of_chaos(name, bias_var=0.05).why
    assert why is not None
    words = why.replace(",", " ").replace(":", " ").split()
    weight_var, q = float(words[words.index("variance") + 1]), float(words[words.index("q") + 2])
    slope = float(words[words.index("V'(q)") + 2])
    # What it says is so, to the digits it prints.
    expected, bias_var = critical_by_hand(name, q)
    assert weight_var == pytest.approx(expected, rel=1e-5)
    assert bias_var == pytest.approx(0.05, rel=1e-4)
    exact = critical_point(name, q)
    assert slope == pytest.approx(exact.slope, rel=1e-5)
    assert slope > 1
    up, down = (
        variance_map(name, q * s, weight_var=weight_var, bias_var=bias_var) for s in (1.001, 0.999)
    )
    assert (up - down) / (0.002 * q) == pytest.approx(slope, rel=1e-4)
    # From above it the variance leaves for good, from below it falls to another fixed point.
    options = {"weight_var": exact.weight_var, "bias_var": exact.bias_var}
    assert fixed_point(name, **options, start=1.01 * q).regime == "diverges"
    below = fixed_point(name, **options, start=0.99 * q)
    assert below.q_star is not None
    assert below.q_star < 0.9 * q
    assert below.regime == "ordered"


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_without_a_bias_the_next_order_decides(name: str):
    why = edge_of_chaos(name).why
    assert why is not None
    assert "at q = 0, is unstable: V'(q) = 1, and the next order grows" in why
    weight_var = 1 / float(activations.get(name).slope(0.0)) ** 2
    assert f"weight variance {weight_var:.6g} at" in why
    assert variance_map(name, 1e-3, weight_var=weight_var) > 1e-3


@pytest.mark.parametrize("bias_var", [0.0, 0.3])
def test_the_far_edge_of_a_sigmoid(bias_var: float):
    near = edge_of_chaos("sigmoid", bias_var=bias_var)
    assert near.weight_var is None
    assert near.why is not None
    assert "up to q = 25; the first is at weight variance 10" in near.why
    assert near.why.endswith("where units are saturated")
    edge = edge_of_chaos("sigmoid", bias_var=bias_var, largest_q=100)
    assert edge.weight_var is not None
    assert edge.q_star is not None
    assert f"{edge.weight_var:.6g} and q = {edge.q_star:.4g}" in near.why
    weight_var, bias = critical_by_hand("sigmoid", edge.q_star)
    assert edge.weight_var == pytest.approx(weight_var, rel=1e-9)
    assert bias == pytest.approx(bias_var, abs=1e-8)
    up, down = (
        variance_map("sigmoid", edge.q_star * s, weight_var=weight_var) for s in (1.001, 0.999)
    )
    assert abs(up - down) < 0.001 * edge.q_star
    # sigmoid(x) = 1/2 + tanh(x/2)/2: x/2 has variance q/4, a tanh layer's of weight variance
    # σw²/16, whose bias variance is σb²/4 and what the 1/2 adds, σw²/16.
    tanh = edge_of_chaos("tanh", bias_var=(weight_var / 4 + bias_var) / 4)
    assert tanh.weight_var == pytest.approx(weight_var / 16, rel=1e-8)
    assert tanh.q_star == pytest.approx(edge.q_star / 4, rel=1e-8)


def test_how_far_an_edge_counts_follows_the_bias():
    # A bias of variance 30 alone makes q larger than 25.
    edge = edge_of_chaos("tanh", bias_var=30)
    assert edge.q_star is not None
    assert 30 < edge.q_star < 60
    limited = edge_of_chaos("tanh", bias_var=30, largest_q=20)
    assert limited.weight_var is None
    assert limited.why is not None
    assert f"weight variance {edge.weight_var:.6g}" in limited.why
    # An ELU is nowhere saturated: as far out as it lies, it is an edge, unless a limit is set.
    far = edge_of_chaos("elu", bias_var=3)
    assert far.q_star is not None
    assert far.q_star > 100
    limited = edge_of_chaos("elu", bias_var=3, largest_q=25)
    assert limited.why is not None
    assert "saturated" not in limited.why


def test_any_function_has_its_edge():
    tanh = edge_of_chaos("tanh", bias_var=0.05)
    same = edge_of_chaos(np.tanh, bias_var=0.05)
    assert same.weight_var == pytest.approx(tanh.weight_var, rel=1e-11)
    assert same.q_star == pytest.approx(tanh.q_star, rel=1e-11)
    # Twice the function, a quarter of the variance; half the input, four times q and the bias.
    twice = edge_of_chaos(lambda x: 2 * np.tanh(x), bias_var=0.05)
    assert tanh.weight_var is not None
    assert tanh.q_star is not None
    assert twice.weight_var == pytest.approx(tanh.weight_var / 4, rel=1e-10)
    slower = edge_of_chaos(lambda x: np.tanh(x / 2), bias_var=0.2)
    assert slower.weight_var == pytest.approx(4 * tanh.weight_var, rel=1e-10)
    assert slower.q_star == pytest.approx(4 * tanh.q_star, rel=1e-10)
    relu = edge_of_chaos(lambda x: np.maximum(x, 0))
    assert relu.weight_var == pytest.approx(2, rel=1e-12)
    assert edge_of_chaos(lambda x: np.maximum(x, 0), bias_var=0.1).weight_var is None


def test_functions_that_only_exist_up_to_some_variance():
    # E[e^2x] = e^2q: σw² = e^-2q, σb² = q - 1, V' = 2.
    edge = edge_of_chaos(np.exp, bias_var=0.5)
    assert edge.weight_var is None
    assert edge.why is not None
    assert f"weight variance {math.exp(-3):.6g} at q = 1.5, is unstable: V'(q) = 2 > 1" in edge.why
    assert edge_curve(np.exp)[-1].q < 100


def test_critical_points_follow_their_definition():
    for name in ("tanh", "gelu", "elu", "softplus", "hardtanh"):
        for q in (0.01, 1, 30.0):
            found = critical_point(name, q)
            weight_var, bias_var = critical_by_hand(name, q)
            assert found.q == q
            assert found.weight_var == pytest.approx(weight_var, rel=1e-9)
            assert found.bias_var == pytest.approx(bias_var, rel=1e-7, abs=1e-9 * q)
            up, down = (variance_map(name, q * s, weight_var=weight_var) for s in (1.0001, 0.9999))
            assert found.slope == pytest.approx((up - down) / (2e-4 * q), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var", "slope"),
    [
        ("tanh", 1, 0, 1),
        ("gelu", 4, 0, 1),
        ("relu", 2, 0, 1),
        ("erf", math.pi / 4, 0, 1),
        # σw² φ'(0)² = 1, σb² = -σw² φ(0)², V' = σw² (φ'² + φ φ'').
        ("sigmoid", 16, -4, 1),
        ("softplus", 4, -4 * math.log(2) ** 2, 1 + math.log(2)),
    ],
)
def test_critical_points_without_variance(
    name: str, weight_var: float, bias_var: float, slope: float
):
    found = critical_point(name, 0)
    assert found.q == 0
    assert found.weight_var == pytest.approx(weight_var, rel=1e-12)
    assert found.bias_var == pytest.approx(bias_var, rel=1e-12, abs=1e-25)
    assert found.slope == pytest.approx(slope, rel=1e-8)


def test_the_curve_is_made_of_critical_points():
    for name in ("tanh", "silu"):
        curve = edge_curve(name)
        q = np.array([point.q for point in curve])
        np.testing.assert_allclose(np.diff(np.log10(q)), 1 / 8, rtol=1e-9)
        assert (q[0], q[-1]) == (1e-8, 1e8)
        for point in curve[40:80:9]:
            assert point == critical_point(name, point.q)


def test_a_negative_bias_is_no_network():
    # The sigmoid's curve up to q = 25 has negative biases only, so that no network is critical.
    for point in edge_curve("sigmoid"):
        if point.q < 25:
            assert point.bias_var < 0
    assert fixed_points("sigmoid", weight_var=100)[0].chi_1 < 1


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", True])
def test_bad_arguments_are_refused(value: Any):
    with pytest.raises(InvalidValueError, match=r"^q="):
        critical_point("tanh", value)
    with pytest.raises(InvalidValueError, match=r"^bias_var="):
        edge_of_chaos("tanh", bias_var=value)
    with pytest.raises(InvalidValueError, match=r"^largest_q="):
        edge_of_chaos("tanh", largest_q=value)


def test_what_has_no_edge_at_all_is_refused():
    with pytest.raises(InvalidValueError, match="largest_q=0 is not above 0"):
        edge_of_chaos("tanh", largest_q=0)
    with pytest.raises(UnknownNameError, match="tahn"):
        edge_of_chaos("tahn")
    for call in (lambda: edge_of_chaos(np.ones_like), lambda: critical_point(np.ones_like, 1)):
        with pytest.raises(InvalidValueError, match="slope 0 wherever inputs of variance 1 are"):
            call()


def test_a_function_that_is_flat_at_0_has_no_edge_there():
    # (x⁺)²: E[φ'²] = 2q, E[φ²] = 3q²/2, so that σb² = q/4 at χ1 = 1: nothing at q = 0.
    edge = edge_of_chaos(lambda x: np.maximum(x, 0) ** 2)
    assert edge.weight_var is None
    assert edge.why is not None
    assert "weight variance" not in edge.why
    above = edge_of_chaos(lambda x: np.maximum(x, 0) ** 2, bias_var=0.25)
    assert above.why is not None
    assert "weight variance 0.5 at q = 1, is unstable: V'(q) = 1.5" in above.why
