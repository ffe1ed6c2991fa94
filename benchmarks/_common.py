"""Shared by the benchmarks: one thread each, alternatives timed in turns, one table.

Importing this module holds the thread pools of NumPy, PyTorch and XLA to one thread. They read the
limits while they load, so it is the first import of every benchmark.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True)
class Timing:
    """Seconds over the rounds of one alternative.

    Attributes
    ----------
    best
        The least: what disturbs a run only ever adds to it. Ratios are made of this one.
    median
        How far the usual round is from it.
    """

    best: float
    median: float


def arguments(description: str | None) -> argparse.Namespace:
    """Read the command line; every benchmark takes ``--quick``."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few steps and rounds: a smoke test")
    return parser.parse_args()


def pin(cores: int) -> None:
    """Keep the process on the first of its cores, where the system lets it choose."""
    if _CORES:
        os.sched_setaffinity(0, set(_CORES[:cores]))


def take_turns(alternatives: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time the alternatives in turns, A B C A B C ..., so that a busy moment meets all of them.

    Each has to have run before, so that no compilation is timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, run in alternatives.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(min(each), statistics.median(each)) for name, each in seconds.items()}


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 100).print(table)
