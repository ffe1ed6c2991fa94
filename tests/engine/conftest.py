"""What the engine's tests share: problems to train, and the published run without initlab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import make_circles

from initlab.engine.network import Layer, Network
from initlab.engine.recipe import Recipe, Trajectory
from initlab.engine.train import train

SIZES = (2, 10, 5, 1)


class Problem(NamedTuple):
    """The arguments of ``train`` before the keyword ones, and the keys."""

    network: Network
    recipe: Recipe
    layers: tuple[Layer, ...]
    inputs: np.ndarray
    targets: np.ndarray
    keys: list[int]

    def train(self, **options: Any) -> Trajectory:
        return train(*self[:-1], **{"keys": self.keys, **options})


def make_problem(
    sizes: Sequence[int],
    activation: str = "relu",
    samples: int = 50,
    replicas: int = 1,
    seed: int = 0,
    **recipe: Any,
) -> Problem:
    """Draw starting weights, data and keys for a network and a recipe."""
    network, rng = Network(tuple(sizes), activation), np.random.default_rng(seed)
    instructions = Recipe(**{"steps": 8, **recipe})
    layers = tuple(
        Layer(
            rng.standard_normal((replicas, fan_out, fan_in)) / np.sqrt(fan_in),
            rng.standard_normal((replicas, fan_out)) * 0.3,
        )
        for fan_out, fan_in in network.shapes
    )
    inputs, outputs = rng.standard_normal((sizes[0], samples)), sizes[-1]
    targets = {
        "binary_cross_entropy": lambda: rng.integers(0, 2, (1, samples)).astype(float),
        "cross_entropy": lambda: np.eye(outputs)[:, rng.integers(0, outputs, samples)],
        "squared_error": lambda: rng.standard_normal((outputs, samples)),
    }[instructions.loss]()
    keys = [int(key) for key in rng.integers(0, 2**64, replicas, dtype=np.uint64)]
    return Problem(network, instructions, layers, inputs, targets, keys)


@dataclass(frozen=True)
class Published:
    """The course's data and starts, and the costs of its He run, each by plain NumPy.

    Attributes
    ----------
    train_x, train_y, test_x, test_y
        ``(2, samples)`` and ``(1, samples)``.
    steps
        Where the course prints its cost.
    he_costs
        Its cost there, from its own code written out once more.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    steps: tuple[int, ...]
    he_costs: np.ndarray

    @staticmethod
    def start(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Draw the weights ``"zeros"``, ``"random"`` or ``"he"``; biases are zero."""
        stream = np.random.RandomState(3)
        layers: list[tuple[np.ndarray, np.ndarray]] = []
        for fan_in, fan_out in pairwise(SIZES):
            scale = {"zeros": 0.0, "random": 10.0, "he": np.sqrt(2 / fan_in)}[name]
            layers.append((stream.randn(fan_out, fan_in) * scale, np.zeros(fan_out)))
        return layers


def course_costs(
    x: np.ndarray, y: np.ndarray, start: list[tuple[np.ndarray, np.ndarray]], steps: int
) -> np.ndarray:
    """Train as the course does, line by line, and return the cost at every thousandth step."""
    (w1, b1), (w2, b2), (w3, b3) = [(w, b[:, None]) for w, b in start]
    m = y.shape[1]
    costs: list[float] = []
    for step in range(steps):
        z1 = w1 @ x + b1
        a1 = np.maximum(z1, 0)
        z2 = w2 @ a1 + b2
        a2 = np.maximum(z2, 0)
        a3 = 1 / (1 + np.exp(-(w3 @ a2 + b3)))
        if step % 1000 == 0:
            costs.append(np.nansum(-np.log(a3) * y - np.log(1 - a3) * (1 - y)) / m)
        dz3 = (a3 - y) / m
        dz2 = (w3.T @ dz3) * (z2 > 0)
        dz1 = (w2.T @ dz2) * (z1 > 0)
        w3 = w3 - 0.01 * dz3 @ a2.T
        b3 = b3 - 0.01 * dz3.sum(axis=1, keepdims=True)
        w2 = w2 - 0.01 * dz2 @ a1.T
        b2 = b2 - 0.01 * dz2.sum(axis=1, keepdims=True)
        w1 = w1 - 0.01 * dz1 @ x.T
        b1 = b1 - 0.01 * dz1.sum(axis=1, keepdims=True)
    return np.array(costs)


@pytest.fixture(scope="session")
def published() -> Published:
    """Make the published experiment; its He run takes a second or two."""
    train_x, train_y = make_circles(300, noise=0.05, random_state=np.random.RandomState(1))
    test_x, test_y = make_circles(100, noise=0.05, random_state=np.random.RandomState(2))
    x, y = train_x.T, train_y[None, :].astype(float)
    assert x[:, 0].tolist() == [-0.07741354010048114, 0.8526022642742742]
    costs = course_costs(x, y, Published.start("he"), 15_000)
    return Published(
        x, y, test_x.T, test_y[None, :].astype(float), tuple(range(0, 15_000, 1000)), costs
    )


@pytest.fixture(scope="session")
def problem_of() -> Callable[..., Problem]:
    """Give :func:`make_problem`."""
    return make_problem
