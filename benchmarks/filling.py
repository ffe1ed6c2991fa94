"""Filling a weight with random numbers on two threads: initlab, PyTorch, NumPy and JAX.

The alternatives fill arrays of the same size, in float32, with normal, truncated normal and uniform
numbers of std 0.02 or bound 0.02. All but JAX write into one array that is there before; JAX makes
a new one at each call, as it always does. What came out has to have the moments asked for, and
initlab the same bits on one thread as on two.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import _common  # before what follows: it limits their threads
import jax
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform

THREADS = 2
STD = 0.02
AIMS = {"normal": 5, "truncated normal": 40, "uniform": None}
"""How many times as long as initlab PyTorch is to take."""
PART = 20
"""SciPy draws this part of the numbers only: it takes long, and memory for several arrays."""

Run = Callable[[], Any]


def initlab_runs(weight: NDArray[np.float32], threads: int) -> dict[str, Run]:
    """Fill with initlab."""
    key = Key.derive(0, "weight")
    return {
        "normal": lambda: fill_normal(weight, key, std=STD, threads=threads),
        "truncated normal": lambda: fill_truncated_normal(weight, key, std=STD, threads=threads),
        "uniform": lambda: fill_uniform(weight, key, low=-STD, high=STD, threads=threads),
    }


def torch_runs(weight: NDArray[np.float32]) -> dict[str, Run]:
    """Fill with PyTorch's initialisers, on as many threads as it uses for them."""
    tensor, init = torch.from_numpy(weight), torch.nn.init
    return {
        "normal": lambda: init.normal_(tensor, std=STD),
        "truncated normal": lambda: init.trunc_normal_(tensor, std=STD, a=-2 * STD, b=2 * STD),
        "uniform": lambda: init.uniform_(tensor, -STD, STD),
    }


def numpy_runs(weight: NDArray[np.float32]) -> dict[str, Run]:
    """Fill with NumPy's fastest generator, on one thread as it has no other way; SciPy cuts."""
    stream = np.random.Generator(np.random.SFC64(0))

    def normal() -> None:
        stream.standard_normal(out=weight, dtype=np.float32)
        np.multiply(weight, np.float32(STD), out=weight)

    def truncated() -> None:
        size = weight.size // PART
        weight[:size] = stats.truncnorm.rvs(-2, 2, scale=STD, size=size, random_state=stream)

    def uniform() -> None:
        stream.random(out=weight, dtype=np.float32)
        np.multiply(weight, np.float32(2 * STD), out=weight)
        np.subtract(weight, np.float32(STD), out=weight)

    return {"normal": normal, "truncated normal": truncated, "uniform": uniform}


def jax_runs(size: int) -> dict[str, Run]:
    """Draw with JAX, compiled, all at once."""
    random, key = jax.random, jax.random.key(0)

    @jax.jit
    def normal(key: Any) -> Any:
        return STD * random.normal(key, (size,), np.float32)

    @jax.jit
    def truncated(key: Any) -> Any:
        return STD * random.truncated_normal(key, -2, 2, (size,), np.float32)

    @jax.jit
    def uniform(key: Any) -> Any:
        return random.uniform(key, (size,), np.float32, -STD, STD)

    return {
        "normal": lambda: normal(key).block_until_ready(),
        "truncated normal": lambda: truncated(key).block_until_ready(),
        "uniform": lambda: uniform(key).block_until_ready(),
    }


def check(weight: NDArray[np.float32], distribution: str) -> None:
    """Hold mean and std to the distribution's, by the first numbers."""
    exact = {
        "normal": stats.norm(scale=STD),
        "truncated normal": stats.truncnorm(-2, 2, scale=STD),
        "uniform": stats.uniform(-STD, 2 * STD),
    }[distribution]
    part = weight[: weight.size // PART].astype(np.float64)
    assert abs(part.mean()) < 5 * STD / part.size**0.5
    np.testing.assert_allclose(part.std(), exact.std(), rtol=5 / part.size**0.5)


def measure(distribution: str, weight: NDArray[np.float32], rounds: int) -> None:
    """Time the alternatives in turns on one distribution, and print the ratios."""
    own = f"initlab, {THREADS} threads"
    runs = {
        own: initlab_runs(weight, THREADS)[distribution],
        "initlab, 1 thread": initlab_runs(weight, 1)[distribution],
        "PyTorch": torch_runs(weight)[distribution],
        "NumPy" if distribution != "truncated normal" else "SciPy": numpy_runs(weight)[
            distribution
        ],
        "JAX": jax_runs(weight.size)[distribution],
    }
    sums = []
    for name, run in runs.items():  # compiles, too
        made = run()
        check(np.asarray(made) if name == "JAX" else weight, distribution)
        sums.append(hash(weight[::7].tobytes()))
    assert sums[0] == sums[1]  # bit for bit
    timings = _common.take_turns(runs, rounds)
    counts = {name: weight.size // PART if name == "SciPy" else weight.size for name in runs}
    each = {name: timings[name].best / counts[name] * 1e9 for name in runs}
    aim = AIMS[distribution]
    _common.show(
        f"{distribution}, {weight.size / 1e6:g} million float32, best of {rounds}",
        ("", "ns an element", "median", "÷ initlab", "aim"),
        [
            (
                name,
                f"{each[name]:.2f}",
                f"{timings[name].median / counts[name] * 1e9:.2f}",
                f"{each[name] / each[own]:.2f}",
                f"{aim}" if aim and name == "PyTorch" else "",
            )
            for name in runs
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few numbers and rounds: a smoke test")
    parser.add_argument(
        "--millions", type=float, default=100, help="numbers to draw; 100 take about 2 GB"
    )
    given = parser.parse_args()
    os.environ["XLA_FLAGS"] = ""  # read at JAX's first use: here it may have both cores
    torch.set_num_threads(THREADS)
    _common.pin(THREADS)
    array = np.zeros(int((1 if given.quick else given.millions) * 1e6), np.float32)
    for each_kind in AIMS:
        measure(each_kind, array, 2 if given.quick else 5)
