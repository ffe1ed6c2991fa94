"""The compiled kernels against the reference engine and the published run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from initlab import activations
from initlab.engine import losses, reference
from initlab.engine.network import Layer, Network, pack
from initlab.engine.recipe import LOSSES, OPTIMIZERS, PRECISIONS, Recipe, Trajectory
from initlab.engine.train import train

MakeProblem = Callable[..., Any]

inf = np.inf

# On both sides of every block limit and tile width, of any vector width.
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 20, 24, 25, 33, 40)
SAMPLES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 150, 199, 200)
BATCHES = (None, 1, 2, 3, 7, 16, 17, 50, 64, 200, 1000)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a problem is made of, except activation and precision.

    Runs are short, so that rounding has no time to grow. Adam's ε is above its usual 1e-8, with
    which a gradient that is 0 but for rounding would move its weight.
    """
    loss = draw(st.sampled_from(LOSSES))
    width = st.sampled_from(WIDTHS) | st.integers(1, 40)
    hidden = draw(st.lists(width, max_size=4))
    steps = draw(st.integers(1, 8))
    some_steps = st.sets(st.integers(0, steps), max_size=4).map(lambda s: tuple(sorted(s)))
    return {
        "sizes": (draw(width), *hidden, 1 if loss == "binary_cross_entropy" else draw(width)),
        "samples": draw(st.sampled_from(SAMPLES) | st.integers(1, 200)),
        "replicas": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "loss": loss,
        "optimizer": draw(st.sampled_from(OPTIMIZERS)),
        "learning_rate": draw(st.floats(1e-3, 0.1)),
        "steps": steps,
        "batch_size": draw(st.sampled_from(BATCHES) | st.integers(1, 200)),
        "momentum": draw(st.floats(0, 0.95)),
        "epsilon": draw(st.sampled_from([1e-6, 1e-3])),
        "record_steps": draw(some_steps),
        "snapshot_steps": draw(some_steps),
    }


def assert_same_training(fast: Trajectory, judge: Trajectory, tolerance: float) -> None:
    """Compare every array, parameters relative to the largest one of their replica."""
    assert_array_equal(fast.steps, judge.steps)
    assert_array_equal(fast.steps_done, judge.steps_done)
    assert_allclose(fast.cost, judge.cost, rtol=tolerance, atol=0.1 * tolerance)
    assert_allclose(fast.final_cost, judge.final_cost, rtol=tolerance, atol=0.1 * tolerance)
    assert (fast.course_cost is None) == (judge.course_cost is None)
    if fast.course_cost is not None:
        assert_allclose(fast.course_cost, judge.course_cost, rtol=tolerance, atol=0.1 * tolerance)
    for ours, theirs in (
        (fast.snapshots, judge.snapshots),
        (pack(fast.layers), pack(judge.layers)),
    ):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        size = np.abs(theirs).max(axis=-1, keepdims=True)
        assert_allclose(ours / size, theirs / size, rtol=0, atol=tolerance)


def judged(problem: Any) -> Trajectory:
    """Train with the reference; drop problems that diverge, which have a test of their own."""
    judge = problem.train(engine="reference")
    assume(np.abs(pack(judge.layers)).max() < 30)  # false for nan
    return judge


some_problems = given(drawn=arguments())
forty = settings(max_examples=40, deadline=None)


@pytest.mark.parametrize("activation", [*activations.catalogue, "leaky_relu(-0.5)"])
@forty
@some_problems
def test_float64_is_the_reference(problem_of: MakeProblem, drawn: dict[str, Any], activation: str):
    problem = problem_of(activation=activation, **drawn)
    assert_same_training(problem.train(), judged(problem), 1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@forty
@some_problems
def test_float32_is_the_reference_but_for_rounding(
    problem_of: MakeProblem, drawn: dict[str, Any], activation: str
):
    drawn = {**drawn, "precision": "float32", "epsilon": 1e-3}
    problem = problem_of(activation=activation, **drawn)
    fast, judge = problem.train(), judged(problem)
    # Most numbers differ in their last digits alone. Among thousands of pre-activations one may
    # come so near a kink that rounding decides its side, which moves a few weights by more.
    assert_same_training(fast, judge, 2e-3)
    size = np.abs(pack(judge.layers)).max()
    assert np.abs(pack(fast.layers) - pack(judge.layers)).mean() < 2e-6 * size


# One that is fused into the products, and one in a pass of its own that keeps its slopes.
@pytest.mark.parametrize(("activation", "vector_bytes"), [("relu", 32), ("gelu", 16)])
@forty
@some_problems
def test_narrower_vectors_give_the_reference(
    problem_of: MakeProblem, drawn: dict[str, Any], activation: str, vector_bytes: int
):
    problem = problem_of(activation=activation, **drawn)
    narrow = problem.train(vector_bytes=vector_bytes)
    assert_same_training(narrow, judged(problem), 1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [None, 16, 30])
def test_every_width_and_sample_count_around_the_block_limits(
    problem_of: MakeProblem, loss: str, batch_size: int | None
):
    for width in range(1, 27):
        sizes = (width, width + 1, 1 if loss == "binary_cross_entropy" else width)
        problem = problem_of(
            sizes, samples=width + 10, seed=width, loss=loss, batch_size=batch_size, steps=3
        )
        assert_same_training(problem.train(), problem.train(engine="reference"), 1e-11)


def test_zero_weights_and_inputs_take_the_side_that_the_reference_takes(problem_of: MakeProblem):
    problem = problem_of((3, 4, 4, 1), samples=20, learning_rate=0.5)
    zeros = [Layer(np.zeros_like(w), np.zeros_like(b)) for w, b in problem.layers]
    for activation in ("relu", "leaky_relu(-0.5)", "hardtanh"):
        network = Network(problem.network.sizes, activation)
        for layers in (zeros, [*zeros[:1], *problem.layers[1:]]):
            changed = problem._replace(network=network, layers=tuple(layers))
            assert_same_training(changed.train(), changed.train(engine="reference"), 1e-12)


# The published experiment.


@pytest.fixture(scope="module")
def course(published: Any) -> Trajectory:
    """Train the three published starts as three replicas of one call."""
    starts = [published.start(name) for name in ("zeros", "random", "he")]
    layers = [
        Layer(np.stack([w for w, _ in same]), np.stack([b for _, b in same]))
        for same in zip(*starts, strict=True)
    ]
    recipe = Recipe(steps=15_000, record_steps=published.steps)
    return train(Network((2, 10, 5, 1)), recipe, layers, published.train_x, published.train_y)


def predictions(trained: Trajectory, replica: int, x: np.ndarray) -> np.ndarray:
    layers = [Layer(w[replica], b[replica]) for w, b in trained.layers]
    logits = reference.forward(Network((2, 10, 5, 1)), layers, x).logits
    return losses.output("binary_cross_entropy", logits) > 0.5


def accuracies(published: Any, trained: Trajectory, replica: int) -> list[float]:
    return [
        float((predictions(trained, replica, x) == y).mean())
        for x, y in (
            (published.train_x, published.train_y),
            (published.test_x, published.test_y),
        )
    ]


def test_published_he_run_is_met_at_every_printed_step(published: Any, course: Trajectory):
    assert course.course_cost is not None
    costs = course.course_cost[2]
    assert_allclose(costs[[0, -1]], [0.8830537463419761, 0.07357895962677369], rtol=1e-9)
    assert_allclose(costs, published.he_costs, rtol=1e-9)
    assert_allclose(course.cost[2], published.he_costs, rtol=1e-9)
    assert_allclose(accuracies(published, course, 2), [0.9933333333333333, 0.96])


def test_published_zeros_do_not_move(published: Any, course: Trajectory):
    assert course.course_cost is not None
    assert_allclose(course.course_cost[0], 0.6931471805599453, rtol=3e-16)
    assert_allclose(course.cost[0], 0.6931471805599453, rtol=3e-16)
    for weight, _ in course.layers:
        assert_array_equal(weight[0], 0)
    assert accuracies(published, course, 0) == [0.5, 0.5]
    assert not predictions(course, 0, published.test_x).any()


def test_published_large_start_is_infinite_at_first_and_chaotic_later(
    published: Any, course: Trajectory
):
    assert course.course_cost is not None
    costs = course.course_cost[1]
    assert costs[0] == inf
    assert np.isfinite(course.cost[1]).all()
    assert abs(costs[-1] - 0.38278) < 1e-3
    assert_allclose(accuracies(published, course, 1), [0.83, 0.86], atol=0.011)


# Divergence and other extremes.


@pytest.mark.parametrize("rate", [3.0, 1e3, 1e30, 1e300])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_shows_as_in_the_reference(
    problem_of: MakeProblem, loss: str, optimizer: str, rate: float
):
    problem = problem_of(
        (2, 6, 4, 1 if loss == "binary_cross_entropy" else 3),
        samples=20,
        loss=loss,
        optimizer=optimizer,
        learning_rate=rate,
        steps=30,
        record_steps=tuple(range(31)),
    )
    fast, judge = problem.train(), problem.train(engine="reference")
    finite = np.isfinite(judge.cost[0])
    first = 31 if finite.all() else int(np.argmin(finite))
    assert_array_equal(np.isfinite(fast.cost[0, :first]), finite[:first])
    assert first == 31 or not np.isfinite(fast.cost[0, first])
    assert np.isfinite(fast.final_cost) == np.isfinite(judge.final_cost)


def test_a_start_that_is_not_finite_stays_so(problem_of: MakeProblem):
    problem = problem_of((2, 3, 1), record_steps=(0, 8))
    for bad in (np.nan, inf):
        weight = problem.layers[0].weight.copy()
        weight[0, 1, 0] = bad
        layers = (Layer(weight, problem.layers[0].bias), *problem.layers[1:])
        found = problem._replace(layers=layers).train()
        assert np.isnan(found.cost).any()
        assert np.isnan(found.final_cost).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_saturated_outputs_train_on_without_nan(precision: str, sign: int):
    limit = float(np.log(np.finfo(precision).max))
    scales = np.linspace(0.98 * limit, 1.02 * limit, 400)
    inputs, targets = sign * scales[None, :], (np.arange(400)[None, :] % 2).astype(float)
    # The identity: logits that run over the place where e^-z overflows.
    recipe = Recipe(steps=1, learning_rate=1e-3, record_steps=(0,), precision=precision)
    layers = [Layer(np.ones((1, 1, 1)), np.zeros((1, 1)))]
    found = train(Network((1, 1)), recipe, layers, inputs, targets)
    assert found.course_cost is not None
    course = losses.course_cost(inputs, targets)
    assert_allclose(found.course_cost[0, 0], course, rtol=1e-6)
    assert_allclose(found.cost[0, 0], scales.mean() / 2, rtol=0.02)
    # The delta is -1/400 or 1/400 for wrong samples, 0 for right ones.
    wrong = targets[0] == (sign < 0)
    step = (inputs[0, wrong] * (1 if sign > 0 else -1)).sum() / 400 * 1e-3
    assert_allclose(1 - found.layers[0].weight[0, 0, 0], step, rtol=1e-4)
    assert np.isfinite(found.layers[0].bias).all()


def test_adam_in_float32_keeps_the_small_complements_of_its_rates(problem_of: MakeProblem):
    # z = b at x = 0 and y = 1: the gradient is -2, and the first step is η g / (|g| + ε).
    problem = problem_of((1, 1), samples=1, loss="squared_error", optimizer="adam", steps=1)
    recipe = replace(problem.recipe, precision="float32", learning_rate=0.5)
    layers = [Layer(np.zeros((1, 1, 1)), np.zeros((1, 1)))]
    for engine in ("fast", "reference"):
        found = train(
            problem.network, recipe, layers, np.zeros((1, 1)), np.ones((1, 1)), engine=engine
        )
        assert_allclose(found.layers[0].bias, 0.5, rtol=1e-6)
