"""Ctrl-C keeps and reports what is finished, once, twice, and at odd moments."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from initlab.cli import main
from initlab.cli.progress import RunProgress
from initlab.experiments.executors import local
from initlab.report import Comparison

FILES = ["boundaries.png", "costs.png", "report.html", "runs.csv", "signals.png"]

# More than a minute of work, of which little is done.
LONG = ("compare", "zeros", "he_normal", "--seeds", "2000", "--jobs", "2")
# A run that is not finished in any time.
ENDLESS = ("compare", "he_normal", "--seeds", "2", "--steps", "1000000000000", "--hidden", "4")


# What a person's own settings could change is left out.
PLAIN = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def usual_handler() -> Iterator[None]:
    """Whatever was done about Ctrl-C is undone."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def press_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that has Ctrl-C pressed when so many runs are done."""
    show = RunProgress.__call__

    def press_after(runs: int) -> None:
        pressed = threading.Event()

        def watch(bar: RunProgress, done: int, *others: int) -> None:
            show(bar, done, *others)
            if done >= runs and not pressed.is_set():
                pressed.set()
                press()

        monkeypatch.setattr(RunProgress, "__call__", watch)

    return press_after


def check_report(folder: Path, runs: int) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (folder / "report.html").read_text("utf-8").endswith("</html>\n")
    for name in ("costs", "boundaries", "signals"):
        image = (folder / f"{name}.png").read_bytes()
        assert image.startswith(b"\x89PNG")
        assert image.endswith(b"IEND\xaeB`\x82")
    with (folder / "runs.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == runs


def test_the_finished_runs_are_reported(
    initlab: Callable[..., Any], press_after: Callable[[int], None]
):
    press_after(4)
    answer = initlab(*LONG)
    assert answer.status == 130
    told = re.fullmatch(r"initlab: interrupted after (\d+) of 4,000 runs\n", answer.err)
    assert told is not None
    assert 4 <= int(told[1]) < 4000
    assert re.search(r"^Cost, median of", answer.out)
    assert answer.out.endswith("Report: initlab-report/report.html\n")
    check_report(Path("initlab-report"), int(told[1]))


def test_the_finished_runs_are_about_as_many_of_each_start(
    initlab: Callable[..., Any], press_after: Callable[[int], None], empty_folder: Path
):
    press_after(10)
    answer = initlab(*LONG, "--json")
    assert answer.status == 130
    document = type(answer)(0, answer.out, "").document
    assert document["interrupted"] is True
    assert answer.err == f"initlab: interrupted after {len(document['runs'])} of 4,000 runs\n"
    counts = [each["runs"] for each in document["summary"]]
    assert len(counts) == 2
    # Each of the two threads may be between the one start and the other.
    assert abs(counts[0] - counts[1]) <= 2
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize("output", [[], ["--json"], ["--out", "new/er"]])
def test_with_no_run_finished_there_is_one_line(
    initlab: Callable[..., Any],
    press_after: Callable[[int], None],
    empty_folder: Path,
    output: list[str],
):
    press_after(0)
    answer = initlab(*ENDLESS, *output)
    assert (answer.status, answer.out, answer.err) == (130, "", "initlab: interrupted\n")
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize(("more", "kept"), [(1, True), (2, False)])
def test_pressed_again_while_the_runs_are_stopped(
    initlab: Callable[..., Any],
    press_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    more: int,
    kept: bool,  # noqa: FBT001
):
    """The second press was meant like the first; the third means it."""
    stop = local._stop

    def impatient(*arguments: Any) -> None:
        stop(*arguments)
        for _ in range(more):
            press()

    monkeypatch.setattr(local, "_stop", impatient)
    press_after(4)
    answer = initlab(*LONG)
    assert answer.status == 130
    assert Path("initlab-report").exists() == kept
    assert ("Report" in answer.out) == kept
    assert answer.err.startswith("initlab: interrupted after" if kept else "initlab: interrupted\n")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(("presses", "kept"), [(1, True), (2, False)])
def test_pressed_while_the_report_is_made(
    initlab: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    presses: int,
    kept: bool,  # noqa: FBT001
):
    save = Comparison.save

    def interrupted(comparison: Comparison, folder: Path) -> Path:
        for _ in range(presses):
            press()
        return save(comparison, folder)

    monkeypatch.setattr(Comparison, "save", interrupted)
    answer = initlab("compare", "he_normal", "zeros", "--steps", "5")
    assert answer.status == 130
    assert "he_normal" in answer.out
    if kept:
        check_report(Path("initlab-report"), 2)
        assert answer.err == "initlab: interrupted after 2 of 2 runs\n"
    else:
        assert not Path("initlab-report").exists()
        assert answer.err == "initlab: interrupted\n"


def test_pressed_while_the_options_are_read(
    initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    """Typer would end the program without a word."""
    monkeypatch.setattr("initlab.cli.compare._seeds", lambda _: press())
    answer = initlab("compare")
    assert (answer.status, answer.out, answer.err) == (130, "", "initlab: interrupted\n")


def test_an_interrupt_that_a_library_turned_into_an_error_of_its_own(
    initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def save(*_: object) -> NoReturn:
        try:
            press()
            press()  # the first is held back
        finally:
            raise TypeError("incompatible function arguments")

    monkeypatch.setattr(Comparison, "save", save)
    answer = initlab("compare", "he_normal", "--steps", "5")
    assert (answer.status, answer.err) == (130, "initlab: interrupted\n")


def test_it_works_in_a_thread_where_signals_cannot_be_handled():
    statuses: list[int] = []
    words = ["compare", "he_normal", "--steps", "5", "--json"]
    thread = threading.Thread(target=lambda: statuses.append(main(words)))
    thread.start()
    thread.join()
    assert statuses == [0]


class Terminal:
    """The command line on a terminal of its own, which is its controlling one: Ctrl-C is a key."""

    def __init__(self, *words: str, columns: int = 100) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        take_it = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(sys.executable, [sys.executable, '-m', 'initlab.cli', *sys.argv[1:]])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", take_it, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**PLAIN, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self.stream = ""

    def read(self) -> bool:
        """Read what there is, waiting for it; return whether there may be more."""
        assert select.select([self.master], [], [], 120)[0], self.stream
        try:
            data = os.read(self.master, 65536)
        except OSError:  # Linux: all is closed at the other end
            return False
        self.stream += data.decode("utf-8", "replace")
        return bool(data)

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + 120
        while not re.search(pattern, self.stream):
            assert time.monotonic() < deadline, self.stream
            assert self.read(), self.stream

    def press_ctrl_c(self) -> None:
        os.write(self.master, b"\x03")

    def end(self) -> int:
        while self.read():
            pass
        os.close(self.master)
        return self.process.wait(120)

    def screen(self) -> list[str]:
        """Draw what the terminal shows in the end, line by line."""
        lines, row, column = [""], 0, 0
        for found in re.finditer(r"\x1b\[([0-9;?]*)([A-Za-z])|[^\x1b]", self.stream):
            argument, code = found[1], found[2]
            if code == "A":
                row = max(0, row - int(argument or 1))
            elif code == "K":
                lines[row] = "" if argument == "2" else lines[row][:column]
            elif code:
                assert code in "mhl", found[0]  # colours, and the cursor shown or not
            elif found[0] == "\r":
                column = 0
            elif found[0] == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            else:
                lines[row] = lines[row][:column].ljust(column) + found[0] + lines[row][column + 1 :]
                column += 1
        return lines


@pytest.fixture
def terminals() -> Iterator[Callable[..., Terminal]]:
    """Return a function that opens terminals; what still runs in the end is ended."""
    opened: list[Terminal] = []

    def start(*words: str, **options: int) -> Terminal:
        opened.append(Terminal(*words, **options))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()


def test_the_key_on_a_terminal(terminals: Callable[..., Terminal]):
    terminal = terminals(*LONG)
    terminal.wait_for(r"[1-9]\d* of 4,000 runs.* steps/s .*\d\d:\d\d")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert "stopping" in terminal.stream
    assert "Traceback" not in terminal.stream
    shown = [line for line in terminal.screen() if line.strip()]
    assert shown[0].startswith("Cost, median of ")
    assert not [line for line in shown if "steps/s" in line or "━" in line]
    assert "\x1b[?25h" in terminal.stream.rpartition("\x1b[?25l")[2]  # the cursor is back
    told = re.fullmatch(r"initlab: interrupted after (\d+) of 4,000 runs", shown[-1].strip())
    assert told is not None
    assert shown[-2].startswith("Report: ")
    check_report(Path("initlab-report"), int(told[1]))


def test_the_key_before_a_run_is_finished(terminals: Callable[..., Terminal], empty_folder: Path):
    terminal = terminals(*ENDLESS)
    terminal.wait_for(r"0 of 2 runs.* steps/s")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    # The terminal may show ^C where the key was pressed.
    shown = [line.strip().removeprefix("^C") for line in terminal.screen()]
    assert [line for line in shown if line] == ["initlab: interrupted"]
    assert not list(empty_folder.iterdir())


def test_on_a_narrow_terminal_the_tables_are_narrow(terminals: Callable[..., Terminal]):
    terminal = terminals("compare", "--steps", "30", columns=60)
    assert terminal.end() == 0
    assert re.search(r"\x1b\[3\dmstalled", terminal.stream)
    lines = terminal.screen()
    assert max(map(len, lines)) <= 60
    assert "normal(std=10)" in "\n".join(lines)
    assert any(line.startswith("Report: ") for line in lines)
