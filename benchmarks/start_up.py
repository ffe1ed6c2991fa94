"""How long the command takes from a shell: ``initlab --help``, and a whole warm comparison."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import _common

INITLAB = (sys.executable, "-c", "from initlab.cli import main; main()")
AIMS = {"initlab --help": 0.4, "initlab compare": 3.0}


def seconds(command: Sequence[str], rounds: int) -> list[float]:
    """Run a command once to warm the caches, then so many times more, each in a fresh process."""
    times: list[float] = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - its own command
        times.append(time.perf_counter() - started)
    return times[1:]


def main(rounds: int) -> None:
    """Time both commands, and print them beside Python's own start."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "initlab --help": (*INITLAB, "--help"),
            "initlab compare": (*INITLAB, "compare", "--out", folder),
        }
        times = {name: seconds(command, rounds) for name, command in commands.items()}
    _common.show(
        f"seconds of wall time, {rounds} runs after a first one",
        ("", "median", "best", "aim, below"),
        [
            (
                name,
                f"{statistics.median(each):.3f}",
                f"{min(each):.3f}",
                f"{AIMS[name]}" if name in AIMS else "",
            )
            for name, each in times.items()
        ],
    )


if __name__ == "__main__":
    main(3 if _common.arguments(__doc__).quick else 11)
