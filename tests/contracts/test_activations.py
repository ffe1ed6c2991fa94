"""What every activation of the catalogue keeps, held against PyTorch and finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab.activations import Activation

torch = pytest.importorskip("torch")
functional = torch.nn.functional

# PyTorch replaces softplus by x above its threshold, from 20 on, where they still differ by 2e-9.
PYTORCH: dict[str, Callable] = {
    "identity": lambda x: x * 1.0,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softsign": functional.softsign,
    "softplus": lambda x: functional.softplus(x, threshold=40),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "sin": torch.sin,
    "erf": torch.erf,
    "hardtanh": functional.hardtanh,
    "leaky_relu(0.2)": lambda x: functional.leaky_relu(x, 0.2),
    "leaky_relu(0)": lambda x: functional.leaky_relu(x, 0.0),
    "leaky_relu(-0.5)": lambda x: functional.leaky_relu(x, -0.5),
    "leaky_relu(1)": lambda x: x * 1.0,
    "elu(0.5)": lambda x: functional.elu(x, 0.5),
    "elu(2)": lambda x: functional.elu(x, 2.0),
    "elu(0)": lambda x: functional.elu(x, 0.0),
}

# (φ(-inf), φ'(-inf), φ(inf), φ'(inf)) by hand: PyTorch gives nan for some of them.
LIMITS = {
    "identity": (-np.inf, 1, np.inf, 1),
    "relu": (0, 0, np.inf, 1),
    "leaky_relu": (-np.inf, 0.01, np.inf, 1),
    "tanh": (-1, 0, 1, 0),
    "sigmoid": (0, 0, 1, 0),
    "softsign": (-1, 0, 1, 0),
    "softplus": (0, 0, np.inf, 1),
    "elu": (-1, 0, np.inf, 1),
    "selu": (-1.7580993408473766, 0, np.inf, 1.0507009873554805),
    "gelu": (0, 0, np.inf, 1),
    "silu": (0, 0, np.inf, 1),
    "mish": (0, 0, np.inf, 1),
    "sin": (np.nan, np.nan, np.nan, np.nan),
    "erf": (-1, 0, 1, 0),
    "hardtanh": (-1, 0, 1, 0),
}

GRID = np.linspace(-50, 50, 4001)  # steps of 1/40: holds 0, ±1 and every half
TINY = np.array([5e-324, 1e-310, 1e-300, 1e-100, 1e-30, 1e-16, 1e-8, 1e-4, 1e-2])
HUGE = np.array([60.0, 100.0, 709.0, 710.0, 1e3, 1e4, 1e8, 1e16, 1e30, 1e100, 1e154, 1e155, 1e300])
POINTS = np.concatenate([GRID, TINY, -TINY, [0.0, -0.0], HUGE, -HUGE])
STEP = 1e-3
FINE = np.arange(-8_000, 8_001) * STEP

all_names = pytest.mark.parametrize("name", PYTORCH)


def away_from_kinks(activation: Activation, x: np.ndarray, distance: float) -> np.ndarray:
    """Return the points further than ``distance`` from every kink."""
    return x[[all(abs(point - kink) > distance for kink in activation.kinks) for point in x]]


def with_second_derivative(activation: Activation, x: np.ndarray) -> np.ndarray:
    """Return the points that are no kink, nor 0, where φ'' of ELU and softsign jumps."""
    return away_from_kinks(activation, x[x != 0], 0)


def double_backward(function: Callable, points: np.ndarray) -> np.ndarray:
    """Return PyTorch's φ''; 0 where its φ' does not depend on x."""
    x = torch.tensor(points, requires_grad=True)
    (slope,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
    if not slope.requires_grad:
        return np.zeros_like(points)
    (curvature,) = torch.autograd.grad(slope.sum(), x, allow_unused=True)
    return np.zeros_like(points) if curvature is None else curvature.numpy()


def test_references_cover_the_catalogue():
    assert set(activations.catalogue) == {name for name in PYTORCH if "(" not in name}
    assert set(activations.catalogue) == set(LIMITS)
    assert len(activations.catalogue) == 15


@all_names
def test_value_and_derivative_are_those_of_pytorch(name: str):
    activation = activations.get(name)
    x = torch.tensor(POINTS, requires_grad=True)
    y = PYTORCH[name](x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert_allclose(activation(POINTS), y.detach().numpy(), rtol=1e-13, atol=1e-14)
    assert_allclose(activation.slope(POINTS), slope.numpy(), rtol=1e-12, atol=1e-14)


@all_names
def test_second_derivative_is_that_of_pytorch(name: str):
    activation = activations.get(name)
    x = with_second_derivative(activation, POINTS[np.abs(POINTS) < 709.5])  # beyond, mish's is nan
    expected = double_backward(PYTORCH[name], x)
    assert_allclose(activation.curvature(x), expected, rtol=1e-12, atol=1e-14)


@all_names
def test_value_near_zero_is_accurate_to_its_last_digits(name: str):
    x = np.concatenate([TINY, -TINY])
    x = x[np.abs(x) > 1e-300]  # smaller ones lose digits by their format
    expected = PYTORCH[name](torch.tensor(x)).numpy()
    assert_allclose(activations.get(name)(x), expected, rtol=1e-13, atol=0)


@all_names
def test_float32_stays_float32_and_is_that_of_pytorch(name: str):
    activation = activations.get(name)
    points = POINTS[np.abs(POINTS) < 1e37].astype(np.float32)
    x = torch.tensor(points, requires_grad=True)
    y = PYTORCH[name](x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert activation(points).dtype == activation.slope(points).dtype == np.float32
    assert_allclose(activation(points), y.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert_allclose(activation.slope(points), slope.numpy(), rtol=1e-5, atol=1e-6)
    inner = with_second_derivative(activation, points[np.abs(points) < 88])  # likewise
    curvature = activation.curvature(inner)
    assert curvature.dtype == np.float32
    assert_allclose(curvature, double_backward(PYTORCH[name], inner), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_infinite_inputs_give_the_limits(name: str, dtype: type):
    activation = activations.get(name)
    ends = np.array([-np.inf, np.inf], dtype=dtype)
    left, left_slope, right, right_slope = np.array(LIMITS[name], dtype=dtype)
    assert_allclose(activation(ends), [left, right], rtol=2 * np.finfo(dtype).eps)
    assert_allclose(activation.slope(ends), [left_slope, right_slope], rtol=1e-6)
    assert_array_equal(activation.curvature(ends), np.nan if name == "sin" else 0.0)
    if name != "sin":
        far = np.minimum(HUGE[HUGE > 700], np.finfo(dtype).max).astype(dtype)
        assert np.abs(activation.curvature([-far, far])).max() < 1e-8  # softsign is the slowest


@all_names
def test_nan_stays_nan(name: str):
    activation = activations.get(name)
    for formula in (activation, activation.curvature):
        assert_array_equal(np.isnan(formula(np.array([np.nan, 1.5]))), [True, False])


@all_names
def test_derivative_is_the_limit_of_central_differences(name: str):
    activation = activations.get(name)
    h = 1e-5
    x = away_from_kinks(activation, np.linspace(-12, 12, 2401), 2 * h)
    x = x[np.abs(x) > 2 * h]  # φ'' of elu and softsign jumps at 0: differences converge with h only
    differences = (activation(x + h) - activation(x - h)) / (2 * h)
    assert_allclose(activation.slope(x), differences, rtol=1e-7, atol=1e-9)


@all_names
def test_second_derivative_is_the_limit_of_central_differences_of_the_first(name: str):
    activation = activations.get(name)
    h = 1e-5
    x = away_from_kinks(activation, np.linspace(-12, 12, 2401), 2 * h)
    x = x[np.abs(x) > 2 * h]  # where φ'' of elu and softsign jumps
    differences = (activation.slope(x + h) - activation.slope(x - h)) / (2 * h)
    assert_allclose(activation.curvature(x), differences, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("elu", 1.0), ("elu(2)", 2.0), ("selu", 1.7580993408473766), ("softsign", -2.0)],
)
def test_where_it_jumps_the_second_derivative_is_that_of_one_side(name: str, expected: float):
    assert activations.get(name).curvature(0.0) == pytest.approx(expected, rel=1e-15)


def test_a_second_derivative_that_was_not_given_is_refused_in_one_line():
    bare = Activation("bare", "x²", "", lambda x, _: x * x, lambda x, _: 2.0 * x)
    with pytest.raises(InvalidValueError, match="'bare' has no second derivative") as caught:
        bare.curvature([1.0])
    assert "\n" not in str(caught.value)


@all_names
def test_derivative_follows_from_the_value_where_a_formula_is_given(name: str):
    activation = activations.get(name)
    if activation.derivative_from_value is None:
        # There is a value that two points of different slope share; or the formula is not cheap.
        assert name in {"gelu", "silu", "mish", "sin", "erf"} or name.partition("(")[2][:1] in "-0"
        return
    x = np.concatenate([GRID, TINY, -TINY, [0.0, -0.0]])
    derived = Activation(
        "derived", "", "", value=activation.derivative_from_value, derivative=activation.derivative
    )
    assert_allclose(derived(activation(x)), activation.slope(x), rtol=1e-12, atol=1e-14)


@all_names
def test_each_kink_is_a_jump_of_the_derivative(name: str):
    activation = activations.get(name)
    h = 1e-6
    for kink in activation.kinks:
        middle, left, right = activation([kink, kink - h, kink + h])
        assert abs((right - middle) / h - (middle - left) / h) > 0.05


@all_names
def test_the_derivative_jumps_nowhere_else(name: str):
    activation = activations.get(name)
    jumps = np.abs(np.diff(activation.slope(FINE)))
    holds_kink = np.zeros(jumps.shape, dtype=bool)
    for kink in activation.kinks:
        # A kink on the grid ends one interval and begins the next.
        holds_kink |= (FINE[:-1] <= kink) & (kink <= FINE[1:])
    # No |φ''| of the catalogue exceeds 2, so that a larger change is a jump.
    assert jumps[~holds_kink].max() <= 2 * STEP


@all_names
def test_piecewise_linear_means_no_curvature_between_kinks(name: str):
    activation = activations.get(name)
    h = 0.01
    x = away_from_kinks(activation, np.linspace(-4, 4, 801), 2 * h)
    curvature = (activation(x + h) - 2 * activation(x) + activation(x - h)) / h**2
    assert activation.piecewise_linear == (np.abs(curvature).max() < 1e-9)


@all_names
def test_name_leads_back_to_the_same_function(name: str):
    activation = activations.get(name)
    again = activations.get(activation.name)
    assert again.name == activation.name
    assert_array_equal(again(GRID), activation(GRID))
    assert activations.get(activation) is activation


@all_names
def test_shape_is_kept_and_the_input_left_alone(name: str):
    activation = activations.get(name)
    x = np.linspace(-2, 2, 24).reshape(2, 3, 4)
    before = x.copy()
    for result in (activation(x), activation.slope(x), activation.curvature(x)):
        assert result.shape == x.shape
        result[...] = 7.0
        assert_array_equal(x, before)
    assert activation(np.empty((0, 3))).shape == (0, 3)


@all_names
def test_integers_lists_and_scalars_are_accepted(name: str):
    activation = activations.get(name)
    expected = activation(np.array([-2.0, 0.0, 3.0]))
    assert activation(np.array([-2, 0, 3])).dtype == np.float64
    assert_array_equal(activation(np.array([-2, 0, 3])), expected)
    assert_array_equal(activation([-2, 0, 3]), expected)
    assert activation(3).shape == ()
    assert activation(3) == expected[2]
    assert activation.slope(3) == activation.slope([3.0])[0]
    assert activation.curvature(3) == activation.curvature([3.0])[0]


@all_names
def test_every_entry_says_what_it_is(name: str):
    activation = activations.get(name)
    assert activation.formula
    assert any(character.isdigit() for character in activation.reference)
    assert activation.name in repr(activation)
    assert activation.formula in repr(activation)
