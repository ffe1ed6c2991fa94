"""Progress and cancellation, shared between a training loop and whoever watches it."""

from __future__ import annotations

import numpy as np


class Control:
    """A step counter that the engine advances and a flag that stops it.

    Both are one-element arrays, which compiled code reads and writes in place while other threads
    look on.
    """

    def __init__(self) -> None:
        self.steps = np.zeros(1, dtype=np.int64)
        self.flag = np.zeros(1, dtype=np.int64)

    @property
    def steps_done(self) -> int:
        """Updates made so far, over all replicas."""
        return int(self.steps[0])

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return bool(self.flag[0])

    def advance(self, steps: int) -> None:
        """Count ``steps`` more updates."""
        self.steps[0] += steps

    def stop(self) -> None:
        """Ask the training to stop: within milliseconds, or a step where that takes longer."""
        self.flag[0] = 1
