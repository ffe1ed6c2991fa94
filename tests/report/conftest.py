"""Finished runs to report, trained for a few steps, and figures that stay off the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from initlab.experiments import Results, execute

COURSE_STARTS = ("zeros", "normal(std=10)", "he_normal")


@pytest.fixture(autouse=True)
def figures_off_screen() -> Iterator[None]:
    """Draw with Agg, and leave no figure behind."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def course() -> Results:
    """Run the exercise for 300 of its steps: the cost of the second start begins at inf."""
    return execute(COURSE_STARTS, steps=300)


@pytest.fixture(scope="session")
def seeded() -> Results:
    """Run two starts from five seeds each."""
    return execute(["he_normal", "glorot_uniform"], seeds=5, steps=200, record_every=20)


@pytest.fixture(scope="session")
def digits() -> Results:
    """Run ten classes with 64 features."""
    return execute(["he_normal", "zeros"], data="digits", seeds=1, steps=30, learning_rate=0.1)


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Run a regression on a file of the user's."""
    stream = np.random.default_rng(0)
    x = stream.normal(size=(80, 2))
    table = np.column_stack([x, x[:, 0] - 2 * x[:, 1]])
    path: Path = tmp_path_factory.mktemp("data") / "plane.csv"
    np.savetxt(path, table, delimiter=",", header="a,b,y", comments="", fmt="%.6f")
    return execute(["he_normal"], data=str(path), target="y", seeds=2, steps=200, hidden=())
