"""Any function as an activation: its kinks, its derivatives, its moments, and what is refused."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from initlab import activations
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.activations import Activation
from initlab.theory import as_activation, fixed_point, gain, moments

torch = pytest.importorskip("torch")

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def softplus(x: Any) -> Any:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


# The catalogue, as one would write it in a notebook.
PLAIN: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": softplus,
    "elu": elu,
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "sin": np.sin,
    "erf": special.erf,
    "hardtanh": lambda x: np.clip(x, -1, 1),
}

plain_functions = pytest.mark.parametrize("name", PLAIN)

POINTS = np.concatenate([np.linspace(-12, 12, 1201), [-60.0, -33.3, 0.001, 33.3, 60.0]])


def away(points: np.ndarray, kinks: Any, distance: float = 1e-6) -> np.ndarray:
    """Return the points that are further from every kink."""
    for kink in kinks:
        points = points[np.abs(points - kink) > distance]
    return points


def test_the_plain_functions_cover_the_catalogue():
    assert set(PLAIN) == set(activations.catalogue)


@plain_functions
def test_kinks_slope_and_curvature_of_the_catalogue_are_found(name: str):
    found, known = as_activation(PLAIN[name]), activations.get(name)
    assert found.kinks == pytest.approx(known.kinks, rel=0, abs=1e-9)
    x = away(POINTS, (0, *known.kinks))  # at 0, φ'' of ELU and softsign jumps
    assert_allclose(found(x), known(x), rtol=1e-13, atol=1e-15)
    assert_allclose(found.slope(x), known.slope(x), rtol=0, atol=1e-11)
    assert_allclose(found.curvature(x), known.curvature(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("q", [0.05, 1.0, 6.0])
@plain_functions
def test_all_moments_are_those_of_the_catalogue(name: str, q: float):
    found, known = moments(PLAIN[name], q), moments(name, q)
    assert found.f == pytest.approx(known.f, rel=1e-10, abs=1e-14)
    assert found.f2 == pytest.approx(known.f2, rel=1e-10)
    assert found.var == pytest.approx(known.var, rel=1e-10)
    assert found.df2 == pytest.approx(known.df2, rel=1e-10)
    assert found.d2f2 == pytest.approx(known.d2f2, rel=1e-9, abs=1e-18)  # 0 for the identity
    assert found.zfdf == pytest.approx(known.zfdf, rel=1e-10)


def bent(*bends: tuple[float, float]) -> Callable[[Any], Any]:
    """Return x + Σ a |x - k| over bends (k, a)."""
    return lambda x: x + sum(a * np.abs(x - k) for k, a in bends)


def slope_of_bent(*bends: tuple[float, float]) -> Callable[[Any], Any]:
    return lambda x: 1 + sum(a * np.sign(x - k) for k, a in bends)


NEAR = ((0.3, 1.0), (0.3001, -0.4))
IRRATIONAL = ((1 / math.pi, 1.0), (-math.e, 0.25), (5 * math.pi, -2.0))
FAR = ((17.3, 0.5),)

# φ, φ', φ'', kinks.
BY_HAND: dict[str, tuple[Callable, Callable, Callable, tuple[float, ...]]] = {
    "hard swish": (
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x < -3, 0, np.where(x > 3, 1, (2 * x + 3) / 6)),
        lambda x: np.where(np.abs(x) < 3, 1 / 3, 0),
        (-3, 3),
    ),
    "relu6": (
        lambda x: np.clip(x, 0, 6),
        lambda x: np.where((x > 0) & (x < 6), 1, 0),
        np.zeros_like,
        (0, 6),
    ),
    "squared relu": (
        lambda x: np.maximum(x, 0) ** 2,
        lambda x: 2 * np.maximum(x, 0),
        lambda x: np.where(x > 0, 2, 0),
        (),
    ),
    "triangle wave": (
        lambda x: np.abs(x % 2 - 1),
        lambda x: np.sign(x % 2 - 1),
        np.zeros_like,
        tuple(range(-63, 65)),
    ),
    "absolute value": (np.abs, np.sign, np.zeros_like, (0,)),
    "two near each other": (bent(*NEAR), slope_of_bent(*NEAR), np.zeros_like, (0.3, 0.3001)),
    "irrational places": (
        bent(*IRRATIONAL),
        slope_of_bent(*IRRATIONAL),
        np.zeros_like,
        (-math.e, 1 / math.pi, 5 * math.pi),
    ),
    "far out": (bent(*FAR), slope_of_bent(*FAR), np.zeros_like, (17.3,)),
    "a slight one in a bent place": (
        lambda x: np.tanh(x) + 1e-4 * np.maximum(x - 0.7, 0),
        lambda x: np.cosh(x) ** -2 + np.where(x > 0.7, 1e-4, 0),
        lambda x: -2 * np.tanh(x) / np.cosh(x) ** 2,
        (0.7,),
    ),
    "a steep slope on one side": (
        lambda x: np.exp(-20 * np.abs(x - 0.25)),
        lambda x: -20 * np.sign(x - 0.25) * np.exp(-20 * np.abs(x - 0.25)),
        lambda x: 400 * np.exp(-20 * np.abs(x - 0.25)),
        (0.25,),
    ),
    "cube": (lambda x: x**3, lambda x: 3 * x**2, lambda x: 6 * x, ()),
    "cosine, fast": (
        lambda x: np.cos(20 * x),
        lambda x: -20 * np.sin(20 * x),
        lambda x: -400 * np.cos(20 * x),
        (),
    ),
    "exponential": (np.exp, np.exp, np.exp, ()),
    "a smooth corner": (
        lambda x: np.sqrt(x * x + 1e-6),
        lambda x: x / np.sqrt(x * x + 1e-6),
        lambda x: 1e-6 * (x * x + 1e-6) ** -1.5,
        (),
    ),
    "a smooth corner that is all but a kink": (
        lambda x: np.sqrt(x * x + 1e-12),
        lambda x: x / np.sqrt(x * x + 1e-12),
        lambda x: 1e-12 * (x * x + 1e-12) ** -1.5,
        (),
    ),
    "a steep step": (
        lambda x: np.tanh(1000 * x),
        lambda x: 1000 / np.cosh(np.clip(1000 * x, -300, 300)) ** 2,
        lambda x: -2e6 * np.tanh(1000 * x) / np.cosh(np.clip(1000 * x, -300, 300)) ** 2,
        (),
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_against_derivatives_by_hand(name: str):
    value, slope, curvature, kinks = BY_HAND[name]
    found = as_activation(value)
    assert found.kinks == pytest.approx(kinks, rel=0, abs=1e-9)
    x = away(np.append(POINTS, [-2e-4, 1e-4, 0.30005]), (0, *kinks))
    size = 1 + (slope(x) if name == "exponential" else np.abs(slope(x)).max())
    assert np.abs((found.slope(x) - slope(x)) / size).max() < 1e-9
    size = 1 + (curvature(x) if name == "exponential" else np.abs(curvature(x)).max())
    assert np.abs((found.curvature(x) - curvature(x)) / size).max() < 1e-7


def test_kinks_at_random_places_are_all_found():
    rng = np.random.default_rng(5)
    for _ in range(200):
        count = int(rng.integers(1, 8))
        places = np.sort(rng.uniform(-20, 20, count) * rng.choice([1.0, 0.1, 0.01]))
        sizes = rng.uniform(0.01, 1, count) * rng.choice([-1, 1], count)

        def function(x: Any, places: Any = places, sizes: Any = sizes) -> Any:
            return np.sin(x) + sum(a * np.abs(x - k) for k, a in zip(places, sizes, strict=True))

        assert as_activation(function).kinks == pytest.approx(tuple(places), rel=0, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e9, 1e30])
def test_kinks_and_jumps_are_found_in_any_unit(scale: float):
    kinked = as_activation(lambda x: scale * np.maximum(x - 0.25, 0))
    assert kinked.kinks == (0.25,)
    assert_allclose(kinked.slope([0.0, 1.0]), [0, scale], rtol=1e-12, atol=0)
    with pytest.raises(InvalidValueError, match=r"jumps at x = 0\.25"):
        as_activation(lambda x: scale * np.sign(x - 0.25))


def test_a_function_with_an_offset_keeps_its_kink():
    assert as_activation(lambda x: 100 + np.maximum(x - 0.123456789, 0)).kinks == pytest.approx(
        (0.123456789,), rel=0, abs=1e-9
    )


def test_the_second_moment_of_a_second_derivative_is_infinite_where_a_kink_was_found():
    for name in ("hard swish", "relu6", "absolute value", "two near each other"):
        assert moments(BY_HAND[name][0]).d2f2 == math.inf
    assert moments(BY_HAND["squared relu"][0]).d2f2 == pytest.approx(2, rel=1e-9)  # 4 P(x > 0)


def test_moments_worked_out_by_hand():
    squared = moments(BY_HAND["squared relu"][0], 3.0)
    assert squared.f == pytest.approx(3 / 2, rel=1e-10)
    assert squared.f2 == pytest.approx(3 * 9 / 2, rel=1e-10)  # E[x⁴] / 2
    assert squared.df2 == pytest.approx(4 * 3 / 2, rel=1e-10)  # 4 E[x²] / 2
    assert squared.zfdf == pytest.approx(math.sqrt(3) * 9, rel=1e-10)  # √q d(3 q² / 2)/dq
    exponential = moments(np.exp, 0.5)  # E[e^kx] = e^(k² q / 2)
    assert exponential.f == pytest.approx(math.exp(0.25), rel=1e-10)
    for moment in (exponential.f2, exponential.df2, exponential.d2f2):
        assert moment == pytest.approx(math.e, rel=1e-10)
    fast = moments(BY_HAND["cosine, fast"][0])
    assert fast.f2 == pytest.approx(0.5, rel=1e-10)
    assert fast.df2 == pytest.approx(200, rel=1e-10)


def test_names_aliases_and_activations_are_taken_as_they_are():
    assert as_activation("leaky_relu(0.2)") is activations.get("leaky_relu(0.2)")
    assert as_activation("swish") is activations.get("silu")
    selu = activations.get("selu")
    assert as_activation(selu) is selu


def test_kinks_may_be_given():
    found = as_activation(lambda x: np.maximum(x, 0), kinks=[2, 0.0, 2, -1])
    assert found.kinks == (-1, 0, 2)
    assert_allclose(found.slope([-3.0, -0.5, 0.5, 3.0]), [0, 0, 1, 1], rtol=0, atol=1e-12)
    assert moments(found).d2f2 == math.inf
    # What the search refuses: the slope is infinite at 0.
    assert as_activation(lambda x: np.sqrt(np.abs(x)), kinks=[0]).kinks == (0,)
    assert as_activation(np.abs, kinks=()).kinks == ()


def test_a_derivative_that_is_given_is_used():
    calls = []

    def sech(x: Any) -> Any:
        calls.append(x)
        return np.cosh(np.clip(x, -300, 300)) ** -2

    found = as_activation(np.tanh, derivative=sech)
    before = len(calls)
    x = np.linspace(-5, 5, 101)
    assert_array_equal(found.slope(x), sech(x))
    assert len(calls) > before + 1
    assert_allclose(found.curvature(x), -2 * np.tanh(x) * sech(x), rtol=0, atol=1e-10)
    assert moments(found).d2f2 == pytest.approx(moments("tanh").d2f2, rel=1e-9)
    # At a kink it is the caller's to choose, and next to it there is nothing of the other side.
    relu = as_activation(lambda x: np.maximum(x, 0), derivative=lambda x: np.where(x < 0, 0.0, 1.0))
    assert relu.kinks == (0,)
    assert relu.slope(0.0) == 1
    assert_allclose(relu.curvature([-1e-9, 1e-9, 0.5]), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("derivative", "message"),
    [
        (lambda x: 1 - np.tanh(x), r"the derivative of tanh is given as .* at x = -64"),
        (lambda x: (1 + 1e-4) / np.cosh(np.clip(x, -300, 300)) ** 2, "is given as"),
        (lambda x: -(np.cosh(np.clip(x, -300, 300)) ** -2), "is given as"),
        (np.zeros_like, "is given as 0 at"),
        (lambda x: x * np.nan, "the derivative of tanh returns nan"),
        (math.cos, "the derivative of tanh fails on an array"),
        (3, "the derivative of tanh fails on an array"),
    ],
)
def test_a_wrong_derivative_is_refused(derivative: Any, message: str):
    with pytest.raises(InvalidValueError, match=message) as caught:
        as_activation(np.tanh, derivative=derivative)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("f", ["relu", activations.get("tanh")])
def test_nothing_may_be_added_to_an_activation(f: Any):
    for more in ({"derivative": np.cos}, {"kinks": [0.0]}, {"kinks": ()}):
        with pytest.raises(InvalidValueError, match=r"derivative and kinks of .* are known"):
            as_activation(f, **more)


@pytest.mark.parametrize("kinks", [0.3, "x", ["0"], [math.nan], [math.inf], [True], [None], [1j]])
def test_kinks_that_are_no_numbers_are_refused(kinks: Any):
    with pytest.raises(InvalidValueError, match="kinks="):
        as_activation(np.abs, kinks=kinks)


def test_a_function_is_converted_once():
    def function(x: Any) -> Any:
        return np.abs(x - 0.5)

    first = as_activation(function)
    assert as_activation(function) is first
    assert as_activation(function, kinks=[0.25]).kinks == (0.25,)
    assert as_activation(function) is first
    bare = dataclasses.replace(activations.get("tanh"), second_derivative=None)
    assert as_activation(bare) is as_activation(bare)


class Unhashable:
    """Equal to others of its kind, and so without a hash."""

    def __init__(self, kink: float) -> None:
        self.kink = kink

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    __hash__ = None

    def __call__(self, x: Any) -> Any:
        return np.maximum(x, self.kink)


def test_what_cannot_be_a_key_is_converted_each_time():
    for kink in (0.5, 1.5):
        assert as_activation(Unhashable(kink)).kinks == (kink,)
    assert as_activation("relu").kinks == (0,)
    listed = dataclasses.replace(activations.get("relu"), kinks=[0.0], second_derivative=None)
    assert_allclose(as_activation(listed).curvature([-1.0, 1.0]), 0, atol=1e-12)


def clipped(x: Any, low: float, high: float) -> Any:
    return np.clip(x, low, high)


class Scaled:
    """A function with a number of its own."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def apply(self, x: Any) -> Any:
        return np.tanh(self.scale * x)

    def __call__(self, x: Any) -> Any:
        return self.apply(x)


def in_place(x: Any) -> Any:
    x[x < 0] = 0.0
    return x


def once_a_number(x: float) -> float:
    return max(0.0, x)


@pytest.mark.parametrize(
    ("function", "slopes"),
    [
        (functools.partial(clipped, low=-1, high=2.5), [0, 1, 1, 0]),
        (np.vectorize(math.tanh), [np.cosh(x) ** -2 for x in (-2, -0.5, 1, 3)]),
        (np.vectorize(once_a_number), [0, 0, 1, 1]),
        (Scaled(2.0).apply, [2 * np.cosh(2 * x) ** -2 for x in (-2, -0.5, 1, 3)]),
        (Scaled(2.0), [2 * np.cosh(2 * x) ** -2 for x in (-2, -0.5, 1, 3)]),
        (np.tanh, [np.cosh(x) ** -2 for x in (-2, -0.5, 1, 3)]),
        (special.expit, [special.expit(x) * special.expit(-x) for x in (-2, -0.5, 1, 3)]),
        (in_place, [0, 0, 1, 1]),
        (np.positive, [1, 1, 1, 1]),  # whole numbers in a list are numbers as well
        (lambda x: np.where(x > 0, np.longdouble(2) * x, 0), [0, 0, 2, 2]),
        (activations.get("relu").__call__, [0, 0, 1, 1]),
    ],
)
def test_any_callable_that_works_on_arrays_will_do(function: Any, slopes: list[float]):
    found = as_activation(function)
    assert_allclose(found.slope([-2.0, -0.5, 1.0, 3.0]), slopes, rtol=0, atol=1e-11)
    assert found.name
    assert math.isfinite(gain(function).gain_second_moment)


def test_a_function_may_write_into_what_it_is_given():
    x = np.array([-1.0, 2.0])
    found = as_activation(in_place)
    assert_array_equal(found(x), [0, 2])
    assert_allclose(found.slope(x), [0, 1], rtol=1e-13, atol=0)
    assert_array_equal(x, [-1, 2])
    assert as_activation(lambda x: np.maximum(x + 1, 0)).kinks == (-1,)


@pytest.mark.parametrize("name", ["relu", "softplus", "gelu", "tanh", "softsign", "selu"])
def test_slopes_far_out(name: str):
    found, known = as_activation(PLAIN[name]), activations.get(name)
    x = np.array([-1e9, -1e6, -1234.5, -70.0, 70.0, 999.0, 1e6, 1e9])
    assert_allclose(found.slope(x), known.slope(x), rtol=1e-9, atol=1e-11)
    assert_allclose(found.curvature(x), 0, atol=1e-5)
    # The pieces near 0 stay as good as they were.
    near = away(np.linspace(-3, 3, 100), known.kinks)
    assert_allclose(found.slope(near), known.slope(near), rtol=0, atol=1e-11)
    assert moments(PLAIN[name], 1e8).df2 == pytest.approx(moments(name, 1e8).df2, rel=1e-9)


def test_no_inputs_have_no_slopes():
    assert as_activation(lambda x: x * x).slope(np.empty((0, 3))).shape == (0, 3)
    assert as_activation(lambda x: x * x).slope(np.full((2, 3), 3.0)) == pytest.approx(
        np.full((2, 3), 6.0)
    )


@pytest.mark.parametrize("name", ["tanh", "gelu", "elu", "selu", "hardtanh", "softsign"])
def test_an_activation_without_second_derivative_is_given_one(name: str):
    known = activations.get(name)
    found = as_activation(dataclasses.replace(known, second_derivative=None))
    x = away(POINTS, (0, *known.kinks))
    assert_allclose(found.curvature(x), known.curvature(x), rtol=0, atol=1e-10)
    assert_array_equal(found.slope(x), known.slope(x))
    assert moments(found).d2f2 == pytest.approx(moments(known).d2f2, rel=1e-9)


def test_a_bare_activation_has_a_fixed_point_like_any_other():
    bare = dataclasses.replace(activations.get("tanh"), second_derivative=None)
    assert fixed_point(bare, weight_var=1.5, bias_var=0.05).q_star == pytest.approx(
        fixed_point("tanh", weight_var=1.5, bias_var=0.05).q_star, rel=1e-12
    )


def branching(x: Any) -> Any:
    if x > 0:
        return x
    return 0


def looked_up(x: Any) -> Any:
    return {1: x}[x.size]


def nan_far_out(x: Any) -> Any:
    return np.where(np.abs(x - 20) < 1, np.nan, x)


def counted(x: Any, calls: list[int] = []) -> Any:  # noqa: B006 - a function with a memory
    calls.append(1)
    return x + len(calls)


RNG = np.random.default_rng(0)

REFUSED: dict[str, tuple[Any, str]] = {
    "nan": (np.sqrt, r"sqrt returns nan at x = -64"),
    "nan at one place": (nan_far_out, r"nan or infinite at x = (19|20)"),
    "overflow": (lambda x: np.exp(x**2), r"returns an infinite value at x = -64"),
    "no second moment": (lambda x: np.exp(x * x / 4) / (1 + x**4), r"an infinite value at x = -64"),
    "infinite": (lambda x: x / 0, r"returns an infinite value at x = -64"),
    "a pole": (lambda x: 1 / x, r"changes without bound at x = "),
    "math.tanh": (math.tanh, r"tanh fails on an array .*TypeError.*np.vectorize"),
    "max": (lambda x: max(0, x), r"fails on an array .*ValueError.*np.where"),
    "if": (branching, r"fails on an array .*ValueError.*np.where"),
    "an attribute": (lambda x: x.relu(), r"fails on an array .*AttributeError"),
    "a table": (looked_up, r"fails on an array .*KeyError"),
    "two arguments": (np.maximum, r"fails on an array .*(TypeError|ValueError)"),
    "a method of no numbers": (np.linalg.inv, r"fails on an array .*LinAlgError"),
    "sum": (lambda x: x.sum(), r"returns shape \(\) for an array of shape \(10,\)"),
    "number": (lambda _: 1.0, r"returns shape \(\)"),
    "nothing": (lambda _: None, r"returns shape \(\)"),
    "pairs": (lambda x: np.stack([x, x]), r"returns shape \(2, 10\)"),
    "every second": (lambda x: x[::2], r"returns shape \(5,\)"),
    "float32": (lambda x: np.tanh(x).astype(np.float32), r"returns float32 for float64"),
    "float16": (lambda x: np.tanh(x).astype(np.float16), r"returns float16"),
    "complex": (lambda x: np.sqrt(x + 0j), r"returns complex128"),
    "strings": (lambda x: x.astype(str), r"returns <U\d+"),
    "objects": (lambda x: x.astype(object), r"returns object"),
    "random": (lambda x: x + RNG.standard_normal(x.shape), r"another result the second time"),
    "a memory": (counted, r"another result the second time"),
    "mean": (lambda x: x - x.mean(), r"another result in another array"),
    "softmax": (special.softmax, r"another result in another array"),
    "cumulative": (np.cumsum, r"another result in another array"),
    "sign": (np.sign, r"sign jumps at x = -?\d\S*; expected a continuous function"),
    "step": (lambda x: np.where(x > 0.3, 1.0, 0.0), r"jumps at x = 0\.3;"),
    "comparison": (lambda x: x > 0, r"jumps at x = "),
    "a small jump": (lambda x: x + 1e-4 * (x > math.pi), r"jumps at x = 3\.14159"),
    "stairs": (np.floor, r"floor jumps at x = -63"),
    "a root": (lambda x: np.sqrt(np.abs(x)), r"slope of <lambda> changes without bound at x = "),
    "a cube root": (np.cbrt, r"slope of cbrt changes without bound"),
    "noise": (lambda x: np.sin(1e9 * x), r"bends too often|changes without bound|jumps"),
    "fast": (lambda x: np.sin(1e4 * x), r"bends too often between"),
    "torch.tanh": (torch.tanh, r"tanh fails on an array .*TypeError"),
    "a PyTorch function": (torch.nn.functional.gelu, r"fails on an array .*TypeError"),
    "a PyTorch module": (torch.nn.ReLU(), r"ReLU fails on an array .*TypeError"),
    "None": (None, r"f=None is neither the name of an activation nor a function"),
    "3": (3, r"f=3 is neither"),
    "a list": ([1.0], r"f=\[1\.0\] is neither"),
    "an array": (np.ones(2), r"is neither"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_activation_is_refused_in_one_line(name: str):
    function, message = REFUSED[name]
    for use in (as_activation, gain):
        with pytest.raises(InvalidValueError, match=message) as caught:
            use(function)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("q", [2.0, 2.5, 30.0])
def test_moments_that_do_not_exist_are_refused(q: float):
    # E[e^(x²/4)] is (1 - q/2)^(-1/2), and infinite from q = 2 on.
    def function(x: Any) -> Any:
        return np.exp(x * x / 8)

    assert moments(function, 1.0).f2 == pytest.approx(math.sqrt(2), rel=1e-10)
    assert moments(function, 1.5).f2 == pytest.approx(2, rel=1e-10)
    with pytest.raises(InvalidValueError, match=r"do not converge|infinite") as caught:
        moments(function, q)
    assert "\n" not in str(caught.value)


def test_a_function_that_fails_for_large_numbers_only_is_refused_where_they_are_needed():
    naive = np.vectorize(lambda x: math.log(1 + math.exp(x)))
    assert moments(naive).f2 == pytest.approx(moments("softplus").f2, rel=1e-10)
    with pytest.raises(InvalidValueError, match=r"fails on an array .*OverflowError"):
        moments(naive, 1e4)


def test_a_constant_has_no_variance_to_keep_and_nothing_no_second_moment():
    one, nothing = gain(lambda x: np.full_like(x, 2.0)), gain(np.zeros_like)
    assert (one.gain_second_moment, one.gain_variance) == (pytest.approx(0.5, rel=1e-15), math.inf)
    assert (nothing.gain_second_moment, nothing.gain_variance) == (math.inf, math.inf)
    for found in (one, nothing):
        assert (found.moments.df2, found.moments.d2f2, found.moments.zfdf) == (0, 0, 0)
        assert found.torch_gain is None


def test_whole_numbers_are_numbers():
    whole = as_activation(lambda x: np.zeros(x.shape, dtype=int))
    assert whole([0.5]).dtype == np.float64


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("gelo", "gelu"), ("Tahn", "tanh"), ("leakyrelu", "leaky_relu"), ("sigmoyd", "sigmoid")],
)
def test_an_unknown_name_suggests_the_nearest(given: str, nearest: str):
    with pytest.raises(UnknownNameError, match=f"did you mean .*{nearest}"):
        as_activation(given)


def test_a_name_with_wrong_arguments_is_refused():
    with pytest.raises(InvalidValueError, match="accepted: relu, without arguments"):
        as_activation("relu(3)")


def test_it_is_an_activation_like_those_of_the_catalogue():
    found = as_activation(PLAIN["mish"])
    assert isinstance(found, Activation)
    assert found([-2, 0, 3]).dtype == np.float64
    assert found(3).shape == ()
    assert "a function of the user's" in repr(found)
