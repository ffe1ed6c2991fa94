"""What importing and running initlab loads, each looked at in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = ("torch", "jax", "keras", "tensorflow", "fastapi", "uvicorn", "distributed")
HEAVY = ("numpy", "numba", "scipy", "sklearn", "pandas", "matplotlib")

# The names stand as if they were not installed: what imports them in a try block goes on without.
BLOCK = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FRAMEWORKS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}: blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

# One run, short, through the whole of plan, train, summarise and print.
COMPARE = """
import initlab
comparison = initlab.compare(["zeros", "he_normal"], steps=20)
assert [run.init for run in comparison.runs] == ["zeros", "he_normal"]
assert all(run.final_cost < 1 for run in comparison.runs)
assert list(comparison.summary()["init"]) == ["zeros", "he_normal"]
"""

HELP = """
import sys, initlab.cli
sys.argv = ["initlab", *{arguments}]
try:
    initlab.cli.main()
except SystemExit as end:
    assert not end.code, end.code
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which the frameworks are blocked."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False
    )


def loaded(code: str) -> set[str]:
    """Return the top-level packages that are loaded after the code has run."""
    result = run(code + "\nprint('\\n:', *sys.modules)")
    assert result.returncode == 0, result.stderr
    names = result.stdout.rpartition(":")[2].split()
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", FRAMEWORKS)
@pytest.mark.parametrize("form", ["import {}", "from {}.nn import functional"])
def test_the_blocker_blocks(package: str, form: str):
    result = run(form.format(package))
    assert result.returncode == 1
    assert f"ModuleNotFoundError: No module named '{package}" in result.stderr
    assert "blocked" in result.stderr


def test_what_is_loaded_is_seen():
    assert {"numpy", "json"} <= loaded("import json, numpy")


def test_the_main_job_needs_no_framework_and_draws_nothing_unasked():
    assert "matplotlib" not in loaded(COMPARE)


def test_importing_initlab_loads_nothing_heavy():
    assert not loaded("import initlab") & {*HEAVY, "rich", "typer", "pydantic"}


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]):
    assert not loaded(HELP.format(arguments=arguments)) & set(HEAVY)
