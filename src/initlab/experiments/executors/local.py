"""Chunks on the threads of this machine; the engine releases the GIL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from initlab.engine.control import Control

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

# Ten times a second looks alive to a person and costs nothing.
POLL_SECONDS = 0.1


def run_chunks(
    work: Callable[[Chunk, Control], Result],
    chunks: Sequence[Chunk],
    *,
    threads: int,
    collect: Callable[[Result], None],
    tick: Callable[[Sequence[Control]], None],
) -> bool:
    """Run every chunk, handing each result over as it is finished.

    Parameters
    ----------
    work
        Runs one chunk in a worker thread; returns early, with what is finished, once its control
        is stopped.
    chunks
        What to run, started in this order.
    threads
        Chunks that run at once.
    collect
        Takes each result, in the calling thread. After an interrupt it may get one a second time.
    tick
        Looks at the controls, one a chunk, about ten times a second and once at the end.

    Returns
    -------
    bool
        Whether Ctrl-C cut the work short. Whatever the chunks had finished was handed over.

    Raises
    ------
    Exception
        What a chunk, ``collect`` or ``tick`` raised, after the other chunks were stopped.
    """
    controls = [Control() for _ in chunks]
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="initlab") as pool:
        futures: list[Future[Result]] = []
        try:
            futures += [pool.submit(work, *each) for each in zip(chunks, controls, strict=True)]
            _follow(futures, collect, lambda: tick(controls))
        except KeyboardInterrupt:
            _stop(futures, controls)
            # Those that were handed over before come again: which ones, an interrupt leaves open.
            for future in futures:
                if not future.cancelled():
                    collect(future.result())
            tick(controls)
            return True
        except BaseException:
            _stop(futures, controls)
            raise
    return False


def _follow(
    futures: list[Future[Result]], collect: Callable[[Result], None], tick: Callable[[], None]
) -> None:
    while futures:
        done, _ = wait(futures, POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            collect(future.result())
            futures.remove(future)  # it holds its result, which the collector may have cut down
        tick()


def _stop(futures: Sequence[Future[Result]], controls: Sequence[Control]) -> None:
    """Cancel what has not begun, stop what runs, and wait for it."""
    for future in futures:
        future.cancel()
    for control in controls:
        control.stop()
    wait(futures)
