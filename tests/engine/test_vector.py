"""The elementary functions that kernels are made of, compiled alone and held to exact values.

Errors are counted in units in the last place (ulp). Exact values come from extended precision where
the platform has it, for float32 from float64; SciPy gives those of the error function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from initlab import activations
from initlab.engine.simd import Emitter, Kernel
from initlab.engine.vector import Vector, VectorOperations

OPS = VectorOperations()
PRECISIONS = (np.float64, np.float32)
RNG = np.random.default_rng(0)

both_precisions = pytest.mark.parametrize("dtype", PRECISIONS)


def compiled(
    function: Callable[[Vector], Any], vector_bytes: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a function of a vector into one of an array of any length."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kernel, source_type, target_type, _ = signature.args
        emitter = Emitter(context, builder, kernel, target_type.dtype)
        source = emitter.data(source_type, arguments[1])
        target = emitter.data(target_type, arguments[2])
        with emitter.loop(arguments[3]) as index:
            place = emitter.times(index, emitter.lanes)
            x = emitter.load(source, place)
            emitter.store(x.lift(function(x)), target, place)
        return context.get_dummy_value()

    @intrinsic
    def block(_context: Any, kernel: Any, source: Any, target: Any, _vectors: Any) -> Any:
        return types.void(kernel, source, target, types.int64), codegen

    @nb.njit
    def run(kernel, source, target, vectors):  # noqa: ANN001, ANN202 - compiled
        block(kernel, source, target, vectors)

    def apply(x: np.ndarray) -> np.ndarray:
        kernel = Kernel("identity", vector_bytes)
        lanes = kernel.vector_bytes // x.dtype.itemsize
        padded = np.concatenate([x, np.zeros(-len(x) % lanes, dtype=x.dtype)])
        result = np.full_like(padded, 7.0)
        run(kernel, padded, result, len(padded) // lanes)
        return result[: len(x)]

    return apply


def exact_sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def exact_softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


EXACT: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sigmoid": exact_sigmoid,
    "softplus": exact_softplus,
    "sin": np.sin,
    "cos": np.cos,
    "erf": lambda x: special.erf(x.astype(np.float64)),  # SciPy's own error is about 1 ulp
}

# Largest error in ulps, measured and rounded up to the next quarter or so: (float64, float32).
BOUND = {
    "exp": (1.5, 1.5),
    "expm1": (3.25, 2.5),
    "tanh": (3.25, 3.25),
    "sigmoid": (2.5, 2.5),
    "softplus": (3.5, 4.0),
    "sin": (2.25, 2.25),
    "cos": (2.25, 2.25),
    "erf": (4.0, 2.75),
}

# Where the function neither overflows nor leaves the normal numbers.
RANGE = {
    "exp": ((-707.9, 709.78), (-86.8, 88.72)),
    "expm1": ((-707.9, 709.78), (-86.8, 88.72)),
    "tanh": ((-30.0, 30.0), (-30.0, 30.0)),
    "sigmoid": ((-707.9, 709.0), (-86.8, 88.0)),
    "softplus": ((-707.9, 1e4), (-86.8, 1e4)),
    "sin": ((-1e3, 1e3), (-1e3, 1e3)),
    "cos": ((-1e3, 1e3), (-1e3, 1e3)),
    "erf": ((-7.0, 7.0), (-7.0, 7.0)),
}


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the error of ``got`` in units in the last place of the exact value."""
    unit = np.spacing(np.abs(exact).astype(got.dtype)).astype(np.longdouble)
    return np.abs(got.astype(np.longdouble) - exact) / unit


def grid(low: float, high: float, dtype: type) -> np.ndarray:
    """Return points all over an interval, densely around 0, and of every size below 1."""
    tiny = 10.0 ** RNG.uniform(np.log10(np.finfo(dtype).tiny), 0, 40_000)
    near = np.linspace(-2, 2, 100_001)
    return np.concatenate([np.linspace(low, high, 200_001), near, tiny, -tiny]).astype(dtype)


@both_precisions
@pytest.mark.parametrize("name", EXACT)
def test_error_is_a_few_ulps_everywhere(name: str, dtype: type):
    which = PRECISIONS.index(dtype)
    x = grid(*RANGE[name][which], dtype)
    got = compiled(getattr(OPS, name))(x)
    with np.errstate(under="ignore"):
        exact = EXACT[name](x.astype(np.longdouble))
    error = ulps(got, exact)
    # Without extended precision the exact values have an error of their own.
    slack = 0.0 if np.finfo(np.longdouble).eps < np.finfo(dtype).eps else 1.0
    worst = np.argmax(error)
    assert error[worst] <= BOUND[name][which] + slack, f"{error[worst]} ulps at x = {x[worst]}"
    assert error.mean() < 0.5 + slack


@both_precisions
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_hold_for_large_arguments_and_beside_their_zeros(name: str, dtype: type):
    digits = np.finfo(dtype).nmant
    turns = np.round(2.0 ** RNG.uniform(0, digits - 4, 100_000))
    x = np.concatenate([turns, turns * (np.pi / 2)]).astype(dtype)
    x = np.concatenate([x, -x])
    got = compiled(getattr(OPS, name))(x)
    assert ulps(got, EXACT[name](x.astype(np.longdouble))).max() < 3.0


@both_precisions
def test_sine_of_what_cannot_be_reduced_stays_bounded(dtype: type):
    x = np.array([1e18, -1e18, 1e30, np.finfo(dtype).max], dtype=dtype)
    assert np.abs(compiled(OPS.sin)(x)).max() <= 1.0


inf, nan = np.inf, np.nan

# Exact values at special places; float32 gives the same.
SPECIAL: dict[str, dict[float, float]] = {
    "exp": {0.0: 1.0, inf: inf, 1e4: inf, nan: nan},
    "expm1": {0.0: 0.0, inf: inf, 1e4: inf, -inf: -1.0, -1e4: -1.0, nan: nan},
    "tanh": {0.0: 0.0, 25.0: 1.0, -25.0: -1.0, 1e30: 1.0, inf: 1.0, -inf: -1.0, nan: nan},
    "sigmoid": {0.0: 0.5, 50.0: 1.0, inf: 1.0, -1e4: 0.0, -1e30: 0.0, -inf: 0.0, nan: nan},
    "softplus": {1e4: 1e4, 1e30: 1e30, inf: inf, nan: nan},
    "sin": {0.0: 0.0, inf: nan, -inf: nan, nan: nan},
    "cos": {0.0: 1.0, inf: nan, -inf: nan, nan: nan},
    "erf": {0.0: 0.0, 6.0: 1.0, -6.0: -1.0, 1e30: 1.0, inf: 1.0, -inf: -1.0, nan: nan},
    "absolute": {0.0: 0.0, -3.0: 3.0, inf: inf, -inf: inf, nan: nan},
}


@both_precisions
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_are_exact(name: str, dtype: type):
    x = np.array(list(SPECIAL[name]), dtype=dtype)
    expected = np.array(list(SPECIAL[name].values()), dtype=dtype)
    assert_array_equal(compiled(getattr(OPS, name))(x), expected)


@both_precisions
@pytest.mark.parametrize("name", ["exp", "expm1", "sigmoid", "softplus"])
def test_no_nan_where_the_exponential_overflows(name: str, dtype: type):
    limit = float(np.log(np.finfo(dtype).max))
    x = np.linspace(0.99 * limit, 1.01 * limit, 50_001).astype(dtype)
    x = np.concatenate([x, -x])
    with np.errstate(over="ignore", under="ignore"):
        expected = EXACT[name](x.astype(np.longdouble)).astype(dtype)
    # The smallest normal number is what an underflow may be off by.
    tiny = 1.5 * float(np.finfo(dtype).tiny)
    got = compiled(getattr(OPS, name))(x)
    away = np.abs(np.abs(x) - limit) > 4 * np.spacing(dtype(limit))  # the last step before inf
    assert_allclose(got[away], expected[away], rtol=8 * np.finfo(dtype).eps, atol=tiny)


@both_precisions
@pytest.mark.parametrize("name", ["exp", "softplus"])
def test_underflow_stops_at_a_tiny_normal_number(name: str, dtype: type):
    x = -np.array([1e2, 7.5e2, 1e4, inf], dtype=dtype)[(dtype is np.float64) :]
    got = compiled(getattr(OPS, name))(x)
    tiny = np.finfo(dtype).tiny
    assert (got >= tiny).all()
    assert (got < 2 * tiny).all()


@both_precisions
def test_results_are_the_same_for_every_vector_width(dtype: type):
    x = np.linspace(-30, 30, 4_003).astype(dtype)

    def mixture(x: Vector) -> Vector:
        return OPS.tanh(x) + OPS.softplus(x) * OPS.cos(x) + OPS.erf(x)

    results = [compiled(mixture, width)(x) for width in (16, 32, 64)]
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])


@both_precisions
def test_where_chooses_lane_by_lane_and_nan_compares_false(dtype: type):
    x = np.array([-1.0, 0.0, 2.0, nan, inf, -inf], dtype=dtype)
    assert_array_equal(compiled(lambda x: OPS.where(x > 0, 3.0, x))(x), [-1, 0, 3, nan, 3, -inf])
    assert_array_equal(compiled(lambda x: OPS.where(x < 0, x, -4.0))(x), [-1, -4, -4, -4, -4, -inf])
    assert_array_equal(compiled(lambda x: OPS.where(x > 0, 1.0, 0.0))(x), [0, 0, 1, 0, 1, 0])


@both_precisions
def test_minimum_and_maximum_keep_nan(dtype: type):
    x = np.array([-3.0, 1.0, 5.0, nan, inf, -inf], dtype=dtype)
    assert_array_equal(compiled(lambda x: OPS.minimum(2.0, x))(x), [-3, 1, 2, nan, 2, -inf])
    assert_array_equal(compiled(lambda x: OPS.maximum(2.0, x))(x), [2, 2, 5, nan, inf, 2])


@both_precisions
def test_operators_take_numbers_on_either_side(dtype: type):
    x = np.linspace(0.5, 3, 37).astype(dtype)

    def formula(x: Any) -> Any:
        return (1.5 - x) / (2.0 + x) + 3.0 / x * (x - 0.25) - (-x) * 0.5 + (x + 1.0) / 4.0

    assert_allclose(compiled(formula)(x), formula(x.astype(float)), rtol=6 * np.finfo(dtype).eps)


@both_precisions
def test_scaling_by_a_choice_of_numbers_picks_without_multiplying(dtype: type):
    x = np.array([-2.0, 3.0, inf, -inf, nan], dtype=dtype)

    def scaled(yes: float, no: float) -> np.ndarray:
        return compiled(lambda x: (x * x).scaled_by(OPS.where(x > 0, yes, no)))(x)

    assert_array_equal(scaled(1.0, 0.0), [0, 9, inf, 0, 0])
    assert_array_equal(scaled(0.5, -2.0), [-8, 4.5, inf, -inf, nan])
    assert_array_equal(compiled(lambda x: x.scaled_by(1.0))(x), x)
    assert_array_equal(compiled(lambda x: x.scaled_by(x))(x), x * x)


@both_precisions
@pytest.mark.parametrize("name", [*activations.catalogue, "leaky_relu(-0.5)", "elu(0.0)"])
def test_definitions_give_what_numpy_gives(name: str, dtype: type):
    activation = activations.get(name)
    x = np.concatenate([np.linspace(-40, 40, 40_001), 10.0 ** RNG.uniform(-30, 0, 4_000)])
    x = np.concatenate([x, -x, [0.0, 1e4, -1e4, 1e30, -1e30, inf, -inf, nan]]).astype(dtype)
    if name == "sin":
        x = x[~(np.abs(x) > 1e4)]  # none has a meaningful sine
    eps = float(np.finfo(dtype).eps)
    formulas = [activation.value, activation.derivative]
    for formula, expected in zip(formulas, [activation(x), activation.slope(x)], strict=True):
        got = compiled(lambda x, formula=formula: formula(x, OPS))(x)
        assert_allclose(got, expected, rtol=16 * eps, atol=4 * eps)
