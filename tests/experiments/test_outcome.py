"""Status, scores and the cost that knowing nothing leaves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics

from initlab.engine import losses
from initlab.engine.recipe import LossName
from initlab.experiments.outcome import (
    accuracy,
    best_constant_cost,
    r2,
    status,
    steps_to_target,
)

RNG = np.random.default_rng(3)
TARGETS = {
    "binary_cross_entropy": (RNG.random((1, 60)) < 0.3).astype(float),
    "cross_entropy": np.eye(3)[:, RNG.choice(3, p=[0.6, 0.3, 0.1], size=60)],
    "squared_error": RNG.standard_normal((2, 60)) * [[3.0], [0.5]],
}


@pytest.mark.parametrize("loss", TARGETS)
def test_no_constant_does_better_than_the_best(loss: LossName):
    targets = TARGETS[loss]

    def cost(constant: np.ndarray) -> float:
        return losses.cost(loss, np.repeat(constant[:, None], 60, axis=1), targets)

    found = optimize.minimize(cost, np.zeros(len(targets)), tol=1e-10)
    assert best_constant_cost(loss, targets) == pytest.approx(found.fun, rel=1e-7)


def test_the_status_rules():
    def of(final: float, first: float = 0.9) -> str:
        return status(final, first, target_cost=0.17, constant_cost=0.69)

    assert of(0.17) == "converged"
    assert of(0.18) == of(0.9) == of(0.98) == "stalled"
    assert of(1.0) == of(math.inf) == of(math.nan) == "diverged"
    assert of(0.75, first=0.1) == "stalled"
    assert of(0.77, first=0.1) == "diverged"
    assert of(0.7, first=math.inf) == of(0.7, first=math.nan) == "stalled"
    assert of(5.0, first=1773.0) == "stalled"


def test_steps_to_the_target():
    assert steps_to_target((0, 10, 20, 30), (1.0, 0.3, 0.2, 0.4), 0.3) == 10
    assert steps_to_target((0, 10), (math.inf, math.nan), 0.3) is None


def test_scores_are_those_of_scikit_learn():
    outputs = special.expit(RNG.standard_normal((1, 60)))
    targets = TARGETS["binary_cross_entropy"]
    assert accuracy(outputs, targets) == metrics.accuracy_score(targets[0], outputs[0] > 0.5)
    several = special.softmax(RNG.standard_normal((3, 60)), axis=0)
    labels = TARGETS["cross_entropy"]
    assert accuracy(several, labels) == pytest.approx(
        metrics.accuracy_score(labels.argmax(axis=0), several.argmax(axis=0))
    )
    values = TARGETS["squared_error"][:1]
    guess = values + 0.3 * RNG.standard_normal((1, 60))
    assert r2(guess, values) == pytest.approx(metrics.r2_score(values[0], guess[0]))


def test_scores_without_samples_or_numbers():
    nothing = np.empty((1, 0))
    assert accuracy(nothing, nothing) is None
    assert r2(nothing, nothing) is None
    assert r2(np.array([[1.0, math.nan]]), np.array([[1.0, 2.0]])) == -math.inf
    assert r2(np.array([[1.0, 1e300]]), np.array([[1.0, 2.0]])) == -math.inf
    assert r2(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0]])) == -math.inf
