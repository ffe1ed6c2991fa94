"""What the README shows works as it is shown."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import initlab
from initlab.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^    initlab (.+)$", README, re.MULTILINE)
EXAMPLES = re.findall(r"^```python\n(.+?)^```$", README, re.MULTILINE | re.DOTALL)

MODEL = """
import torch
from torch import nn

import initlab


def build():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
    initlab.initialize(model, "auto")
    return model, torch.randn(64, 20), torch.randint(3, (64,))
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder with the reader's own table and model; no figure on the screen."""
    plt.switch_backend("Agg")
    rows = [f"{i % 7},{i % 5},{'yes' if i % 3 else 'no'}" for i in range(60)]
    (tmp_path / "my.csv").write_text("\n".join(["height,width,label", *rows]))
    (tmp_path / "my_model.py").write_text(MODEL)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command puts this folder first
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_model", None)
    plt.close("all")


def test_there_is_something_to_test():
    assert len(COMMANDS) == 14
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command: str, capsys: pytest.CaptureFixture[str]):
    words = shlex.split(command)
    if words[0] == "compare":
        # Short, as only the command is under test; an option given twice counts as given last.
        words += ["--steps", "20"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    expected = {"compare": "report.html", "diagnose": "Verdict: healthy"}.get(words[0], "he_normal")
    if words[0] == "theory":
        expected = words[2]
    assert ('"initlab"' if "--json" in command else expected) in printed


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_runs(example: str):
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own text


@pytest.mark.parametrize(
    ("start", "init"), [("zeros", "zeros"), ("random", "normal(std=10)"), ("He", "he_normal")]
)
def test_the_table_is_what_is_measured(start: str, init: str):
    row = re.search(rf"^\| {start}.*?\| (.+) \|$", README, re.MULTILINE)
    assert row is not None
    first, last, train, test = (cell.strip(" %") for cell in row[1].split("|"))
    (run,) = initlab.compare([init]).runs
    at_14000 = run.steps.index(14_000)
    assert run.cost[0] == pytest.approx(float(first), rel=1e-9)
    assert run.cost[at_14000] == pytest.approx(float(last), rel=1e-3 if start == "random" else 1e-9)
    assert (run.train_score, run.test_score) == pytest.approx(
        (float(train) / 100, float(test) / 100), abs=0.005
    )


@pytest.mark.parametrize("linked", re.findall(r"\]\((?!https?:)(.+?)\)", README))
def test_each_link_leads_somewhere(linked: str):
    assert (ROOT / linked.partition("#")[0]).exists()


@pytest.mark.parametrize(
    "catalogue",
    [initlab.activations.catalogue, initlab.data.catalogue],
    ids=["activations", "data"],
)
def test_every_entry_of_a_catalogue_is_named(catalogue: Mapping[str, object]):
    missing = {name for name in catalogue if not re.search(rf"\b{name}\b", README, re.IGNORECASE)}
    assert not missing


def test_the_number_of_initialisers_is_the_catalogues():
    assert f"{len(initlab.initializers.catalogue)} initialisations" in README
