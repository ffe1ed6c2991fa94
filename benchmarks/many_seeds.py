"""A thousand seeds of the course network on two cores: throughput, and how it scales.

The engine trains the replicas on one thread and on two; JAX by ``vmap`` under ``scan`` and ``jit``,
with the threads it takes by itself. The final costs have to agree to 1e-9, and one thread has to
give the same weights as two, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import _common  # before what follows: it limits their threads
import jax
import numpy as np
from _alternatives import Problem, jax_step
from course_network import SIZES, course_problem

from initlab.engine.network import Layer
from initlab.engine.recipe import Recipe, Trajectory
from initlab.engine.train import train

AIM_SCALING, AIM_JAX = 1.85, 8
CHUNK = 25
"""Replicas that a thread of the engine takes at a time."""
FEW = 50
"""Replicas that JAX handles faster than all at once: their activations stay in the cache."""


def he_starts(seeds: int) -> list[Layer]:
    """Draw weights ``(seeds, fan_out, fan_in)`` from one stream; biases are zero."""
    stream = np.random.default_rng(0)
    return [
        Layer(
            stream.standard_normal((seeds, fan_out, fan_in)) * np.sqrt(2 / fan_in),
            np.zeros((seeds, fan_out)),
        )
        for fan_in, fan_out in pairwise(SIZES)
    ]


def engine_on(threads: int, problem: Problem, starts: Sequence[Layer]) -> Callable[[], Any]:
    """Train all replicas on so many threads; a run returns the final layers."""
    recipe = Recipe(learning_rate=problem.learning_rate, steps=problem.steps)

    def one(first: int) -> Trajectory:
        part = [Layer(w[first : first + CHUNK], b[first : first + CHUNK]) for w, b in starts]
        return train(problem.network, recipe, part, problem.inputs, problem.targets)

    def run() -> list[Layer]:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(one, range(0, len(starts[0].weight), CHUNK)))
        joined = zip(*(part.layers for part in parts), strict=True)
        return [Layer(*map(np.concatenate, zip(*layer, strict=True))) for layer in joined]

    return run


def jax_vmap(problem: Problem, starts: Sequence[Layer], together: int) -> Callable[[], Any]:
    """Train so many replicas at once in one compiled ``scan`` over a ``vmap``-ed step."""
    step = jax.vmap(jax_step(problem))

    def one(layers: Any) -> Any:
        return jax.lax.scan(lambda p, _: (step(p), None), layers, length=problem.steps)[0]

    @jax.jit
    def compiled(layers: Any) -> Any:
        return jax.lax.map(one, layers)

    start = [
        Layer(*(each.reshape(-1, together, *each.shape[1:]) for each in layer)) for layer in starts
    ]
    start = jax.tree.map(jax.numpy.asarray, start)
    return lambda: [Layer(*(np.concatenate(each) for each in layer)) for layer in compiled(start)]


def throughput(seeds: int, steps: int, rounds: int) -> None:
    """Time the engine and JAX in turns, and print the ratios."""
    problem = course_problem("float64", steps)
    starts = he_starts(seeds)
    runs = {
        "initlab, two threads": engine_on(2, problem, starts),
        "initlab, one thread": engine_on(1, problem, starts),
        f"JAX vmap, {FEW} at a time": jax_vmap(problem, starts, FEW),
        "JAX vmap, all at once": jax_vmap(problem, starts, seeds),
    }
    ends = {name: run() for name, run in runs.items()}  # compiles, too
    costs = {
        name: [problem.cost([Layer(w[i], b[i]) for w, b in layers]) for i in range(seeds)]
        for name, layers in ends.items()
    }
    for each in costs.values():
        np.testing.assert_allclose(each, costs["initlab, two threads"], rtol=1e-9)
    for one, two in zip(ends["initlab, one thread"], ends["initlab, two threads"], strict=True):
        np.testing.assert_array_equal(one.weight, two.weight)  # bit for bit
    timings = _common.take_turns(runs, rounds)
    own = timings["initlab, two threads"].best
    aims = ("", f"{AIM_SCALING}", f"{AIM_JAX}", f"{AIM_JAX}")
    _common.show(
        f"{seeds:,} seeds, {steps:,} steps each, best of {rounds}",
        ("", "steps a second", "µs a step", "÷ two threads", "aim"),
        [
            (
                name,
                f"{seeds * steps / timing.best:,.0f}",
                f"{timing.best / seeds / steps * 1e6:.2f}",
                f"{timing.best / own:.2f}",
                aim,
            )
            for (name, timing), aim in zip(timings.items(), aims, strict=True)
        ],
    )


if __name__ == "__main__":
    quick = _common.arguments(__doc__).quick
    os.environ["XLA_FLAGS"] = ""  # read at JAX's first use: here it may have both cores
    _common.pin(2)
    throughput(*((100, 100, 2) if quick else (1000, 500, 3)))
