"""The course network, 2-10-5-1 on 300 samples: time per step, one core, everything side by side.

Every alternative trains the same start on the same data for the same steps; in float64 the final
costs have to agree to 1e-9. The cost is computed where the name says so, and nowhere else.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import _common  # before what follows: it limits their threads
import numpy as np
from _alternatives import (
    Problem,
    Run,
    engine,
    he_start,
    jax_scan,
    numpy_plain,
    torch_eager,
)
from sklearn.datasets import make_circles
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from initlab.engine.network import Layer, Network
from initlab.engine.recipe import Precision

SIZES = (2, 10, 5, 1)
AIMS = {
    "NumPy, the course's code": 22,
    "JAX jit + scan": 6,
    "PyTorch eager": 60,
    "scikit-learn MLPClassifier": 40,
}


def course_problem(precision: Precision, steps: int) -> Problem:
    """Return the published experiment: the course's circles, He's start, learning rate 0.01."""
    points, labels = make_circles(n_samples=300, noise=0.05, random_state=1)
    return Problem(
        network=Network(SIZES),
        loss="binary_cross_entropy",
        precision=precision,
        learning_rate=0.01,
        steps=steps,
        start=he_start(SIZES, precision),
        inputs=np.ascontiguousarray(points.T, precision),
        targets=labels[None, :].astype(precision),
    )


def course_code(problem: Problem) -> Run:
    """Train as the exercise is usually solved: plain NumPy, parameters and cost step by step."""
    X, Y, rate = problem.inputs, problem.targets, problem.inputs.dtype.type(problem.learning_rate)

    def run() -> Sequence[Layer]:
        m = X.shape[1]
        (W1, b1), (W2, b2), (W3, b3) = ((w, b[:, None]) for w, b in problem.start)
        for _ in range(problem.steps):
            z1 = np.dot(W1, X) + b1
            a1 = np.maximum(0, z1)
            z2 = np.dot(W2, a1) + b2
            a2 = np.maximum(0, z2)
            z3 = np.dot(W3, a2) + b3
            a3 = 1 / (1 + np.exp(-z3))
            terms = np.multiply(-np.log(a3), Y) + np.multiply(-np.log(1 - a3), 1 - Y)
            _cost = np.nansum(terms) / m
            dz3 = (a3 - Y) / m
            dW3, db3 = np.dot(dz3, a2.T), np.sum(dz3, axis=1, keepdims=True)
            dz2 = np.multiply(np.dot(W3.T, dz3), a2 > 0)
            dW2, db2 = np.dot(dz2, a1.T), np.sum(dz2, axis=1, keepdims=True)
            dz1 = np.multiply(np.dot(W2.T, dz2), a1 > 0)
            dW1, db1 = np.dot(dz1, X.T), np.sum(dz1, axis=1, keepdims=True)
            W1, b1 = W1 - rate * dW1, b1 - rate * db1
            W2, b2 = W2 - rate * dW2, b2 - rate * db2
            W3, b3 = W3 - rate * dW3, b3 - rate * db3
        return [Layer(W1, b1[:, 0]), Layer(W2, b2[:, 0]), Layer(W3, b3[:, 0])]

    return run


def scikit_learn(problem: Problem) -> Run:
    """Train with ``MLPClassifier``, full batch, its optimiser reduced to gradient descent."""
    inputs, labels = np.ascontiguousarray(problem.inputs.T), problem.targets[0].astype(int)
    model = MLPClassifier(
        hidden_layer_sizes=SIZES[1:-1],
        solver="sgd",
        alpha=0.0,
        batch_size=len(labels),
        learning_rate_init=problem.learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        max_iter=problem.steps,
        tol=0.0,
        n_iter_no_change=problem.steps + 1,  # never stops early
        warm_start=True,  # begins at coefs_, which are set below
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    model.partial_fit(inputs, labels, classes=(0, 1))  # makes the attributes

    def run() -> Sequence[Layer]:
        model.coefs_ = [w.T.copy() for w, _ in problem.start]
        model.intercepts_ = [b.copy() for _, b in problem.start]
        model.fit(inputs, labels)
        return [Layer(w.T, b) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]

    return run


def compare(precision: Precision, steps: int, rounds: int) -> None:
    """Time everything in one number format, and print it."""
    problem = course_problem(precision, steps)
    runs = {
        "initlab": engine(problem),
        "NumPy, the course's code": course_code(problem),
        "NumPy, no cost": numpy_plain(problem),
        "JAX jit + scan": jax_scan(problem),
        "PyTorch eager": torch_eager(problem),
        "scikit-learn MLPClassifier": scikit_learn(problem),
    }
    costs = {name: problem.cost(run()) for name, run in runs.items()}  # compiles, too
    timings = _common.take_turns(runs, rounds)
    own = timings["initlab"].best
    _common.show(
        f"{precision}, {steps:,} steps, best of {rounds}",
        ("", "µs a step", "median", "÷ initlab", "aim", "final cost", "differs by"),
        [
            (
                name,
                f"{timing.best / steps * 1e6:.2f}",
                f"{timing.median / steps * 1e6:.2f}",
                f"{timing.best / own:.1f}",
                f"{AIMS[name]}" if precision == "float64" and name in AIMS else "",
                f"{costs[name]:.12f}",
                f"{abs(costs[name] / costs['initlab'] - 1):.0e}",
            )
            for name, timing in timings.items()
        ],
    )
    if precision == "float64":
        np.testing.assert_allclose(list(costs.values()), costs["initlab"], rtol=1e-9)


if __name__ == "__main__":
    quick = _common.arguments(__doc__).quick
    _common.pin(1)
    for each in ("float64", "float32"):
        compare(each, *((500, 2) if quick else (15_000, 5)))
