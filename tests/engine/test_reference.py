"""The reference engine against finite differences, PyTorch, and the published run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from initlab import activations
from initlab.engine import losses, reference
from initlab.engine.network import Layer, Network, pack, unpack
from initlab.engine.recipe import LOSSES, OPTIMIZERS, PRECISIONS, LossName, Recipe

inf, nan = np.inf, np.nan

ACTIVATIONS = [*activations.catalogue, "leaky_relu(0.2)", "leaky_relu(-0.5)", "elu(2.0)"]


@st.composite
def problems(
    draw: st.DrawFn,
) -> tuple[Network, LossName, tuple[Layer, ...], np.ndarray, np.ndarray]:
    """Draw a network, a loss, starting layers, inputs and targets."""
    loss = draw(st.sampled_from(LOSSES))
    hidden = draw(st.lists(st.integers(1, 6), max_size=4))
    outputs = 1 if loss == "binary_cross_entropy" else draw(st.integers(1, 4))
    features, samples = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    network = Network((features, *hidden, outputs), draw(st.sampled_from(ACTIVATIONS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.3, 1.0, 3.0]))
    layers = tuple(
        Layer(
            rng.standard_normal((fan_out, fan_in)) * scale / np.sqrt(fan_in),
            rng.standard_normal(fan_out) * 0.3,
        )
        for fan_in, fan_out in pairwise(network.sizes)
    )
    return (
        network,
        loss,
        layers,
        rng.standard_normal((features, samples)),
        draw_targets(rng, loss, outputs, samples),
    )


def draw_targets(
    rng: np.random.Generator, loss: LossName, outputs: int, samples: int
) -> np.ndarray:
    """Return targets ``(outputs, samples)`` of the kind that a loss takes."""
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, (1, samples)).astype(float)
    if loss == "cross_entropy":
        return np.eye(outputs)[:, rng.integers(0, outputs, samples)]
    return rng.standard_normal((outputs, samples))


def cost_at(
    network: Network, loss: LossName, flat: np.ndarray, x: np.ndarray, y: np.ndarray
) -> float:
    return losses.cost(loss, reference.forward(network, unpack(network, flat), x).logits, y)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_gradients_are_the_limit_of_central_differences(problem: Any):
    network, loss, layers, x, y = problem
    passed = reference.forward(network, layers, x)
    kinks = activations.get(network.activation).kinks
    hidden = np.concatenate([np.zeros(0), *(z.ravel() for z in passed.pre[:-1])])
    assume(all((np.abs(hidden - kink) > 1e-3).all() for kink in kinks))

    gradient = pack(reference.backward(network, loss, layers, passed, y).gradients)
    flat, h = pack(layers), 1e-5
    differences = np.array(
        [
            cost_at(network, loss, flat + step, x, y) - cost_at(network, loss, flat - step, x, y)
            for step in h * np.eye(flat.size)
        ]
    ) / (2 * h)
    assert_allclose(gradient, differences, rtol=1e-5, atol=1e-6 * (1 + np.abs(gradient).max()))


def torch_activation(torch: Any, name: str) -> Any:
    functional = torch.nn.functional
    table = {
        "identity": lambda z: z,
        "sigmoid": torch.sigmoid,
        "softplus": lambda z: functional.softplus(z, threshold=700),
        "sin": torch.sin,
        "erf": torch.erf,
        "leaky_relu(0.2)": lambda z: functional.leaky_relu(z, 0.2),
        "leaky_relu(-0.5)": lambda z: functional.leaky_relu(z, -0.5),
        "elu(2.0)": lambda z: functional.elu(z, 2.0),
    }
    return table[name] if name in table else getattr(functional, name)


def torch_cost(torch: Any, loss: LossName, logits: Any, targets: Any) -> Any:
    """Compute PyTorch's cost of logits and targets ``(outputs, samples)``."""
    functional = torch.nn.functional
    if loss == "binary_cross_entropy":
        return functional.binary_cross_entropy_with_logits(logits, targets)
    if loss == "cross_entropy":
        return functional.cross_entropy(logits.T, targets.T)
    return functional.mse_loss(logits, targets)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_gradients_and_deltas_are_those_of_autograd(problem: Any):
    torch = pytest.importorskip("torch")
    network, loss, layers, x, y = problem
    passed = reference.forward(network, layers, x)
    found = reference.backward(network, loss, layers, passed, y)

    activation = torch_activation(torch, network.activation)
    parameters = [torch.tensor(array, requires_grad=True) for layer in layers for array in layer]
    signal, pre = torch.tensor(x), []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        pre.append(weight @ signal + bias[:, None])
        signal = activation(pre[-1])
    cost = torch_cost(torch, loss, pre[-1], torch.tensor(y))
    expected = torch.autograd.grad(cost, [*pre, *parameters], allow_unused=True)

    assert_allclose(losses.cost(loss, passed.logits, y), cost.item(), rtol=1e-12, atol=1e-15)
    for z, z_torch in zip(passed.pre, pre, strict=True):
        assert_allclose(z, z_torch.detach().numpy(), rtol=1e-11, atol=1e-11)
    ours = [*found.deltas, *(array for layer in found.gradients for array in layer)]
    for array, gradient in zip(ours, expected, strict=True):
        assert array.shape == tuple(gradient.shape)
        assert_allclose(array, gradient.numpy(), rtol=1e-10, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(LOSSES),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from([1.0, 30.0, 1e3, 1e4]),
    st.integers(0, 2**32 - 1),
)
def test_cost_and_its_derivative_are_those_of_pytorch(
    loss: LossName, outputs: int, samples: int, scale: float, seed: int
):
    torch = pytest.importorskip("torch")
    outputs = 1 if loss == "binary_cross_entropy" else outputs
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((outputs, samples)) * scale
    targets = draw_targets(rng, loss, outputs, samples)
    z = torch.tensor(logits, requires_grad=True)
    cost = torch_cost(torch, loss, z, torch.tensor(targets))
    cost.backward()
    # log-sum-exp(z) - z_right cancels: what is left is exact to the last bit of the logits.
    assert_allclose(losses.cost(loss, logits, targets), cost.item(), rtol=1e-12, atol=1e-15 * scale)
    assert_allclose(
        losses.output_delta(loss, logits, targets), z.grad.numpy(), rtol=1e-12, atol=1e-16
    )


@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [
        (0.0, 0.0, np.log(2)),
        (1e4, 1.0, 0.0),
        (1e4, 0.0, 1e4),
        (-1e4, 1.0, 1e4),
        (-1e4, 0.0, 0.0),
        (-40.0, 0.0, 4.248354255291589e-18),  # e^-40
        (inf, 1.0, 0.0),
        (inf, 0.0, inf),
        (-inf, 1.0, inf),
        (-inf, 0.0, 0.0),
        (nan, 0.0, nan),
        (nan, 1.0, nan),
    ],
)
def test_binary_cross_entropy_of_extreme_logits(logit: float, target: float, expected: float):
    cost = losses.cost("binary_cross_entropy", np.array([[logit]]), np.array([[target]]))
    assert_allclose(cost, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("logits", "right", "expected"),
    [
        ((0.0, 0.0, 0.0), 1, np.log(3)),
        ((1e4, 0.0, -1e4), 0, 0.0),
        ((1e4, 0.0, -1e4), 1, 1e4),
        ((1e4, 0.0, -1e4), 2, 2e4),
        ((1e300, 0.0, -1e300), 1, 1e300),
        ((nan, 0.0, 0.0), 1, nan),
    ],
)
def test_cross_entropy_of_extreme_logits(logits: tuple[float, ...], right: int, expected: float):
    cost = losses.cost("cross_entropy", np.array(logits)[:, None], np.eye(3)[:, [right]])
    assert_allclose(cost, expected, rtol=1e-14)


def test_squared_error_of_extreme_outputs():
    cost = losses.cost("squared_error", np.array([[1e4, -1e4], [3.0, 1.0]]), np.zeros((2, 2)))
    assert_allclose(cost, (2e8 + 10) / 4)
    assert losses.cost("squared_error", np.array([[1e200]]), np.zeros((1, 1))) == inf
    assert np.isnan(losses.cost("squared_error", np.array([[nan]]), np.zeros((1, 1))))


def test_cost_of_float32_logits_is_a_float64_sum():
    logits = np.full((1, 100_000), 0.1, dtype=np.float32)
    cost = losses.cost("squared_error", logits, np.zeros_like(logits))
    assert_allclose(cost, float(np.float32(0.1)) ** 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [
        (0.3, 1.0, np.log1p(np.exp(-0.3))),
        (0.3, 0.0, np.log1p(np.exp(0.3))),
        (1e3, 1.0, 0.0),
        (1e3, 0.0, inf),
        (-1e3, 0.0, 0.0),
        (-1e3, 1.0, inf),
        (40.0, 0.0, inf),  # σ(40) rounds to 1, though the careful cost is 40
        (40.0, 1.0, 0.0),
        (-40.0, 1.0, 40.0),
        (nan, 1.0, 0.0),  # left out, as nansum does
    ],
)
def test_course_cost_of_one_sample(logit: float, target: float, expected: float):
    cost = losses.course_cost(np.array([[logit]]), np.array([[target]]))
    assert_allclose(cost, expected, rtol=1e-13)


def test_course_cost_leaves_nan_out_of_the_sum_but_not_of_the_divisor():
    logits = np.array([[0.3, 1e3, -1e3, nan]])
    targets = np.array([[1.0, 1.0, 0.0, 1.0]])
    assert_allclose(losses.course_cost(logits, targets), np.log1p(np.exp(-0.3)) / 4, rtol=1e-13)
    assert losses.course_cost(logits, 1 - targets) == inf


def test_course_cost_is_the_careful_one_where_nothing_saturates():
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((1, 50)) * 3, rng.integers(0, 2, (1, 50))
    careful = losses.cost("binary_cross_entropy", logits, targets)
    assert_allclose(losses.course_cost(logits, targets), careful, rtol=1e-12)
    outputs = special.expit(logits)
    assert losses.course_cost_of_outputs(outputs, targets) == losses.course_cost(logits, targets)


def test_outputs_are_probabilities_or_the_logits():
    logits = np.array([[1e3, -1.0], [0.0, 2.0]])
    assert_allclose(losses.output("binary_cross_entropy", logits[:1]), [[1, 1 / (1 + np.e)]])
    softmax = losses.output("cross_entropy", logits)
    assert_allclose(softmax, [[1, 1 / (1 + np.e**3)], [0, 1 / (1 + np.e**-3)]])
    assert_array_equal(losses.output("squared_error", logits), logits)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["sgd", "momentum", "adam"]),
    st.floats(1e-4, 10),
    st.floats(0, 0.99),
    st.floats(0, 0.999),
    st.sampled_from([1e-8, 1e-3, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_updates_are_those_of_pytorch(
    name: Any, rate: float, beta1: float, beta2: float, epsilon: float, seed: int
):
    torch = pytest.importorskip("torch")
    recipe = Recipe(
        optimizer=name,
        learning_rate=rate,
        momentum=beta1,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
    )
    rng = np.random.default_rng(seed)
    ours = rng.standard_normal(5)
    theirs = torch.nn.Parameter(torch.tensor(ours))
    judge = {
        "sgd": lambda: torch.optim.SGD([theirs], lr=rate),
        "momentum": lambda: torch.optim.SGD([theirs], lr=rate, momentum=beta1),
        "adam": lambda: torch.optim.Adam([theirs], lr=rate, betas=(beta1, beta2), eps=epsilon),
    }[name]()
    optimizer = reference.Optimizer(recipe)
    for _ in range(6):
        gradient = rng.standard_normal(5) * 10.0 ** rng.integers(-6, 3)
        theirs.grad = torch.tensor(gradient)
        judge.step()
        ours = ours - optimizer.update(gradient)
        assert_allclose(ours, theirs.detach().numpy(), rtol=1e-11, atol=1e-12 * rate)


def test_published_he_run_is_met_at_every_printed_step(published: Any):
    network = Network((2, 10, 5, 1), "relu")
    recipe = Recipe(steps=15_000, record_steps=published.steps)
    layers = [Layer(*layer) for layer in published.start("he")]
    found = reference.train_one(network, recipe, layers, published.train_x, published.train_y)
    assert found.course_cost is not None
    course = found.course_cost[0]
    assert_allclose(course[[0, -1]], [0.8830537463419761, 0.07357895962677369], rtol=1e-9)
    assert_allclose(course, published.he_costs, rtol=1e-9)
    assert_allclose(found.cost[0], published.he_costs, rtol=1e-9)

    trained = [Layer(w[0], b[0]) for w, b in found.layers]
    for x, y, accuracy in (
        (published.train_x, published.train_y, 0.9933333333333333),
        (published.test_x, published.test_y, 0.96),
    ):
        logits = reference.forward(network, trained, x).logits
        predicted = losses.output("binary_cross_entropy", logits) > 0.5
        assert_allclose((predicted == y).mean(), accuracy)


def test_records_and_snapshots_are_taken_before_the_update_and_the_last_after_all():
    network = Network((1, 1), "identity")
    recipe = Recipe(
        loss="squared_error",
        learning_rate=0.25,
        steps=2,
        record_steps=(0, 1, 2),
        snapshot_steps=(0, 2),
    )
    start = [Layer(np.array([[1.0]]), np.array([0.0]))]
    # z = w x + b at x = 1, y = 0: the gradient of w and of b is 2 z, so z shrinks to z - 4 η z = 0.
    found = reference.train_one(network, recipe, start, np.ones((1, 1)), np.zeros((1, 1)))
    assert_array_equal(found.cost, [[1, 0, 0]])
    assert found.course_cost is None
    assert_array_equal(found.snapshots, [[[1, 0], [0.5, -0.5]]])
    assert_array_equal(found.final_cost, [0])
    assert_array_equal(found.layers[0].weight, [[[0.5]]])
    assert_array_equal(start[0].weight, [[1]])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_diverging_run_ends_in_inf_or_nan_without_a_warning(
    optimizer: Any, loss: LossName, precision: Any
):
    network = Network((2, 4, 1 if loss == "binary_cross_entropy" else 3), "relu")
    rng = np.random.default_rng(0)
    layers = [Layer(rng.standard_normal(s), np.zeros(s[0])) for s in network.shapes]
    x, y = rng.standard_normal((2, 5)), draw_targets(rng, loss, network.sizes[-1], 5)
    recipe = Recipe(
        loss, optimizer, learning_rate=1e30, steps=20, record_steps=(0, 20), precision=precision
    )
    found = reference.train_one(network, recipe, layers, x, y)
    assert np.isfinite(found.cost[0, 0])
    assert not found.final_cost[0] < 1e20
    assert_array_equal(found.cost[:, 1], found.final_cost)
