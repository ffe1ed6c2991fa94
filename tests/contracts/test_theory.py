"""What the theory keeps for every activation of the catalogue."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.theory import (
    GaussianMoments,
    as_activation,
    chi,
    correlation_map,
    edge_of_chaos,
    fixed_point,
    fully_connected,
    gain,
    moments,
    signal,
    variance_map,
)

NAMES = [*activations.catalogue, "leaky_relu(0.2)", "elu(0.5)"]
Q = [1e-6, 0.1, 1.0, 10.0, 1e3]

all_names = pytest.mark.parametrize("name", NAMES)


def as_plain_function(name: str) -> Activation:
    """Return the activation as a function of which nothing is known."""
    activation = activations.get(name)
    return as_activation(lambda x: activation(x))  # noqa: PLW0108 - a function with no more to it


@pytest.mark.parametrize("q", Q)
@all_names
def test_moments_are_those_of_samples(name: str, q: float):
    activation, found = activations.get(name), moments(name, q)
    z = np.random.default_rng(7).standard_normal(100_000)
    x = math.sqrt(q) * z
    y, slope = activation(x), activation.slope(x)
    pairs = [
        (found.f, y),
        (found.f2, y**2),
        (found.var, (y - found.f) ** 2),
        (found.df2, slope**2),
        (found.zfdf, z * y * slope),
    ]
    if not activation.kinks:
        pairs.append((found.d2f2, activation.curvature(x) ** 2))
    for expected, samples in pairs:
        # Five standard errors; a constant, such as the slope of the identity, has none.
        error = samples.std(ddof=1) / math.sqrt(samples.size)
        assert abs(samples.mean() - expected) <= 5 * error + 1e-13 * abs(expected)


@pytest.mark.parametrize("q", Q)
@all_names
def test_moments_are_those_of_the_same_function_with_nothing_declared(name: str, q: float):
    known, found = moments(name, q), moments(as_plain_function(name), q)
    size = math.sqrt(known.f2)
    assert found.f == pytest.approx(known.f, rel=1e-9, abs=1e-12 * size)
    assert found.f2 == pytest.approx(known.f2, rel=1e-9)
    assert found.var == pytest.approx(known.var, rel=1e-9)
    assert found.df2 == pytest.approx(known.df2, rel=1e-9)
    # φ'' is computed to about 1e-10, so that where it is small its square has fewer digits.
    off = 2e-10 * math.sqrt(known.d2f2) + 1e-20 if known.d2f2 < math.inf else 0
    assert found.d2f2 == pytest.approx(known.d2f2, rel=1e-9, abs=off)
    # Both sides of 0 may cancel: accurate relative to E|z φ φ'|.
    assert found.zfdf == pytest.approx(known.zfdf, rel=1e-9, abs=1e-9 * size * math.sqrt(known.df2))


@all_names
def test_kinks_are_found(name: str):
    assert as_plain_function(name).kinks == pytest.approx(
        activations.get(name).kinks, rel=0, abs=1e-9
    )


@all_names
def test_gains_keep_second_moment_and_variance(name: str):
    known, found = gain(name), gain(as_plain_function(name))
    assert found.gain_second_moment == pytest.approx(known.gain_second_moment, rel=1e-9)
    assert found.gain_variance == pytest.approx(known.gain_variance, rel=1e-9)
    assert isinstance(known.moments, GaussianMoments)
    y = activations.get(name)(np.random.default_rng(8).standard_normal(200_000))
    for scaled, moment in (
        (known.gain_second_moment * y, lambda v: v**2),
        (known.gain_variance * (y - known.moments.f), lambda v: v**2),
    ):
        samples = moment(scaled)
        error = samples.std(ddof=1) / math.sqrt(samples.size)
        assert abs(samples.mean() - 1) <= 5 * error


@all_names
def test_more_variance_in_is_more_variance_out(name: str):
    found = [
        variance_map(name, q, weight_var=1.5, bias_var=0.1) for q in np.geomspace(1e-4, 1e3, 57)
    ]
    for before, after in itertools.pairwise(found):
        # Far out a bounded function is flat; the sine's e^-2q is below rounding.
        assert after >= before * (1 - 1e-13)
    assert found[32] > found[0]
    assert found[32] > 0.1


@all_names
def test_correlations_stay_between_minus_1_and_1(name: str):
    for q, least in ((1e-3, -1), (1.0, -1), (30.0, -0.999999)):
        found = [
            correlation_map(name, c, q=q, weight_var=1.5)
            for c in (least, -0.99, -0.5, 0, 0.5, 0.99)
        ]
        assert all(-1 - 1e-12 <= c <= 1 + 1e-12 for c in found)
        # From 0 on the map is a power series without negative coefficients: it increases.
        assert -1e-12 <= found[3] <= found[4] <= found[5] <= 1
        assert correlation_map(name, 1, q=q, weight_var=1.5) == 1
        slope = chi(name, q=q, weight_var=1.5)
        assert slope == pytest.approx(1.5 * moments(name, q).df2, rel=1e-12)


@pytest.mark.parametrize("init", ["he_normal", "orthogonal"])
@all_names
def test_a_signal_through_20_layers(name: str, init: str):
    found = signal(fully_connected((64,) * 21, name), init, bias_var=0.05)
    assert len(found.layers) == 20
    q = 1.0 * 64 * found.layers[0].weight_std ** 2 + 0.05
    weight_var = 64 * found.layers[0].weight_std ** 2
    for layer in found.layers:
        assert layer.variance == pytest.approx(q, rel=1e-9)
        assert -1 - 1e-12 <= layer.correlation <= 1 + 1e-12
        assert 0 < layer.gradient < math.inf
        assert 0 < layer.fluctuation < math.inf
        assert abs(layer.mean) <= math.sqrt(layer.second_moment) * (1 + 1e-12)
        q = variance_map(name, q, weight_var=weight_var, bias_var=0.05)
    for layer, after in itertools.pairwise(found.layers):
        step = chi(name, q=layer.variance, weight_var=weight_var)
        assert layer.gradient == pytest.approx(after.gradient * step, rel=1e-9)


def require_consistent(name: str, weight_var: float, bias_var: float) -> None:
    """Hold a fixed point to the maps, if there is one."""
    try:
        found = fixed_point(name, weight_var=weight_var, bias_var=bias_var)
    except InvalidValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - refusing is one of two right outcomes
        return
    assert found.regime in {"ordered", "critical", "chaotic", "diverges"}
    if found.q_star is None:
        assert found.regime == "diverges"
        return
    assert found.q_star >= bias_var * (1 - 1e-12)
    again = variance_map(name, found.q_star, weight_var=weight_var, bias_var=bias_var)
    assert again == pytest.approx(found.q_star, rel=1e-9, abs=1e-300)
    assert -1 <= found.c_star <= 1
    if found.q_star > 0 and found.c_star < 1:
        mapped = correlation_map(
            name, found.c_star, q=found.q_star, weight_var=weight_var, bias_var=bias_var
        )
        assert mapped == pytest.approx(found.c_star, abs=1e-9)
    assert found.regime == (
        "critical" if abs(found.chi_1 - 1) <= 1e-9 else "ordered" if found.chi_1 < 1 else "chaotic"
    )


def grid(*variances: Iterable[float]) -> list[tuple[float, ...]]:
    return list(itertools.product(*variances))


@pytest.mark.parametrize(
    ("weight_var", "bias_var"), grid((0, 1e-8, 0.1, 1, 2, 5, 100), (0, 1e-12, 0.1, 10))
)
@all_names
def test_a_fixed_point_is_one_or_refused(name: str, weight_var: float, bias_var: float):
    require_consistent(name, weight_var, bias_var)


@pytest.mark.parametrize(
    ("weight_var", "bias_var"), [(0, 1e300), (1e300, 0), (1e-300, 1e-300), (1e150, 1e-12)]
)
@all_names
def test_extreme_variances_are_no_exception(name: str, weight_var: float, bias_var: float):
    require_consistent(name, weight_var, bias_var)


@pytest.mark.parametrize("bias_var", [0, 1e-12, 1e-3, 0.1, 1, 10, 1e8])
@all_names
def test_an_edge_of_chaos_is_one_or_is_said_not_to_be(name: str, bias_var: float):
    try:
        found = edge_of_chaos(name, bias_var=bias_var)
    except InvalidValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - as above
        return
    assert found.bias_var == bias_var
    if found.weight_var is None:
        assert found.why
        assert "\n" not in found.why
        return
    q = found.q_star
    if q > 0:
        assert chi(name, q=q, weight_var=found.weight_var) == pytest.approx(1, rel=1e-9)
        again = variance_map(name, q, weight_var=found.weight_var, bias_var=bias_var)
        assert again == pytest.approx(q, rel=1e-6)
