"""Help, version, faults of our own, and the programs that people call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from initlab._base.version import __version__
from initlab.report import comparison


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("first\nsecond   line")

    monkeypatch.setattr(comparison, "compare", fail)


@pytest.mark.usefixtures("broken")
def test_a_fault_of_ours_is_one_line(initlab: Callable[..., Any], empty_folder: Path):
    answer = initlab("compare")
    assert (answer.status, answer.out) == (3, "")
    assert answer.err == (
        "initlab: a fault of initlab, not of yours: ZeroDivisionError: first second line; "
        "run again with --debug for the traceback\n"
    )
    assert not list(empty_folder.iterdir())


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "words",
    [["--debug", "compare"], ["compare", "--debug"], ["compare", "--debug", "--steps", "5"]],
)
def test_debug_shows_the_traceback(initlab: Callable[..., Any], words: list[str]):
    answer = initlab(*words)
    assert answer.status == 3
    assert answer.err.startswith("Traceback (most recent call last):\n")
    assert answer.err.splitlines()[-1].startswith("initlab: a fault of initlab")


def test_debug_shows_where_bad_input_was_found(initlab: Callable[..., Any]):
    answer = initlab("compare", "he_norml", "--debug")
    assert answer.status == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("initlab: unknown initializer 'he_norml'")
    assert initlab("compare", "--bogus", "--debug").err.count("Traceback") == 1


def test_debug_changes_nothing_else(initlab: Callable[..., Any]):
    words = ["compare", "he_normal", "--steps", "5", "--json"]
    runs = [initlab(*words, *more).document["runs"] for more in ([], ["--debug"])]
    assert runs[0][0]["cost"] == runs[1][0]["cost"]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["--debug"]])
def test_without_a_command_there_is_help(initlab: Callable[..., Any], words: list[str]):
    answer = initlab(*words)
    assert (answer.status, answer.err) == (0, "")
    assert "compare" in answer.out
    assert "--version" in answer.out


def test_help_of_a_command(initlab: Callable[..., Any]):
    answer = initlab("compare", "--help")
    assert (answer.status, answer.err) == (0, "")
    for text in ("--optimizer", "--seeds", "normal(std=10)", "initlab compare --data my.csv"):
        assert text in answer.out
    assert initlab("compare", "-h").out == answer.out


def test_version(initlab: Callable[..., Any]):
    answer = initlab("--version")
    assert (answer.status, answer.out, answer.err) == (0, f"initlab {__version__}\n", "")


@pytest.mark.parametrize(
    "program",
    [[str(Path(sys.executable).with_name("initlab"))], [sys.executable, "-m", "initlab.cli"]],
    ids=["script", "module"],
)
def test_the_programs_exit_with_the_status(program: list[str]):
    for words, status in ((["--version"], 0), (["compare", "--steps", "0"], 2)):
        done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert (done.stdout == "") == (status == 2)
        assert (done.stderr == "") == (status == 0)
