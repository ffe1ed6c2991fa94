"""Values of mean field theory as they have been printed, to the last digit of each."""

from __future__ import annotations

import math

import numpy as np
import pytest

from initlab import theory

torch = pytest.importorskip("torch")


def as_printed(value: float | None, printed: str) -> bool:
    """Say whether a value is within half a unit of the last printed digit."""
    assert value is not None
    decimals = len(printed.partition(".")[2])
    return abs(value - float(printed)) <= 0.5000001 * 10.0**-decimals


@pytest.mark.parametrize(
    ("name", "second_moment", "keeps_second_moment", "keeps_variance"),
    [
        ("relu", ".5", "1.4142135624", "1.7128585504"),
        ("tanh", ".39429449040", "1.5925374197", "1.5925374197"),
        ("gelu", ".42522148257", "1.5335304412", "1.7009262434"),
        ("silu", ".35577551982", "1.6765324703", "1.7871872221"),
    ],
)
def test_gains(name: str, second_moment: str, keeps_second_moment: str, keeps_variance: str):
    found = theory.gain(name)
    assert as_printed(found.moments.f2, second_moment)
    assert as_printed(found.gain_second_moment, keeps_second_moment)
    assert as_printed(found.gain_variance, keeps_variance)


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var", "q_star", "chi_1", "c_star", "xi_c"),
    [
        ("tanh", 1.5, 0.05, ".4180372005335", ".9386362681989", "1", "15.79099403412"),
        ("tanh", 4, 0.3, "2.54836202765", "1.256871689706", ".5753947743412", "6.549682747667"),
        ("relu", 1.5, 0.1, ".4", ".75", "1", "3.476059496782"),
        ("erf", 2, 0.1, "1.046255360121", "1.118316766118", ".6472293691071", "11.38899983029"),
    ],
)
def test_fixed_points(
    name: str, weight_var: float, bias_var: float, q_star: str, chi_1: str, c_star: str, xi_c: str
):
    point = theory.fixed_point(name, weight_var=weight_var, bias_var=bias_var)
    assert as_printed(point.q_star, q_star)
    assert as_printed(point.chi_1, chi_1)
    assert as_printed(point.c_star, c_star)
    assert as_printed(point.xi_c, xi_c)
    assert point.regime == ("ordered" if c_star == "1" else "chaotic")
    assert theory.depth_scales(name, weight_var=weight_var, bias_var=bias_var).xi_c == point.xi_c


def test_round_values_are_met_to_rounding():
    point = theory.fixed_point("relu", weight_var=1.5, bias_var=0.1)
    assert point.q_star == pytest.approx(0.4, rel=1e-14)
    assert point.chi_1 == pytest.approx(0.75, rel=1e-14)
    assert point.c_star == 1
    assert theory.moments("relu").f2 == 0.5


@pytest.mark.parametrize(
    ("bias_var", "weight_var"), [(0.05, "1.76095463961"), (0.1, "1.98607264114")]
)
def test_edge_of_chaos_of_tanh(bias_var: float, weight_var: str):
    assert as_printed(theory.edge_of_chaos("tanh", bias_var=bias_var).weight_var, weight_var)


def test_edge_of_chaos_of_relu_is_a_point():
    assert theory.edge_of_chaos("relu").weight_var == 2
    assert theory.fixed_point("relu", weight_var=2).regime == "critical"
    for bias_var in (1e-6, 0.1, 1):
        assert theory.edge_of_chaos("relu", bias_var=bias_var).weight_var is None
        assert theory.fixed_point("relu", weight_var=2, bias_var=bias_var).regime == "diverges"


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
@pytest.mark.parametrize("bias_var", [0, 0.05, 0.5])
def test_functions_without_an_edge_of_chaos(name: str, bias_var: float):
    edge = theory.edge_of_chaos(name, bias_var=bias_var)
    assert edge.weight_var is None
    assert edge.q_star is None
    assert edge.why


@pytest.mark.parametrize("name", ["silu", "gelu", "mish"])
def test_the_critical_point_at_variance_1_is_unstable(name: str):
    found = theory.critical_point(name, 1)
    assert found.slope > 1
    unstable = next(
        point
        for point in theory.fixed_points(name, weight_var=found.weight_var, bias_var=found.bias_var)
        if point.q == pytest.approx(1, rel=1e-9)
    )
    assert not unstable.stable
    assert unstable.chi_1 == pytest.approx(1, rel=1e-12)


def test_law_of_relu():
    law = theory.depth_scales("relu", weight_var=2).law
    assert law is not None
    assert law.power == 2
    assert law.coefficient == pytest.approx(9 * math.pi**2 / 2, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "of_pytorch"),
    [
        ("identity", ("linear",)),
        ("sigmoid", ("sigmoid",)),
        ("tanh", ("tanh",)),
        ("relu", ("relu",)),
        ("selu", ("selu",)),
        ("leaky_relu", ("leaky_relu",)),
        ("leaky_relu(0.2)", ("leaky_relu", 0.2)),
        ("leaky_relu(negative_slope=-0.5)", ("leaky_relu", -0.5)),
    ],
)
def test_gains_of_pytorch(name: str, of_pytorch: tuple[str | float, ...]):
    expected = torch.nn.init.calculate_gain(*of_pytorch)
    assert theory.gain(name).torch_gain == pytest.approx(expected, rel=1e-15)


def test_pytorch_chose_two_of_its_gains():
    assert theory.gain("tanh").torch_gain == 5 / 3
    assert theory.gain("selu").torch_gain == 3 / 4
    assert theory.gain("selu").gain_variance == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize(
    "name", ["softsign", "softplus", "elu", "gelu", "silu", "mish", "sin", "erf", "hardtanh"]
)
def test_where_pytorch_has_no_gain_there_is_none(name: str):
    assert theory.gain(name).torch_gain is None
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        torch.nn.init.calculate_gain(name)


def test_a_function_that_borrows_a_name_does_not_get_its_gain():
    def relu(x: np.ndarray) -> np.ndarray:
        return 3.0 * x

    def leaky_relu_of_mine(x: np.ndarray) -> np.ndarray:
        return 3.0 * x

    for function in (relu, leaky_relu_of_mine):
        assert theory.gain(function).torch_gain is None
        assert theory.gain(function).gain_second_moment == pytest.approx(1 / 3, rel=1e-13)
