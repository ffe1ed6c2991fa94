"""Gaussian moments of activations, against adaptive quadrature, sampling and closed forms."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, special, stats

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.activations.closed_forms import find
from initlab.activations.moments import (
    GaussianMoments,
    derivative_second_moment,
    fourth_moment,
    mean,
    moments,
    second_derivative_second_moment,
    second_moment,
    value_derivative_moment,
    variance,
)
from initlab.activations.quadrature import expectation

NAMES = [*activations.catalogue, "leaky_relu(0.2)", "leaky_relu(-0.5)", "elu(0.5)", "elu(2)"]
MOMENTS = [mean, second_moment, variance, derivative_second_moment]
LATER_MOMENTS = [second_derivative_second_moment, value_derivative_moment, fourth_moment, moments]


def by_scipy(function: Callable[[float], float], activation: Activation, q: float) -> float:
    """Integrate with QUADPACK between the kinks, 0 and some standard deviations."""
    root = math.sqrt(q)
    points = sorted({*np.arange(-12, 13, 2), *(kink / root for kink in activation.kinks)})
    return math.fsum(
        integrate.quad(
            lambda z: function(root * z) * stats.norm.pdf(z), a, b, epsabs=1e-14, epsrel=1e-12
        )[0]
        for a, b in itertools.pairwise(points)
        if abs(a) <= 12 and abs(b) <= 12
    )


def by_quadrature(name: str) -> Activation:
    """Return the activation under a name that no closed form goes by."""
    activation = dataclasses.replace(activations.get(name), name="someone's own")
    assert find(activation, 1.0) is None
    return activation


@pytest.mark.parametrize("q", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("name", NAMES)
def test_against_scipy(name: str, q: float):
    activation = activations.get(name)
    size = by_scipy(lambda x: abs(float(activation(x))), activation, q)
    center = by_scipy(lambda x: float(activation(x)), activation, q)
    assert mean(activation, q) == pytest.approx(center, rel=0, abs=1e-10 * size)
    for moment, function in (
        (second_moment, lambda x: float(activation(x)) ** 2),
        (variance, lambda x: (float(activation(x)) - center) ** 2),
        (derivative_second_moment, lambda x: float(activation.slope(x)) ** 2),
    ):
        expected = by_scipy(function, activation, q)
        assert moment(activation, q) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("q", [0.1, 5.0])
@pytest.mark.parametrize("name", NAMES)
def test_second_derivative_product_and_fourth_power_against_scipy(name: str, q: float):
    activation, root = activations.get(name), math.sqrt(q)

    def product(x: Any) -> Any:
        return x / root * activation(x) * activation.slope(x)

    size = expectation(activation, q, lambda x: np.abs(product(x)))
    expected = by_scipy(product, activation, q)
    found = value_derivative_moment(activation, q)
    assert found == pytest.approx(expected, rel=0, abs=1e-10 * size)
    fourth = by_scipy(lambda x: float(activation(x)) ** 4, activation, q)
    assert fourth_moment(activation, q) == pytest.approx(fourth, rel=1e-10)
    squared = by_scipy(lambda x: float(activation.curvature(x)) ** 2, activation, q)
    found = second_derivative_second_moment(activation, q)
    assert found == pytest.approx(math.inf if activation.kinks else squared, rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_against_samples(name: str):
    activation = activations.get(name)
    q = 1.7
    x = math.sqrt(q) * np.random.default_rng(1).standard_normal(200_000)
    y, slope = activation(x), activation.slope(x)
    for expected, samples in (
        (mean(activation, q), y),
        (second_moment(activation, q), y**2),
        (variance(activation, q), (y - mean(activation, q)) ** 2),
        (derivative_second_moment(activation, q), slope**2),
    ):
        error = samples.std(ddof=1) / math.sqrt(samples.size)
        assert abs(samples.mean() - expected) <= 5 * error + 1e-12  # identity: slope always 1


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative_product_and_fourth_power_against_samples(name: str):
    activation = activations.get(name)
    q = 1.7
    z = np.random.default_rng(3).standard_normal(200_000)
    x = math.sqrt(q) * z
    expected = [value_derivative_moment(activation, q), fourth_moment(activation, q)]
    samples = [z * activation(x) * activation.slope(x), activation(x) ** 4]
    if not activation.kinks:
        expected.append(second_derivative_second_moment(activation, q))
        samples.append(activation.curvature(x) ** 2)
    for value, drawn in zip(expected, samples, strict=True):
        error = drawn.std(ddof=1) / math.sqrt(drawn.size)
        assert abs(drawn.mean() - value) <= 5 * error + 1e-12  # identity: curvature always 0


@pytest.mark.parametrize("q", [1e-3, 0.5, 20.0, 1e4])
@pytest.mark.parametrize("name", NAMES)
def test_value_times_derivative_is_how_the_second_moment_grows(name: str, q: float):
    activation = activations.get(name)
    h = 1e-4
    up, down = (second_moment(activation, q * (1 + sign * h)) for sign in (1, -1))
    slope = value_derivative_moment(activation, q) / math.sqrt(q)
    # E[φ²] may change by less than its own rounding, as for a function that has saturated.
    assert slope == pytest.approx((up - down) / (2 * h * q), rel=1e-6, abs=1e-10 * up / q)


@pytest.mark.parametrize("q", [1e-12, 1e-6])
def test_value_times_derivative_is_accurate_relative_to_its_absolute_value(q: float):
    # softplus(x)² = ln²2 + x ln 2 + x² (1 + ln 2)/4 + ...: the term in x, far larger, cancels.
    expected = math.sqrt(q) * (1 + math.log(2)) / 4
    size = 0.5 * math.log(2) * math.sqrt(2 / math.pi)
    found = value_derivative_moment(activations.get("softplus"), q)
    assert found == pytest.approx(expected, rel=q, abs=1e-10 * size)


def test_the_second_derivative_of_ever_sharper_functions_has_no_bound():
    # softplus(βx)/β nears ReLU; E[φ''²] nears β p(0) ∫ s'² = β / (6 sqrt(2π)), s the logistic.
    softplus = activations.get("softplus")
    for beta in (1e3, 1e6):
        found = beta**2 * second_derivative_second_moment(softplus, beta**2)
        assert found == pytest.approx(beta / (6 * math.sqrt(2 * math.pi)), rel=10 / beta**2)
    assert second_derivative_second_moment(activations.get("relu")) == math.inf


@pytest.mark.parametrize("name", NAMES)
def test_all_moments_are_those_of_the_single_functions(name: str):
    activation = activations.get(name)
    for q in (0, 0.4, 3):
        found = moments(activation, q)
        expected = GaussianMoments(
            f=mean(activation, q),
            f2=second_moment(activation, q),
            var=variance(activation, q),
            df2=derivative_second_moment(activation, q),
            d2f2=second_derivative_second_moment(activation, q),
            zfdf=value_derivative_moment(activation, q),
        )
        assert found == expected
        assert {type(value) for value in dataclasses.astuple(found)} == {float}
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.f = 1.0


def test_moments_are_those_of_variance_1_if_none_is_given():
    for name in ("gelu", "tanh"):
        activation = activations.get(name)
        for moment in (*MOMENTS, *LATER_MOMENTS):
            assert moment(activation) == moment(activation, 1.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", 0.5),
        ("tanh", 0.39429449040),
        ("gelu", 0.42522148257),
        ("silu", 0.35577551982),
        ("selu", 1.0),
        ("identity", 1.0),
    ],
)
def test_second_moments(name: str, expected: float):
    assert second_moment(activations.get(name)) == pytest.approx(expected, rel=2e-11)


@pytest.mark.parametrize(
    ("name", "gain"),
    [("relu", 1.7128585504), ("gelu", 1.7009262434), ("silu", 1.7871872221), ("selu", 1.0)],
)
def test_gains_that_keep_the_variance(name: str, gain: float):
    assert variance(activations.get(name)) ** -0.5 == pytest.approx(gain, rel=1e-10)


def test_the_mean_of_selu_and_of_odd_functions_is_0():
    for name in ("selu", "tanh", "softsign", "erf", "sin", "hardtanh", "identity"):
        assert mean(activations.get(name)) == pytest.approx(0, abs=1e-14)


# q from far below the scale of any activation to far above it.
Q = [1e-300, 1e-12, 1e-3, 1.0, 30.0, 1e4, 1e9, 1e30, 1e300]


@pytest.mark.parametrize("q", Q)
def test_closed_forms_at_any_q(q: float):
    relu, hardtanh, erf = (activations.get(name) for name in ("relu", "hardtanh", "erf"))
    assert mean(relu, q) == pytest.approx(math.sqrt(q / (2 * math.pi)), rel=1e-10)
    assert second_moment(relu, q) == pytest.approx(q / 2, rel=1e-10)
    assert variance(relu, q) == pytest.approx(q * (0.5 - 0.5 / math.pi), rel=1e-10)
    assert derivative_second_moment(relu, q) == pytest.approx(0.5, rel=1e-10)
    inside = special.erf(math.sqrt(0.5 / q))  # P(|x| < 1)
    assert derivative_second_moment(hardtanh, q) == pytest.approx(inside, rel=1e-10)
    # Williams 1997: the kernel of erf, at equal inputs.
    kernel = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    assert second_moment(erf, q) == pytest.approx(kernel, rel=1e-10)
    slope = 4 / math.pi / math.sqrt(1 + 4 * q)
    assert derivative_second_moment(erf, q) == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("q", [q for q in Q if q < 1e10])
def test_closed_forms_of_a_function_that_oscillates(q: float):
    sin = activations.get("sin")
    assert second_moment(sin, q) == pytest.approx(-math.expm1(-2 * q) / 2, rel=1e-10)
    assert derivative_second_moment(sin, q) == pytest.approx((1 + math.exp(-2 * q)) / 2, rel=1e-10)


@pytest.mark.parametrize("q", Q)
def test_quadrature_gives_the_closed_forms_at_any_q(q: float):
    identity, relu, hardtanh, erf, gelu = (
        by_quadrature(name) for name in ("identity", "relu", "hardtanh", "erf", "gelu")
    )
    root = math.sqrt(q)
    assert mean(relu, q) == pytest.approx(root / math.sqrt(2 * math.pi), rel=1e-10)
    assert mean(identity, q) == pytest.approx(0, abs=1e-10 * root)
    assert second_moment(relu, q) == pytest.approx(q / 2, rel=1e-10)
    assert variance(relu, q) == pytest.approx(q * (0.5 - 0.5 / math.pi), rel=1e-10)
    assert derivative_second_moment(relu, q) == pytest.approx(0.5, rel=1e-10)
    assert value_derivative_moment(relu, q) == pytest.approx(root / 2, rel=1e-10)
    inside = special.erf(math.sqrt(0.5 / q))
    assert derivative_second_moment(hardtanh, q) == pytest.approx(inside, rel=1e-10)
    kernel = 2 / math.pi * math.atan2(2 * q, math.sqrt(1 + 4 * q))
    assert second_moment(erf, q) == pytest.approx(kernel, rel=1e-10)
    slope = 4 / math.pi / math.sqrt(1 + 4 * q)
    assert derivative_second_moment(erf, q) == pytest.approx(slope, rel=1e-10)
    curvature = slope * 4 * q / (1 + 4 * q)
    assert second_derivative_second_moment(erf, q) == pytest.approx(curvature, rel=1e-10)
    assert mean(gelu, q) == pytest.approx(q / math.sqrt(2 * math.pi * (1 + q)), rel=1e-10)


@pytest.mark.parametrize("q", [q for q in Q if 1e-50 < q < 1e70])
def test_fourth_powers_of_rectifiers(q: float):
    assert fourth_moment(activations.get("identity"), q) == pytest.approx(3 * q * q, rel=1e-10)
    assert fourth_moment(activations.get("relu"), q) == pytest.approx(1.5 * q * q, rel=1e-10)


@pytest.mark.parametrize("q", [q for q in Q if q < 1e10])
def test_quadrature_of_a_function_that_oscillates(q: float):
    sin, faded = by_quadrature("sin"), math.exp(-2 * q)
    assert second_moment(sin, q) == pytest.approx(-math.expm1(-2 * q) / 2, rel=1e-10)
    assert derivative_second_moment(sin, q) == pytest.approx((1 + faded) / 2, rel=1e-10)
    assert value_derivative_moment(sin, q) == pytest.approx(math.sqrt(q) * faded, abs=1e-10)


@pytest.mark.parametrize("name", ["selu", "tanh", "softsign", "erf", "sin", "hardtanh", "identity"])
def test_quadrature_gives_odd_functions_and_selu_the_mean_0(name: str):
    activation = by_quadrature(name)
    assert mean(activation) == pytest.approx(0, abs=1e-14)
    assert value_derivative_moment(activation) > 0.01


def test_any_function_may_be_integrated():
    tanh = activations.get("tanh")
    assert expectation(tanh, 2.0, np.exp) == pytest.approx(math.e, rel=1e-10)
    assert expectation(tanh, 2.0, lambda x: np.abs(x) ** 3) == pytest.approx(
        math.sqrt(8 / math.pi) * 2**1.5, rel=1e-10
    )
    assert expectation(tanh, 0.0, lambda x: x + 7.0) == 7.0


@pytest.mark.parametrize("q", [1e-12, 1e-6])
def test_variance_does_not_cancel(q: float):
    # softplus(x) = ln 2 + x/2 + x²/8 + ...: the mean is 10^12 times the variance.
    assert variance(activations.get("softplus"), q) == pytest.approx(q / 4, rel=1e-9 + q)


def test_a_kink_or_a_jump_that_is_not_declared_is_found():
    step = Activation(
        "step",
        "x > 0.3",
        "",
        value=lambda x, ops: ops.where(x > 0.3, 1.0, 0.0),
        derivative=lambda x, ops: ops.where(x > 0.7, x, 0.0),
    )
    assert mean(step) == pytest.approx(stats.norm.sf(0.3), rel=1e-10)
    assert derivative_second_moment(step) == pytest.approx(
        0.7 * stats.norm.pdf(0.7) + stats.norm.sf(0.7), rel=1e-10
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_variance_the_moments_are_values_at_0(name: str):
    activation = activations.get(name)
    assert mean(activation, 0) == activation(0.0)
    assert second_moment(activation, 0) == activation(0.0) ** 2
    assert variance(activation, 0) == 0
    assert derivative_second_moment(activation, 0.0) == activation.slope(0.0) ** 2


@pytest.mark.parametrize("name", NAMES)
def test_without_variance_the_later_moments_are_values_at_0_too(name: str):
    activation = activations.get(name)
    assert fourth_moment(activation, 0) == pytest.approx(activation(0.0) ** 4, rel=1e-15)
    assert value_derivative_moment(activation, 0) == 0
    squared = math.inf if 0 in activation.kinks else activation.curvature(0.0) ** 2
    assert second_derivative_second_moment(activation, 0) == squared


@pytest.mark.parametrize("moment", LATER_MOMENTS)
@pytest.mark.parametrize("q", [-1, math.inf, math.nan, "1", None, True, 1j])
def test_a_bad_q_is_refused_by_later_moments(moment: Callable[..., object], q: object):
    for name in ("relu", "tanh"):
        with pytest.raises(InvalidValueError, match="is not a finite number of at least 0"):
            moment(activations.get(name), q)


def test_a_second_derivative_that_is_asked_for_has_to_be_there():
    bare = dataclasses.replace(activations.get("tanh"), second_derivative=None)
    assert value_derivative_moment(bare) == value_derivative_moment(activations.get("tanh"))
    for moment in (second_derivative_second_moment, moments):
        with pytest.raises(InvalidValueError, match="'tanh' has no second derivative"):
            moment(bare)
    kinked = dataclasses.replace(bare, kinks=(1.0,))
    assert second_derivative_second_moment(kinked) == math.inf


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("q", [-1, -1e-300, math.inf, math.nan, "1", None, True, 1j])
def test_a_bad_q_is_refused(moment: Callable[..., float], q: object):
    with pytest.raises(InvalidValueError, match="is not a finite number of at least 0"):
        moment(activations.get("relu"), q)


def test_what_does_not_converge_is_refused():
    pole = Activation(
        "pole", "1 / x", "", value=lambda x, _: 1.0 / x, derivative=lambda x, _: -1.0 / (x * x)
    )
    for moment, activation, q in (
        (second_moment, pole, 1.0),
        (second_moment, activations.get("sin"), 1e30),
        (second_moment, activations.get("identity"), 1.7e308),
    ):
        with pytest.raises(InvalidValueError, match=r"do not converge") as caught:
            moment(activation, q)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("q", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
def test_any_kind_of_number_gives_the_same_float(q: float):
    found = second_moment(activations.get("gelu"), q)
    assert type(found) is float
    assert found == second_moment(activations.get("gelu"), 2.0)


def test_what_overflows_at_the_fourth_power_is_refused():
    with pytest.raises(InvalidValueError, match=r"identity at q=1e\+160 do not converge"):
        fourth_moment(activations.get("identity"), 1e160)


def test_an_activation_that_cannot_be_a_key_is_computed_all_the_same():
    relu = dataclasses.replace(activations.get("relu"), kinks=[0.0])  # a list where a tuple belongs
    with pytest.raises(TypeError):
        hash(relu)
    assert second_moment(relu) == second_moment(activations.get("relu"))


def test_equal_names_with_other_functions_are_not_mixed_up():
    doubled = dataclasses.replace(
        activations.get("relu"), value=lambda x, ops: 2.0 * ops.where(x < 0, 0.0, x)
    )
    assert second_moment(activations.get("relu")) == pytest.approx(0.5)
    assert second_moment(doubled) == pytest.approx(2.0)


def test_a_function_that_is_0_around_0_has_its_moments_far_out():
    shrink = Activation(
        "shrink",
        "x beyond ±1/2",
        "",
        value=lambda x, ops: ops.where(ops.absolute(x) > 0.5, x, 0.0),
        derivative=lambda x, ops: ops.where(ops.absolute(x) > 0.5, 1.0, 0.0),
        kinks=(-0.5, 0.5),
    )
    assert 0 <= second_moment(shrink, 1.8e-4) < 1e-250
