"""One training problem, solved by the engine and by what a user would pick instead.

Each alternative prepares a problem and returns a run without arguments, which trains from the
start, by plain gradient descent over all samples, and returns the final layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray

from initlab.engine import losses, reference
from initlab.engine.network import Array, Layer, Network
from initlab.engine.recipe import LossName, Precision, Recipe
from initlab.engine.train import train

Run = Callable[[], Sequence[Layer]]


@dataclass(frozen=True)
class Problem:
    """A ReLU network, its start and its data.

    Attributes
    ----------
    network, loss, precision, learning_rate, steps
        What is trained, and how.
    start
        Weights ``(fan_out, fan_in)`` and biases ``(fan_out,)``.
    inputs, targets
        ``(features, samples)`` and ``(outputs, samples)``, in the problem's precision as the start.
    """

    network: Network
    loss: LossName
    precision: Precision
    learning_rate: float
    steps: int
    start: tuple[Layer, ...]
    inputs: Array
    targets: Array

    @property
    def flops_per_step(self) -> int:
        """Multiplications and additions of one step's matrix products.

        2 m Σ (2 fan_out fan_in) for the forward pass and the weights' gradients, and 2 m Σ fan_out
        fan_in over all layers but the first for the deltas; m samples. What biases, activations
        and the update cost is left out.
        """
        sizes = [fan_out * fan_in for fan_out, fan_in in self.network.shapes]
        return 2 * self.inputs.shape[1] * (2 * sum(sizes) + sum(sizes[1:]))

    def cost(self, layers: Sequence[Layer]) -> float:
        """Return the careful cost of final layers, in float64."""
        double = [Layer(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
        logits = reference.forward(self.network, double, self.inputs.astype(np.float64)).logits
        return losses.cost(self.loss, logits, self.targets)


def he_start(sizes: Sequence[int], precision: Precision) -> tuple[Layer, ...]:
    """Draw the course's He start: NumPy's legacy stream of seed 3, layer by layer."""
    stream = np.random.RandomState(3)
    return tuple(
        Layer(
            (stream.randn(fan_out, fan_in) * np.sqrt(2 / fan_in)).astype(precision),
            np.zeros(fan_out, precision),
        )
        for fan_in, fan_out in pairwise(sizes)
    )


def engine(problem: Problem, which: Literal["fast", "reference"] = "fast") -> Run:
    """Train with initlab."""
    recipe = Recipe(
        loss=problem.loss,
        learning_rate=problem.learning_rate,
        steps=problem.steps,
        precision=problem.precision,
    )
    start = [Layer(w[None], b[None]) for w, b in problem.start]

    def run() -> Sequence[Layer]:
        ended = train(problem.network, recipe, start, problem.inputs, problem.targets, engine=which)
        return [Layer(w[0], b[0]) for w, b in ended.layers]

    return run


def numpy_plain(problem: Problem) -> Run:
    """Train with NumPy: matrix products and in-place arithmetic, no cost computed."""
    x, y, rate = problem.inputs, problem.targets, problem.inputs.dtype.type(problem.learning_rate)
    output = _sigmoid if problem.loss == "binary_cross_entropy" else _softmax

    def run() -> Sequence[Layer]:
        weights = [w.copy() for w, _ in problem.start]
        biases = [b[:, None].copy() for _, b in problem.start]
        last = len(weights) - 1
        for _ in range(problem.steps):
            posts = [x]
            for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
                z = w @ posts[-1]
                z += b
                posts.append(output(z) if number == last else np.maximum(z, 0, out=z))
            delta = posts.pop()
            delta -= y
            delta /= x.shape[1]
            for number in range(last, -1, -1):
                by_weight, by_bias = delta @ posts[number].T, delta.sum(axis=1, keepdims=True)
                if number:
                    delta = weights[number].T @ delta
                    delta *= posts[number] > 0
                weights[number] -= rate * by_weight
                biases[number] -= rate * by_bias
        return [Layer(w, b[:, 0]) for w, b in zip(weights, biases, strict=True)]

    return run


def _sigmoid(z: NDArray[Any]) -> NDArray[Any]:
    return 1 / (1 + np.exp(-z))


def _softmax(z: NDArray[Any]) -> NDArray[Any]:
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)


def jax_step(problem: Problem) -> Callable[[Any], Any]:
    """Return one step of gradient descent in JAX, from layers to layers."""
    x, y = jnp.asarray(problem.inputs), jnp.asarray(problem.targets)

    def cost(layers: Any) -> Any:
        a = x
        for w, b in layers:
            z = w @ a + b[:, None]
            a = jax.nn.relu(z)
        if problem.loss == "binary_cross_entropy":
            return jnp.mean(jax.nn.softplus(z) - y * z)
        return jnp.mean(jax.nn.logsumexp(z, axis=0) - (y * z).sum(axis=0))

    def step(layers: Any) -> Any:
        rate = problem.learning_rate
        return jax.tree.map(lambda p, g: p - rate * g, layers, jax.grad(cost)(layers))

    return step


def jax_scan(problem: Problem) -> Run:
    """Train with JAX: all steps in one compiled ``scan``."""
    step = jax_step(problem)

    @jax.jit
    def compiled(layers: Any) -> Any:
        return jax.lax.scan(lambda p, _: (step(p), None), layers, length=problem.steps)[0]

    start = jax.tree.map(jnp.asarray, problem.start)

    def run() -> Sequence[Layer]:
        return [Layer(np.asarray(w), np.asarray(b)) for w, b in compiled(start)]

    return run


def torch_eager(problem: Problem) -> Run:
    """Train with PyTorch as its tutorials do: modules, autograd and ``optim.SGD``."""
    dtype = torch.float64 if problem.precision == "float64" else torch.float32
    inputs = torch.from_numpy(np.ascontiguousarray(problem.inputs.T))
    binary = problem.loss == "binary_cross_entropy"
    if binary:
        targets = torch.from_numpy(np.ascontiguousarray(problem.targets.T))
    else:
        targets = torch.from_numpy(problem.targets.argmax(axis=0))
    cost = torch.nn.BCEWithLogitsLoss() if binary else torch.nn.CrossEntropyLoss()
    linear = [torch.nn.Linear(i, o, dtype=dtype) for i, o in pairwise(problem.network.sizes)]
    parts = [part for layer in linear for part in (layer, torch.nn.ReLU())][:-1]
    model = torch.nn.Sequential(*parts)
    optimizer = torch.optim.SGD(model.parameters(), problem.learning_rate)

    def run() -> Sequence[Layer]:
        with torch.no_grad():
            for layer, (w, b) in zip(linear, problem.start, strict=True):
                layer.weight.copy_(torch.from_numpy(w))
                layer.bias.copy_(torch.from_numpy(b))
        for _ in range(problem.steps):
            optimizer.zero_grad()
            cost(model(inputs), targets).backward()
            optimizer.step()
        return [
            Layer(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
            for layer in linear
        ]

    return run
