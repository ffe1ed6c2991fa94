"""The readable engine in plain NumPy, which the fast one is held to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from initlab import activations
from initlab.engine import losses
from initlab.engine.batches import batches
from initlab.engine.control import Control
from initlab.engine.network import Array, Layer, Network, pack, unpack
from initlab.engine.recipe import LossName, Recipe, Trajectory


@dataclass(frozen=True)
class Forward:
    """What a forward pass leaves behind.

    Attributes
    ----------
    pre
        Pre-activations z per layer, ``(units, samples)``; the last are the logits.
    post
        The input, then the activations φ(z) of each hidden layer, ``(units, samples)``.
    """

    pre: tuple[Array, ...]
    post: tuple[Array, ...]

    @property
    def logits(self) -> Array:
        """Pre-activations of the output layer, ``(outputs, samples)``."""
        return self.pre[-1]


@dataclass(frozen=True)
class Backward:
    """What a backward pass finds.

    Attributes
    ----------
    deltas
        Derivative of the cost by each layer's pre-activations, ``(units, samples)``.
    gradients
        Derivative of the cost by each layer's weight and bias.
    """

    deltas: tuple[Array, ...]
    gradients: tuple[Layer, ...]


def forward(network: Network, layers: Sequence[Layer], inputs: Array) -> Forward:
    """Run the network on ``inputs`` ``(features, samples)``."""
    activation = activations.get(network.activation)
    pre: list[Array] = []
    post = [inputs]
    with np.errstate(over="ignore", invalid="ignore"):
        for weight, bias in layers:
            pre.append(weight @ post[-1] + bias[:, None])  # (fan_out, samples)
            if len(pre) < len(layers):
                post.append(activation(pre[-1]))
    return Forward(tuple(pre), tuple(post))


def backward(
    network: Network, loss: LossName, layers: Sequence[Layer], passed: Forward, targets: Array
) -> Backward:
    """Differentiate the cost over the samples of a forward pass.

    Parameters
    ----------
    network, loss, layers
        What was run.
    passed
        Its forward pass.
    targets
        ``(outputs, samples)``.
    """
    activation = activations.get(network.activation)
    with np.errstate(over="ignore", invalid="ignore"):
        deltas = [losses.output_delta(loss, passed.logits, targets)]
        for layer, pre in zip(reversed(layers[1:]), reversed(passed.pre[:-1]), strict=True):
            deltas.append((layer.weight.T @ deltas[-1]) * activation.slope(pre))
        deltas.reverse()
        gradients = tuple(
            Layer(delta @ post.T, delta.sum(axis=1))
            for delta, post in zip(deltas, passed.post, strict=True)
        )
    return Backward(tuple(deltas), gradients)


class Optimizer:
    """Turns gradients into updates; the rules are PyTorch's ``SGD`` and ``Adam``."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.steps = 0
        self.first: Array | float = 0.0
        self.second: Array | float = 0.0

    def update(self, gradient: Array) -> Array:
        """Return what to subtract from the packed parameters ``(parameters,)``."""
        recipe = self.recipe
        self.steps += 1
        if recipe.optimizer == "sgd":
            return recipe.learning_rate * gradient
        if recipe.optimizer == "momentum":
            self.first = recipe.momentum * self.first + gradient
            return recipe.learning_rate * self.first
        self.first = recipe.beta1 * self.first + (1 - recipe.beta1) * gradient
        self.second = recipe.beta2 * self.second + (1 - recipe.beta2) * gradient * gradient
        mean = self.first / (1 - recipe.beta1**self.steps)
        spread = np.sqrt(self.second / (1 - recipe.beta2**self.steps))
        return recipe.learning_rate * mean / (spread + recipe.epsilon)


def train_one(
    network: Network,
    recipe: Recipe,
    layers: Sequence[Layer],
    inputs: Array,
    targets: Array,
    key: int = 0,
    control: Control | None = None,
) -> Trajectory:
    """Train one network.

    Parameters
    ----------
    network, recipe
        What and how.
    layers
        Starting weights ``(fan_out, fan_in)`` and biases ``(fan_out,)``; not changed.
    inputs, targets
        ``(features, samples)`` and ``(outputs, samples)``.
    key
        64-bit key of the batch order.
    control
        Counts the steps and can stop them.

    Returns
    -------
    Trajectory
        Of one replica.
    """
    started = time.perf_counter()
    current = [Layer(w.astype(recipe.precision), b.astype(recipe.precision)) for w, b in layers]
    inputs, targets = inputs.astype(recipe.precision), targets.astype(recipe.precision)
    optimizer = Optimizer(recipe)
    costs = np.full(len(recipe.record_steps), np.nan)
    course_costs = np.full(len(recipe.record_steps), np.nan)
    kept = (len(recipe.snapshot_steps), network.parameter_count)
    snapshots = np.full(kept, np.nan, dtype=recipe.precision)
    records = {step: place for place, step in enumerate(recipe.record_steps)}
    places = {step: place for place, step in enumerate(recipe.snapshot_steps)}
    order = batches(key, inputs.shape[1], recipe.batch_size)
    step = 0
    for step in range(recipe.steps + 1):
        if step in records:
            logits = forward(network, current, inputs).logits
            record = records[step]
            costs[record] = losses.cost(recipe.loss, logits, targets)
            if recipe.loss == "binary_cross_entropy":
                course_costs[record] = losses.course_cost(logits, targets)
        if step in places:
            snapshots[places[step]] = pack(current)
        if step == recipe.steps or (control is not None and control.stopped):
            break
        chosen = next(order)
        passed = forward(network, current, inputs[:, chosen])
        gradients = backward(network, recipe.loss, current, passed, targets[:, chosen]).gradients
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging run shows inf and nan
            flat = pack(current) - optimizer.update(pack(gradients)).astype(recipe.precision)
        current = list(unpack(network, flat))
        if control is not None:
            control.advance(1)
    final = losses.cost(recipe.loss, forward(network, current, inputs).logits, targets)
    return Trajectory(
        steps=np.asarray(recipe.record_steps, dtype=np.int64),
        cost=costs[None],
        course_cost=course_costs[None] if recipe.loss == "binary_cross_entropy" else None,
        final_cost=np.array([final]),
        layers=tuple(Layer(w[None], b[None]) for w, b in current),
        snapshots=snapshots[None],
        seconds=np.array([time.perf_counter() - started]),
        steps_done=np.array([step]),
    )
