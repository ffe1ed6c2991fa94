"""The command line: parse, call, render, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Words after the program's name; ``sys.argv[1:]`` if not given.

    Returns
    -------
    int
        Exit status: 0 fine, 2 wrong usage or input, 3 a fault of ours, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Imported here, so that Ctrl-C while it loads gets the same answer as at any other time.
        from initlab.cli.app import run  # noqa: PLC0415 - Ctrl-C may come meanwhile

        return run(words)
    except KeyboardInterrupt:
        if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] - closed
            sys.stderr.write("initlab: interrupted\n")
        return 130
