"""The published exercise from the command line, against what was printed and a plain NumPy loop."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import make_circles

PRINTED_STEPS = range(0, 15_000, 1_000)

# Printed by the exercise.
HE_FIRST_COST, HE_LAST_COST = 0.8830537463419761, 0.07357895962677369
ZEROS_COST = 0.6931471805599453
LARGE_LAST_COST = 0.38278


@pytest.fixture(scope="module")
def numpy_costs() -> NDArray[np.float64]:
    """Run the exercise's He start as its notebook does, with nothing of ours."""
    x, y = make_circles(n_samples=300, noise=0.05, random_state=1)
    x, y = x.T, y[None, :]
    draw = np.random.RandomState(3)
    sizes = [2, 10, 5, 1]
    weights = [draw.randn(n, m) * np.sqrt(2 / m) for m, n in itertools.pairwise(sizes)]
    biases = [np.zeros((n, 1)) for n in sizes[1:]]
    costs: list[float] = []
    for step in range(14_001):
        outputs = [x]
        for w, b in zip(weights[:2], biases[:2], strict=True):
            outputs.append(np.maximum(w @ outputs[-1] + b, 0))
        a3 = 1 / (1 + np.exp(-(weights[2] @ outputs[-1] + biases[2])))
        if step in PRINTED_STEPS:
            costs.append(float(np.nansum(-np.log(a3) * y - np.log(1 - a3) * (1 - y)) / 300))
        delta = (a3 - y) / 300
        for layer in (2, 1, 0):
            dw, db = delta @ outputs[layer].T, delta.sum(axis=1, keepdims=True)
            delta = (weights[layer].T @ delta) * (outputs[layer] > 0)
            weights[layer] -= 0.01 * dw
            biases[layer] -= 0.01 * db
    return np.array(costs)


def test_without_options_it_is_the_published_exercise(
    initlab: Callable[..., Any], numpy_costs: NDArray[np.float64]
):
    runs = {run["init"]: run for run in initlab("compare", "--json").document["runs"]}
    assert list(runs) == ["zeros", "normal(std=10)", "he_normal"]
    assert all(run["steps"] == list(PRINTED_STEPS) for run in runs.values())

    he = runs["he_normal"]
    assert he["cost"][0] == pytest.approx(HE_FIRST_COST, rel=1e-9)
    assert he["cost"][14] == pytest.approx(HE_LAST_COST, rel=1e-9)
    np.testing.assert_allclose(he["cost"], numpy_costs, rtol=1e-9)
    assert he["train_accuracy"] == pytest.approx(0.9933333333333333)
    assert he["test_accuracy"] == 0.96
    assert (he["status"], he["what_happened"]) == ("converged", "healthy")

    zeros = runs["zeros"]
    np.testing.assert_allclose(zeros["cost"], ZEROS_COST, rtol=1e-14)
    assert (zeros["train_accuracy"], zeros["test_accuracy"]) == (0.5, 0.5)
    assert zeros["evidence"]["output_spread_end"] < 1e-12  # every prediction is the same
    assert "gradients exactly zero" in zeros["what_happened"]

    large = runs["normal(std=10)"]
    assert large["cost"][0] == "inf"
    assert large["cost"][14] == pytest.approx(LARGE_LAST_COST, abs=1e-3)
    assert (large["train_accuracy"], large["test_accuracy"]) == (0.83, 0.86)
    # Beside the inf stands what a careful cost gives.
    assert all(isinstance(cost, float) for cost in large["careful_cost"])
    assert large["careful_cost"][14] == pytest.approx(large["cost"][14], rel=1e-12)


@pytest.mark.usefixtures("no_report")
def test_the_tables_print_the_published_numbers(initlab: Callable[..., Any]):
    answer = initlab("compare")
    assert (answer.status, answer.err) == (0, "")
    rows = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert "0 0.6931 inf 1773.6 0.8831" in rows
    assert "14000 0.6931 0.3828 0.3828 0.0736" in rows
    assert "zeros stalled 0.6931 50.0 % 50.0 % never" in rows
    assert any(re.match(r"normal\(std=10\) stalled 0.38.. 83.0 % 86.0 %", row) for row in rows)
    assert any(re.match(r"he_normal converged 0.06.. 99.3 % 96.0 % 10000", row) for row in rows)
    assert "he_normal converged healthy" in rows
