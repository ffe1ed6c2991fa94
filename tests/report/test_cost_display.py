"""The cost figure shows what was recorded, what is not finite included."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from initlab.experiments import Results
from initlab.report.figures import CostDisplay
from initlab.report.figures.costs import CostCurve, cost_limits
from initlab.report.figures.style import log_ticks, look, png
from initlab.report.spread import spread

INF, NAN = math.inf, math.nan


def curve(init: str, *seeds: list[float]) -> CostCurve:
    return CostCurve(init, np.arange(len(seeds[0])) * 100, spread(seeds))


def axes_of(display: CostDisplay) -> Axes:
    display.figure()
    return display.ax_


def words(ax: Axes) -> list[tuple[str, float]]:
    """Return the annotations, each with the step at which it stands."""
    return [(t.get_text(), t.xy[0]) for t in ax.texts if isinstance(t, Annotation)]


def test_lines_hold_the_recorded_values_and_end_at_the_final_cost(course: Results):
    display = CostDisplay.from_results(course)
    axes_of(display)
    assert len(display.lines_) == len(course.runs) == 3
    for line, run in zip(display.lines_, course.runs, strict=True):
        assert line.get_label() == run.init
        np.testing.assert_array_equal(line.get_xdata(), [*run.steps, course.experiment.steps])
        np.testing.assert_array_equal(line.get_ydata(), [*run.cost, run.final_cost])


def test_a_first_cost_of_inf_is_said_in_words_at_step_0(course: Results):
    display = CostDisplay.from_results(course)
    assert course.runs[1].cost[0] == INF
    assert ("inf", 0) in words(axes_of(display))


def test_the_mark_of_inf_lies_above_the_axes_and_on_the_picture(course: Results):
    display = CostDisplay.from_results(course)
    figure = display.figure()
    png(figure)
    marks = [t for t in display.ax_.texts if t.get_text() == "inf"]
    assert marks
    for mark in marks:
        box, frame = mark.get_window_extent(), display.ax_.get_window_extent()
        assert box.y0 > frame.y1
        assert box.y1 < figure.bbox.y1


def test_band_is_the_quartiles_and_line_the_median_over_seeds(seeded: Results):
    display = CostDisplay.from_results(seeded)
    ax = axes_of(display)
    for index, init in enumerate(("he_normal", "glorot_uniform")):
        costs = np.array([[*r.cost, r.final_cost] for r in seeded.runs if r.init == init])
        low, median, high = np.quantile(costs, [0.25, 0.5, 0.75], axis=0)
        np.testing.assert_allclose(display.lines_[index].get_ydata(), median)
        corners = ax.collections[index].get_paths()[0].vertices[:, 1]
        for edge in (*low, *high):
            assert np.isclose(corners, edge).any()
        assert np.isclose(corners.min(), low.min())
        assert np.isclose(corners.max(), high.max())


def test_single_runs_have_no_band(course: Results):
    assert not axes_of(CostDisplay.from_results(course)).collections


def test_a_run_that_becomes_nan_is_marked_where_it_does():
    ax = axes_of(CostDisplay([curve("a", [1.0, 2.0, NAN, NAN]), curve("b", [1.0, 0.9, 0.8, 0.7])]))
    assert ("nan", 200) in words(ax)


def test_each_stretch_off_the_scale_is_marked():
    ax = axes_of(CostDisplay([curve("a", [INF, 1.0, INF, INF, 0.5])]))
    assert [step for text, step in words(ax) if text == "inf"] == [0, 200]


def test_a_cost_far_above_all_starts_is_marked_with_its_value():
    ax = axes_of(CostDisplay([curve("a", [0.7, 1e30, 2e30]), curve("b", [0.8, 0.5, 0.2])]))
    assert ("1e+30 to 2e+30", 100) in words(ax)
    assert ax.get_ylim()[1] < 10


def test_a_cost_of_0_is_marked_on_a_logarithmic_scale():
    ax = axes_of(CostDisplay([curve("a", [1.0, 1e-3, 0.0])]))
    assert ax.get_yscale() == "log"
    assert ("0", 200) in words(ax)


def test_costs_that_are_all_inf_still_make_a_figure():
    ax = axes_of(CostDisplay([curve("a", [INF, INF])]))
    assert words(ax) == [("inf", 0)]


@pytest.mark.parametrize(
    ("costs", "scale"), [([0.9, 0.1], "linear"), ([0.9, 0.01], "log"), ([0.7, 0.69], "linear")]
)
def test_scale_follows_the_range(costs: list[float], scale: str):
    limits = cost_limits([curve("a", costs)])
    assert limits.log == (scale == "log")
    assert axes_of(CostDisplay([curve("a", costs)])).get_yscale() == scale
    assert limits.low <= min(costs)
    assert limits.high > max(costs)


def test_plot_draws_into_the_axes_it_is_given(course: Results):
    figure = Figure()
    ax = figure.add_subplot()
    display = CostDisplay.from_results(course).plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        r.init for r in course.runs
    ]
    assert not plt.get_fignums()


def test_plot_without_axes_opens_one_pyplot_figure(course: Results):
    display = CostDisplay.from_results(course).plot()
    assert [plt.figure(number) for number in plt.get_fignums()] == [display.figure_]


def test_own_figure_leaves_pyplot_alone_and_names_every_start(course: Results):
    figure = CostDisplay.from_results(course).figure()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [run.init for run in course.runs]
    assert not plt.get_fignums()


def test_nothing_is_cut_off_with_twelve_starts_and_long_names(course: Results):
    run = course.runs[2]
    names = [
        f"variance_scaling(scale={k}, mode='fan_avg', distribution='uniform')" for k in range(12)
    ]
    many = replace(course, runs=tuple(replace(run, init=name) for name in names))
    figure = CostDisplay.from_results(many).figure()
    png(figure)
    (legend,) = figure.legends
    inside = figure.bbox
    for text in (*legend.get_texts(), *figure.texts, figure.axes[0].yaxis.label):
        box = text.get_window_extent()
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1
    assert figure.axes[0].get_window_extent().x1 < legend.get_window_extent().x0


def test_neighbouring_starts_differ_in_colour_dash_and_marker():
    looks = [look(index) for index in range(28)]
    assert len({(each.colour, each.dashes) for each in looks}) == 28
    for one, next_one in pairwise(looks):
        assert one.colour != next_one.colour
        assert one.dashes != next_one.dashes
        assert one.marker != next_one.marker


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.9), (1e-7, 3), (1e-200, 1e100), (0.3, 40)])
def test_log_ticks_are_few_and_inside(low: float, high: float):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= value <= high and float(label) == value for value, label in ticks)
