"""What a person reads: tables that hold everything, the path of the report, and nothing else."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = {"report.html", "costs.png", "boundaries.png", "signals.png", "runs.csv"}

TWELVE = (
    "zeros",
    "ones",
    "normal(std=0.01)",
    "normal",
    "normal(std=10)",
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "orthogonal",
    "variance_scaling(scale=2, mode='fan_out', distribution='uniform')",
)


def sections(text: str) -> dict[str, list[str]]:
    """Split the tables off each other by their titles; the lines of each, blank ones left out."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if re.match(r"Cost|Summary|What happened|Report", line):
            title = line.partition(":")[0].partition(",")[0]
            found[title] = []
        elif line.strip():
            found[title].append(line)
    return found


def test_three_tables_and_the_path_of_the_report(initlab: Callable[..., Any]):
    answer = initlab("compare", "--steps", "30")
    assert (answer.status, answer.err) == (0, "")
    parts = sections(answer.out)
    assert list(parts) == ["Cost", "Summary", "What happened", "Report"]
    for init in ("zeros", "normal(std=10)", "he_normal"):
        assert all(init in "\n".join(parts[part]) for part in ("Cost", "Summary", "What happened"))
    assert answer.out.endswith("\nReport: initlab-report/report.html\n")
    assert {path.name for path in Path("initlab-report").iterdir()} == FILES


@pytest.mark.parametrize("seeds", [["--seeds", "3"], []], ids=["seeds", "published"])
@pytest.mark.parametrize("large", [[], ["--lr", "1e10"]], ids=["usual", "diverging"])
@pytest.mark.usefixtures("no_report")
def test_nothing_is_cut_at_a_hundred_columns(
    initlab: Callable[..., Any], seeds: list[str], large: list[str]
):
    steps = ["--steps", "30", "--record-every", "10"]
    text = initlab("compare", *TWELVE, *steps, *seeds, *large).out
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    parts = sections(text)
    costs, summary = " ".join(" ".join(parts["Cost"]).split()), parts["Summary"]
    for init in TWELVE[:-1]:
        assert f" {init} " in f" {costs} "
        assert len([line for line in summary if line.split()[0] == init]) == 1
    assert "variance_scaling(" in costs
    assert "distribution='uniform')" in costs
    # The last column is whole: its heading, and a cell for each start.
    assert {"steps", "to", "target"} <= {*" ".join(summary).split()}
    last = [line.split()[-1] for line in summary]
    assert len([word for word in last if re.fullmatch(r"never|\d+", word)]) == len(TWELVE)


@pytest.mark.usefixtures("no_report")
def test_the_tables_say_what_the_records_say(initlab: Callable[..., Any]):
    words = ["compare", "he_normal", "zeros", "--steps", "400", "--lr", "0.1", "--seeds", "3"]
    document = initlab(*words, "--json").document
    parts = sections(initlab(*words).out)
    rows = {line.split()[0]: line for line in parts["Summary"]}
    for each in document["summary"]:
        assert f"{100 * each['test_accuracy']['median']:.1f} %" in rows[each["init"]]
        assert f"{each['final_cost']['median']:.4f}" in rows[each["init"]]
    happened = " ".join(" ".join(parts["What happened"]).split())
    assert document["summary"][1]["what_happened"] in happened


def test_the_folder_is_where_it_was_asked_for(initlab: Callable[..., Any]):
    answer = initlab("compare", "he_normal", "--steps", "5", "--out", "über uns/a b")
    assert answer.out.endswith("\nReport: über uns/a b/report.html\n")
    assert {path.name for path in Path("über uns/a b").iterdir()} == FILES
    assert not Path("initlab-report").exists()


def test_home_is_understood(
    initlab: Callable[..., Any], empty_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(empty_folder / "home"))
    monkeypatch.setenv("USERPROFILE", str(empty_folder / "home"))
    assert initlab("compare", "he_normal", "--steps", "5", "--out=~/results").status == 0
    assert (empty_folder / "home" / "results" / "report.html").exists()
    assert not Path("~").exists()
    # Where nobody is called that, it is a name like any other.
    assert initlab("compare", "he_normal", "--steps", "5", "--out", "~nobody's/x").status == 0
    assert Path("~nobody's/x/report.html").exists()


def test_a_second_report_takes_the_place_of_the_first_and_of_nothing_else(
    initlab: Callable[..., Any],
):
    folder = Path("initlab-report")
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    initlab("compare", "he_normal", "--steps", "5")
    initlab("compare", "zeros", "--steps", "5")
    with (folder / "runs.csv").open(newline="") as file:
        assert [row["init"] for row in csv.DictReader(file)] == ["zeros"]
    assert {path.name for path in folder.iterdir()} == FILES | {"notes.txt"}
    assert (folder / "notes.txt").read_text() == "mine"
