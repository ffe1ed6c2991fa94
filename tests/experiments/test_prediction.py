"""What is predicted of a start, against what many seeds of it measure.

Squares are compared, whose mean over seeds is what is predicted: it has to lie within 4.5 of its
standard errors, and what the theory leaves out, which is of the order of depth / width.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from initlab import activations, initializers
from initlab._base.errors import InvalidValueError
from initlab.data import load
from initlab.engine.network import Layer, Network
from initlab.engine.recipe import LossName
from initlab.experiments import LayerEvidence, execute
from initlab.experiments.evidence import measure
from initlab.experiments.prediction import LayerPrediction, _quantiles, predict

RNG = np.random.default_rng(0)
SAMPLES, FEATURES, WIDTH = 40, 50, 200
INPUTS = RNG.standard_normal((FEATURES, SAMPLES))
BINARY = (RNG.random((1, SAMPLES)) < 0.5).astype(float)
ONE_HOT = np.eye(4)[:, RNG.integers(4, size=SAMPLES)]
QUANTITY = RNG.standard_normal((2, SAMPLES)) + 0.5

TARGETS: dict[str, tuple[LossName, np.ndarray]] = {
    "binary": ("binary_cross_entropy", BINARY),
    "multiclass": ("cross_entropy", ONE_HOT),
    "regression": ("squared_error", QUANTITY),
    "squared error of classes": ("squared_error", ONE_HOT),
}


class Squares(NamedTuple):
    """Squares of activation and gradient std, ``(2, layers)``: over seeds, and as predicted."""

    mean: np.ndarray
    error: np.ndarray  # standard, of the mean
    predicted: np.ndarray


def squares(layers: tuple[LayerEvidence, ...] | tuple[LayerPrediction, ...]) -> np.ndarray:
    return np.array(
        [[layer.activation_std**2 for layer in layers], [layer.gradient_std**2 for layer in layers]]
    )


def measured(
    init: str,
    network: Network,
    loss: LossName,
    inputs: np.ndarray,
    targets: np.ndarray,
    seeds: int,
) -> Squares:
    initializer = initializers.get(init)
    found: list[np.ndarray] = []
    for seed in range(seeds):
        stream = np.random.default_rng([7, seed])
        layers = [Layer(initializer.sample(s, stream), np.zeros(s[0])) for s in network.shapes]
        found.append(squares(measure(network, loss, layers, inputs, targets).layers))
    each = np.stack(found)
    return Squares(
        each.mean(axis=0),
        each.std(axis=0, ddof=1) / math.sqrt(seeds),
        squares(predict(init, network, loss, inputs, targets).layers),
    )


def check(found: Squares, left_out: float) -> None:
    off = np.abs(found.predicted - found.mean)
    assert (off <= 4.5 * found.error + left_out * found.mean).all(), found


@pytest.mark.parametrize(("loss", "targets"), TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid"])
def test_wide_networks(activation: str, loss: LossName, targets: np.ndarray):
    network = Network((FEATURES, WIDTH, WIDTH, len(targets)), activation)
    check(measured("he_normal", network, loss, INPUTS, targets, seeds=50), left_out=1.5 / WIDTH)


@pytest.mark.parametrize("init", ["orthogonal", "glorot_uniform", "normal(std=0.2)"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_wide_networks_from_other_starts(init: str, activation: str):
    network = Network((FEATURES, WIDTH, WIDTH, 1), activation)
    check(measured(init, network, "binary_cross_entropy", INPUTS, BINARY, seeds=30), 1.5 / WIDTH)


def test_unequal_lengths_and_common_directions():
    """Samples of very different length around a common mean, as images without centring are."""
    rng = np.random.default_rng(3)
    inputs = (1.5 + rng.standard_normal((FEATURES, SAMPLES))) * rng.uniform(0.2, 3, SAMPLES)
    network = Network((FEATURES, WIDTH, WIDTH, 1), "relu")
    found = measured("he_normal", network, "binary_cross_entropy", inputs, BINARY, seeds=50)
    check(found, left_out=2 / WIDTH)


@pytest.mark.parametrize(
    "init", ["he_normal", "glorot_uniform", "orthogonal", "normal(std=10)", "normal(std=0.01)"]
)
def test_the_course_network(init: str):
    """2-10-5-1: far from wide, and yet the size is right."""
    results = execute([init], seeds=200, steps=1)
    each = np.stack([squares(run.evidence.start) for run in results.runs])
    (prediction,) = results.predictions()
    assert prediction.init == init
    assert prediction.why_not is None
    assert [layer.layer for layer in prediction.layers] == [1, 2, 3]
    error = each.std(axis=0, ddof=1) / math.sqrt(len(each))
    check(Squares(each.mean(axis=0), error, squares(prediction.layers)), left_out=0.1)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_deep_networks_on_digits(activation: str):
    """Ten classes, inputs of unequal length, samples taken in part, layers that make them alike."""
    inputs, targets = load("digits").train_matrices()
    hidden = (100,) * 6
    network = Network((64, *hidden, 10), activation)
    found = measured("he_normal", network, "cross_entropy", inputs[:, ::5], targets[:, ::5], 40)
    check(found, left_out=2 * len(hidden) / 100)


def test_a_linear_layer_in_closed_form():
    """The expected square of the spread of W x, for any width, if samples are equally long.

    It is Var(w) (|x|² - |mean x|² / units): the mean over samples and units is random as well.
    """
    inputs = INPUTS + 1
    inputs /= np.linalg.norm(inputs, axis=0)
    for units in (1, 3, 50):
        network = Network((FEATURES, units), "identity")
        (layer,) = predict("normal(std=0.7)", network, "squared_error", inputs, BINARY).layers
        expected = 0.49 * (1 - np.square(inputs.mean(axis=1)).sum() / units)
        assert_allclose(layer.activation_std**2, expected, rtol=1e-12)


def test_gradients_of_small_signals_in_closed_form():
    """Where outputs are 0: (1/2)², 1/K - 1/K², (2/K)² E[y²], and what layers make of that.

    Each multiplies by Var(w) times its outputs, and by 1/2, for the units of ReLU that are on.
    """
    expected = {
        "binary": 1 / 4,
        "multiclass": 1 / 4 - 1 / 16,
        "regression": np.square(QUANTITY).mean(),
        "squared error of classes": (2 / 4) ** 2 * np.square(ONE_HOT).mean(),
    }
    for name, (loss, targets) in TARGETS.items():
        outputs = len(targets)
        network = Network((FEATURES, 30, 20, outputs), "relu")
        found = predict("normal(std=1e-6)", network, loss, INPUTS, targets).layers
        output = expected[name]
        second = 1e-12 * outputs / 2 * output
        first = 1e-12 * 20 / 2 * second
        stds = [layer.gradient_std for layer in found]
        assert_allclose(np.square(stds), [first, second, output], rtol=1e-9)


def test_softmax_of_large_logits_in_closed_form():
    """Of K logits that are far apart one takes all: E[(a - y)²] = 2 (1/K) (1 - 1/K)."""
    network = Network((FEATURES, 4), "identity")
    (layer,) = predict("normal(std=1e6)", network, "cross_entropy", INPUTS, ONE_HOT).layers
    # 4096 draws, of which each has one a of 1: the share of each class is exact in sum alone.
    assert_allclose(layer.gradient_std**2, 2 / 4 * (1 - 1 / 4), rtol=1e-4)


def test_softmax_of_moderate_logits_by_sampling():
    network = Network((FEATURES, 4), "identity")
    found = predict("lecun_normal", network, "cross_entropy", INPUTS, ONE_HOT).layers[0]
    draws = np.random.default_rng(1).standard_normal((100_000, 4))
    lengths = np.sqrt(np.square(INPUTS).mean(axis=0))
    values = np.stack([np.square(special.softmax(r * draws, axis=1)).mean() for r in lengths])
    expected = values.mean() - 2 / 16 + 1 / 4
    # Both are means over draws of about 0.1 with a standard deviation of as much.
    assert_allclose(found.gradient_std**2, expected, atol=4.5 * 0.1 / math.sqrt(4096))


def test_zeros_are_predicted_exactly():
    for name, (loss, targets) in TARGETS.items():
        for activation in ("relu", "tanh", "sigmoid", "softplus"):
            network = Network((FEATURES, 6, 5, len(targets)), activation)
            found = measured("zeros", network, loss, INPUTS, targets, seeds=2)
            assert_array_equal(found.predicted[0], 0, err_msg=f"{name} {activation}")
            assert_array_equal(found.predicted[1, :-1], 0)
            assert_allclose(found.predicted[1, -1], found.mean[1, -1], rtol=1e-12)


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("constant(0.5)", "constant(0.5) gives entries of a common mean"),
        ("ones", "ones gives entries of a common mean"),
        ("identity", "identity gives entries of a common mean or a fixed pattern"),
        ("normal(std=1, mean=1)", "gives entries of a common mean"),
        ("lsuv", "lsuv adapts its weights to data"),
    ],
)
def test_why_there_is_no_prediction(init: str, words: str):
    network = Network((FEATURES, 6, 5, 1))
    found = predict(init, network, "binary_cross_entropy", INPUTS, BINARY)
    assert found.init == init
    assert found.layers == ()
    assert found.why_not is not None
    assert words in found.why_not
    assert "such as he_normal or orthogonal" in found.why_not


def test_a_moment_that_cannot_be_computed_is_a_reason_too(monkeypatch: pytest.MonkeyPatch):
    """As for sin, whose pre-activations may be so large that it oscillates too fast."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise InvalidValueError("the moments of sin do not converge")

    monkeypatch.setattr("initlab.experiments.prediction.pair", fail)
    network = Network((FEATURES, 6, 5, 1), "sin")
    found = predict("normal(std=10)", network, "binary_cross_entropy", INPUTS, BINARY)
    assert found.layers == ()
    assert found.why_not == "normal(std=10): the moments of sin do not converge"


@pytest.mark.parametrize(("loss", "targets"), TARGETS.values(), ids=TARGETS)
def test_an_exploding_start(loss: LossName, targets: np.ndarray):
    """Warnings are errors here: there are none."""
    network = Network((FEATURES, 6, 5, len(targets)), "relu")
    found = predict("normal(std=1e200)", network, loss, INPUTS, targets).layers
    assert [layer.activation_std for layer in found] == [math.inf] * 3
    assert found[0].gradient_std == math.inf
    if loss == "squared_error":
        assert found[-1].gradient_std == math.inf
    else:  # a probability is off by 1 at most
        saturated = {"binary_cross_entropy": 1 / 2, "cross_entropy": 3 / 8}[loss]
        assert_allclose(found[-1].gradient_std ** 2, saturated, rtol=1e-3)


def test_a_bounded_function_holds_an_exploding_start():
    network = Network((FEATURES, 6, 5, 1), "tanh")
    found = predict("normal(std=1e100)", network, "binary_cross_entropy", INPUTS, BINARY).layers
    assert_allclose([layer.activation_std for layer in found[:2]], 1, atol=0.02)
    assert 1e99 < found[2].activation_std < 1e101


@pytest.mark.parametrize(("loss", "targets"), TARGETS.values(), ids=TARGETS)
def test_a_vanishing_start(loss: LossName, targets: np.ndarray):
    for activation in ("relu", "sigmoid"):
        network = Network((FEATURES, 6, 5, len(targets)), activation)
        found = measured("normal(std=1e-200)", network, loss, INPUTS, targets, seeds=2)
        assert_array_equal(found.predicted[0, :-1], found.mean[0, :-1])
        assert_array_equal(found.predicted[1, :-1], 0)
        assert_allclose(found.predicted[1, -1], found.mean[1, -1], rtol=1e-12)


@pytest.mark.parametrize("activation", activations.catalogue)
def test_every_activation_has_a_prediction(activation: str):
    network = Network((FEATURES, 6, 5, 1), activation)
    for init in ("zeros", "he_normal", "normal(std=1e-100)"):
        found = predict(init, network, "binary_cross_entropy", INPUTS, BINARY)
        values = [[layer.activation_std, layer.gradient_std] for layer in found.layers]
        assert np.isfinite(values).all()
        assert np.shape(values) == (3, 2)


@pytest.mark.parametrize("size", [1, 2, 6, 7, 15, 40, 300])
@pytest.mark.parametrize("most", [1, 6, 16])
def test_parts_of_the_sorted_values_keep_their_mean(size: int, most: int):
    values = np.random.default_rng(size).exponential(size=size)
    parts = _quantiles(values, most)
    assert len(parts) == min(size, most)
    assert (np.diff(parts) > 0).all()
    assert_allclose(parts.mean(), values.mean(), rtol=1e-12)
    if size % most == 0:
        expected = [part.mean() for part in np.split(np.sort(values), most)]
        assert_allclose(parts, expected, rtol=1e-12)


def test_samples_of_length_0():
    network = Network((3, 6, 1), "relu")
    targets = np.zeros((1, 4))
    nothing = predict("he_normal", network, "binary_cross_entropy", np.zeros((3, 4)), targets)
    assert [layer.activation_std for layer in nothing.layers] == [0, 0]
    inputs = np.zeros((3, 4))
    inputs[0, 0] = 1.0
    some = predict("he_normal", network, "binary_cross_entropy", inputs, targets)
    # One sample of four has a length l: of Var(w) l² that is 1/4 - 1/16 at the output.
    assert_allclose(some.layers[1].activation_std ** 2, 2 / 3 * 2 / 6 * 6 / 2 * (1 / 4 - 1 / 16))


def no_constants(constant: str) -> None:
    raise AssertionError(f"{constant} is not strict JSON")


def test_the_document_carries_the_prediction():
    results = execute(["he_normal", "lsuv", "normal(std=1e200)"], steps=1)
    text = json.dumps(results.to_document())
    document: dict[str, Any] = json.loads(text, parse_constant=no_constants)
    he, lsuv, exploding = (each["predicted"] for each in document["summary"])
    assert he == {
        "layers": [asdict(layer) for layer in results.predictions()[0].layers],
        "why_not": None,
    }
    assert [layer["layer"] for layer in he["layers"]] == [1, 2, 3]
    assert lsuv["layers"] == []
    assert lsuv["why_not"].startswith("lsuv adapts its weights to data")
    assert exploding["layers"][0]["activation_std"] == "inf"


def test_predictions_are_there_for_what_was_not_run():
    """As where Ctrl-C came early: they follow from the plan."""
    results = execute(["he_normal", "zeros"], steps=1)
    assert [each.init for each in results.predictions()] == ["he_normal", "zeros"]
    assert results.predictions() is results.predictions()
