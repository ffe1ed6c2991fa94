"""Bad input: one line that says what was given and what is accepted, exit 2, nothing left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

ROWS = "\n".join(f"{i % 7},{(i * i) % 11},{'yes' if i % 3 else 'no'}" for i in range(40))
TABLE = f"height,width,label\n{ROWS}\n"

FILES = {
    "fine.csv": TABLE,
    "empty.csv": "",
    "blank.csv": "\n\n",
    "header.csv": "height,width,label\n",
    "one_class.csv": TABLE.replace("no", "yes"),
    "text.csv": TABLE.replace("\n3,", "\nthree,", 1),
    "hole.csv": TABLE.replace("\n3,", "\n,", 1),
    "nan.csv": TABLE.replace("\n3,", "\nnan,", 1),
    "inf.csv": TABLE.replace("\n3,", "\ninf,", 1),
    "numbers.csv": "\n".join(f"{i},{i + 0.5}" for i in range(20)),
    "values.csv": ROWS,
    "ragged.csv": TABLE + "1,2,3,4\n",
    "short.csv": "\n".join(TABLE.splitlines()[:6]),
    "semicolons.csv": TABLE.replace(",", ";"),
    "constant.csv": "a,b,y\n" + "\n".join(f"1,2,{i % 2}" for i in range(20)),
    "rare.csv": TABLE + "1,2,maybe\n",
    "count.csv": "a,y\n" + "\n".join(f"{i},{i // 5 if i < 39 else 99}" for i in range(40)),
    "words.txt": TABLE,
    "broken.npz": "no archive",
}

# The words after "compare", and what the line has to name: what was given, what is accepted.
NAMES = {
    "init": (["he_norml"], ["'he_norml'", "did you mean he_normal"]),
    "init, far off": (["qqq"], ["initializer 'qqq'", "known:", "glorot_uniform", "zeros"]),
    "second init": (["zeros", "ortogonal"], ["'ortogonal'", "did you mean orthogonal"]),
    "no init": ([""], ["initializer ''", "normal(std=10)"]),
    "activation": (["--activation", "rellu"], ["activation 'rellu'", "did you mean relu"]),
    "data": (["--data", "moon"], ["data set 'moon'", "did you mean moons?"]),
    "data, far off": (["--data", "qqq"], ["data set 'qqq'", "known:", "circles", "digits"]),
    "no data": (["--data", ""], ["data set ''", "moons(noise=0.3)"]),
    "optimizer": (["--optimizer", "adm"], ["optimizer 'adm'", "did you mean adam?"]),
    "loss": (["--loss", "cross_entrop"], ["loss 'cross_entrop'", "did you mean cross_entropy"]),
    "precision": (["--precision", "double"], ["precision 'double'", "float32, float64"]),
    "cost": (["--cost", "curse"], ["cost form 'curse'", "did you mean course?"]),
    "task": (["--task", "regresion"], ["task 'regresion'", "did you mean regression?"]),
    "option": (["--sedes", "3"], ["option '--sedes'", "did you mean --seeds"]),
    "option, far off": (["--qqq"], ["option '--qqq'", "known:", "--batch", "--target-cost"]),
    "short option": (["-x"], ["option '-x'", "-j"]),
    "flag with a value": (["--json=yes"], ["--json", "does not take a value"]),
    "option without its value": (["--lr"], ["--lr", "requires an argument"]),
}
ARGUMENTS = {
    "std below 0": (["normal(std=-1)"], ["std=-1 is not above 0", "normal(std=1, mean=0)"]),
    "open bracket": (["normal(std="], ["'normal(std='", "normal(std=10)"]),
    "code": (["normal(__import__('os'))"], ["__import__('os')", "is not a number"]),
    "code for a name": (["__import__('os').abort()"], ["__import__('os').abort()", "write a name"]),
    "keyword": (["normal(sd=3)"], ["'sd'", "accepted: normal(std=1, mean=0)"]),
    "too many": (["zeros(1)"], ["'zeros(1)'", "accepted:"]),
    "mode": (["variance_scaling(mode='fan')"], ["'fan'", "fan_in", "fan_out", "fan_avg"]),
    "an init twice": (["he_normal", "kaiming_normal"], ["he_normal is given twice"]),
    "lr 0": (["--lr", "0"], ["--lr 0", "greater than 0"]),
    "lr below 0": (["--lr", "-0.1"], ["--lr -0.1", "greater than 0"]),
    "lr nan": (["--lr", "nan"], ["--lr nan", "finite"]),
    "lr inf": (["--lr=inf"], ["--lr inf", "finite"]),
    "lr text": (["--lr", "fast"], ["--lr 'fast'", "valid number"]),
    "lr text, glued": (["--lr=fast"], ["--lr 'fast'", "valid number"]),
    "lr text, twice": (["--lr", "1", "--lr", "x"], ["--lr 'x'", "valid number"]),
    "steps 0": (["--steps", "0"], ["--steps 0", "greater than or equal to 1"]),
    "steps, part": (["--steps", "1.5"], ["--steps '1.5'", "valid integer"]),
    "steps, many": (["--steps", "9" * 30], ["--steps 999", "less than or equal to 1000000000000"]),
    "batch 0": (["--batch", "0"], ["--batch 0", "greater than or equal to 1"]),
    "batch, many": (["--batch", "1000"], ["--batch 1000 with 300 training samples", "1 to 300"]),
    "hidden text": (["--hidden", "10,x"], ["--hidden '10,x'", "10,5", "none"]),
    "hidden 0": (["--hidden", "10,0"], ["--hidden 0", "greater than or equal to 1"]),
    "hidden below 0": (["--hidden", "-3"], ["--hidden -3", "greater than or equal to 1"]),
    "hidden empty": (["--hidden", ""], ["--hidden ''", "none"]),
    "hidden, end": (["--hidden", "10,"], ["--hidden '10,'", "10,5"]),
    "hidden, many": (["--hidden", "9" * 30], ["--hidden 999", "less than or equal to 1000000"]),
    "seeds 0": (["--seeds", "0"], ["--seeds 0", "1 to 1000000"]),
    "seeds below 0": (["--seeds", "-1"], ["--seeds -1", "1 to 1000000"]),
    "a seed below 0": (["--seeds", "1,-1"], ["--seeds [1, -1]", "whole numbers from 0"]),
    "seeds text": (["--seeds", "a"], ["--seeds 'a'", "such as 50", "3,7"]),
    "seeds, part": (["--seeds", "1.5"], ["--seeds '1.5'", "such as 50"]),
    "seeds empty": (["--seeds", ","], ["--seeds ','", "such as 50"]),
    "seeds twice": (["--seeds", "3,3"], ["--seeds [3, 3]", "distinct"]),
    "seeds, many": (["--seeds", "9" * 30], ["--seeds 999", "1 to 1000000"]),
    "jobs 0": (["--jobs", "0"], ["--jobs 0", "at least 1"]),
    "jobs 0, short": (["-j0"], ["--jobs 0", "at least 1"]),
    "target cost": (["--target-cost", "-1"], ["--target-cost -1", "greater than or equal to 0"]),
    "target cost nan": (["--target-cost", "nan"], ["--target-cost nan", "finite"]),
    "momentum": (["--momentum", "1"], ["--momentum 1", "less than 1"]),
    "records": (["--record-every", "0"], ["--record-every 0", "greater than or equal to 1"]),
    "records, many": (
        ["--record-every", "1", "--steps", "2000000"],
        ["--record-every 1 with 2000000 steps", "2 or more"],
    ),
    "leaky": (["--activation", "leaky_relu(nan)"], ["leaky_relu", "nan"]),
}
FITTING = {
    "loss for more classes": (
        ["--loss", "cross_entropy"],
        ["loss cross_entropy", "2 classes", "accepted: binary_cross_entropy, squared_error"],
    ),
    "loss for two classes": (
        ["--loss", "binary_cross_entropy", "--data", "digits"],
        ["loss binary_cross_entropy", "10 classes", "accepted: cross_entropy, squared_error"],
    ),
    "cost of another loss": (
        ["--cost", "course", "--loss", "squared_error"],
        ["--cost 'course'", "binary_cross_entropy", "accepted: 'careful'"],
    ),
    "target of no file": (["--target", "y"], ["--target 'y'", "'circles'", "data file"]),
    "task of no file": (["--task", "regression"], ["--task 'regression'", "data file"]),
    "regression of text": (["--data", "fine.csv", "--task", "regression"], ["is text", "numbers"]),
}
DATA = {
    "few points": (["--data", "circles(n=3)"], ["n=3", "from 12 to"]),
    "keyword": (["--data", "circles(m=3)"], ["'m'", "accepted: circles(n=300"]),
    "code": (["--data", "moons(open('x'))"], ["open('x')", "is not a number"]),
    "missing": (["--data", "none.csv"], ["'none.csv'", "No such file"]),
    "missing archive": (["--data", "none.npz"], ["'none.npz'", "No such file"]),
    "folder": (["--data", "folder.csv"], ["'folder.csv'", "is a folder"]),
    "folder, no suffix": (["--data", "./"], ["'./'", ".csv or .npz"]),
    "suffix": (["--data", "words.txt"], ["'words.txt'", ".csv or .npz"]),
    "empty": (["--data", "empty.csv"], ["'empty.csv'", "is empty"]),
    "blank": (["--data", "blank.csv"], ["'blank.csv'", "is empty"]),
    "header only": (["--data", "header.csv"], ["header line only", "rows of data"]),
    "no header": (["--data", "numbers.csv"], ["'numbers.csv'", "holds numbers", "header line"]),
    "no header, text": (["--data", "values.csv"], ["called '0'", "header line"]),
    "one class": (["--data", "one_class.csv"], ["one class only, 'yes'", "at least 2"]),
    "text": (["--data", "text.csv"], ["not numeric", "'height'", "'three'"]),
    "hole": (["--data", "hole.csv"], ["'height', row 4", "missing value", "fill it in or drop"]),
    "nan": (["--data", "nan.csv"], ["'height', row 4", "missing value", "finite number"]),
    "inf": (["--data", "inf.csv"], ["'height', row 4", "inf", "finite number"]),
    "ragged": (["--data", "ragged.csv"], ["'ragged.csv'", "line 42"]),
    "short": (["--data", "short.csv"], ["5 samples", "at least 8"]),
    "semicolons": (["--data", "semicolons.csv"], ["one column only", "commas"]),
    "constant": (["--data", "constant.csv"], ["constant", "nothing to learn"]),
    "rare": (["--data", "rare.csv"], ["class 'maybe'", "single sample", "at least 2"]),
    "a quantity?": (["--data", "count.csv"], ["single sample", "--task regression"]),
    "target": (["--data", "fine.csv", "--target", "lable"], ["'lable'", "did you mean 'label'?"]),
    "target, far off": (
        ["--data", "fine.csv", "--target", "q"],
        ["'q'", "it has 'height', 'width', 'label'"],
    ),
    "text left": (["--data", "fine.csv", "--target", "width"], ["not numeric", "'label'"]),
    "broken archive": (["--data", "broken.npz"], ["'broken.npz'", "arrays x"]),
    "other archive": (["--data", "other.npz"], ["'a', 'b'", "as --target ..."]),
}
OUTPUT = {
    "a file": (["--out", "fine.csv"], ["fine.csv is not a folder"]),
    "in a file": (["--out", "fine.csv/a/b"], ["fine.csv is not a folder"]),
    "folder of a file's name": (["--out", "blocked"], ["blocked", "runs.csv", "in the way"]),
    "too long": (["--out", "a" * 300], ["File name too long"]),
    "over the data": (["--data", "runs.csv", "--out", "."], ["runs.csv", "give another --out"]),
    "over the data, by another path": (
        ["--data", "runs.csv", "--out", "folder.csv/.."],
        ["runs.csv", "give another --out"],
    ),
}
KINDS = {
    "names": NAMES,
    "arguments": ARGUMENTS,
    "fitting": FITTING,
    "data": DATA,
    "output": OUTPUT,
}
CASES = {f"{kind}: {name}": case for kind, of in KINDS.items() for name, case in of.items()}


@pytest.fixture
def files(empty_folder: Path) -> list[Path]:
    """Fill the folder; returns all that is in it."""
    for name, content in FILES.items():
        Path(name).write_text(content)
    Path("folder.csv").mkdir()
    Path("blocked/runs.csv").mkdir(parents=True)
    Path("runs.csv").write_text(TABLE)
    np.savez("other.npz", a=np.zeros((9, 2)), b=np.arange(9))
    return sorted(empty_folder.rglob("*"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a run is started at all."""

    def start(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a run was started")

    monkeypatch.setattr("initlab.experiments.run.run_chunks", start)


def check_refused(answer: Any, names: list[str]) -> None:
    assert (answer.status, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert answer.err == f"{line}\n"
    assert line.startswith("initlab: ")
    assert not [name for name in names if name not in line], line
    assert "fault of initlab" not in line


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("words", "names"), CASES.values(), ids=CASES)
def test_bad_input_is_one_line(
    initlab: Callable[..., Any], files: list[Path], words: list[str], names: list[str]
):
    check_refused(initlab("compare", *words), names)
    assert sorted(Path.cwd().rglob("*")) == files


@pytest.mark.usefixtures("no_training")
def test_no_folder_is_left_of_a_run_that_is_refused(initlab: Callable[..., Any], files: list[Path]):
    check_refused(initlab("compare", "--data", "none.csv", "--out", "new/er"), ["none.csv"])
    check_refused(initlab("compare", "he_norml", "--json", "--out", "new"), ["he_norml"])
    assert sorted(Path.cwd().rglob("*")) == files


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("place", ["new", "new/er", "."])
def test_a_folder_without_permission(
    initlab: Callable[..., Any], files: list[Path], monkeypatch: pytest.MonkeyPatch, place: str
):
    """As for the superuser every folder is writable, the system's answer is made up."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    check_refused(initlab("compare", "--out", place), ["permission", place])
    assert sorted(Path.cwd().rglob("*")) == files


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["comapre"], ["command 'comapre'", "did you mean compare?"]),
        (["frobnicate", "--seeds", "3"], ["command 'frobnicate'", "known: compare"]),
        (["--sedes"], ["option '--sedes'", "--version"]),
        (["--seeds", "3", "compare"], ["'3'"]),
    ],
)
def test_unknown_commands(initlab: Callable[..., Any], words: list[str], names: list[str]):
    check_refused(initlab(*words), names)


def test_more_than_the_memory_holds(initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    """As NumPy says it; asking for so much in earnest could bring the machine down."""

    def draw(*_: object) -> NoReturn:
        raise MemoryError("Unable to allocate 7.28 TiB for an array with shape (1000000, 1000000)")

    monkeypatch.setattr("initlab.experiments.chunks.starts.draw", draw)
    answer = initlab("compare", "--json", "--hidden", "1000000,1000000")
    check_refused(answer, ["not enough memory", "7.28 TiB", "smaller layers"])


def test_a_full_disk_costs_the_report_but_not_the_results(
    initlab: Callable[..., Any], empty_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = initlab("compare", "he_normal", "--steps", "5", "--out", "new/er")
    assert answer.status == 2
    assert answer.err == f"initlab: cannot write to new/er: {os.strerror(errno.ENOSPC)}\n"
    assert "he_normal" in answer.out
    assert "Report" not in answer.out
    assert not list(empty_folder.iterdir())


def test_a_path_that_is_no_text(initlab: Callable[..., Any]):
    """Bytes of a file's name that are no UTF-8 come in as lone surrogates."""
    check_refused(initlab("compare", "--data", "caf\udce9.csv"), ["No such file"])
