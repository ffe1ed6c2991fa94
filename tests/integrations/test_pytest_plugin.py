"""The fixture that pytest has once initlab is installed, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODELS = """
import torch
from torch import nn

def healthy():
    torch.manual_seed(0)
    layers = (nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    for layer in (layers[0], layers[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)

def cloned():
    model = healthy()
    nn.init.constant_(model[0].weight, 0.1)
    return model

def batch():
    return torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
"""


def run(
    folder: Path, tests: str, *options: str, models: str = MODELS
) -> subprocess.CompletedProcess[str]:
    """Run pytest on tests of these models, in a folder without settings."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_it.py").write_text(models + tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


GOOD = """
def test_model(initlab_check):
    assert initlab_check(healthy()).verdict == "healthy"

def test_inputs(initlab_check):
    initlab_check((healthy(), batch()))
    initlab_check(healthy(), batch(), torch.arange(64) % 8, loss="cross_entropy", seed=3)

def test_targets(initlab_check):
    initlab_check((healthy(), batch(), torch.arange(64) % 8), optimizer="sgd(lr=0.01)")

def test_factory(initlab_check):
    initlab_check(healthy)
    initlab_check(lambda: (healthy(), batch()))

def test_ignored(initlab_check):
    initlab_check(cloned(), ignore=initlab_check.__globals__["tuple"](CODES))

def test_severity(initlab_check):
    report = initlab_check(cloned(), severity="error", ignore=ERRORS)
    assert report.findings
"""


def test_a_healthy_model_passes(tmp_path: Path):
    codes = """
from initlab import diagnose
found = diagnose(cloned()).findings
CODES = sorted({one.code for one in found})
ERRORS = sorted({one.code for one in found if one.severity == "error"})
"""
    tests = GOOD.replace('initlab_check.__globals__["tuple"](CODES)', "tuple(CODES)")
    result = run(tmp_path, codes + tests)
    assert result.returncode == 0, result.stdout
    assert "6 passed" in result.stdout


BAD = """
def test_findings(initlab_check):
    initlab_check(cloned(), batch())

def test_no_model(initlab_check):
    initlab_check(lambda: None)

def test_no_code(initlab_check):
    initlab_check(healthy(), ignore=("LAYER88",))

def test_no_severity(initlab_check):
    initlab_check(healthy(), severity="grave")

def test_does_not_run(initlab_check):
    initlab_check(healthy(), torch.zeros(4, 3))
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> str:
    result = run(tmp_path_factory.mktemp("bad"), BAD)
    assert result.returncode == 1
    assert "5 failed" in result.stdout
    return result.stdout


def test_a_failure_shows_the_findings_and_no_traceback(failed: str):
    assert "UNIT01" in failed
    assert "where: 0.weight" in failed
    assert "fix:" in failed
    assert "pytest_plugin.py" not in failed
    assert "measure.py" not in failed


@pytest.mark.parametrize(
    "told",
    [
        "returns nothing; accepted: a model",
        "unknown check 'LAYER88'",
        "unknown severity 'grave'",
        "the model does not run on the inputs given: at 0 (Linear)",
    ],
)
def test_a_mistake_is_told_in_one_line(failed: str, told: str):
    assert told in failed


def test_it_loads_nothing_heavy_and_can_be_left_out(tmp_path: Path):
    tests = """
import sys

def test_light(request):
    heavy = {"torch", "numpy", "scipy", "numba", "pandas", "initlab.diagnosis"}
    assert not heavy & set(sys.modules)
    assert request.config.pluginmanager.has_plugin("initlab") == HAS
"""
    others = [f"-pno:{name}" for name in ("hypothesispytest", "jaxtyping", "anyio")]
    result = run(tmp_path, tests.replace("HAS", "True"), *others, models="")
    assert result.returncode == 0, result.stdout
    result = run(tmp_path, tests.replace("HAS", "False"), *others, "-pno:initlab", models="")
    assert result.returncode == 0, result.stdout


def test_it_works_on_several_workers(tmp_path: Path):
    tests = "def test_it(initlab_check):\n    initlab_check(healthy)\n"
    result = run(tmp_path, tests, "-n1")
    assert result.returncode == 0, result.stdout
