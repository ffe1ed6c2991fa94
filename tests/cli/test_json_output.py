"""``--json``: one strict document, and nothing else on stdout."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initlab as package

INTERVAL = {"median", "iqr", "ci95"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Run two starts from three seeds each."""
    return json.loads(package.compare(["he_normal", "normal(std=10)"], seeds=3, steps=60).to_json())


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    runs = [{**run, "seconds": 0} for run in document["runs"]]
    return {**document, "runs": runs, "seconds": 0}


def test_it_is_what_python_returns(initlab: Callable[..., Any], document: dict[str, Any]):
    words = ["compare", "he_normal", "normal(std=10)", "--seeds", "3", "--steps", "60", "--json"]
    answer = initlab(*words)
    assert answer.out.count("\n") == 1
    assert answer.out.endswith("\n")
    assert without_times(answer.document) == without_times(document)


def test_the_top_of_the_document(document: dict[str, Any]):
    assert {"initlab", "experiment", "runs", "summary"} <= set(document)
    assert document["initlab"] == package.__version__
    assert document["interrupted"] is False
    experiment = document["experiment"]
    assert experiment["sizes"] == [2, 10, 5, 1]
    assert experiment["parameters"] == 2 * 10 + 10 + 10 * 5 + 5 + 5 + 1
    assert experiment["dataset"]["train_samples"] == 300
    assert experiment["best_constant_cost"] == pytest.approx(math.log(2))


def test_each_run(document: dict[str, Any]):
    runs = document["runs"]
    assert [(run["init"], run["seed"]) for run in runs] == [
        (init, seed) for init in ("he_normal", "normal(std=10)") for seed in range(3)
    ]
    for run in runs:
        assert run["steps"] == document["experiment"]["record_steps"]
        assert len(run["cost"]) == len(run["steps"])
        assert all(isinstance(cost, float) for cost in run["cost"])
        assert 0 <= run["test_accuracy"] <= 1
        assert run["train_accuracy"] * 300 == pytest.approx(round(run["train_accuracy"] * 300))
        assert run["status"] in {"converged", "stalled", "diverged"}
        assert run["what_happened"]
        assert "\n" not in run["what_happened"]
        assert [layer["units"] for layer in run["evidence"]["start"]] == [10, 5, 1]
        assert run["seconds"] >= 0


def test_each_summary(document: dict[str, Any]):
    for each, init in zip(document["summary"], ("he_normal", "normal(std=10)"), strict=True):
        runs = [run for run in document["runs"] if run["init"] == init]
        assert (each["init"], each["runs"]) == (init, 3)
        for status in ("converged", "stalled", "diverged"):
            assert each[status] == sum(run["status"] == status for run in runs)
        for quantity in ("final_cost", "train_accuracy", "test_accuracy"):
            values = [run[quantity] for run in runs]
            assert set(each[quantity]) == INTERVAL
            assert each[quantity]["median"] == pytest.approx(np.median(values))
            np.testing.assert_allclose(each[quantity]["iqr"], np.percentile(values, [25, 75]))
            low, high = each[quantity]["ci95"]
            assert min(values) <= low <= each[quantity]["median"] <= high <= max(values)
        assert set(each["steps_to_target"]) == INTERVAL


def test_what_is_not_finite_is_a_string(initlab: Callable[..., Any]):
    words = ["compare", "normal(std=1e200)", "--steps", "20", "--seeds", "1", "--json"]
    document = initlab(*words).document
    (run,) = document["runs"]
    assert run["cost"][0] in {"inf", "nan"}
    assert run["status"] == "diverged"
    assert document["summary"][0]["final_cost"]["median"] == "inf"
    assert document["summary"][0]["steps_to_target"]["median"] == "inf"


def test_without_a_folder_nothing_is_written(initlab: Callable[..., Any], empty_folder: Path):
    initlab("compare", "he_normal", "--steps", "5", "--json")
    assert not list(empty_folder.iterdir())


def test_with_a_folder_the_report_is_written_too(initlab: Callable[..., Any]):
    answer = initlab("compare", "he_normal", "--steps", "5", "--json", "--out", "results")
    assert [run["init"] for run in answer.document["runs"]] == ["he_normal"]
    assert Path("results/report.html").read_text("utf-8").endswith("</html>\n")


def test_what_converged_has_reached_the_target(initlab: Callable[..., Any]):
    """Also where it is reached between the last record and the end."""
    words = ["compare", "he_normal", "--steps", "20", "--record-every", "20", "--json"]
    (run,) = initlab(*words).document["runs"]
    assert run["final_cost"] < min(run["cost"])
    words += ["--target-cost", repr(run["final_cost"])]
    (run,) = initlab(*words).document["runs"]
    assert (run["status"], run["steps_to_target"]) == ("converged", 20)
    words[-1] = repr(run["final_cost"] * (1 - 1e-12))
    (run,) = initlab(*words).document["runs"]
    assert (run["status"], run["steps_to_target"]) == ("stalled", None)
