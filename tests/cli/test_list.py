"""``initlab list``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from initlab.initializers import FAMILIES, catalogue


def test_all_in_plain_text(initlab: Callable[..., Any]):
    answer = initlab("list")
    assert (answer.status, answer.err) == (0, "")
    assert "\x1b" not in answer.out
    assert max(map(len, answer.out.splitlines())) <= 100
    for name in (*catalogue, *catalogue.aliases):
        assert name in answer.out
    headings = [line for line in answer.out.splitlines()[:-1] if line and line[0] != " "]
    assert headings == [family.capitalize() for family in FAMILIES]
    assert answer.out.endswith("tells all about one.\n")


def test_a_formula_is_whole_where_it_may_be_searched(initlab: Callable[..., Any]):
    words = initlab("list", "trockman").out.replace("Trockman & Kolter 2023", "").split()
    assert " ".join(catalogue["mimetic"].formula.split()) in " ".join(words)


def test_the_document(initlab: Callable[..., Any]):
    found = initlab("list", "--json").document["initializers"]
    assert [each["name"] for each in found] == list(catalogue)
    he = next(each for each in found if each["name"] == "he_normal")
    assert he["aliases"] == ["kaiming_normal"]
    assert he["short_reference"] == "He et al. 2015"
    assert he["formula"] == catalogue["he_normal"].formula


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["kaiming", "uniform", "--family", "variance-scaling"], {"he_uniform"}),
        (["--family", "Variance scaling", "Klambauer"], {"selu_normal"}),
        (["xavier_normal"], {"glorot_normal"}),
    ],
)
def test_a_search(initlab: Callable[..., Any], words: list[str], names: set[str]):
    found = initlab("list", *words, "--json").document["initializers"]
    assert names <= {each["name"] for each in found}
    assert len(found) < 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["xyzzy"], "no initializer mentions 'xyzzy'"),
        (["--family", "recurrent"], "unknown family 'recurrent'"),
        (["--familly", "orthogonal"], "did you mean --family"),
    ],
)
def test_what_is_not_there(initlab: Callable[..., Any], words: list[str], message: str):
    answer = initlab("list", *words)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_help_names_the_families(initlab: Callable[..., Any]):
    text = " ".join(initlab("list", "--help").out.replace("│", " ").split())
    for family in FAMILIES:
        assert family.replace(" ", "-") in text


@pytest.mark.parametrize("command", ["list", "show"])
def test_help_loads_nothing_heavy(command: str):
    code = (
        "import sys; from initlab.cli import main; "
        f"main(['{command}', '--help']); main(['{command}', '--bogus']); "
        "print({'numpy', 'numba', 'scipy', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_commands_can_follow_each_other_in_one_process(initlab: Callable[..., Any]):
    for _ in range(2):
        assert initlab("list", "zeros").status == 0
        assert initlab("show", "zeros").status == 0
