"""``initlab.compare`` from Python, and the folder it writes."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import initlab
from initlab.experiments import Results
from initlab.experiments.plan import Experiment
from initlab.report import Comparison, compare, comparison, html
from initlab.report.comparison import DEFAULT_INITS, FILES, check_folder

PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def result(course: Results) -> Comparison:
    return Comparison(course)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_save_writes_the_five_files_and_returns_the_page(result: Comparison, tmp_path: Path):
    page = result.save(tmp_path / "deep" / "report")
    assert page == tmp_path / "deep" / "report" / "report.html"
    assert names(page.parent) == sorted(FILES)
    assert names(tmp_path / "deep") == ["report"]
    for name in ("costs.png", "boundaries.png", "signals.png"):
        assert (page.parent / name).read_bytes().startswith(PNG_START)
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert not plt.get_fignums()


def test_save_makes_a_folder_with_the_usual_permissions(result: Comparison, tmp_path: Path):
    (tmp_path / "usual").mkdir()
    page = result.save(str(tmp_path / "new"))
    assert page.parent.stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("name", ["course", "seeded", "digits", "regression"])
def test_csv_is_the_table_of_runs(name: str, request: pytest.FixtureRequest, tmp_path: Path):
    results: Results = request.getfixturevalue(name)
    Comparison(results).save(tmp_path)
    expected = results.to_dataframe()
    assert (tmp_path / "runs.csv").read_text() == expected.to_csv(index=False)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "runs.csv", dtype=expected.dtypes.to_dict()), expected
    )


def test_csv_of_broken_runs_is_the_table_too(course: Results):
    odd = replace(course.runs[0], final_cost=np.inf, test_score=None, what_happened='a, "b"')
    results = replace(course, runs=(odd, replace(course.runs[1], final_cost=float("nan"))))
    text = comparison._csv(results)
    read = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert read["final_cost"].tolist() == ["inf", "nan"]
    assert read["test_accuracy"].tolist()[0] == ""
    assert read["what_happened"].tolist()[0] == 'a, "b"'


def test_other_files_of_the_folder_stay_and_old_reports_go(result: Comparison, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("old")
    result.save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "report.html").read_text("utf-8") != "old"
    assert names(tmp_path) == sorted([*FILES, "notes.txt"])


def test_a_failure_while_drawing_leaves_the_folder_as_it_was(
    result: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> str:
        raise RuntimeError("broken")

    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(html, "page", fail)
    with pytest.raises(RuntimeError, match="broken"):
        result.save(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        result.save(tmp_path / "new")
    assert names(tmp_path) == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize("last", FILES)
def test_a_full_disk_leaves_the_folder_as_it_was(
    result: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
):
    write = Path.write_bytes

    def write_bytes(self: Path, data: bytes) -> int:
        if self.name == last:
            raise OSError(28, "No space left on device")
        return write(self, data)

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.html").write_text("old")
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    for folder in ("old", "new/er"):
        with pytest.raises(initlab.OutputError, match="No space left on device") as caught:
            result.save(tmp_path / folder)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["old"]
    assert names(tmp_path / "old") == ["report.html"]
    assert (tmp_path / "old" / "report.html").read_text() == "old"


def test_a_failure_while_moving_leaves_no_new_folder(
    result: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    move = Path.replace

    def replace_path(self: Path, target: Path) -> Path:
        if self.name == "report.html":
            raise OSError(5, "Input/output error")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", replace_path)
    with pytest.raises(initlab.OutputError):
        result.save(tmp_path / "new")
    assert names(tmp_path) == []


def test_a_file_in_the_way_of_the_folder_is_one_line(result: Comparison, tmp_path: Path):
    (tmp_path / "taken").write_text("mine")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(initlab.OutputError, match="taken is not a folder") as caught:
            result.save(folder)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_in_the_way_of_a_file_is_one_line(result: Comparison, tmp_path: Path):
    (tmp_path / "costs.png").mkdir()
    with pytest.raises(initlab.OutputError, match=r"costs\.png"):
        result.save(tmp_path)
    assert names(tmp_path) == ["costs.png"]


def test_missing_permission_is_one_line(
    result: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Asked of os.access, since root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(initlab.OutputError, match="permission") as caught:
        result.save(tmp_path / "a" / "b")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_check_folder_leaves_nothing(tmp_path: Path):
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    assert names(tmp_path) == []


def test_no_runs_are_no_report(course: Results, tmp_path: Path):
    with pytest.raises(initlab.InvalidValueError, match="no finished run"):
        Comparison(replace(course, runs=())).save(tmp_path / "new")
    assert names(tmp_path) == []


def test_faces_of_the_results(result: Comparison, course: Results):
    assert result.runs is course.runs
    pd.testing.assert_frame_equal(result.summary(), course.summary())
    pd.testing.assert_frame_equal(result.to_dataframe(), course.to_dataframe())
    document = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert document["runs"][1]["cost"][0] == "inf"
    assert [run["init"] for run in document["runs"]] == [run.init for run in course.runs]


def test_repr_says_what_happened_and_html_too(result: Comparison):
    assert repr(result).startswith("<Comparison of 3 runs>\nzeros: hidden units identical")
    assert "hidden units identical" in result._repr_html_()


def test_plots_return_their_displays(result: Comparison):
    _, ax = plt.subplots()
    assert result.plot_costs(ax).ax_ is ax
    assert len(result.plot_boundaries().axes_) == 3
    assert len(result.plot_signals().axes_) == 4


def test_compare_trains_what_it_is_asked_for():
    found = compare("he_normal", data="moons", seeds=2, hidden=[4], steps=10, activation="tanh")
    assert [(run.init, run.seed) for run in found.runs] == [("he_normal", 0), ("he_normal", 1)]
    assert found.results.experiment.hidden == (4,)
    assert found.results.dataset.name == "moons"
    assert len(found.runs[0].evidence.start) == 2


def test_compare_takes_initializers():
    found = compare([initlab.get("normal(std=2)")], steps=2)
    assert found.runs[0].init == "normal(std=2)"


def test_compare_by_itself_runs_the_published_exercise():
    found = compare(steps=1)
    assert tuple(run.init for run in found.runs) == DEFAULT_INITS
    assert [run.cost[0] for run in found.runs] == pytest.approx(
        [0.6931471805599453, np.inf, 0.8830537463419761]
    )


def test_every_field_of_an_experiment_is_a_parameter_with_its_default():
    """A field that is added to the experiment cannot be forgotten here."""
    parameters = inspect.signature(compare).parameters
    for name, field in Experiment.model_fields.items():
        assert parameters[name].default == field.default


def test_compare_imports_no_drawing_library():
    code = (
        "import sys, initlab; initlab.compare(steps=1);"
        "print([m for m in ('matplotlib', 'rich', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_save_needs_neither_pyplot_nor_pandas(tmp_path: Path):
    code = (
        f"import sys, initlab; initlab.compare(steps=1).save({str(tmp_path)!r});"
        "print([m for m in ('matplotlib.pyplot', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
