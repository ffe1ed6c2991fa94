"""The command line, run in this process from an empty folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import matplotlib.pyplot as plt
import numpy as np
import pytest

from initlab.cli import main
from initlab.report import Comparison


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """All of stdout, read as the one strict JSON document it has to be."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out, parse_constant=_not_strict)


def _not_strict(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


Command = Callable[..., Answer]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of this test's own; figures stay off the screen."""
    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def initlab(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line and says what came of it."""

    def run(*words: str) -> Answer:
        capsys.readouterr()
        status = main(list(words))
        printed = capsys.readouterr()
        return Answer(status, printed.out, printed.err)

    return run


@pytest.fixture
def table(empty_folder: Path) -> Path:
    """Write a CSV file: two features, and two classes that a line separates."""
    x = np.random.default_rng(0).normal(size=(80, 2))
    rows = [f"{a:.4f},{b:.4f},{'yes' if a + b > 0 else 'no'}" for a, b in x.tolist()]
    path = empty_folder / "my.csv"
    path.write_text("\n".join(["height,width,label", *rows]) + "\n")
    return path


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes a second and is not looked at."""
    monkeypatch.setattr(Comparison, "save", lambda _, folder: folder / "report.html")
