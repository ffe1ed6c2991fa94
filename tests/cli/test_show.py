"""``initlab show``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from initlab.initializers import catalogue


@pytest.mark.parametrize("name", catalogue)
def test_every_entry_fits_and_is_plain(initlab: Callable[..., Any], name: str):
    answer = initlab("show", name)
    assert (answer.status, answer.err) == (0, "")
    assert "\x1b" not in answer.out
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line != line.rstrip() for line in lines)
    assert lines[-1] == "  }"
    for part in ("Signature", "A draw", "exact", "PyTorch: ", "Keras: ", "JAX: ", "BibTeX"):
        assert part in answer.out


def test_arguments_and_shape(initlab: Callable[..., Any]):
    answer = initlab("show", "normal(std=10)", "--shape", "512,256")
    assert answer.out.startswith("normal(std=10) ")
    assert "std; 10 for shape (512, 256)" in answer.out
    assert "The code draws normal, not normal(std=10)" in answer.out


@pytest.mark.parametrize("shape", ["64,32,3,3", "(64, 32, 3, 3)", "[64,32,3,3]", "64, 32,3,3,"])
def test_the_document(initlab: Callable[..., Any], shape: str):
    document = initlab("show", "kaiming_normal", "--shape", shape, "--json").document
    assert (document["name"], document["alias"]) == ("he_normal", "kaiming_normal")
    assert document["shape"] == [64, 32, 3, 3]
    assert document["std"] == pytest.approx((2 / 288) ** 0.5)
    assert sum(document["sample"]["histogram"]["counts"]) == 64 * 32 * 9
    assert document["citations"][0]["bibtex"].startswith("@inproceedings{he2015delving,")


def test_the_same_each_time(initlab: Callable[..., Any]):
    assert initlab("show", "orthogonal").out == initlab("show", "orthogonal").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["he_norml"], "unknown initializer 'he_norml'; did you mean he_normal"),
        (["normal(10"], "cannot read initializer 'normal(10'"),
        (["normal(sd=10)"], "accepted: normal(std=1, mean=0)"),
        (["normal", "--shape", "3;4"], "--shape '3;4'; accepted: sizes such as 512,256"),
        (["normal", "--shape", "-3,4"], "--shape '-3,4'"),
        (["normal", "--shape", ""], "--shape ''"),
        (["he_normal", "--shape", "5"], "shape (5,)"),
        (["dirac", "--shape", "3,3"], "shape (3, 3)"),
        (["dirac(groups=5)"], "give it one (--shape)"),
        ([], "init"),
    ],
)
def test_what_is_wrong(initlab: Callable[..., Any], words: list[str], message: str):
    answer = initlab("show", *words)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_a_shape_too_large_to_draw_is_still_described(initlab: Callable[..., Any]):
    answer = initlab("show", "orthogonal", "--shape", "100000,100000")
    assert answer.status == 0
    assert "Not drawn: " in answer.out
    document = initlab("show", "orthogonal", "--shape", "100000,100000", "--json").document
    assert document["std"] == pytest.approx(100_000**-0.5)
    assert document["sample"] is None
    assert "whole" in document["not_drawn"]


def test_a_terminal_that_cannot_show_blocks():
    done = subprocess.run(
        [sys.executable, "-m", "initlab.cli", "show", "identity"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u2588" in done.stdout


def test_a_prior_is_shown_without_a_shape(initlab: Callable[..., Any]):
    assert initlab("show", "prior_bias((1, 2, 3))", "--json").document["shape"] == [3]
