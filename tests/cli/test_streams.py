"""Results on stdout, the rest on stderr, whatever is at the other end."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from initlab.cli import main

RUN = (sys.executable, "-m", "initlab.cli")
# Buffered, as usual: what is left in the buffer meets the closed pipe at the very end.
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
SHORT = ("compare", "he_normal", "zeros", "--steps", "20")


@pytest.mark.parametrize(
    ("words", "lines", "report"),
    [(SHORT, 0, True), (SHORT, 1, True), ([*SHORT, "--json"], 0, False), (["--help"], 0, False)],
)
def test_a_reader_that_leaves_early(words: list[str], lines: int, *, report: bool):
    """As ``head`` does. The report, which it does not read, is written all the same."""
    process = subprocess.Popen(
        [*RUN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=BUFFERED
    )
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0
    assert Path("initlab-report/report.html").exists() == report


@pytest.mark.parametrize("shut", ["1>&-", "1>&- 2>&-"])
def test_streams_that_are_closed_from_the_start(shut: str):
    command = ["sh", "-c", f'exec "$@" {shut}', "sh", *RUN]
    done = subprocess.run([*command, *SHORT], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Path("initlab-report/report.html").exists()
    assert subprocess.run([*command, "--bogus"], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("output", [[], ["--json", "--out", "results"]])
def test_a_full_disk_behind_stdout(empty_folder: Path, output: list[str]):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*RUN, *SHORT, *output],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=BUFFERED,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == f"initlab: cannot write to stdout: {os.strerror(28)}\n"
    assert not list(empty_folder.iterdir())


def test_piped_output_has_neither_colour_nor_progress():
    done = subprocess.run([*RUN, *SHORT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 80  # whatever COLUMNS there are


@pytest.mark.usefixtures("no_report")
def test_what_the_encoding_cannot_hold_is_escaped(monkeypatch: pytest.MonkeyPatch):
    stdout = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main([*SHORT, "--out", "über"]) == 0
    stdout.seek(0)
    printed = stdout.read()
    assert printed.endswith("\nReport: \\xfcber/report.html\n")
    assert "0.6931" in printed
    assert "\\u" not in printed  # lines of tables are drawn with what there is


@pytest.mark.usefixtures("no_report")
def test_colour_on_a_terminal_unless_it_is_not_wanted(
    initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "70")
    coloured = initlab(*SHORT).out
    assert re.search(r"\x1b\[3\dmstalled", coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = initlab(*SHORT).out
    assert not re.search(r"\x1b\[[34]\d", plain)
    shown = re.sub(r"\x1b\[[\d;]*m", "", plain)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == shown
    assert max(map(len, shown.splitlines())) <= 70
