"""The progress bar of a run: runs done, steps a second, time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

# Training begins within a fraction of a second unless a kernel has to be compiled first.
_PATIENCE = 1.0


class RunProgress:
    """Shows how far a run is, on stderr, where that is a terminal; a context manager.

    Call it as :data:`initlab.experiments.Progress` says.

    Parameters
    ----------
    console
        Where to; stderr if not given.

    Attributes
    ----------
    runs
        Runs in all, once they are known.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self.runs = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[runs]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, runs="", speed="")
        self._opened = time.perf_counter()
        self._first: tuple[float, int] | None = None
        self._stopping = False

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def stopping(self) -> None:
        """Say that the work is being stopped; a kernel that is compiled is finished first."""
        self._stopping = True
        self._bar.update(self._task, description="stopping")

    def __call__(self, runs_done: int, runs: int, steps_done: int, steps: int) -> None:
        """Show a new state."""
        self.runs = runs
        now = time.perf_counter()
        if steps_done == 0:
            if not self._stopping and now - self._opened > _PATIENCE:
                self._bar.update(self._task, description="compiling the kernel (once)")
            return
        if self._first is None:
            self._first = (now, steps_done)
        since, before = self._first
        speed = (steps_done - before) / (now - since) if now > since else 0.0
        self._bar.update(
            self._task,
            description="stopping" if self._stopping else "training",
            completed=steps_done,
            total=steps,
            runs=f"{runs_done:,} of {runs:,} runs",
            speed=f"{_short(speed)} steps/s" if speed else "",
        )


def _short(number: float) -> str:
    """Return a number with three digits and a unit: 412k, 1.25M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:  # 999,900 reads 1M, not 1e+03k
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
