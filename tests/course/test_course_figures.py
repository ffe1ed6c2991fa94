"""What the course's functions draw, and where."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from initlab import course


def below_diagonal(points: np.ndarray) -> np.ndarray:
    """Classify points ``(n, 2)``: 1 where the first coordinate is the larger."""
    assert points.ndim == 2
    assert points.shape[1] == 2
    return points[:, 0] > points[:, 1]


@pytest.fixture
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """Draw points ``(2, 60)`` and labels ``(1, 60)`` in no particular order."""
    random = np.random.default_rng(8)
    return random.standard_normal((2, 60)), random.integers(0, 2, (1, 60))


def test_the_regions_are_what_the_model_says(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    course.plot_decision_boundary(below_diagonal, *cloud)
    (image,) = plt.gca().images
    regions = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    rows, columns = regions.shape
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    clear = np.abs(x[None, :] - y[:, None]) > 1e-9  # the diagonal itself may round either way
    np.testing.assert_array_equal(regions[clear], (x[None, :] > y[:, None])[clear])


@pytest.mark.parametrize("shape", [(1, 60), (60,), (60, 1)])
def test_the_points_are_drawn_by_class(
    cloud: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...]
) -> None:
    X, y = cloud
    course.plot_decision_boundary(below_diagonal, X, y.reshape(shape))
    drawn = [line.get_xydata() for line in plt.gca().lines]
    for label, points in enumerate(drawn):
        np.testing.assert_array_equal(points, X[:, y[0] == label].T)


def test_a_title_and_limits_set_before_are_kept(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    _, (_, axes) = plt.subplots(1, 2)
    plt.title("Model with He initialization")
    axes.set_xlim([-1.5, 1.5])
    axes.set_ylim([-1.25, 1.75])
    course.plot_decision_boundary(below_diagonal, *cloud)
    assert plt.gca() is axes
    assert axes.get_title() == "Model with He initialization"
    assert axes.get_xlim() == (-1.5, 1.5)
    assert axes.get_ylim() == (-1.25, 1.75)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right) == pytest.approx((-1.5, 1.5), abs=0.02)
    assert (bottom, top) == pytest.approx((-1.25, 1.75), abs=0.02)


def test_without_limits_the_picture_reaches_one_beyond_the_data(
    cloud: tuple[np.ndarray, np.ndarray],
) -> None:
    X, y = cloud
    course.plot_decision_boundary(below_diagonal, X, y)
    axes = plt.gca()
    assert axes.get_xlim() == pytest.approx((X[0].min() - 1, X[0].max() + 1))
    assert axes.get_ylim() == pytest.approx((X[1].min() - 1, X[1].max() + 1))


def test_outputs_are_rounded_and_nan_is_a_region_of_its_own(
    cloud: tuple[np.ndarray, np.ndarray],
) -> None:
    def outputs(points: np.ndarray) -> np.ndarray:
        return np.where(points[:, 1] > 0, np.nan, np.where(points[:, 0] > 0, 0.7, 0.2))[None, :]

    course.plot_decision_boundary(outputs, *cloud)
    regions = np.asarray(plt.gca().images[0].get_array())
    assert regions[0, 0] == 0
    assert regions[0, -1] == 1
    assert regions[-1, 0] < 0


def test_the_cost_is_plotted_as_in_the_exercise(circles: tuple[np.ndarray, ...]) -> None:
    course.model(*circles[:2], learning_rate=0.02, num_iterations=2500, print_cost=False)
    axes = plt.gca()
    (line,) = axes.lines
    costs = np.asarray(line.get_ydata())
    assert costs.shape == (3,)
    assert costs[0] == pytest.approx(0.8830537463419761, rel=1e-9)
    assert (np.diff(costs) < 0).all()
    assert axes.get_title() == "Learning rate =0.02"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("iterations (per hundreds)", "cost")


@pytest.mark.parametrize(
    ("backend", "shown"),
    [("agg", 0), ("svg", 0), ("module://matplotlib_inline.backend_inline", 1), ("qtagg", 1)],
)
def test_figures_are_shown_where_they_can_be(
    backend: str,
    shown: int,
    monkeypatch: pytest.MonkeyPatch,
    cloud: tuple[np.ndarray, np.ndarray],
) -> None:
    calls: list[str] = []
    plt.figure()
    monkeypatch.setattr(plt, "get_backend", lambda: backend)
    monkeypatch.setattr(plt, "show", lambda: calls.append("show"))
    course.plot_decision_boundary(below_diagonal, *cloud)
    assert len(calls) == shown
