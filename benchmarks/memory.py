"""How much memory many seeds take: the peak of a fresh process, against the size of what is kept.

What is kept of a replica is its start, its final parameters and its records; the peak may grow with
nothing else, in particular not with the number of steps.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from itertools import pairwise

import _common  # before what follows: it limits their threads
import numpy as np

from initlab.engine.network import Layer, Network
from initlab.engine.recipe import Recipe
from initlab.engine.train import train

SIZES, SAMPLES = (2, 10, 5, 1), 300


def train_seeds(seeds: int, steps: int, records: int) -> int:
    """Train so many replicas; return the bytes of their starts, ends and records."""
    stream = np.random.default_rng(0)
    start = [
        Layer(stream.standard_normal((seeds, fan_out, fan_in)), np.zeros((seeds, fan_out)))
        for fan_in, fan_out in pairwise(SIZES)
    ]
    inputs = stream.standard_normal((2, SAMPLES))
    targets = (inputs[:1] > 0).astype(float)
    recipe = Recipe(steps=steps, record_steps=tuple(range(records)))
    kept = train(Network(SIZES), recipe, start, inputs, targets)
    assert kept.course_cost is not None
    arrays = [*sum(start, ()), *sum(kept.layers, ()), kept.cost, kept.course_cost]
    return sum(array.nbytes for array in arrays)


def in_fresh_process(seeds: int, steps: int, records: int) -> tuple[int, int]:
    """Return the peak of resident memory and the bytes kept."""
    numbers = [str(number) for number in (seeds, steps, records)]
    command = [sys.executable, __file__, "--child", *numbers]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - itself
    peak, kept = map(int, done.stdout.split())
    return peak, kept


def main(seeds: int) -> None:
    """Measure a few combinations, and print how far each is above a single seed."""
    base, _ = in_fresh_process(1, 10, 0)
    rows: list[tuple[str, ...]] = []
    for count, steps, records in (
        (seeds, 10, 0),
        (2 * seeds, 10, 0),
        (seeds, 200, 0),
        (seeds, 200, 10),
        (seeds, 200, 200),
    ):
        peak, kept = in_fresh_process(count, steps, records)
        growth = peak - base
        rows.append(
            (
                f"{count:,}",
                f"{steps}",
                f"{records}",
                f"{kept / 2**20:.1f}",
                f"{growth / 2**20:.1f}",
                f"{growth / kept:.1f}",
            )
        )
    _common.show(
        f"peak memory above that of one seed ({base / 2**20:.0f} MiB)",
        ("seeds", "steps", "records", "MiB kept", "MiB of growth", "growth ÷ kept"),
        rows,
    )


def child(numbers: list[int]) -> None:
    """Train, and print the process's peak of memory and the bytes kept."""
    kept = train_seeds(*numbers)
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds: a smoke test")
    parser.add_argument("--child", nargs=3, type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child)
    else:
        main(1000 if chosen.quick else 10_000)
