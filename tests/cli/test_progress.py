"""The progress bar: runs done, steps a second, time left, on a terminal alone."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from initlab.cli import progress as module
from initlab.cli.progress import RunProgress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "perf_counter", clock)
    return clock


def shown(bar: RunProgress, file: io.StringIO) -> str:
    """Draw the bar anew and return its text."""
    start = file.tell()
    bar._bar.refresh()
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", file.getvalue()[start:]).strip()


def terminal(clock: Clock, **options: bool) -> tuple[RunProgress, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, width=100, get_time=clock, color_system=None, **options)
    return RunProgress(console), file


def test_runs_speed_and_time_left(clock: Clock):
    bar, file = terminal(clock, force_terminal=True)
    with bar:
        assert shown(bar, file).startswith("starting")
        bar(0, 40, 0, 4_000_000)
        assert shown(bar, file).startswith("starting")
        clock.now += 1
        bar(0, 40, 50_000, 4_000_000)  # where the measurement begins: what came before, compiling
        clock.now += 1
        bar(1, 40, 150_000, 4_000_000)
        clock.now += 2
        bar(3, 40, 350_000, 4_000_000)
        text = shown(bar, file)
        assert text.startswith("training")
        assert "3 of 40 runs" in text
        assert "100k steps/s" in text
        assert text.endswith("00:37")  # 3,650,000 steps at 100,000 a second
    assert bar.runs == 40


def test_compiling_is_said_when_it_takes_long(clock: Clock):
    bar, file = terminal(clock, force_terminal=True)
    with bar:
        bar(0, 3, 0, 300)
        assert "compiling" not in shown(bar, file)
        clock.now += 1.5
        bar(0, 3, 0, 300)
        assert "compiling the kernel (once)" in shown(bar, file)
        bar(0, 3, 10, 300)
        assert "compiling" not in shown(bar, file)


def test_stopping_is_said_until_the_end(clock: Clock):
    bar, file = terminal(clock, force_terminal=True)
    with bar:
        bar(1, 3, 100, 300)
        bar.stopping()
        assert shown(bar, file).startswith("stopping")
        bar(2, 3, 200, 300)
        assert shown(bar, file).startswith("stopping")
        bar(0, 3, 0, 300)
        assert shown(bar, file).startswith("stopping")


def test_it_goes_away(clock: Clock):
    bar, file = terminal(clock, force_terminal=True)
    with bar:
        bar(1, 3, 100, 300)
    # The last that is done: one line up, and cleared.
    assert file.getvalue().endswith("\x1b[1A\x1b[2K")
    assert "\x1b[?25h" in file.getvalue().rpartition("\x1b[?25l")[2]


def test_nothing_is_shown_where_there_is_no_terminal(clock: Clock):
    bar, file = terminal(clock, force_terminal=False)
    with bar:
        bar(1, 3, 100, 300)
        bar.stopping()
    assert file.getvalue() == ""
    assert bar.runs == 3


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.4567, "0.457"),
        (999, "999"),
        (999.7, "1k"),
        (412_345, "412k"),
        (999_900, "1M"),
        (2e6, "2M"),
    ],
)
def test_numbers_are_short(number: float, text: str):
    assert module._short(number) == text
