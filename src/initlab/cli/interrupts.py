"""Which Ctrl-C ends what is being done, and which can wait."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType


@contextlib.contextmanager
def held_back(nth: int, noticed: Callable[[], None] | None = None) -> Generator[list[int]]:
    """Let the n-th Ctrl-C wait; any other interrupts as ever.

    People press it twice. The second, while the first is being acted on, would lose what the first
    was to keep; but who presses it a third time means it.

    Parameters
    ----------
    nth
        Counted from 1.
    noticed
        Called at each.

    Yields
    ------
    list
        Filled when the n-th comes.
    """
    held: list[int] = []
    count = 0

    def decide(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if noticed is not None:
            noticed()
        if count == nth:
            held.append(number)
        else:
            signal.default_int_handler(number, frame)

    usual = signal.getsignal(signal.SIGINT)
    # Another handler, or none as in a background job, is somebody's will; threads cannot set one.
    ours = (
        usual is signal.default_int_handler
        and threading.current_thread() is threading.main_thread()
    )
    if ours:
        signal.signal(signal.SIGINT, decide)
    try:
        yield held
    finally:
        if ours:
            signal.signal(signal.SIGINT, usual)


def came_of_interrupt(error: BaseException | None) -> bool:
    """Whether an error was raised while a Ctrl-C was dealt with, as compiled modules do."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
