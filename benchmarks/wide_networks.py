"""Wide and deep networks, one thread: the engine against the best of NumPy, PyTorch and JAX.

Every alternative trains the same start on the same data for the same steps; in float64 the final
costs have to agree to 1e-9.
"""

from __future__ import annotations

from itertools import pairwise

import _common  # before what follows: it limits their threads
import numpy as np
from _alternatives import Problem, engine, he_start, jax_scan, numpy_plain, torch_eager

from initlab.engine.network import Network
from initlab.engine.recipe import Precision

SHAPES = {
    "2-64-64-64-1": ((2, 64, 64, 64, 1), 300),
    "64-256-256-10": ((64, 256, 256, 10), 128),
    "784-512-512-10": ((784, 512, 512, 10), 128),
    "64-(100×30)-10": ((64, *[100] * 30, 10), 64),
}
AIM = {"float64": 1.3, "float32": 1.05}


def random_problem(
    sizes: tuple[int, ...], samples: int, precision: Precision, flops: float
) -> Problem:
    """Return a problem of normal inputs and random labels, with steps for about so many flops."""
    stream = np.random.default_rng(0)
    binary = sizes[-1] == 1
    labels = stream.integers(0, 2 if binary else sizes[-1], samples)
    targets = labels[None, :] if binary else np.eye(sizes[-1])[:, labels]
    products = sum(a * b for a, b in pairwise(sizes))
    return Problem(
        network=Network(sizes),
        loss="binary_cross_entropy" if binary else "cross_entropy",
        precision=precision,
        learning_rate=0.01,
        steps=max(3, int(flops / (6 * samples * products))),
        start=he_start(sizes, precision),
        inputs=stream.standard_normal((sizes[0], samples)).astype(precision),
        targets=np.ascontiguousarray(targets, precision),
    )


def compare(precision: Precision, flops: float, rounds: int) -> None:
    """Time all shapes in one number format, and print one row each."""
    rows: list[tuple[str, ...]] = []
    for name, (sizes, samples) in SHAPES.items():
        problem = random_problem(sizes, samples, precision, flops)
        runs = {
            "initlab": engine(problem),
            "NumPy": numpy_plain(problem),
            "PyTorch": torch_eager(problem),
            "JAX": jax_scan(problem),
        }
        costs = [problem.cost(run()) for run in runs.values()]  # compiles, too
        timings = _common.take_turns(runs, rounds)
        own, *others = (timing.best / problem.steps for timing in timings.values())
        rows.append(
            (
                name,
                f"{samples}",
                f"{problem.steps}",
                *(f"{seconds * 1e6:.0f}" for seconds in (own, *others)),
                f"{min(others) / own:.2f}",
                f"{AIM[precision]}",
                f"{max(abs(cost / costs[0] - 1) for cost in costs):.0e}",
            )
        )
        if precision == "float64":
            np.testing.assert_allclose(costs, costs[0], rtol=1e-9)
    _common.show(
        f"{precision}: µs a step, best of {rounds}; ratio: the best of the others ÷ initlab",
        ("", "batch", "steps", *runs, "ratio", "aim", "costs differ by"),
        rows,
    )


if __name__ == "__main__":
    quick = _common.arguments(__doc__).quick
    _common.pin(1)
    for each in ("float64", "float32"):
        compare(each, *((1e9, 2) if quick else (1e10, 12)))
