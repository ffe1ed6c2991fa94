"""The signal figure shows each layer's spread, zeros and non-finite values included."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from initlab.experiments import Results
from initlab.report.figures import SignalDisplay
from initlab.report.figures.signals import on_scale, signal_scale
from initlab.report.spread import spread

PANELS = [
    (quantity, moment)
    for quantity in ("activation_std", "gradient_std")
    for moment in ("start", "end")
]


def tick_labels(display: SignalDisplay, quantity: str) -> list[str]:
    return [tick.get_text() for tick in display.axes_[quantity, "start"].get_yticklabels()]


@pytest.mark.parametrize(("quantity", "moment"), PANELS)
def test_lines_hold_the_evidence(seeded: Results, quantity: str, moment: str):
    display = SignalDisplay.from_results(seeded)
    display.figure()
    lines = {line.get_label(): line for line in display.axes_[quantity, moment].lines}
    for init in ("he_normal", "glorot_uniform"):
        layers = [getattr(run.evidence, moment) for run in seeded.runs if run.init == init]
        values = [[getattr(layer, quantity) for layer in each] for each in layers]
        np.testing.assert_array_equal(lines[init].get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(lines[init].get_ydata(), np.median(values, axis=0))


def test_exact_zeros_lie_on_a_baseline_named_0_below_every_other_value(course: Results):
    display = SignalDisplay.from_results(course)
    display.figure()
    ax = display.axes_["activation_std", "start"]
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}
    at = dict(zip(tick_labels(display, "activation_std"), ax.get_yticks(), strict=True))
    assert all(layer.activation_std == 0 for layer in course.runs[0].evidence.start)
    np.testing.assert_array_equal(lines["zeros"], at["0"])
    assert at["0"] < min(lines["he_normal"])
    assert ax.get_ylim()[0] < at["0"]


def test_no_baseline_where_nothing_is_zero(seeded: Results):
    display = SignalDisplay.from_results(seeded)
    display.figure()
    assert "0" not in tick_labels(display, "activation_std")


@pytest.mark.parametrize(("value", "label"), [(math.inf, "inf"), (math.nan, "nan")])
def test_what_is_not_finite_lies_on_a_baseline_of_its_name(
    course: Results, value: float, label: str
):
    run = course.runs[2]
    layers = tuple(replace(layer, gradient_std=value) for layer in run.evidence.end)
    broken = replace(run, evidence=replace(run.evidence, end=layers))
    display = SignalDisplay.from_results(replace(course, runs=(broken,)))
    display.figure()
    ax = display.axes_["gradient_std", "end"]
    at = dict(zip(tick_labels(display, "gradient_std"), ax.get_yticks(), strict=True))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), at[label])
    assert at[label] > max(layer.gradient_std for layer in run.evidence.start)
    assert ax.get_ylim()[1] > at[label]


@pytest.mark.parametrize("values", [[0.0, 0.0], [5e-324, 1e308], [math.nan], [1.0]])
def test_any_values_have_a_scale_with_room(values: list[float]):
    scale = signal_scale([spread([values])])
    assert 0 < scale.zero < scale.low < scale.high < scale.beyond < math.inf
    drawn = on_scale(np.array(values), scale)
    assert (drawn >= scale.zero).all()
    assert (drawn <= scale.beyond).all()


def test_draws_into_the_figure_it_is_given(course: Results):
    figure = Figure()
    display = SignalDisplay.from_results(course).plot(figure)
    assert display.figure_ is figure
    assert len(figure.axes) == 4
