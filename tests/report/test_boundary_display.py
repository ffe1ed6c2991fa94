"""The panels show what the networks predict."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from initlab.engine.network import Layer
from initlab.experiments import Results
from initlab.report.figures import BoundaryDisplay, draw_boundary
from initlab.report.figures.boundaries import grid, predictor
from initlab.report.figures.panels import UNDECIDED, draw_confusion, draw_regression
from initlab.report.figures.style import png


def sign_of_sum(points: np.ndarray) -> np.ndarray:
    return (points.sum(axis=1) > 0).astype(int)


def grid_points(image: AxesImage) -> np.ndarray:
    """Return the centres of an image's cells, row by row from the bottom."""
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    across = left + (np.arange(columns) + 0.5) * (right - left) / columns
    up = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    return np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)


def test_regions_are_the_predictions_at_each_cell():
    ax = Figure().add_subplot()
    x = np.array([[0.0, 0.3], [1.0, 2.0]])
    draw_boundary(ax, sign_of_sum, x, np.array([0, 1]), limits=((-2.0, 3.0), (-1.0, 4.0)))
    (image,) = ax.images
    shown = image.get_array().ravel()
    np.testing.assert_array_equal(shown, sign_of_sum(grid_points(image)))
    assert {0, 1} == {*shown.tolist()}
    assert image.origin == "lower"
    assert ax.get_xlim() == (-2.0, 3.0)
    assert ax.get_ylim() == (-1.0, 4.0)


def test_points_lie_on_top_in_the_colour_of_their_region():
    ax = Figure().add_subplot()
    x = np.array([[-2.0, 0.0], [2.0, 0.0], [2.5, 0.0]])
    draw_boundary(ax, sign_of_sum, x, np.array([0, 1, 1]))
    (image,) = ax.images
    offsets = [points.get_offsets().tolist() for points in ax.collections]
    assert offsets == [x[:1].tolist(), x[1:].tolist()]
    for label, points in enumerate(ax.collections):
        strong = points.get_facecolor()[0, :3]
        pale = np.array(image.to_rgba(np.array([label]))[0, :3])
        assert points.zorder > image.zorder
        # The pale colour is a mix of white and the strong one.
        np.testing.assert_allclose((1 - pale) / (1 - strong), (1 - pale[0]) / (1 - strong[0]))
    assert ax.get_aspect() == 1


def test_a_point_without_a_prediction_is_grey():
    ax = Figure().add_subplot()
    x = np.array([[-1.0, 0.0], [1.0, 0.0]])
    draw_boundary(ax, lambda p: np.full(len(p), UNDECIDED), x, np.array([0, 1]))
    red, green, blue, _ = ax.images[0].to_rgba(np.array([UNDECIDED]))[0]
    assert red == green == blue < 1


def test_accuracy_of_the_predictor_is_the_recorded_one(course: Results):
    data = course.dataset
    for run in course.runs:
        predict = predictor(course.experiment, data, run.layers)
        assert (predict(data.train_x) == data.train_y).mean() == pytest.approx(run.train_score)
        assert (predict(data.test_x) == data.test_y).mean() == pytest.approx(run.test_score)


def test_accuracy_of_the_predictor_with_ten_classes(digits: Results):
    data = digits.dataset
    predict = predictor(digits.experiment, data, digits.runs[0].layers)
    assert (predict(data.test_x) == data.test_y).mean() == pytest.approx(digits.runs[0].test_score)


def test_predictor_of_a_broken_network_is_undecided(course: Results):
    broken = [Layer(np.full_like(w, math.nan), b) for w, b in course.runs[2].layers]
    predict = predictor(course.experiment, course.dataset, broken)
    assert (predict(course.dataset.test_x) == UNDECIDED).all()


def test_more_samples_than_one_chunk_are_predicted_alike(course: Results):
    predict = predictor(course.experiment, course.dataset, course.runs[2].layers)
    x = np.random.default_rng(0).normal(size=(9000, 2))
    np.testing.assert_array_equal(
        predict(x), np.concatenate([predict(part) for part in (x[:7], x[7:])])
    )


def test_one_panel_a_start_with_name_and_scores(course: Results):
    display = BoundaryDisplay.from_results(course)
    display.figure()
    titles = [ax.get_title() for ax in display.axes_]
    assert [title.split("\n")[0] for title in titles] == [run.init for run in course.runs]
    assert "train 50.0 %" in titles[0]
    assert f"test {100 * course.runs[2].test_score:.1f} %" in titles[2]
    shown = display.axes_[0].images[0].get_array()
    assert (shown == 0).all()  # zeros predict 0 everywhere


def test_other_features_give_a_confusion_matrix(digits: Results):
    display = BoundaryDisplay.from_results(digits)
    assert display.kind == "confusion"
    figure = display.figure()
    png(figure)
    right = sum(
        int(text.get_text())
        for text in display.axes_[0].texts
        if text.get_position()[0] == text.get_position()[1]
    )
    total = sum(int(text.get_text()) for text in display.axes_[0].texts)
    assert total == len(digits.dataset.test_y)
    assert right / total == pytest.approx(digits.runs[0].test_score)


def test_confusion_counts_predictions_that_are_no_class():
    ax = Figure().add_subplot()
    draw_confusion(ax, np.array([0, UNDECIDED, 1]), np.array([0, 0, 1]), ("cat", "dog"))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["cat", "dog", "nan"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["cat", "dog"]
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {
        ((0, 0), "1"),
        ((2, 0), "1"),
        ((1, 1), "1"),
    }


def test_regression_shows_predicted_against_true(regression: Results):
    display = BoundaryDisplay.from_results(regression)
    assert display.kind == "regression"
    display.figure()
    data = regression.dataset
    points = display.axes_[0].lines[1]
    predict = predictor(regression.experiment, data, regression.runs[0].layers)
    np.testing.assert_array_equal(points.get_xdata(), data.test_y)
    np.testing.assert_array_equal(points.get_ydata(), predict(data.test_x))
    assert "R²" in display.axes_[0].get_title()


def test_regression_counts_what_is_off_the_scale():
    ax = Figure().add_subplot()
    draw_regression(ax, np.array([0.1, math.nan, 1e9, 0.9]), np.array([0.0, 0.3, 0.6, 1.0]))
    assert [text.get_text() for text in ax.texts] == ["2 of 4 off the scale"]
    assert len(ax.lines[2].get_ydata()) == 1  # 1e9, drawn at the edge
    assert ax.lines[2].get_ydata()[0] == ax.get_ylim()[1]


@pytest.mark.parametrize("count", range(1, 17))
def test_panels_keep_clear_of_each_other_and_of_the_edges(course: Results, count: int):
    runs = tuple(replace(course.runs[2], init=f"normal(std={k})") for k in range(count))
    display = BoundaryDisplay.from_results(replace(course, runs=runs))
    rows, columns = grid(count)
    assert rows * columns >= count > (rows - 1) * columns
    figure = Figure(figsize=display.size)
    display.plot(figure)
    boxes = [ax.get_tightbbox() for ax in display.axes_]
    for index, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
