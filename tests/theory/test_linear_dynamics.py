"""Deep linear networks, against an ODE solver, quadrature, gradient descent and the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate

from initlab._base.errors import InvalidValueError
from initlab.engine.network import Layer, Network, unpack
from initlab.engine.recipe import Recipe
from initlab.engine.train import train
from initlab.theory import linear
from initlab.theory.linear import learning_time, mode_strength

DEPTHS = [1, 2, 3, 5, 8]


# The equation.


@pytest.mark.parametrize("start", [1e-3, 0.4, 1.9999, 2.0, 2.1, 50.0])
@pytest.mark.parametrize("layers", DEPTHS)
def test_strength_solves_the_equation(layers: int, start: float):
    target, tau = 2.0, 7.0
    # Long enough to come within a hundredth of the target: a plateau may take most of it.
    near = (start + 99 * target) / 100
    end = learning_time(target=target, start=start, reached=near, layers=layers, tau=tau)
    times = np.linspace(0, 1.2 * end or 60, 41)
    judge = integrate.solve_ivp(
        lambda _, u: layers / tau * u ** (2 - 2 / layers) * (target - u),
        (0, times[-1]),
        [start],
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-15,
    )
    found = mode_strength(times, target=target, start=start, layers=layers, tau=tau)
    assert_allclose(found, judge.y[0], rtol=1e-9)


@pytest.mark.parametrize("reached", [1e-20, 0.3, 0.5000001, 0.999, 1 - 1e-12])
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 7, 1000, 10**12, math.inf])
def test_time_is_the_integral(layers: float, reached: float):
    for start, end in ((1e-30, reached), (1e30, 1 / reached)):
        # In w = log u; panels shrink towards the target, where the integrand is 1 / w.
        power = 1 - 2 / mp.mpf(layers)
        a, b = sorted((abs(mp.log(start)), abs(mp.log(end))))
        sign = 1 if start > 1 else -1
        exact = mp.quad(
            lambda w, sign=sign, power=power: mp.exp(-sign * w * power) / abs(mp.expm1(sign * w)),
            [a * (b / a) ** (mp.mpf(i) / 40) for i in range(41)],
        ) / (1 if layers == math.inf else layers)
        found = learning_time(target=1.0, start=start, reached=end, layers=layers)
        assert found == pytest.approx(float(exact), rel=1e-13)


sizes = st.floats(-3, 3).map(lambda power: 10.0**power)


@given(
    layers=st.sampled_from([1, 2, 3, 4, 5, 8, 40, 10**6, math.inf]),
    target=sizes,
    ratio=st.floats(-4, 4).map(lambda power: 10.0**power),
    share=st.floats(0.01, 0.99),
    tau=sizes,
)
def test_time_is_the_inverse_of_strength(
    layers: float, target: float, ratio: float, share: float, tau: float
):
    assume(abs(ratio - 1) > 0.01)
    start = target * ratio
    reached = start * ratio**-share
    time = learning_time(target=target, start=start, reached=reached, layers=layers, tau=tau)
    found = mode_strength([0, time], target=target, start=start, layers=layers, tau=tau)
    assert_allclose(found, [start, reached], rtol=1e-11)
    again = learning_time(
        target=target, start=start, reached=float(found[1]), layers=layers, tau=tau
    )
    assert again == pytest.approx(time, rel=1e-9)


# Forms that can be written down.


@pytest.mark.parametrize("start", [1e-9, 0.2, 1.49, 1.51, 4.0, 1e9])
def test_two_layers_by_the_general_way(start: float):
    target, tau = 1.5, 3.0
    times = np.geomspace(1e-3, 40, 50)
    closed = mode_strength(times, target=target, start=start, layers=2, tau=tau)
    ratio, elapsed = start / target, 2 * target * times / tau
    if start < target:
        general = target * linear._rising(linear._rise(ratio, 1 - ratio, 2) + elapsed, 2)
    else:
        general = target / linear._falling(linear._fall(1 / ratio, 1 - 1 / ratio, 2) + elapsed, 2)
    assert_allclose(general, closed, rtol=1e-12)
    logistic = target / (1 + (target / start - 1) * np.exp(-elapsed))
    assert_allclose(closed, logistic, rtol=1e-11)
    reached = (start + 3 * target) / 4
    odds = reached * (target - start) / (start * (target - reached))
    assert learning_time(
        target=target, start=start, reached=reached, layers=2, tau=tau
    ) == pytest.approx(tau / (2 * target) * math.log(odds), rel=1e-7 if start > 1e6 else 1e-12)


@pytest.mark.parametrize("start", [0.0, 0.3, 5.0])
def test_one_layer_is_exponential(start: float):
    times = np.array([0.0, 1.0, 4.0, 30.0])
    found = mode_strength(times, target=2.0, start=start, layers=1, tau=4.0)
    assert_allclose(found, 2 + (start - 2) * np.exp(-times / 4), rtol=1e-13)
    half_way = learning_time(target=2.0, start=start, reached=1 + start / 2, layers=1, tau=4.0)
    assert half_way == pytest.approx(4 * math.log(2), rel=1e-13)


@pytest.mark.parametrize(("start", "reached"), [(0.01, 1.9), (0.5, 0.6), (7.0, 2.1)])
def test_the_limit_of_many_layers_is_the_published_one(start: float, reached: float):
    s, tau = 2.0, 5.0
    odds = reached * (start - s) / (start * (reached - s))
    published = tau * (math.log(odds) / s**2 + 1 / (s * start) - 1 / (s * reached))
    arguments = {"target": s, "start": start, "reached": reached}
    limit = learning_time(**arguments, layers=math.inf, tau=tau)
    assert limit == pytest.approx(published, rel=1e-12)
    # The first term in 1/N is left out.
    for layers in (10**4, 10**7):
        found = learning_time(**arguments, layers=layers, tau=tau * layers)
        assert found == pytest.approx(limit, rel=20 / layers)
        assert found != limit


def test_nothing_is_learned_from_0_by_two_layers_or_more():
    for layers in (2, 3, 8, math.inf):
        found = mode_strength([0, 1, 1e9], target=2.0, start=0, layers=layers)
        assert_array_equal(found, [0, 0, 0])
        assert not np.signbit(mode_strength(1, target=2.0, start=-0.0, layers=layers))
        assert learning_time(target=2.0, start=0, reached=0.1, layers=layers) == math.inf


@pytest.mark.parametrize("layers", [1, 2, 3, math.inf])
def test_what_is_not_on_the_way_is_never_reached(layers: float):
    for start, reached in ((0.5, 1.0), (0.5, 1.5), (0.5, 0.4), (2.0, 1.0), (2.0, 0.5), (2.0, 2.1)):
        time = learning_time(target=1.0, start=start, reached=reached, layers=layers)
        assert time == math.inf, (start, reached)
    for start in (0.0, 0.5, 1.0, 2.0):
        assert learning_time(target=1.0, start=start, reached=start, layers=layers) == 0


@pytest.mark.parametrize("layers", [1, 2, 3, 8, 10**9, math.inf])
@pytest.mark.parametrize(
    ("start", "target"),
    [
        *((start, 1.0) for start in (1e-140, 1e-5, 0.999999999, 1.000000001, 1e5, 1e140)),
        (1e140, 1e-140),
        (1e-140, 1e140),
        # Rounding alone would carry these past their start or their target.
        (0.019325643139495294, 0.2938220169878581),
        (44.86515350173984, 0.3594963279738995),
    ],
)
def test_a_mode_goes_from_start_to_target_and_no_further(
    layers: float, start: float, target: float
):
    times = np.concatenate([[0.0, 5e-324], np.geomspace(1e-300, 1.7e308, 500)])
    found = mode_strength(times, target=target, start=start, layers=layers, tau=1e-3)
    assert found[0] == start
    assert found.min() >= min(start, target)
    assert found.max() <= max(start, target)
    assert found[-1] == target
    step = np.diff(found) * (1 if start < target else -1)
    assert (step >= -1e-12 * np.minimum(found[1:], found[:-1])).all()


@pytest.mark.parametrize(("start", "layers"), [(2.0, 4), (1 / 0.7, 5), (1 / 0.7, 8)])
def test_no_time_is_below_0(start: float, layers: int):
    # Rounding alone would turn these neighbours round.
    reached = math.nextafter(start, 1)
    assert learning_time(target=1.0, start=start, reached=reached, layers=layers) >= 0


def test_shape_and_type_of_times_are_kept_and_taken():
    times = np.array([[0, 3, 10], [20, 30, 31]])
    for layers in (1, 2, 5):
        found = mode_strength(times, target=2.0, start=0.3, layers=layers, tau=20)
        assert found.shape == (2, 3)
        assert found.dtype == np.float64
        for at in np.ndindex(2, 3):
            alone = mode_strength(
                times[at], target=np.float32(2), start=0.3, layers=np.int64(layers), tau=20
            )
            assert isinstance(alone, np.ndarray)
            assert alone.shape == ()
            assert alone == pytest.approx(found[at], rel=1e-14)
        assert mode_strength([], target=2.0, start=0.3, layers=layers).shape == (0,)


# Gradient descent on matrices.

WIDTHS = (4, 6, 5, 7, 4, 5, 6, 4, 5)
TARGETS = np.array([2.0, 1.2, 0.5])
STARTS = np.array([0.05, 0.3, 0.9])  # the last one falls
RATES = np.array([0.02, 0.01, 0.005])
END = 4.0


def basis(rng: np.random.Generator, width: int, modes: int) -> np.ndarray:
    """Draw orthonormal columns ``(width, modes)``."""
    return np.linalg.qr(rng.standard_normal((width, modes)))[0]


def white(rng: np.random.Generator, features: int, samples: int) -> np.ndarray:
    """Draw inputs ``(features, samples)`` of mean 0 whose mean of x xᵀ is the identity."""
    columns = np.column_stack([np.ones(samples), rng.standard_normal((samples, features))])
    return np.linalg.qr(columns)[0][:, 1:].T * math.sqrt(samples)


def aligned(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, layers: int
) -> list[np.ndarray]:
    """Draw weights whose product is u diag(STARTS) vᵀ, hidden layers of different widths."""
    modes = u.shape[1]
    hidden = [basis(rng, width, modes) for width in WIDTHS[1:layers]]
    bases = [v, *hidden, u]
    roots = STARTS ** (1 / layers)
    return [bases[i + 1] * roots @ bases[i].T for i in range(layers)]


def orthogonal(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, layers: int
) -> list[np.ndarray]:
    """Draw scaled orthogonal weights, the last such that the product is 0.3 u vᵀ."""
    weights = [basis(rng, len(u), len(u)) for _ in range(layers - 1)]
    weights.append(u @ v.T @ product(weights, len(u)).T)
    return [0.3 ** (1 / layers) * weight for weight in weights]


def product(weights: Sequence[np.ndarray], features: int) -> np.ndarray:
    """Multiply the layers, the first one rightmost."""
    total = np.eye(features)
    for weight in weights:
        total = weight @ total
    return total


def descend(
    weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, rate: float, steps: int
) -> list[np.ndarray]:
    """Return the product of the layers before each step and after the last.

    The cost is the mean over samples of ‖y - ŷ‖² / 2.
    """
    weights = list(weights)
    features, samples = x.shape
    products = [product(weights, features)]
    for _ in range(steps):
        slope = (products[-1] @ x - y) @ x.T / samples  # by the product of the layers
        gradients = [
            np.linalg.multi_dot([product(weights[i + 1 :], len(w)).T, slope, before.T])
            for i, (w, before) in enumerate(
                (w, product(weights[:i], features)) for i, w in enumerate(weights)
            )
        ]
        weights = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
        products.append(product(weights, features))
    return products


def assert_first_order(deviations: Sequence[float], layers: int) -> None:
    """Hold Euler's error to its order: it shrinks as the learning rate does."""
    assert (deviations < 1.1 * layers * RATES).all()
    assert deviations[1] / deviations[0] == pytest.approx(0.5, rel=0.04)
    assert deviations[2] / deviations[1] == pytest.approx(0.5, rel=0.02)


Start = Callable[[np.random.Generator, np.ndarray, np.ndarray, int], list[np.ndarray]]


@pytest.mark.parametrize("layers", DEPTHS)
@pytest.mark.parametrize("start", [aligned, orthogonal])
def test_gradient_descent_follows_as_its_steps_shrink(start: Start, layers: int):
    rng = np.random.default_rng(layers)
    outputs, features = (5, 4) if start is aligned else (3, 3)
    u, v = basis(rng, outputs, 3), basis(rng, features, 3)
    weights = start(rng, u, v, layers)
    x = white(rng, features, 30)
    y = u * TARGETS @ v.T @ x
    noise = rng.standard_normal(y.shape)
    y += noise - noise @ x.T @ x / 30  # what no linear map explains has no part in it
    starts = np.diag(u.T @ product(weights, features) @ v)
    deviations = []
    for rate in RATES:
        steps = round(END / rate)
        found = np.array([u.T @ p @ v for p in descend(weights, x, y, rate, steps)])
        strengths = np.diagonal(found, axis1=1, axis2=2)
        expected = np.column_stack(
            [
                mode_strength(range(steps + 1), target=s, start=a, layers=layers, tau=1 / rate)
                for s, a in zip(TARGETS, starts, strict=True)
            ]
        )
        # No mode stirs another.
        assert_allclose(found, strengths[:, :, None] * np.eye(3), atol=1e-12)
        deviations.append(np.abs(strengths - expected).max())
    assert_first_order(deviations, layers)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_engine_follows_as_its_steps_shrink(layers: int):
    rng = np.random.default_rng(layers)
    sizes = (*WIDTHS[:layers], 5)
    u, v = basis(rng, 5, 3), basis(rng, 4, 3)
    network = Network(sizes, "identity")
    starts = [Layer(w[None], np.zeros((1, len(w)))) for w in aligned(rng, u, v, layers)]
    x = white(rng, 4, 30)
    deviations = []
    for tau in 1 / RATES:
        rate = 5 / (2 * tau)  # the engine's cost is the mean over the 5 outputs, without the half
        steps = round(END * tau)
        recipe = Recipe(
            loss="squared_error",
            learning_rate=rate,
            steps=steps,
            snapshot_steps=tuple(range(steps + 1)),
        )
        trained = train(network, recipe, starts, x, u * TARGETS @ v.T @ x)
        snapshots = unpack(network, trained.snapshots[0])
        assert max(np.abs(layer.bias).max() for layer in snapshots) < 1e-12
        found = (
            u.T
            @ np.array(
                [product([layer.weight[i] for layer in snapshots], 4) for i in range(steps + 1)]
            )
            @ v
        )
        expected = np.column_stack(
            [
                mode_strength(range(steps + 1), target=s, start=a, layers=layers, tau=tau)
                for s, a in zip(TARGETS, STARTS, strict=True)
            ]
        )
        deviations.append(np.abs(np.diagonal(found, axis1=1, axis2=2) - expected).max())
    assert_first_order(deviations, layers)


# What is refused.

ONES = np.ones(2, dtype=int)
GOOD = {"target": 2.0, "start": 0.5, "layers": 3, "tau": 4.0}


@pytest.mark.parametrize(
    "bad",
    [
        *({name: value} for name in ("target", "tau") for value in (0, 0.0, -1, 1e-141)),
        *({"start": value} for value in (-1e-9, 1e-141)),
        *(
            {name: value}
            for name in ("target", "start", "tau", "reached")
            for value in (math.inf, -math.inf, math.nan, 1e141, 10**400, "1", None, True, 1j, [1.0])
        ),
        *(
            {"layers": value}
            for value in (
                0,
                -1,
                2.0,
                2.5,
                -math.inf,
                math.nan,
                "3",
                None,
                True,
                2**54,
                10**400,
                ONES,
            )
        ),
    ],
)
def test_bad_numbers_are_refused(bad: dict[str, object]):
    (name,) = bad
    arguments = {**GOOD, **bad}
    with pytest.raises(InvalidValueError, match=f"^{name}") as caught:
        learning_time(**{"reached": 1.0, **arguments})
    assert "\n" not in str(caught.value)
    if name != "reached":
        with pytest.raises(InvalidValueError, match=f"^{name}"):
            mode_strength([1.0], **arguments)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, -1e-300], r"time -1e-300 is not a finite number of at least 0"),
        ([[0.0], [math.nan]], r"time nan is not"),
        (math.inf, r"time inf is not"),
        ("1", r"times of type <U1 are not numbers"),
        ([True, False], r"times of type bool"),
        ([1j], r"times of type complex128"),
        (None, r"times of type object"),
        ([10**400], r"times of type object"),
        ([[1.0], [1.0, 2.0]], r"do not make an array"),
    ],
)
def test_bad_times_are_refused(times: object, message: str):
    for layers in (1, 2, 3):
        with pytest.raises(InvalidValueError, match=message):
            mode_strength(times, **{**GOOD, "layers": layers})
