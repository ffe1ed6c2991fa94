"""Errors, records on their way out, and optional packages."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlab._base import errors, optional
from initlab._base.records import dumps, to_plain, write_file

ROOT = Path(__file__).parents[2]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidValueError, ValueError),
        (errors.UnknownNameError, LookupError),
        (errors.DataError, ValueError),
        (errors.OutputError, OSError),
        (errors.MissingPackageError, ImportError),
    ],
)
def test_each_error_is_ours_and_the_builtin_one(kind: type, builtin: type):
    assert issubclass(kind, errors.InitlabError)
    assert issubclass(kind, builtin)


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    error = errors.UnknownNameError("loss", "Hnige", ["hinge", "squared", "hinges"])
    assert str(error) == "unknown loss 'Hnige'; did you mean hinge or hinges?"
    assert (error.kind, error.given, error.suggestions) == ("loss", "Hnige", ("hinge", "hinges"))


def test_an_unknown_name_without_neighbours_is_answered_with_all():
    error = errors.UnknownNameError("loss", "zzz", ["squared", "hinge"])
    assert str(error) == "unknown loss 'zzz'; known: hinge, squared"
    assert error.suggestions == ()


@given(st.text(max_size=20))
def test_the_message_is_one_line_whatever_was_given(given_name: str):
    message = str(errors.UnknownNameError("loss", given_name, ["squared"]))
    assert len(message.splitlines()) == 1


# --- records --------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass(frozen=True)
class Inner:
    values: Any


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    extra: dict[Any, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        (-0.0, -0.0),
        (1, 1),
        (True, True),
        (None, None),
        ("σ", "σ"),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "nan"),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.array([[1.0, np.inf], [np.nan, 2.0]]), [[1.0, "inf"], ["nan", 2.0]]),
        (np.array([], dtype=np.float64), []),
        (Pair(1, (2, float("-inf"))), [1, [2, "-inf"]]),
        ({1: np.arange(2), "a": {"b": float("nan")}}, {"1": [0, 1], "a": {"b": "nan"}}),
        (
            Outer("x", Inner(np.ones(1)), {2: [Inner(None)]}),
            {"name": "x", "inner": {"values": [1.0]}, "extra": {"2": [{"values": None}]}},
        ),
    ],
)
def test_records_become_plain(value: Any, plain: Any):
    result = to_plain(value)
    assert result == plain
    assert type(result) is type(plain)


def test_json_is_strict_and_readable():
    text = dumps({"σ": [float("inf"), 0.1], "n": np.int64(3)})
    assert text == '{"σ": ["inf", 0.1], "n": 3}'
    assert dumps([1, [2]], indent=1) == "[\n 1,\n [\n  2\n ]\n]"


floats = st.floats(allow_nan=True, allow_infinity=True)
trees = st.recursive(
    floats | st.integers() | st.booleans() | st.none() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(trees)
def test_every_tree_becomes_a_document_that_a_strict_reader_takes(tree: Any):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(dumps(tree), parse_constant=refuse) == to_plain(tree)


def test_finite_numbers_survive_the_way_through_json_to_the_last_bit():
    values = np.random.default_rng(1).standard_normal(1000) * 10.0 ** np.arange(-300, 300, 0.6)
    assert json.loads(dumps(values)) == values.tolist()


@pytest.mark.parametrize("content", ["σ\n", b"\x00\xff", ""])
def test_a_file_is_written_whole_and_alone(tmp_path: Path, content: bytes | str):
    target = tmp_path / "file"
    target.write_bytes(b"old and longer than the new content")
    write_file(target, content)
    assert target.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [target]


def _is_a_folder(target: Path, _: pytest.MonkeyPatch) -> None:
    target.mkdir()
    (target / "kept").touch()


def _rename_fails(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target.write_text("old")
    monkeypatch.setattr(Path, "replace", fail)


@pytest.mark.parametrize("obstacle", [_is_a_folder, _rename_fails])
def test_a_write_that_fails_leaves_all_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    obstacle: Callable[[Path, pytest.MonkeyPatch], None],
):
    target = tmp_path / "file"
    obstacle(target, monkeypatch)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.OutputError, match=re.escape(f"cannot write {target}: ")) as caught:
        write_file(target, "new")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert target.is_dir() or target.read_text() == "old"


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, parent: str):
    (tmp_path / "file").touch()
    with pytest.raises(errors.OutputError, match=f"cannot write .*{parent}.report"):
        write_file(tmp_path / parent / "report", "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


# --- optional packages ----------------------------------------------------------------------------


def test_a_package_that_is_there_is_imported():
    assert optional.require("json", "reading") is json


@pytest.mark.parametrize(
    ("package", "extra"),
    [("distributed", "dask"), ("fastapi", "web"), ("unheard_of", "unheard_of")],
)
def test_a_missing_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, package: str, extra: str
):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(errors.MissingPackageError) as caught:
        optional.require(package, "running far away")
    assert str(caught.value) == (
        f"running far away needs the package {package!r}: pip install 'initlab[{extra}]'"
    )


def test_a_package_that_is_there_but_broken_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "half_installed.py").write_text("import its_own_missing_part")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_missing_part") as caught:
        optional.require("half_installed", "anything")
    assert not isinstance(caught.value, errors.InitlabError)


def test_every_extra_that_an_error_recommends_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for package, extra in optional._EXTRAS.items():
        assert any(re.match(rf"{package}\b", wanted) for wanted in extras[extra])


def test_an_unknown_name_can_be_rebuilt():
    error = errors.UnknownNameError("start", "hee_normal", ["he_normal", "zeros"])
    again = copy.copy(error)  # rebuilt as unpickling does
    assert str(again) == str(error)
    assert again.suggestions == error.suggestions == ("he_normal",)


def test_an_interrupt_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "runs.csv", "a")
    assert list(tmp_path.iterdir()) == []
