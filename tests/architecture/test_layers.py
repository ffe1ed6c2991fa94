"""The layers of ARCHITECTURE.md hold, and the contract that says so catches what breaks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "initlab"


def lint_imports(parent: Path) -> subprocess.CompletedProcess[str]:
    """Check the copy of the package that lies in ``parent`` against the project's contracts."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--config", ROOT / "pyproject.toml", "--no-cache"],
        env=os.environ | {"PYTHONPATH": str(parent)},
        cwd=parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_keeps_its_contracts():
    result = lint_imports(PACKAGE.parent)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("_base/errors.py", "from initlab import activations", "Imports run downward"),
        ("activations/smooth.py", "from initlab import initializers", "Imports run downward"),
        ("data/__init__.py", "from initlab.engine import network", "Imports run downward"),
        ("engine/network.py", "import initlab.experiments", "Imports run downward"),
        ("report/__init__.py", "from initlab import course", "Imports run downward"),
        ("course.py", "import initlab.cli", "Imports run downward"),
        ("attic.py", "", "Imports run downward"),
        ("_base/errors.py", "from initlab._base import catalogue", "do not run in circles"),
        ("experiments/records.py", "import matplotlib.figure", "drawn by report alone"),
        ("data/__init__.py", "def f():\n    import rich", "drawn by report alone"),
        ("engine/network.py", "def f():\n    import torch", "needs no framework"),
        ("cli/__init__.py", "import jax.numpy", "needs no framework"),
        ("course.py", "from initlab import compare", "asks the root package"),
        ("report/__init__.py", "import initlab", "asks the root package"),
    ],
)
def test_a_breach_is_caught(tmp_path: Path, file: str, line: str, broken: str):
    shutil.copytree(PACKAGE, tmp_path / "initlab", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "initlab" / file).open("a") as source:
        source.write(f"\n\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    contracts = result.stdout.splitlines()
    # Behind the word may stand how many imports the contract lets pass.
    assert any(broken in text and " BROKEN" in text for text in contracts), result.stdout
