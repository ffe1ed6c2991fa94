"""Every option does what it says, against results known without the command line."""

from __future__ import annotations

import html
import inspect
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import initlab as package

SHORT = ("--steps", "20", "--json")

# Options that are not called what the argument is, and arguments that only Python has.
RENAMED = {"learning_rate": "lr", "batch_size": "batch"}
PYTHON_ONLY = {"inits", "draw", "progress"}


def test_every_argument_of_compare_has_its_option(
    initlab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    answer = initlab("compare", "--help")
    options = {*re.findall(r"--([a-z][\w-]+)", answer.out)}
    arguments = inspect.signature(package.compare).parameters.keys() - PYTHON_ONLY
    named = {RENAMED.get(name, name).replace("_", "-") for name in arguments}
    assert options >= named
    assert options - named == {"help", "json", "out", "seeds"} - named


@pytest.mark.parametrize(
    ("data", "sizes", "start_cost"),
    [
        ("circles", [2, 10, 5, 1], math.log(2)),
        ("circles(n=100, noise=0.1, seed=4)", [2, 10, 5, 1], math.log(2)),
        ("moons", [2, 10, 5, 1], math.log(2)),
        ("spirals", [2, 10, 5, 1], math.log(2)),
        ("xor", [2, 10, 5, 1], math.log(2)),
        ("blobs", [2, 10, 5, 3], math.log(3)),
        ("blobs(centers=5)", [2, 10, 5, 5], math.log(5)),
        ("digits", [64, 10, 5, 10], math.log(10)),
    ],
)
def test_data_sets(initlab: Callable[..., Any], data: str, sizes: list[int], start_cost: float):
    """A network of zeros gives every class the same probability."""
    document = initlab("compare", "zeros", "--data", data, "--seeds", "1", *SHORT).document
    assert document["experiment"]["sizes"] == sizes
    assert document["runs"][0]["cost"][0] == pytest.approx(start_cost)


def test_squared_error_on_classes(initlab: Callable[..., Any]):
    """Of zeros it is half of the targets wrong by one."""
    words = ["compare", "zeros", "--loss", "squared_error", "--hidden", "4"]
    document = initlab(*words, *SHORT).document
    assert document["experiment"]["loss"] == "squared_error"
    assert document["runs"][0]["cost"][0] == pytest.approx(0.5)


def test_a_linear_model_finds_what_logistic_regression_finds(initlab: Callable[..., Any]):
    data = package.data.load("moons")
    fitted = LogisticRegression(C=np.inf).fit(data.train_x, data.train_y)
    best = log_loss(data.train_y, fitted.predict_proba(data.train_x))
    words = ["compare", "he_normal", "--data", "moons", "--hidden", "none", "--lr", "3"]
    document = initlab(*words, "--steps", "5000", "--json").document
    assert document["experiment"]["sizes"] == [2, 1]
    (run,) = document["runs"]
    assert run["final_cost"] == pytest.approx(best, rel=1e-6)
    assert run["test_accuracy"] == fitted.score(data.test_x, data.test_y)


@pytest.mark.parametrize(
    ("given", "seeds"), [("3", [0, 1, 2]), ("3,7", [3, 7]), ("7,", [7]), ("5, 2", [5, 2])]
)
def test_seeds(initlab: Callable[..., Any], given: str, seeds: list[int]):
    document = initlab("compare", "he_normal", "--seeds", given, *SHORT).document
    assert [run["seed"] for run in document["runs"]] == seeds
    assert len({run["cost"][0] for run in document["runs"]}) == len(seeds)
    assert document["experiment"]["draw"] == "seeded"


def test_the_number_of_jobs_changes_nothing(initlab: Callable[..., Any]):
    words = ["compare", "he_normal", "normal(std=10)", "--seeds", "9", "--batch", "32", *SHORT]
    one, two = (initlab(*words, "--jobs", jobs).document["runs"] for jobs in ("1", "2"))
    assert [{**run, "seconds": 0} for run in one] == [{**run, "seconds": 0} for run in two]


def test_the_careful_cost_instead_of_the_courses(initlab: Callable[..., Any]):
    words = ["compare", "normal(std=10)", *SHORT]
    (course,) = initlab(*words).document["runs"]
    (careful,) = initlab(*words, "--cost", "careful").document["runs"]
    assert course["cost"][0] == "inf"
    assert careful["cost"] == course["careful_cost"]
    assert "careful_cost" not in careful


def test_single_precision(initlab: Callable[..., Any]):
    words = ["compare", "he_normal", "--lr", "0.1", "--steps", "200", "--json"]
    (double,) = initlab(*words).document["runs"]
    (single,) = initlab(*words, "--precision", "float32").document["runs"]
    assert single["cost"] == pytest.approx(double["cost"], rel=1e-4)
    assert single["cost"] != double["cost"]


def test_optimizers(initlab: Callable[..., Any]):
    words = ["compare", "he_normal", "--steps", "200", "--json"]
    costs = {
        name: initlab(*words, "--optimizer", *options).document["runs"][0]["cost"]
        for name, options in {
            "sgd": ["sgd"],
            "no momentum": ["momentum", "--momentum", "0"],
            "momentum": ["momentum"],
            "adam": ["adam"],
        }.items()
    }
    assert costs["no momentum"] == pytest.approx(costs["sgd"], rel=1e-12)
    assert costs["momentum"][-1] < costs["sgd"][-1]
    assert costs["adam"][-1] < costs["sgd"][-1]


def test_batches_records_and_depth(initlab: Callable[..., Any]):
    words = ["compare", "he_normal", "--activation", "tanh", "--hidden", " 7, 6,5"]
    words += ["--batch", "16", "--record-every", "8", "--lr", "1e-3", *SHORT]
    costs = initlab(*words).document["runs"][0]["cost"]
    document = initlab(*words, "--target-cost", repr(min(costs))).document
    experiment, (run,) = document["experiment"], document["runs"]
    assert experiment["sizes"] == [2, 7, 6, 5, 1]
    assert (experiment["activation"], experiment["batch_size"]) == ("tanh", 16)
    assert (experiment["learning_rate"], experiment["target_cost"]) == (1e-3, min(costs))
    assert run["steps"] == [0, 8, 16]
    assert run["steps_to_target"] == run["steps"][int(np.argmin(costs))]


def test_names_in_any_case_and_by_alias(initlab: Callable[..., Any]):
    words = ["compare", "Kaiming_Normal", "XAVIER_uniform", "normal( std = 1e1 )", *SHORT]
    runs = initlab(*words).document["runs"]
    assert [run["init"] for run in runs] == ["he_normal", "glorot_uniform", "normal(std=10)"]


def test_classes_of_the_users(initlab: Callable[..., Any], table: Path):
    words = ["compare", "he_normal", "--data", str(table), "--target", "label", "--lr", "1"]
    document = initlab(*words, "--hidden", "none", "--steps", "500", "--json").document
    data = document["experiment"]["dataset"]
    assert (data["task"], data["classes"]) == ("binary", ["no", "yes"])
    assert data["features"] == ["height", "width"]
    assert data["train_samples"] + data["test_samples"] == 80
    assert document["runs"][0]["train_accuracy"] > 0.95  # a line separates the classes


def test_quantities_of_the_users(initlab: Callable[..., Any], table: Path):
    rows = [line.split(",")[:2] for line in table.read_text().splitlines()[1:]]
    planes = [f"{a},{b},{3 * float(a) - float(b):.6f}" for a, b in rows]
    Path("über all.csv").write_text("\n".join(["a,plane,b", *planes]))
    words = ["compare", "he_normal", "--data", "über all.csv", "--target", "b", "--hidden", "none"]
    document = initlab(*words, "--lr", "0.1", "--steps", "500", "--json").document
    assert document["experiment"]["loss"] == "squared_error"
    assert document["experiment"]["dataset"]["task"] == "regression"
    assert document["runs"][0]["test_r2"] == pytest.approx(1, abs=1e-6)  # they lie on a plane
    assert document["summary"][0]["test_r2"]["median"] == document["runs"][0]["test_r2"]


def test_an_archive_of_the_users(initlab: Callable[..., Any]):
    x = np.random.default_rng(0).normal(size=(90, 4))
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    np.savez("my.npz", x=x[:60], grade=y[:60], x_test=x[60:], y_test=y[60:])
    words = ["compare", "zeros", "--data", "my.npz", "--target", "grade", *SHORT]
    document = initlab(*words).document
    data = document["experiment"]["dataset"]
    assert (data["task"], data["classes"]) == ("multiclass", ["0", "1", "2"])
    assert (data["train_samples"], data["test_samples"]) == (60, 30)
    document = initlab(*words, "--task", "regression").document
    assert document["experiment"]["dataset"]["task"] == "regression"
    assert document["runs"][0]["train_r2"] == pytest.approx(0)  # zeros predict the mean


def test_the_command_in_the_report_gives_the_same_again(initlab: Callable[..., Any]):
    words = ["compare", "variance_scaling(scale=2, mode='fan_out')", "zeros", "--steps", "30"]
    words += ["--data", "moons(noise=0.3)", "--hidden", "6", "--lr", "0.05", "--batch", "20"]
    words += ["--seeds", "4,", "--record-every", "7", "--json", "--out", "results"]
    first = initlab(*words).document
    page = html.unescape(Path("results/report.html").read_text("utf-8"))
    (command,) = re.findall(r"initlab (compare .+?)<", page)
    again = initlab(*shlex.split(command), "--json").document
    assert again["experiment"] == first["experiment"]
    assert [run["cost"] for run in again["runs"]] == [run["cost"] for run in first["runs"]]
