"""Results as tables and as the document that --json prints."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from initlab._base.errors import UnknownNameError
from initlab.experiments import Results, execute

INITS = ["zeros", "normal(std=10)", "he_normal"]


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not strict JSON")


@pytest.fixture(scope="module")
def published() -> Results:
    return execute(INITS)


@pytest.fixture(scope="module")
def seeded() -> Results:
    return execute(INITS, seeds=5, steps=3_000)


def test_the_document_is_strict_json(published: Results):
    document = published.to_document()
    read = json.loads(json.dumps(document), parse_constant=refuse)
    assert read == document
    assert list(document) == [
        "initlab",
        "experiment",
        "runs",
        "summary",
        "interrupted",
        "seconds",
    ]
    zeros, large, he = document["runs"]
    assert [run["init"] for run in document["runs"]] == INITS
    assert he["seed"] == 3
    assert he["steps"] == document["experiment"]["record_steps"] == [*range(0, 15_000, 1_000)]
    assert he["cost"][-1] == pytest.approx(0.07357895962677369, rel=1e-9)
    assert (he["test_accuracy"], he["status"], he["what_happened"]) == (
        0.96,
        "converged",
        "healthy",
    )
    assert large["cost"][0] == "inf"
    assert large["careful_cost"][0] == pytest.approx(1773.5859549373838)
    assert zeros["evidence"]["start"][0]["identical_units"] == 10
    assert zeros["steps_to_target"] is None
    assert he["seconds"] > 0


def test_the_document_says_what_was_run(published: Results):
    experiment = published.to_document()["experiment"]
    assert experiment["loss"] == "binary_cross_entropy"
    assert experiment["sizes"] == [2, 10, 5, 1]
    assert experiment["parameters"] == 91
    assert experiment["target_cost"] == pytest.approx(math.log(2) / 4)
    assert experiment["dataset"]["train_samples"] == 300
    assert experiment["dataset"]["notes"]


def test_the_document_summarises_each_start(seeded: Results):
    document = json.loads(json.dumps(seeded.to_document()), parse_constant=refuse)
    he = document["summary"][2]
    assert he["init"] == "he_normal"
    assert he["runs"] == he["converged"] + he["stalled"] + he["diverged"] == 5
    costs = [run["final_cost"] for run in document["runs"] if run["init"] == "he_normal"]
    assert he["final_cost"]["median"] == np.median(costs)
    assert he["final_cost"]["iqr"] == pytest.approx(np.quantile(costs, [0.25, 0.75]))
    low, high = he["final_cost"]["ci95"]
    assert min(costs) <= low <= he["final_cost"]["median"] <= high <= max(costs)
    assert set(he["test_accuracy"]) == {"median", "iqr", "ci95"}
    assert "careful_cost" not in document["runs"][0]


def test_one_row_a_run(seeded: Results):
    table = seeded.to_dataframe()
    assert list(table.columns) == [
        "init",
        "seed",
        "status",
        "final_cost",
        "train_accuracy",
        "test_accuracy",
        "steps_to_target",
        "seconds",
        "what_happened",
    ]
    assert table["init"].tolist() == [init for init in INITS for _ in range(5)]
    assert table["steps_to_target"].isna().any()
    assert table["steps_to_target"].dtype == pd.Int64Dtype()


def test_one_row_a_start(seeded: Results):
    table = seeded.summary()
    assert table["init"].tolist() == INITS
    runs = seeded.to_dataframe()
    medians = runs.groupby("init", sort=False)["train_accuracy"].median()
    np.testing.assert_allclose(table["train_accuracy"], medians)
    low, middle, high = (table[f"final_cost{end}"] for end in ("_low", "", "_high"))
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_an_empty_result_still_has_its_columns(seeded: Results):
    nothing = replace(seeded, runs=(), interrupted=True)
    assert list(nothing.to_dataframe().columns) == list(seeded.to_dataframe().columns)
    assert nothing.summaries() == ()
    assert len(nothing.summary()) == 0
    assert nothing.to_document()["interrupted"] is True


def test_regression_has_r2_in_place_of_accuracy(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((60, 2))
    np.savez(tmp_path / "mine.npz", X=x, y=x.sum(axis=1))
    results = execute(
        ["he_normal"],
        seeds=2,
        data=tmp_path / "mine.npz",
        steps=20,
        hidden=(),
        learning_rate=0.1,
    )
    document = results.to_document()
    assert 0.9 < document["runs"][0]["test_r2"] < 1
    assert "test_r2" in document["summary"][0]
    assert "test_accuracy" not in document["runs"][0]
    assert {"train_r2", "test_r2"} <= set(results.to_dataframe().columns)
    assert document["experiment"]["loss"] == "squared_error"


def test_a_misspelt_setting_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean learning_rate"):
        execute(["zeros"], learningrate=0.1)
