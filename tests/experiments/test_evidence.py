"""What is measured, against brute force, finite differences and networks built for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special

from initlab.engine import losses, reference
from initlab.engine.network import Layer, Network
from initlab.engine.recipe import LossName
from initlab.experiments.evidence import FLAT_SLOPE, Moment, correct, measure

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((3, 40))
BINARY = (RNG.random((1, 40)) < 0.5).astype(float)
ONE_HOT = np.eye(4)[:, RNG.integers(4, size=40)]


def random_layers(sizes: tuple[int, ...], scale: float = 1.0) -> list[Layer]:
    rng = np.random.default_rng(1)
    return [
        Layer(scale * rng.standard_normal(shape), rng.standard_normal(shape[0]))
        for shape in Network(sizes).shapes
    ]


def look(
    layers: list[Layer], activation: str = "relu", loss: LossName = "binary_cross_entropy"
) -> Moment:
    sizes = (3, *(len(layer.bias) for layer in layers))
    targets = ONE_HOT if sizes[-1] == 4 else BINARY
    return measure(Network(sizes, activation), loss, layers, INPUTS, targets)


def test_moments_of_weights_and_activations():
    layers = random_layers((3, 6, 5, 1))
    moment = look(layers, "tanh")
    first = np.tanh(layers[0].weight @ INPUTS + layers[0].bias[:, None])
    second = np.tanh(layers[1].weight @ first + layers[1].bias[:, None])
    logits = layers[2].weight @ second + layers[2].bias[:, None]
    for found, layer, values in zip(moment.layers, layers, (first, second, logits), strict=True):
        assert_allclose(found.weight_std, layer.weight.std())
        assert_allclose(found.activation_mean, values.mean())
        assert_allclose(found.activation_std, values.std())
    assert [(found.layer, found.units) for found in moment.layers] == [(1, 6), (2, 5), (3, 1)]
    assert_allclose(moment.output_spread, special.expit(logits).std() / BINARY.std())
    assert moment.samples == 40


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy", "squared_error"])
def test_gradients_are_those_of_the_cost(loss: LossName):
    """By finite differences: in each weight, and in a bias of one sample's own."""
    outputs = 4 if loss == "cross_entropy" else 1
    targets = ONE_HOT if outputs == 4 else BINARY
    layers = random_layers((3, 5, outputs), 0.7)
    moment = look(layers, "tanh", loss)

    def cost(shift: np.ndarray | float, weight: np.ndarray) -> float:
        pre = weight @ INPUTS + layers[0].bias[:, None] + shift
        logits = layers[1].weight @ np.tanh(pre) + layers[1].bias[:, None]
        return losses.cost(loss, logits, targets)

    step = 1e-5

    def slopes(shape: tuple[int, int], of: Any) -> np.ndarray:
        found = np.empty(shape)
        for place in np.ndindex(shape):
            nudge = np.zeros(shape)
            nudge[place] = step
            found[place] = (of(nudge) - of(-nudge)) / (2 * step)
        return found

    weight = layers[0].weight
    by_weight = slopes(weight.shape, lambda nudge: cost(0.0, weight + nudge))
    by_pre = slopes((5, 40), lambda nudge: cost(nudge, weight))
    assert_allclose(moment.layers[0].weight_gradient_norm, np.linalg.norm(by_weight), rtol=1e-6)
    assert_allclose(moment.layers[0].gradient_std, 40 * np.sqrt((by_pre**2).mean()), rtol=1e-6)


def test_tiny_and_huge_signals_neither_vanish_nor_overflow():
    layers = [Layer(layer.weight * 1e-200, layer.bias * 0) for layer in random_layers((3, 6, 4))]
    first = look(layers, "identity", "squared_error").layers[0]
    expected = (layers[0].weight @ INPUTS * 1e200).std()
    assert_allclose(first.activation_std * 1e200, expected)
    assert 0 < first.weight_gradient_norm < 1e-190
    layers = [Layer(np.full((2, 3), 1e200), np.zeros(2)), Layer(np.ones((4, 2)), np.zeros(4))]
    assert_allclose(
        look(layers, "identity", "squared_error").layers[0].activation_std,
        1e200 * INPUTS.sum(axis=0).std(),
    )


@settings(max_examples=60, deadline=None)
@given(
    copies=st.lists(st.integers(0, 5), min_size=2, max_size=12),
    noise=st.sampled_from([0.0, 1e-15]),
    seed=st.integers(0, 10**6),
)
def test_identical_units_are_counted_as_by_comparing_all_pairs(
    copies: list[int], noise: float, seed: int
):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((6, 3))[copies]
    layers = [
        Layer(rows * (1 + noise * rng.standard_normal(rows.shape)), np.zeros(len(copies))),
        Layer(rng.standard_normal((1, len(copies))), np.zeros(1)),
    ]
    expected = sum(copies.count(copy) > 1 for copy in copies)
    assert look(layers).layers[0].identical_units == expected


def test_units_that_differ_by_more_than_rounding_are_not_identical():
    weight = np.vstack([np.ones((1, 3)), np.ones((1, 3)) * (1 + 1e-9)])
    layers = [Layer(weight, np.zeros(2)), Layer(np.ones((1, 2)), np.zeros(1))]
    assert look(layers).layers[0].identical_units == 0


def test_dead_units_are_dead_and_no_copies():
    layers = random_layers((3, 6, 1))
    layers[0].bias[:4] = -100
    first = look(layers).layers[0]
    assert (first.dead_units, first.identical_units) == (4, 0)
    assert look(layers, "leaky_relu").layers[0].dead_units == 0


def test_zeros_are_copies_without_a_gradient():
    layers = [Layer(w * 0, b * 0) for w, b in random_layers((3, 6, 5, 1))]
    moment = look(layers)
    assert [layer.identical_units for layer in moment.layers] == [6, 5, 0]
    assert [layer.weight_gradient_norm for layer in moment.layers] == [0, 0, 0]
    assert moment.output_spread == 0


@pytest.mark.parametrize(
    ("activation", "edge"),
    [
        ("sigmoid", -special.logit((1 - np.sqrt(1 - FLAT_SLOPE)) / 2)),
        ("tanh", np.arctanh(np.sqrt(1 - FLAT_SLOPE))),
        ("softsign", FLAT_SLOPE**-0.5 - 1),
        ("erf", np.sqrt(-np.log(FLAT_SLOPE))),
        ("hardtanh", 1.0),
    ],
)
def test_flat_tails_begin_where_the_slope_is_a_hundredth(activation: str, edge: float):
    weight = np.array([[1.0, 0, 0]])
    inputs = np.zeros((3, 4))
    inputs[0] = [edge * 0.999, edge * 1.001, -edge * 0.999, -edge * 1.001]
    layers = [Layer(weight, np.zeros(1)), Layer(np.ones((1, 1)), np.zeros(1))]
    network = Network((3, 1, 1), activation)
    targets = np.array([[0.0, 1, 0, 1]])
    found = measure(network, "binary_cross_entropy", layers, inputs, targets)
    assert found.layers[0].saturated == 0.5


def test_an_unbounded_activation_has_no_flat_tails():
    layers = random_layers((3, 6, 1), 100)
    assert look(layers, "relu").layers[0].saturated == 0
    assert look(layers, "gelu").layers[0].saturated == 0


def test_saturated_outputs_and_the_wrong_ones_among_them():
    edge = 5.99  # where a (1 - a) is a hundredth of 1/4
    logits = np.array([edge + 0.01, -edge - 0.01, edge - 0.01, 50.0, -800.0, 800.0])
    targets = np.array([[1.0, 1, 0, 0, 0, 1]])
    layers = [Layer(np.array([[1.0]]), np.zeros(1))]
    found = measure(Network((1, 1)), "binary_cross_entropy", layers, logits[None], targets)
    assert (found.saturated_outputs, found.saturated_wrong) == (5, 2)
    assert found.layers[0].saturated == pytest.approx(5 / 6)


def test_a_linear_output_does_not_saturate():
    found = look(random_layers((3, 6, 1), 100), loss="squared_error")
    assert (found.saturated_outputs, found.layers[-1].saturated) == (0, 0)


def test_a_softmax_saturates_where_every_output_does():
    layers = [Layer(np.vstack([np.eye(3), np.zeros(3)]) * 30, np.zeros(4))]
    outputs = special.softmax(layers[0].weight @ INPUTS, axis=0)
    flat = outputs * (1 - outputs) < FLAT_SLOPE / 4
    found = look(layers, loss="cross_entropy")
    assert 0 < found.saturated_outputs == flat.all(axis=0).sum() < 40
    assert found.layers[0].saturated == pytest.approx(flat.mean())
    wrong = outputs.argmax(axis=0) != ONE_HOT.argmax(axis=0)
    assert found.saturated_wrong == (flat.all(axis=0) & wrong).sum()


def test_a_broken_network_is_measured_without_a_warning():
    layers = random_layers((3, 6, 1))
    layers[0].weight[0, 0] = np.nan
    found = look(layers)
    assert np.isnan(found.layers[0].activation_std)
    assert found.layers[0].identical_units == 0
    layers[0].weight[0, 0] = np.inf
    assert not np.isfinite(look(layers).layers[0].activation_std)


def test_an_output_that_is_no_number_is_a_wrong_answer():
    outputs = np.array([[0.9, np.nan, 0.1, np.nan]])
    assert correct(outputs, np.array([[1.0, 1, 0, 0]])).tolist() == [True, False, True, False]
    several = np.array([[0.9, np.nan], [0.1, np.nan]])
    assert correct(several, np.array([[1.0, 1], [0, 0]])).tolist() == [True, False]


def test_what_is_right_is_what_the_exercise_predicts():
    layers = random_layers((3, 6, 1))
    passed = reference.forward(Network((3, 6, 1)), layers, INPUTS)
    right = ((special.expit(passed.logits) > 0.5) == (BINARY == 1))[0]
    outputs = losses.output("binary_cross_entropy", passed.logits)
    assert (correct(outputs, BINARY) == right).all()
