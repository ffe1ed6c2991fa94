"""Results on stdout, to the last character or to nobody."""

from __future__ import annotations

import errno
import os
import sys

from initlab._base.errors import OutputError


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
    # Gone where the program was started with stdout closed, whatever the type says.
    if stream is None:  # pyright: ignore[reportUnnecessaryComparison]
        return
    encoding = stream.encoding or "utf-8"
    # A file's name may hold what the terminal cannot show.
    shown = f"{text}\n".encode(encoding, "backslashreplace").decode(encoding)
    try:
        stream.write(shown)
        stream.flush()
    except OSError as error:
        reader_left()
        if not _is_closed_pipe(error):
            raise OutputError(f"cannot write to stdout: {error.strerror or error}") from error


def reader_left() -> None:
    """Send what else goes to stdout, and what is left of it at the end, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _is_closed_pipe(error: OSError) -> bool:
    # Windows says EINVAL.
    return isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL
