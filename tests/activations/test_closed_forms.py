"""Closed forms of Gaussian moments, against quadrature, sampling and integrals of 30 digits."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.activations.closed_forms import GaussianMoments, find
from initlab.activations.moments import moments, second_moment, variance
from initlab.activations.quadrature import expectation

RECTIFIERS = ["relu", "leaky_relu", "leaky_relu(0.2)", "leaky_relu(-1)", "leaky_relu(1)"]
BENT = ["elu", "elu(0)", "elu(0.5)", "elu(2)", "elu(-0.5)", "selu"]
NAMES = ["identity", *RECTIFIERS, *BENT, "gelu", "erf", "sin", "hardtanh"]
FIELDS = [field.name for field in dataclasses.fields(GaussianMoments)]
Q = [1e-300, 1e-12, 1e-9, 1e-6, 1e-3, 0.01, 0.1, 1.0, 6.0, 50.0, 1e3, 1e6, 1e9, 1e12, 1e30, 1e200]

all_names = pytest.mark.parametrize("name", NAMES)


def by_quadrature(activation: Activation, q: float) -> GaussianMoments:
    """Return the moments of the same functions under a name that no closed form goes by."""
    unknown = dataclasses.replace(activation, name="someone's own")
    assert find(unknown, q) is None
    return moments(unknown, q)


def known(name: str, q: float) -> GaussianMoments:
    found = find(activations.get(name), q)
    assert found is not None
    return found


def test_every_closed_form_is_tested():
    with_one = {name for name in activations.catalogue if find(activations.get(name), 1.0)}
    assert with_one == {name for name in NAMES if "(" not in name}


@pytest.mark.parametrize("q", Q)
@all_names
def test_against_quadrature(name: str, q: float):
    if (name in BENT and q < 0.01) or (name == "sin" and q > 1e6):
        return  # one of the two does not apply: see below
    activation = activations.get(name)
    found, expected, root = known(name, q), by_quadrature(activation, q), math.sqrt(q)
    # What may cancel is accurate relative to the integral of its absolute value.
    size = {
        "f": expectation(activation, q, lambda x: np.abs(activation(x))),
        "zfdf": expectation(
            activation, q, lambda x: np.abs(x / root * activation(x) * activation.slope(x))
        ),
    }
    for field in FIELDS:
        value, other = getattr(found, field), getattr(expected, field)
        assert type(value) is float
        assert value == pytest.approx(other, rel=1e-12, abs=1e-12 * size.get(field, 0)), field


# Written again, for numbers of any precision: φ, φ', φ''.
Formulas = tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]
mp = mpmath.mp


def rectifier(slope: float) -> Formulas:
    return (
        lambda x: x if x > 0 else slope * x,
        lambda x: mp.one if x > 0 else slope * mp.one,
        lambda _x: mp.zero,
    )


def exponential(alpha: float, scale: float = 1.0) -> Formulas:
    return (
        lambda x: scale * (x if x > 0 else alpha * mp.expm1(x)),
        lambda x: scale * (mp.one if x > 0 else alpha * mp.exp(x)),
        lambda x: scale * (mp.zero if x > 0 else alpha * mp.exp(x)),
    )


PRECISE: dict[str, Formulas] = {
    "identity": rectifier(1.0),
    "relu": rectifier(0.0),
    "leaky_relu": rectifier(0.01),
    "leaky_relu(-1)": rectifier(-1.0),
    "elu": exponential(1.0),
    "elu(2)": exponential(2.0),
    "elu(-0.5)": exponential(-0.5),
    "selu": exponential(1.6732632423543772, 1.0507009873554805),
    "gelu": (
        lambda x: x * mp.ncdf(x),
        lambda x: mp.ncdf(x) + x * mp.npdf(x),
        lambda x: (2 - x * x) * mp.npdf(x),
    ),
    "erf": (
        mp.erf,
        lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x),
        lambda x: -4 * x / mp.sqrt(mp.pi) * mp.exp(-x * x),
    ),
    "sin": (mp.sin, mp.cos, lambda x: -mp.sin(x)),
    "hardtanh": (
        lambda x: min(mp.one, max(-mp.one, x)),
        lambda x: mp.one if abs(x) < 1 else mp.zero,
        lambda _x: mp.zero,
    ),
}


def precisely(function: Callable[[Any], Any], activation: Activation, q: Any) -> Any:
    """Return E[function(sqrt(q) z)] by Gauss-Legendre quadrature in 30 digits."""
    root = mp.sqrt(q)
    points = sorted({*map(mp.mpf, range(-12, 13)), *(kink / root for kink in activation.kinks)})
    return sum(
        mp.quad(lambda z: function(root * z) * mp.npdf(z), ends, method="gauss-legendre")
        for ends in itertools.pairwise(points)
    )


@pytest.mark.parametrize("q", [0.02, 1.0, 9.0])
@pytest.mark.parametrize("name", PRECISE)
def test_against_integrals_in_30_digits(name: str, q: float):
    activation, found = activations.get(name), known(name, q)
    value, slope, curvature = PRECISE[name]
    with mp.workdps(30):
        root = mp.sqrt(q)
        mean = precisely(value, activation, q)
        expected = {
            "f": mean,
            "f2": precisely(lambda x: value(x) ** 2, activation, q),
            "var": precisely(lambda x: (value(x) - mean) ** 2, activation, q),
            "df2": precisely(lambda x: slope(x) ** 2, activation, q),
            "d2f2": mp.inf
            if activation.kinks
            else precisely(lambda x: curvature(x) ** 2, activation, q),
            "zfdf": precisely(lambda x: x / root * value(x) * slope(x), activation, q),
        }
    for field in FIELDS:
        near = pytest.approx(float(expected[field]), rel=1e-13, abs=1e-15)
        assert getattr(found, field) == near, field


@pytest.mark.parametrize("q", [0.3, 4.0])
@all_names
def test_against_samples(name: str, q: float):
    activation, found = activations.get(name), known(name, q)
    z = np.random.default_rng(2).standard_normal(200_000)
    x = math.sqrt(q) * z
    y, slope = activation(x), activation.slope(x)
    samples = {
        "f": y,
        "f2": y**2,
        "var": (y - found.f) ** 2,
        "df2": slope**2,
        "zfdf": z * y * slope,
    }
    if not activation.kinks:
        samples["d2f2"] = activation.curvature(x) ** 2
    for field, drawn in samples.items():
        error = drawn.std(ddof=1) / math.sqrt(drawn.size)
        # 1e-12: what does not vary at all, such as the slope of the identity.
        assert abs(drawn.mean() - getattr(found, field)) <= 5 * error + 1e-12, field


@all_names
def test_kinks_make_the_second_derivative_infinite(name: str):
    activation = activations.get(name)
    assert (known(name, 1.0).d2f2 == math.inf) == bool(activation.kinks)


@pytest.mark.parametrize("q", [1e-300, 1e-12, 1e-6, 1e-3])
@pytest.mark.parametrize("name", BENT)
def test_where_a_closed_form_cancels_quadrature_is_used(name: str, q: float):
    activation = activations.get(name)
    assert find(activation, q) is None
    assert moments(activation, q) == by_quadrature(activation, q)
    # Next to 0 ELU is a rectifier of slope φ'(0).
    right, left = activation.slope([1.0, 0.0])
    assert second_moment(activation, q) == pytest.approx(
        q * (right**2 + left**2) / 2, rel=4 * math.sqrt(q) + 1e-10
    )


def test_a_large_alpha_cancels_as_well():
    # E[zφφ'] is sqrt(q) / 2 and a difference of two numbers 10^6 times as large.
    elu = activations.get("elu(1000000.0)")
    assert elu.name == "elu(1000000.0)"
    assert find(elu, 1e6) is None
    assert find(elu, 1.0) is not None


def test_no_sine_of_numbers_without_digits_and_nothing_that_overflows():
    assert find(activations.get("sin"), 1e24) == GaussianMoments(0.0, 0.5, 0.5, 0.5, 0.5, 0.0)
    assert find(activations.get("sin"), 1e25) is None
    assert find(activations.get("identity"), 1.7e308) is None
    for name in ("leaky_relu(1e+200)", f"leaky_relu({10**200})", "elu(-1e+200)", "elu(1e+160)"):
        activation = activations.get(name)
        assert activation.name == name
        assert find(activation, 1.0) is None
        with pytest.raises(InvalidValueError, match="do not converge"):
            second_moment(activation)


@all_names
def test_without_variance_there_is_none_and_the_moments_are_values_at_0(name: str):
    activation = activations.get(name)
    assert find(activation, 0.0) is None
    found = moments(activation, 0)
    assert (found.f, found.f2, found.var, found.zfdf) == (0, 0, 0, 0)
    assert found.df2 == activation.slope(0.0) ** 2
    assert found.d2f2 == (math.inf if 0 in activation.kinks else activation.curvature(0.0) ** 2)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "relu(", "relu()", "relu x", "leaky_relu('a')", "leaky_relu(1e999)", "elu(**x)"),
        *("elu(1, 2)", "elu(x=1)", "hardtanh(\0)", "<lambda>", "nothing", "linear", "tanh", "\n"),
    ],
)
def test_any_text_may_be_a_name(name: str):
    relu = dataclasses.replace(activations.get("relu"), name=name)
    assert find(relu, 1.0) is None
    assert variance(relu) == pytest.approx(0.5 - 0.5 / math.pi, rel=1e-10)


def test_a_name_alone_does_not_make_an_activation():
    for name in NAMES:
        activation = activations.get(name)
        doubled = dataclasses.replace(activation, value=lambda x, _: 2.0 * x)
        assert find(doubled, 1.0) is None
        assert second_moment(doubled) == pytest.approx(4.0, rel=1e-10)
        assert find(dataclasses.replace(activation), 1.0) == find(activation, 1.0)


def test_kinks_in_a_list_or_an_array_are_no_match_and_no_error():
    relu = activations.get("relu")
    for kinks in ([0.0], np.array([0.0, 1.0])):
        odd = dataclasses.replace(relu, kinks=kinks)
        assert find(odd, 1.0) is None
        assert second_moment(odd) == pytest.approx(0.5, rel=1e-10)
