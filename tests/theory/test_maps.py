"""Maps of variance and correlation, against simulated layers, finite differences, closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from initlab import activations
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.theory import chi, correlation_map, fixed_point, moments, variance_map
from initlab.theory.maps import MeanField

NAMES = [*activations.catalogue, "leaky_relu(0.2)", "elu(2)"]

WIDTH, LAYERS = 600, 40


def simulated(layer: Callable[[np.random.Generator], float]) -> tuple[float, float]:
    """Return the mean over independent layers, and five standard errors of it."""
    streams = np.random.default_rng(11).spawn(LAYERS)
    found = np.array([layer(stream) for stream in streams])
    return float(found.mean()), 5 * float(found.std(ddof=1)) / math.sqrt(LAYERS)


def weights(stream: np.random.Generator, variance: float) -> np.ndarray:
    """Return a square weight of variance ``variance`` / fan_in."""
    drawn = stream.standard_normal((WIDTH, WIDTH), dtype=np.float32)
    return drawn * np.float32(math.sqrt(variance / WIDTH))


def biases(stream: np.random.Generator, variance: float) -> np.ndarray:
    return math.sqrt(variance) * stream.standard_normal(WIDTH)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("relu", {"bias_var": 0.5}),
        ("gelu", {"dropout": 0.4}),
        ("tanh", {"residual": 0.5, "bias_var": 0.2}),
        ("softplus", {"layer_norm": True}),
        ("selu", {"dropout": 0.25, "residual": -2.0, "layer_norm": True, "bias_var": 1.0}),
    ],
)
def test_variance_of_a_wide_layer(name: str, options: dict[str, Any]):
    activation, q, weight_var = activations.get(name), 2.3, 1.7

    def layer(stream: np.random.Generator) -> float:
        before = math.sqrt(q) * stream.standard_normal(WIDTH)
        inside = before
        if options.get("layer_norm"):
            inside = (before - before.mean()) / before.std()
        kept = 1 - options.get("dropout", 0.0)
        values = activation(inside) * (stream.random(WIDTH) < kept) / kept
        branch = weights(stream, weight_var) @ values + biases(stream, options.get("bias_var", 0.0))
        residual = options.get("residual")
        after = branch if residual is None else before + residual * branch
        return float((after**2).mean())

    mean, error = simulated(layer)
    found = variance_map(name, q, weight_var=weight_var, **options)
    assert abs(found - mean) < error
    assert error < 0.15 * found  # what is told apart


def test_options_of_the_variance_map_are_what_they_are_by_hand():
    # E[relu²] = q/2; inside a normalised layer it is 1/2.
    assert variance_map("relu", 3.0, weight_var=4) == pytest.approx(6)
    assert variance_map("relu", 3.0, weight_var=4, bias_var=1) == pytest.approx(7)
    assert variance_map("relu", 3.0, weight_var=4, bias_var=1, dropout=0.5) == pytest.approx(13)
    assert variance_map("relu", 3.0, weight_var=4, layer_norm=True) == pytest.approx(2)
    assert variance_map("relu", 3.0, weight_var=4, residual=0) == 3
    assert variance_map("relu", 3.0, weight_var=4, residual=0.5) == pytest.approx(4.5)
    assert variance_map("relu", 0, weight_var=4, bias_var=0.25) == 0.25
    assert variance_map("sigmoid", 0, weight_var=4) == pytest.approx(1)
    assert variance_map(np.square, 2.0, weight_var=1) == pytest.approx(12)


@pytest.mark.parametrize(
    ("name", "c", "bias_var"),
    [("relu", -0.5, 0.0), ("tanh", 0.3, 0.4), ("gelu", 0.9, 0.1), ("hardtanh", 0.0, 0.2)],
)
def test_correlation_after_a_wide_layer(name: str, c: float, bias_var: float):
    activation, q, weight_var = activations.get(name), 1.4, 1.9

    def layer(stream: np.random.Generator) -> float:
        one, other = math.sqrt(q) * stream.standard_normal((2, WIDTH))
        other = c * one + math.sqrt(1 - c * c) * other
        weight, bias = weights(stream, weight_var), biases(stream, bias_var)
        after = weight @ activation(np.stack([one, other], axis=1)) + bias[:, None]
        squares = (after**2).mean(axis=0)
        return float((after[:, 0] * after[:, 1]).mean() / math.sqrt(squares[0] * squares[1]))

    mean, error = simulated(layer)
    found = correlation_map(name, c, q=q, weight_var=weight_var, bias_var=bias_var)
    assert abs(found - mean) < error + 2 / WIDTH  # a quotient of means is off by the order of 1/n
    assert error < 0.05


@pytest.mark.parametrize(("name", "c"), [("relu", 1.0), ("tanh", 1.0), ("elu", 0.4), ("sin", -0.6)])
def test_gradients_through_a_wide_layer(name: str, c: float):
    activation, q, weight_var = activations.get(name), 1.4, 1.9

    def layer(stream: np.random.Generator) -> float:
        one, other = math.sqrt(q) * stream.standard_normal((2, WIDTH))
        other = c * one + math.sqrt(1 - c * c) * other
        # What comes back to both is one vector; it is parted by the slopes.
        back = weights(stream, weight_var).T @ stream.standard_normal(WIDTH)
        return float((back**2 * activation.slope(one) * activation.slope(other)).mean())

    mean, error = simulated(layer)
    assert abs(chi(name, q=q, weight_var=weight_var, c=c) - mean) < error
    assert error < 0.1


@pytest.mark.parametrize("q", [0.02, 1.0, 40.0])
@pytest.mark.parametrize("name", NAMES)
def test_slope_of_the_variance_map(name: str, q: float):
    h = 1e-4
    up, down = (
        variance_map(name, q * (1 + sign * h), weight_var=1.7, bias_var=0.3) for sign in (1, -1)
    )
    found = MeanField.of(name, 1.7, 0.3).variance_slope(q)
    assert found == pytest.approx((up - down) / (2 * h * q), rel=1e-6, abs=1e-10 * up / q)


@pytest.mark.parametrize(
    ("name", "value", "slope", "curvature"),
    [
        ("identity", 0, 1, 0),
        ("tanh", 0, 1, 0),
        ("sigmoid", 0.5, 0.25, 0),
        ("softplus", math.log(2), 0.5, 0.25),
        ("gelu", 0, 0.5, math.sqrt(2 / math.pi)),
        ("silu", 0, 0.5, 0.5),
        ("sin", 0, 1, 0),
        ("erf", 0, 2 / math.sqrt(math.pi), 0),
    ],
)
def test_limits_without_variance(name: str, value: float, slope: float, curvature: float):
    # φ(x)² = φ² + 2 φ φ' x + (φ'² + φ φ'') x² + ..., at 0.
    layer = MeanField.of(name, 3.0, 0.1)
    assert layer.variance(0) == pytest.approx(3 * value**2 + 0.1, rel=1e-14)
    assert layer.chi(0) == pytest.approx(3 * slope**2, rel=1e-12)
    assert layer.chi(0, 0.7) == pytest.approx(3 * slope**2, rel=1e-12)
    expected = 3 * (slope**2 + value * curvature)
    for q in (0, 1e-25, 1e-13):
        assert layer.variance_slope(q) == pytest.approx(expected, rel=1e-8)


def test_limits_at_a_kink_are_means_of_both_sides():
    for name, left, right in (("relu", 0, 1), ("leaky_relu(-0.5)", -0.5, 1), ("elu(2)", 2, 1)):
        layer = MeanField.of(name, 3.0)
        expected = 3 * (left**2 + right**2) / 2
        assert layer.chi(0) == pytest.approx(expected, rel=1e-12)
        assert layer.variance_slope(0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("c", [-0.8, 0.0, 0.5, 0.97])
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "elu", "hardtanh", "softsign", "sigmoid"])
def test_chi_is_the_slope_of_the_correlation_map_at_a_fixed_point(name: str, c: float):
    options = {"weight_var": 1.6, "bias_var": 0.04}
    q = fixed_point(name, **options, start=0.1).q_star
    assert q is not None
    h = 1e-3
    at = [correlation_map(name, c + k * h, q=q, **options) for k in (-2, -1, 1, 2)]
    slope = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
    assert chi(name, q=q, weight_var=1.6, c=c) == pytest.approx(slope, rel=1e-7, abs=1e-10)


def test_correlation_map_of_a_rectifier():
    # Cho & Saul 2009: C(c) = (sin θ + (π - θ) cos θ) / π, whatever σw² and q.
    for c in (-1, -0.3, 0.0, 0.6, 0.999, 1):
        angle = math.acos(c)
        expected = (math.sin(angle) + (math.pi - angle) * c) / math.pi
        for q, weight_var in ((1, 2), (17.0, 0.3)):
            found = correlation_map("relu", c, q=q, weight_var=weight_var)
            assert found == pytest.approx(expected, rel=0, abs=1e-14)
    # A bias is common to both: (expected + σb²) / (1 + σb²) where σw² q/2 = 1.
    found = correlation_map("relu", -0.3, q=1, weight_var=2, bias_var=0.5)
    angle = math.acos(-0.3)
    expected = (math.sin(angle) - 0.3 * (math.pi - angle)) / math.pi
    assert found == pytest.approx((expected + 0.5) / 1.5, rel=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_equal_inputs_stay_equal(name: str):
    assert correlation_map(name, 1, q=0.8, weight_var=1.3, bias_var=0.1) == 1
    expected = 1.3 * moments(name, 0.8).df2
    assert chi(name, q=0.8, weight_var=1.3) == pytest.approx(expected, rel=1e-12)
    # Near ones with a gap that 1 - c cannot hold.
    layer = MeanField.of(name, 1.3, 0.1)
    expected *= 0.8 / layer.variance(0.8)
    assert layer.gap(0.8, 1e-16) / 1e-16 == pytest.approx(expected, rel=1e-7)


def test_without_weights_all_inputs_become_the_bias():
    assert variance_map("tanh", 3.0, weight_var=0, bias_var=0.7) == 0.7
    assert correlation_map("tanh", -0.4, q=3.0, weight_var=0, bias_var=0.7) == 1
    assert chi("tanh", q=3.0, weight_var=0) == 0


BAD_NUMBERS = [math.nan, math.inf, "1", None, True, 1j, [1.0]]


@pytest.mark.parametrize("value", [-1, -1e-300, *BAD_NUMBERS])
@pytest.mark.parametrize("name", ["q", "weight_var", "bias_var"])
def test_bad_variances_are_refused(name: str, value: object):
    options: dict[str, Any] = {"q": 1.0, "weight_var": 1.0, "bias_var": 0.1, name: value}
    refused = pytest.raises(InvalidValueError, match=f"^{name}=.* is (negative|not a finite)")
    with refused:
        variance_map("tanh", **options)
    with refused:
        correlation_map("tanh", 0.5, **options)
    if options.pop("bias_var") == 0.1:  # which is none of its arguments
        with refused:
            chi("tanh", **options)


@pytest.mark.parametrize("value", [-1.0000001, 1.0000001, 7, *BAD_NUMBERS])
def test_bad_correlations_are_refused(value: Any):
    with pytest.raises(InvalidValueError, match=r"^c=.* is not (between -1 and 1|a finite number)"):
        correlation_map("tanh", value, q=1, weight_var=1)
    with pytest.raises(InvalidValueError, match=r"^c=.* is not (between -1 and 1|a finite number)"):
        chi("tanh", q=1, weight_var=1, c=value)


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, *BAD_NUMBERS])
def test_bad_shares_of_dropout_are_refused(value: Any):
    with pytest.raises(InvalidValueError, match=r"^dropout="):
        variance_map("tanh", 1, weight_var=1, dropout=value)


@pytest.mark.parametrize("value", [value for value in BAD_NUMBERS if value is not None])
def test_bad_factors_on_a_branch_are_refused(value: Any):
    with pytest.raises(InvalidValueError, match=r"^residual="):
        variance_map("tanh", 1, weight_var=1, residual=value)


def test_where_there_is_no_correlation_it_is_refused():
    with pytest.raises(InvalidValueError, match="inputs that are 0 have no correlation"):
        correlation_map("tanh", 0.5, q=0, weight_var=1)
    with pytest.raises(InvalidValueError, match="the layer gives 0 for weight_var=0"):
        correlation_map("tanh", 0.5, q=1, weight_var=0)


def test_what_is_no_activation_is_refused():
    with pytest.raises(UnknownNameError, match="tahn"):
        variance_map("tahn", 1, weight_var=1)
    with pytest.raises(InvalidValueError, match="neither the name of an activation nor"):
        variance_map(3, 1, weight_var=1)


@pytest.mark.parametrize("q", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
def test_any_kind_of_number_gives_the_same_float(q: Any):
    expected = variance_map("gelu", 2.0, weight_var=1.0)
    found = variance_map("gelu", q, weight_var=1)
    assert type(found) is float
    assert found == expected
    assert type(chi("gelu", q=q, weight_var=q, c=0)) is float
    assert type(correlation_map("gelu", 0, q=q, weight_var=q)) is float
