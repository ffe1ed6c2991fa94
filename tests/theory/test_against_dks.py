"""Activations shaped by DeepMind's package `dks`: what it promises, the theory finds in them.

Deep kernel shaping (Martens et al. 2021) and tailored activation transformation (Zhang, Botev &
Martens 2022) shift and scale an activation until maps of variance (Q) and correlation (C) have
chosen values and slopes. The package computes them by quadrature with 100,000 nodes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from initlab import activations
from initlab.theory import (
    as_activation,
    chi,
    correlation_map,
    fixed_point,
    gain,
    moments,
    variance_map,
)
from initlab.theory.maps import MeanField

activation_transform = pytest.importorskip("dks.base.activation_transform")

DEPTH = 50

# Its searches end within 1e-8 of what they look for, its integrals are good to 1e-10.
CLOSE = 1e-8


def plain_network(c: float, layer: Callable[[float], float]) -> float:
    """Compose the map of one layer to that of a network without branches."""
    for _ in range(DEPTH):
        c = layer(c)
    return c


def transformed(names: list[str], **options: Any) -> dict[str, Callable[[Any], Any]]:
    """Call the package; leave NumPy's global generator, which it seeds, as it was."""
    state = np.random.get_state()  # noqa: NPY002 - what is kept is the global one
    with warnings.catch_warnings():
        # Its derivatives of tanh go through cosh(x)², which overflows while it searches.
        warnings.filterwarnings(
            "ignore", "overflow encountered in cosh", RuntimeWarning, r"autograd\.tracer"
        )
        try:
            return activation_transform.get_transformed_activations(
                names, subnet_max_func=plain_network, **options
            )
        finally:
            np.random.set_state(state)  # noqa: NPY002 - the global stream is what is meant


@pytest.fixture(scope="module")
def shaped() -> dict[str, Callable[[Any], Any]]:
    """Return activations with C(0) = 0, Q(1) = Q'(1) = 1 and C'(1) such that 50 make 1.5."""
    return transformed(["tanh", "softplus", "gelu", "swish"], method="DKS")


@pytest.fixture(scope="module")
def tailored() -> dict[str, Callable[[Any], Any]]:
    """Return activations with Q(1) = Q'(1) = C'(1) = 1 and C''(1) such that 50 make 0.3."""
    return transformed(["gelu_exact", "swish"], method="TAT")


@pytest.fixture(scope="module")
def rectifier() -> Callable[[Any], Any]:
    """Return a leaky rectifier such that 50 layers take a correlation of 0 to 0.9."""
    return transformed(["leaky_relu"], method="TAT")["leaky_relu"]


@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "swish"])
def test_deep_kernel_shaping(shaped: dict[str, Callable[[Any], Any]], name: str):
    f = shaped[name]
    assert variance_map(f, 1, weight_var=1) == pytest.approx(1, abs=CLOSE)
    assert MeanField.of(f, 1).variance_slope(1) == pytest.approx(1, abs=CLOSE)
    assert correlation_map(f, 0, q=1, weight_var=1) == pytest.approx(0, abs=CLOSE)
    assert chi(f, q=1, weight_var=1) == pytest.approx(1.5 ** (1 / DEPTH), abs=CLOSE)
    found = gain(f)
    assert found.gain_second_moment == pytest.approx(1, abs=CLOSE)
    assert found.gain_variance == pytest.approx(1, abs=CLOSE)  # its mean is 0


def test_a_shaped_network_stays_near_the_identity(shaped: dict[str, Callable[[Any], Any]]):
    # C(c) = Σ b_k c^k with b_k ≥ 0, Σ b_k = 1 and Σ k b_k = C'(1) = 1.5: so b_1 ≥ 1/2.
    layer = MeanField(as_activation(shaped["tanh"]), 1.0)
    for c in (0.3, 0.8):
        after = plain_network(c, lambda c: 1 - layer.gap(1.0, 1 - c))
        assert 0.5 * c < after < c
    # The slope of the whole is the product of the slopes of the layers.
    near = 1 - plain_network(1e-9, lambda gap: layer.gap(1.0, gap)) / 1e-9
    assert near == pytest.approx(1 - 1.5, rel=1e-4)


@pytest.mark.parametrize("name", ["gelu_exact", "swish"])
def test_tailored_smooth_activations(tailored: dict[str, Callable[[Any], Any]], name: str):
    f = tailored[name]
    assert variance_map(f, 1, weight_var=1) == pytest.approx(1, abs=CLOSE)
    assert MeanField.of(f, 1).variance_slope(1) == pytest.approx(1, abs=CLOSE)
    assert chi(f, q=1, weight_var=1) == pytest.approx(1, abs=CLOSE)
    # C''(1) adds up over layers whose slope is 1.
    assert DEPTH * moments(f).d2f2 == pytest.approx(0.3, abs=2 * CLOSE)


def leak_of(rectifier: Callable[[Any], Any]) -> float:
    """Return a of x for x > 0 and a x below, but for a factor on both."""
    return -float(rectifier(-1.0) / rectifier(1.0))


def test_tailored_rectifiers(rectifier: Callable[[Any], Any]):
    slope, scale = leak_of(rectifier), float(rectifier(1.0))
    assert scale == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-12)
    for q in (0.01, 1, 30.0):  # a rectifier keeps every variance
        assert variance_map(rectifier, q, weight_var=1) == pytest.approx(q, rel=1e-10)
    assert chi(rectifier, q=1, weight_var=1) == pytest.approx(1, rel=1e-10)
    whole = plain_network(0.0, lambda c: correlation_map(rectifier, c, q=1, weight_var=1))
    assert whole == pytest.approx(0.9, abs=CLOSE)
    # The catalogue's of that slope does the same.
    name = f"leaky_relu({slope!r})"
    other = plain_network(0.0, lambda c: correlation_map(name, c, q=1, weight_var=scale**2))
    assert other == pytest.approx(whole, abs=1e-11)
    # From here on 1 - c vanishes by the law of a rectifier with this leak.
    point = fixed_point(rectifier, weight_var=1)
    assert point.regime == "critical"
    assert point.law is not None
    leak = (1 + slope**2) / (1 - slope) ** 2
    assert point.law.coefficient == pytest.approx(4.5 * math.pi**2 * leak**2, rel=1e-7)
    assert point.law.power == 2


def test_the_leak_is_the_one_that_the_theory_asks_for(rectifier: Callable[[Any], Any]):
    def off(slope: float) -> float:
        f = as_activation(f"leaky_relu({slope!r})")
        layer = MeanField(f, 2 / (1 + slope**2))
        return plain_network(1.0, lambda gap: layer.gap(1.0, gap)) - 0.1

    slope = leak_of(rectifier)
    assert off(slope - 1e-7) < 0 < off(slope + 1e-7)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("tanh", "tanh"),
        ("softplus", "softplus"),
        ("relu", "relu"),
        ("leaky_relu", "leaky_relu"),
        ("selu", "selu"),
        ("elu", "elu"),
        ("swish", "silu"),
        ("sigmoid", "sigmoid"),
        ("erf", "erf"),
        ("softsign", "softsign"),
        ("gelu_exact", "gelu"),
    ],
)
def test_its_plain_functions_have_the_moments_of_ours(name: str, own: str):
    f = transformed([name], method="untransformed")[name]
    x = np.linspace(-6, 6, 49)
    np.testing.assert_allclose(f(x), activations.get(own)(x), rtol=1e-12, atol=1e-14)
    for q in (0.3, 5.0):
        found, expected = moments(f, q), moments(own, q)
        for each in ("f", "f2", "var", "df2", "d2f2", "zfdf"):
            assert getattr(found, each) == pytest.approx(
                getattr(expected, each), rel=1e-8, abs=1e-10
            )
