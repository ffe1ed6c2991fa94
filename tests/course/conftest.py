"""What the course's tests share: figures off screen, the data, a start to work on."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import make_circles


@pytest.fixture(autouse=True)
def figures_off_screen() -> Iterator[None]:
    """Draw with Agg, and leave no figure behind."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(autouse=True)
def global_generator_untouched() -> Iterator[None]:
    """Fail any test of a function that draws from, or seeds, NumPy's global generator."""
    before = np.random.get_state()  # noqa: NPY002 - the legacy generator is what this is about
    yield
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


@pytest.fixture(scope="session")
def circles() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make the published data without initlab."""
    train_x, train_y = make_circles(300, noise=0.05, random_state=np.random.RandomState(1))
    test_x, test_y = make_circles(100, noise=0.05, random_state=np.random.RandomState(2))
    return train_x.T, train_y[None, :], test_x.T, test_y[None, :]
