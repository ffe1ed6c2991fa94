"""The phase diagram, against the fixed point of each of its points, and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.theory import (
    PhaseDiagram,
    as_activation,
    edge_curve,
    edge_of_chaos,
    fixed_point,
    fixed_points,
    phase_diagram,
)
from initlab.theory.function import AnyFunction


def hold(diagram: PhaseDiagram, f: AnyFunction, start: float = 1.0) -> None:
    """Hold every point to its fixed point, which is computed without interpolation.

    Relative to itself q* is good to 2e-6 and χ1 to 1e-6 (to 5e-5 where q* is 0: they are taken at
    q = 1e-10); c* is good to 2e-4, and 1 / ξc to 3e-4.
    """
    for row, bias_var in enumerate(diagram.bias_var.tolist()):
        for column, weight_var in enumerate(diagram.weight_var.tolist()):
            at = (row, column)
            point = fixed_point(f, weight_var=weight_var, bias_var=bias_var, start=start)
            if point.q_star is None:
                assert diagram.q_star[at] == math.inf
                for values in (diagram.chi_1, diagram.c_star, diagram.xi_c):
                    assert np.isnan(values[at])
                continue
            assert diagram.q_star[at] == pytest.approx(point.q_star, rel=2e-6, abs=0)
            close = 1e-6 if point.q_star > 0 else 5e-5
            assert diagram.chi_1[at] == pytest.approx(point.chi_1, rel=close, abs=0)
            assert diagram.c_star[at] == pytest.approx(point.c_star, rel=0, abs=2e-4)
            if point.regime != "chaotic":
                assert diagram.c_star[at] == 1
            rate, expected = (
                1 / scale if scale else math.inf for scale in (diagram.xi_c[at], point.xi_c)
            )
            assert rate == pytest.approx(expected, rel=0, abs=3e-4)


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var"),
    [
        ("tanh", (0.0, 4.0), (0.0, 0.5)),
        ("tanh", (0.9, 1.2), (0.0, 1e-3)),
        ("sin", (0.0, 4.0), (0.0, 0.5)),
        ("hardtanh", (0.0, 4.0), (0.0, 0.5)),
        ("selu", (0.0, 2.5), (0.0, 0.1)),
        ("elu", (1.0, 1.95), (0.0, 0.3)),
        ("sigmoid", (0.0, 300.0), (0.0, 1.0)),
    ],
)
def test_points_with_chaotic_ones_among_them(
    name: str, weight_var: tuple[float, float], bias_var: tuple[float, float]
):
    diagram = phase_diagram(name, weight_var=weight_var, bias_var=bias_var, size=(7, 4))
    np.testing.assert_allclose(diagram.weight_var, np.linspace(*weight_var, 7), rtol=1e-15)
    np.testing.assert_allclose(diagram.bias_var, np.linspace(*bias_var, 4), rtol=1e-15)
    for values in (diagram.q_star, diagram.chi_1, diagram.c_star, diagram.xi_c):
        assert values.shape == (4, 7)
    assert np.nanmin(diagram.c_star) < 0.995
    hold(diagram, name)


@pytest.mark.parametrize(
    "name", ["identity", "relu", "leaky_relu(0.2)", "softplus", "gelu", "silu", "sigmoid"]
)
def test_points_with_orderly_ones_alone(name: str):
    diagram = phase_diagram(name, size=(9, 5))
    hold(diagram, name)
    assert np.nanmin(diagram.c_star) == 1


def test_a_function_whose_derivative_is_not_to_be_had_far_out():
    def slope(x: np.ndarray) -> np.ndarray:
        if np.abs(x).max() > 2000:
            raise ValueError
        return 1 - np.tanh(x) ** 2

    f = as_activation(np.tanh, derivative=slope, kinks=())
    hold(phase_diagram(f, weight_var=(0.5, 1.4), bias_var=(0.1, 0.3), size=(3, 2)), "tanh")


def test_rectifiers_in_closed_form():
    diagram = phase_diagram("relu", size=(41, 11))
    weight_var, bias_var = np.meshgrid(diagram.weight_var, diagram.bias_var)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(weight_var < 2, bias_var / (1 - weight_var / 2), np.inf)
        expected[(weight_var == 2) & (bias_var == 0)] = 1  # the start: every variance stays
        rate = -np.log(weight_var / 2)
    np.testing.assert_allclose(diagram.q_star, expected, rtol=1e-12)
    there = np.isfinite(expected)
    np.testing.assert_allclose(diagram.chi_1[there], (weight_var / 2)[there], rtol=1e-12)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(1 / diagram.xi_c[there], rate[there], rtol=1e-9, atol=1e-12)
    assert np.isnan(diagram.chi_1[~there]).all()
    assert diagram.xi_c[0, 20] == math.inf


def test_a_tiny_bias_that_adds_up_without_end():
    # V(q) = q + σb², which at large q is q to rounding.
    diagram = phase_diagram("relu", weight_var=(1, 3), bias_var=(0, 1e-6), size=(3, 2))
    assert diagram.q_star[1].tolist() == [pytest.approx(2e-6, rel=1e-9), math.inf, math.inf]


@pytest.mark.parametrize("name", ["hardtanh", "softsign"])
def test_odd_functions_without_a_bias(name: str):
    diagram = phase_diagram(name, bias_var=(0, 0), size=(9, 1))
    below = diagram.weight_var <= 1
    assert (diagram.q_star[0, below] == 0).all()
    np.testing.assert_allclose(diagram.chi_1[0, below], diagram.weight_var[below], rtol=5e-5)
    assert (diagram.c_star[0, below] == 1).all()
    # Unrelated inputs stay so.
    assert (diagram.q_star[0, ~below] > 0.02).all()
    np.testing.assert_allclose(diagram.c_star[0, ~below], 0, atol=2e-4)


@pytest.mark.parametrize("start", [1e-3, 0.2, 30.0])
@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_the_start_decides_where_there_are_several(name: str, start: float):
    options = {"weight_var": (2.2, 3.6), "bias_var": (0.0, 0.06), "size": (6, 4)}
    diagram = phase_diagram(name, **options, start=start)
    hold(diagram, name, start)
    reached = np.isfinite(diagram.q_star)
    assert reached.any() == (start < 1)
    assert not reached.all()


def test_the_start_decides_between_two_stable_fixed_points():
    f = as_activation(
        lambda x: 0.9 * np.tanh(x) + 6 * np.tanh((x / 4) ** 3),
        derivative=lambda x: (
            0.9 * (1 - np.tanh(x) ** 2) + 18 / 64 * x**2 * (1 - np.tanh((x / 4) ** 3) ** 2)
        ),
        kinks=(),
    )
    low, middle, high = fixed_points(f, weight_var=1, bias_var=0.05)
    for start, expected in ((middle.q * 0.99, low), (middle.q * 1.01, high)):
        diagram = phase_diagram(
            f, weight_var=(1, 1), bias_var=(0.05, 0.05), size=(1, 1), start=start
        )
        assert diagram.q_star[0, 0] == pytest.approx(expected.q, rel=1e-5)


def test_a_start_far_out():
    for start in (1e-13, 1e12):
        diagram = phase_diagram("erf", bias_var=(0.1, 0.1), size=(3, 1), start=start)
        hold(diagram, "erf", start)
    relu = phase_diagram("relu", weight_var=(2, 2), bias_var=(0, 0), size=(1, 1), start=1e12)
    assert relu.q_star[0, 0] == pytest.approx(1e12, rel=1e-12)


def test_a_start_without_moments_is_refused():
    with pytest.raises(InvalidValueError, match=r"exp at q=.* do not converge"):
        phase_diagram(np.exp, start=1e3, size=(2, 2))
    diagram = phase_diagram(np.exp, weight_var=(0.01, 1), bias_var=(0, 0.1), size=(3, 2), start=0.1)
    hold(diagram, np.exp, 0.1)


def test_the_diagram_turns_chaotic_at_the_edge():
    diagram = phase_diagram("tanh", bias_var=(0.05, 0.1), size=(401, 2))
    for row, bias_var in enumerate((0.05, 0.1)):
        edge = edge_of_chaos("tanh", bias_var=bias_var).weight_var
        assert edge is not None
        chi_1 = diagram.chi_1[row]
        assert np.interp(1.0, chi_1, diagram.weight_var) == pytest.approx(edge, abs=1e-5)
        chaotic = diagram.weight_var > edge
        assert (diagram.c_star[row, ~chaotic] == 1).all()
        assert (diagram.c_star[row, chaotic] < 1).all()
        # Its depth scale is longest there, and falls away on both sides.
        assert diagram.weight_var[diagram.xi_c[row].argmax()] == pytest.approx(edge, abs=0.01)
        assert (np.diff(diagram.xi_c[row, ~chaotic]) > 0).all()
        assert (np.diff(diagram.xi_c[row, chaotic]) < 0).all()
    assert diagram.edge == edge_curve("tanh")
    assert diagram.activation == "tanh"


def test_axes_of_one_point():
    diagram = phase_diagram("tanh", weight_var=(1.5, 1.5), bias_var=(0.05, 0.05), size=(1, 1))
    assert diagram.q_star == pytest.approx(np.array([[0.4180372005335]]), rel=1e-7)
    assert diagram.chi_1 == pytest.approx(np.array([[0.9386362681989]]), rel=1e-7)
    assert diagram.xi_c == pytest.approx(np.array([[15.79099403412]]), rel=1e-5)
    one = phase_diagram("tanh", weight_var=(1, 3), bias_var=(0.1, 0.2), size=(1, 2))
    assert (one.weight_var.tolist(), one.bias_var.tolist()) == ([1], [0.1, 0.2])
    hold(one, "tanh")


def test_a_diagram_does_not_depend_on_its_size():
    small = phase_diagram("silu", size=(3, 2))
    large = phase_diagram("silu", size=(21, 11))
    for key in ("q_star", "chi_1"):
        np.testing.assert_allclose(
            getattr(small, key), getattr(large, key)[::10, ::10], rtol=1e-7, atol=0
        )


@pytest.mark.parametrize("name", ["weight_var", "bias_var"])
@pytest.mark.parametrize(
    "ends",
    [(2, 1), (1, 1), (-1, 1), (0, math.inf), (math.nan, 1), ("0", 1), (0, 1, 2), (1,), 3, None],
)
def test_bad_axes_are_refused(name: str, ends: Any):
    options: dict[str, Any] = {name: ends}
    with pytest.raises(InvalidValueError, match=rf"^{name}=") as caught:
        phase_diagram("tanh", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "size", [(0, 5), (5, 0), (-1, 5), (2.5, 5), (5, True), (5, 5000), (5,), (5, 5, 5), 5, None]
)
def test_bad_sizes_are_refused(size: Any):
    with pytest.raises(InvalidValueError, match=r"^size(=| is above 4000)"):
        phase_diagram("tanh", size=size)


@pytest.mark.parametrize("start", [0, -1, math.nan, math.inf, "1", True])
def test_bad_starts_are_refused(start: Any):
    with pytest.raises(InvalidValueError, match=r"^start="):
        phase_diagram("tanh", start=start)


def test_an_unknown_activation_is_refused():
    with pytest.raises(UnknownNameError, match="tahn"):
        phase_diagram("tahn")
