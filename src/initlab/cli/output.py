"""What is printed: results on stdout, to the last character or to nobody; the rest on stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType

from initlab._base.errors import OutputError

_WIDTH = 100  # columns, where the terminal does not have fewer


def say(text: str) -> None:
    """Print text and a line break on stdout, at once.

    Where the reader has left, as ``head`` does when it has enough, this and all that follows is
    dropped: nothing is wrong, and what else there is to do is done.

    Raises
    ------
    OutputError
        If stdout cannot take it, as when it is a file on a full disk.
    """
    stream = sys.stdout
    if stream is None:  # pyright: ignore[reportUnnecessaryComparison] - started with stdout closed
        return
    # A file's name may hold what the terminal cannot show.
    shown = f"{text}\n".encode(_encoding(), "backslashreplace").decode(_encoding())
    try:
        stream.write(shown)
        stream.flush()
    except OSError as error:
        _drop_the_rest()
        if not _is_closed_pipe(error):
            raise OutputError(f"cannot write to stdout: {error.strerror or error}") from error


def complain(text: str) -> None:
    """Print one line on stderr, where there is one."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"initlab: {text}\n")


def rendered(parts: Iterable[RenderableType]) -> str:
    """Return tables as the text that stdout shows, without blanks at line ends.

    In colour on a terminal, 100 columns wide where it does not have fewer.
    """
    # Not printed on stdout right away: rich would end the program where the reader has left.
    page = io.TextIOWrapper(io.BytesIO(), _encoding(), "backslashreplace", newline="")
    stdout = Console()
    width = min(stdout.width, _WIDTH) if stdout.is_terminal else _WIDTH
    console = Console(
        file=page, force_terminal=stdout.is_terminal, width=width, highlight=False, emoji=False
    )
    for part in parts:
        console.print(part)
    page.seek(0)
    return "\n".join(line.rstrip() for line in page.read().rstrip().split("\n")) + "\n"


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _is_closed_pipe(error: OSError) -> bool:
    # Windows says EINVAL.
    return isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL


def _drop_the_rest() -> None:
    """Send what else goes to stdout, and what is left of it at the end, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
