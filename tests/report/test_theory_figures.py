"""Phase diagrams and predicted signals: what is drawn, where, and that all of it can be read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from scipy.interpolate import RegularGridInterpolator

from initlab.experiments import MeasuredSignal, Results, execute, measure_signal
from initlab.report import html
from initlab.report.figures import PhaseDisplay, PredictedSignalDisplay, SignalDisplay
from initlab.report.figures.style import log_ticks, png
from initlab.theory import (
    PhaseDiagram,
    Signal,
    fixed_point,
    fully_connected,
    phase_diagram,
    signal,
    variance_map,
)

STABLE, UNSTABLE, POINT = "edge of chaos", "edge of chaos, q unstable", "edge of chaos: one point"
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (144).to_bytes(4) + (72).to_bytes(4)


@pytest.fixture(scope="module")
def diagrams() -> Mapping[str, PhaseDiagram]:
    names = ("tanh", "gelu", "relu", "sigmoid", "leaky_relu(0.2)")
    return {name: phase_diagram(name, size=(60, 40)) for name in names}


def drawn(diagram: PhaseDiagram) -> PhaseDisplay:
    display = PhaseDisplay(diagram)
    display.figure()
    return display


def labelled(ax: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in ax.lines}


def shown(ax: Axes, line: Line2D) -> np.ndarray:
    """Return the points ``(points, 2)`` of a line within the axes."""
    points = np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = points.T
    return points[(left <= x) & (x <= right) & (bottom <= y) & (y <= top)]


def test_the_edge_is_where_chi_is_1(diagrams: Mapping[str, PhaseDiagram]):
    """At each of its points, solved for anew: χ1 = 1 at the fixed point of the variance."""
    ax = drawn(diagrams["tanh"]).ax_
    line = labelled(ax)[STABLE]
    assert line.get_linestyle() == "-"
    assert UNSTABLE not in labelled(ax)
    points = shown(ax, line)
    assert points[0] == pytest.approx([1, 0], abs=1e-3)
    assert points[-1, 1] == pytest.approx(0.5, abs=0.01)
    for weight_var, bias_var in points[::240]:
        found = fixed_point("tanh", weight_var=weight_var, bias_var=max(bias_var, 0.0))
        assert found.chi_1 == pytest.approx(1, abs=1e-4)
    at = np.interp(0.05, points[:, 1], points[:, 0])
    assert at == pytest.approx(1.76095463961, abs=1e-3)


def test_the_edge_is_dotted_where_no_network_stays(diagrams: Mapping[str, PhaseDiagram]):
    """Variances that start a thousandth away come nearer beside the line, and run off the dots."""
    ax = drawn(diagrams["gelu"]).ax_
    lines = labelled(ax)
    assert (lines[STABLE].get_linestyle(), lines[UNSTABLE].get_linestyle()) == ("-", ":")
    edge = np.array([(p.q, p.weight_var, p.bias_var) for p in diagrams["gelu"].edge])
    for label, stays in ((STABLE, True), (UNSTABLE, False)):
        points = shown(ax, lines[label])
        assert len(points) > 10
        for weight_var, bias_var in points[20:-20:160]:
            q = edge[np.hypot(edge[:, 1] - weight_var, edge[:, 2] - bias_var).argmin(), 0]
            found = fixed_point("gelu", weight_var=weight_var, bias_var=bias_var, start=q)
            each = min(found.fixed_points, key=lambda p: abs(p.chi_1 - 1))
            assert each.chi_1 == pytest.approx(1, abs=1e-3)
            before = after = 1.001 * each.q
            for _ in range(20):
                after = variance_map("gelu", after, weight_var=weight_var, bias_var=bias_var)
            assert (abs(after - each.q) < abs(before - each.q)) == stays


def test_a_single_point_for_functions_without_a_scale(diagrams: Mapping[str, PhaseDiagram]):
    for name, at in (("relu", 2.0), ("leaky_relu(0.2)", 2 / 1.04)):
        lines = labelled(drawn(diagrams[name]).ax_)
        assert {STABLE, UNSTABLE}.isdisjoint(lines)
        np.testing.assert_allclose(lines[POINT].get_xydata(), [[at, 0]], rtol=1e-9)
        assert lines[POINT].get_marker() == "o"


@pytest.mark.parametrize(
    "ends", [{"weight_var": (0, 1)}, {"bias_var": (0.1, 0.5)}, {"weight_var": (3, 4)}]
)
def test_the_point_is_left_out_of_a_map_that_does_not_hold_it(ends: dict[str, Any]):
    lines = labelled(drawn(phase_diagram("relu", size=(8, 6), **ends)).ax_)
    assert POINT not in lines


def test_no_edge_where_there_is_none_in_sight(diagrams: Mapping[str, PhaseDiagram]):
    ax = drawn(diagrams["sigmoid"]).ax_
    assert ax.lines[:] == []
    assert ax.get_legend() is None
    assert [text.get_text() for text in ax.texts] == ["ordered"]
    # Silu's stable branch begins above this map: it has no place in the legend.
    assert STABLE not in labelled(drawn(phase_diagram("silu", size=(30, 30))).ax_)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "sigmoid", "leaky_relu(0.2)"])
def test_colour_is_chi_and_hatching_is_divergence(diagrams: Mapping[str, PhaseDiagram], name: str):
    diagram, ax = diagrams[name], drawn(diagrams[name]).ax_
    (mesh, *_) = ax.collections
    values = mesh.get_array()
    assert values.shape == diagram.chi_1.shape
    diverges = np.isinf(diagram.q_star)
    np.testing.assert_array_equal(np.ma.getmaskarray(values), diverges)
    with np.errstate(divide="ignore"):
        expected = np.log(diagram.chi_1[~diverges])
    inside = np.abs(expected) < 0.5
    np.testing.assert_allclose(np.asarray(values[~diverges])[inside], expected[inside])
    # Blue is order, orange chaos, white the edge between.
    assert to_hex(mesh.cmap(mesh.norm(0.0))) in {"#ffffff", "#fefefe", "#fffefe", "#fefeff"}
    red, _, blue, _ = mesh.cmap(mesh.norm(-0.3))
    assert blue > red
    red, _, blue, _ = mesh.cmap(mesh.norm(0.3))
    assert red > blue
    hatched = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert len(hatched) == diverges.any()
    for patch in hatched:
        assert patch.get_zorder() < mesh.get_zorder()


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "leaky_relu(0.2)"])
def test_each_phase_is_named_inside_it(diagrams: Mapping[str, PhaseDiagram], name: str):
    diagram, ax = diagrams[name], drawn(diagrams[name]).ax_
    found = {text.get_text(): text.get_position() for text in ax.texts}
    phases = {
        "ordered": diagram.chi_1 < 1,
        "chaotic": diagram.chi_1 > 1,
        "the variance\ndiverges": np.isinf(diagram.q_star),
    }
    for phase, where in phases.items():
        assert (phase in found) == (where.mean() >= 0.02), phase
        if phase in found:
            x, y = found[phase]
            row = np.abs(diagram.bias_var - y).argmin()
            column = np.abs(diagram.weight_var - x).argmin()
            assert where[row, column]


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_dashed_lines_are_where_the_depth_scale_has_their_number(
    diagrams: Mapping[str, PhaseDiagram], name: str
):
    diagram, ax = diagrams[name], drawn(diagrams[name]).ax_
    logs = np.log(np.clip(diagram.xi_c, 1e-3, 1e6))
    grid = RegularGridInterpolator((diagram.bias_var, diagram.weight_var), logs)
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed
    for line in dashed:
        found = np.exp(grid(line.get_xydata()[:, ::-1]))
        found = found[np.isfinite(found)]
        level = min((3, 10, 30), key=lambda scale: abs(np.log(np.median(found) / scale)))
        # Near the edge ξc rises to infinity within a cell: there a line between points says little.
        assert np.median(np.abs(np.log(found / level))) < 0.05
    labels = [text for text in ax.texts if text.get_text().startswith("ξc = ")]
    assert {text.get_text() for text in labels} >= {"ξc = 3", "ξc = 10"}
    for text in labels:
        x, y = text.get_position()
        number = int(text.get_text().removeprefix("ξc = "))
        assert np.exp(grid([[y, x]])[0]) == pytest.approx(number, rel=0.25)


def test_it_draws_into_the_axes_it_is_given(diagrams: Mapping[str, PhaseDiagram]):
    figure, (left, right) = plt.subplots(1, 2)
    display = PhaseDisplay(diagrams["tanh"]).plot(left)
    assert display.ax_ is left
    assert display.figure_ is figure
    assert not right.has_data()
    assert left.get_title(loc="left") == "Phases of deep tanh networks"
    part = Figure().subfigures(1, 2)[0]
    assert PhaseDisplay(diagrams["tanh"]).plot(part.add_subplot()).figure_ is part.figure
    before = plt.get_fignums()
    drawn(diagrams["tanh"])
    assert plt.get_fignums() == before
    assert PhaseDisplay(diagrams["tanh"]).plot().figure_.number not in before


ODD_SIZES: Mapping[str, dict[str, Any]] = {
    "one row": {"size": (30, 1), "bias_var": (0.05, 0.05)},
    "one row without a bias": {"size": (30, 1), "bias_var": (0.0, 0.0)},
    "one column": {"size": (1, 30), "weight_var": (1.5, 1.5)},
    "one point": {"size": (1, 1), "weight_var": (1.5, 1.5), "bias_var": (0.1, 0.1)},
    "few points": {"size": (2, 2)},
    "between two lines of ξc": {
        "size": (30, 30),
        "weight_var": (1.2, 1.21),
        "bias_var": (0.05, 0.051),
    },
}


@pytest.mark.parametrize("options", ODD_SIZES.values(), ids=ODD_SIZES)
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_maps_of_any_size_are_drawn(name: str, options: dict[str, Any]):
    """Warnings are errors here."""
    diagram = phase_diagram(name, **options)
    display = PhaseDisplay(diagram)
    assert png(display.figure()).startswith(PNG[:8])
    low, high = display.ax_.get_ylim()
    assert low <= diagram.bias_var[0] <= diagram.bias_var[-1] <= high
    assert low < high


def test_the_edge_crosses_a_single_row_where_it_does():
    diagram = phase_diagram("tanh", size=(20, 1), bias_var=(0.05, 0.05))
    ax = drawn(diagram).ax_
    points = shown(ax, labelled(ax)[STABLE])
    np.testing.assert_allclose(points[:, 0], 1.76095463961, atol=0.01)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0.05"]
    column = phase_diagram("tanh", size=(1, 20), weight_var=(1.76095463961, 1.76095463961))
    ax = drawn(column).ax_
    points = shown(ax, labelled(ax)[STABLE])
    np.testing.assert_allclose(points[:, 1], 0.05, atol=0.005)
    single = phase_diagram("relu", size=(20, 1), bias_var=(0.0, 0.0))
    np.testing.assert_allclose(labelled(drawn(single).ax_)[POINT].get_xydata(), [[2, 0]])


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return the words of a figure that are drawn, each with its place in pixels."""
    FigureCanvasAgg(figure).draw()
    words = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        out = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
        hidden = {id(label) for tick in out for label in (tick.label1, tick.label2)}
        words = [text for text in words if id(text) not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in words]


def check_words(figure: Figure) -> None:
    """Refuse words that leave the figure, or lie on each other."""
    found = boxes(figure)
    width, height = figure.canvas.get_width_height()
    for words, box in found:
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= width, words
        assert box.y1 <= height, words
    for (one, first), (other, second) in itertools.combinations(found, 2):
        shared = Bbox.intersection(first, second)
        # Boxes have air in them: a few pixels of it may be shared.
        assert shared is None or min(shared.width, shared.height) < 4, (one, other)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "sigmoid", "leaky_relu(0.2)"])
def test_all_words_of_a_map_can_be_read(diagrams: Mapping[str, PhaseDiagram], name: str):
    check_words(PhaseDisplay(diagrams[name]).figure())


# Signals.


def a_signal(
    activation: str, init: str, depth: int = 12, draws: int = 5, **options: Any
) -> PredictedSignalDisplay:
    sizes = (60,) * (depth + 1)
    display = PredictedSignalDisplay(
        signal(fully_connected(sizes, activation), init, **options),
        measure_signal(sizes, activation, init, draws=draws, **options),
        f"{depth} layers of 60 units, {activation}",
    )
    display.figure()
    return display


SIGNALS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "steady": ("relu", "he_normal", {}),
    "falling": ("tanh", "orthogonal", {}),
    "vanishing gradient": ("sigmoid", "glorot_uniform", {}),
    "vanishing": ("relu", "normal(std=0.001)", {}),
    "nothing": ("relu", "zeros", {}),
    "growing": ("relu", "normal(std=1)", {}),
    "exploding": ("relu", "normal(std=1e40)", {}),
    "not a number": ("relu", "normal(std=1e200)", {}),
    "gone": ("relu", "normal(std=1e-50)", {}),
    "opposite inputs": ("tanh", "he_normal", {"input_correlation": -1.0}),
    "with biases": ("gelu", "he_normal", {"bias_var": 0.1}),
    "one layer": ("relu", "he_normal", {"depth": 1}),
    "two layers": ("relu", "he_normal", {"depth": 2}),
    "one network": ("relu", "he_normal", {"draws": 1}),
    "much depth": ("relu", "he_normal", {"depth": 60, "draws": 2}),
}


@pytest.fixture(params=SIGNALS.values(), ids=SIGNALS, scope="module")
def display(request: pytest.FixtureRequest) -> PredictedSignalDisplay:
    activation, init, options = request.param
    return a_signal(activation, init, **options)


def ticks(ax: Axes) -> dict[str, float]:
    return dict(
        zip((tick.get_text() for tick in ax.get_yticklabels()), ax.get_yticks(), strict=True)
    )


def series(ax: Axes) -> tuple[Line2D, Line2D, list[Line2D]]:
    """Return the line as predicted, the points of the mean, and the line of each network."""
    (predicted,) = [line for line in ax.lines if line.get_label() == "predicted"]
    (mean,) = [line for line in ax.lines if str(line.get_label()).startswith("measured: ")]
    lines = [line for line in ax.lines if line.get_linewidth() == 0.6]
    return predicted, mean, lines


@pytest.mark.parametrize("name", ["variance", "correlation", "gradient"])
def test_the_line_is_the_prediction_and_points_are_the_mean(name: str):
    display = a_signal("relu", "he_normal")
    predicted, mean, lines = series(display.axes_[name])
    layers = np.arange(1, 13)
    expected = [getattr(layer, name) for layer in display.signal.layers]
    networks = getattr(display.measured, name)
    np.testing.assert_array_equal(predicted.get_xdata(), layers)
    np.testing.assert_allclose(predicted.get_ydata(), expected)
    assert (predicted.get_linestyle(), predicted.get_marker()) == ("-", "")
    np.testing.assert_array_equal(mean.get_xdata(), layers)
    np.testing.assert_allclose(mean.get_ydata(), networks.mean(axis=0))
    assert (mean.get_linestyle(), mean.get_marker()) == ("None", "o")
    assert len(lines) == 5
    for line, network in zip(lines, networks, strict=True):
        np.testing.assert_allclose(line.get_ydata(), network)


def test_the_band_is_a_deviation_to_either_side():
    display = a_signal("relu", "he_normal")
    (band,) = display.axes_["variance"].collections
    (path,) = band.get_paths()
    for layer in display.signal.layers:
        assert layer.fluctuation is not None
        at = path.vertices[path.vertices[:, 0] == layer.depth, 1]
        factor = 1 + layer.fluctuation
        assert (min(at), max(at)) == pytest.approx(
            (layer.variance / factor, layer.variance * factor)
        )
    assert not display.axes_["correlation"].collections
    assert not display.axes_["gradient"].collections


def test_exact_zeros_lie_on_a_line_named_0():
    display = a_signal("relu", "zeros")
    for name, zeros in (("variance", 12), ("gradient", 11)):
        ax = display.axes_[name]
        at = ticks(ax)["0"]
        predicted, mean, lines = series(ax)
        for line in (predicted, mean, *lines):
            values = np.asarray(line.get_ydata())
            np.testing.assert_array_equal(values[:zeros], at)
            assert (values[zeros:] > at).all()
        assert ax.get_ylim()[0] < at
    # Two signals of 0 have no correlation, and that is said.
    correlation = display.axes_["correlation"]
    assert [text.get_text().split(":")[0] for text in correlation.texts] == ["no correlation"]
    assert not a_signal("relu", "he_normal").axes_["correlation"].texts


def test_what_is_not_finite_lies_on_a_line_of_its_name():
    display = a_signal("relu", "normal(std=1e200)")
    ax = display.axes_["variance"]
    at = ticks(ax)["inf/nan"]
    predicted, mean, _ = series(ax)
    assert predicted.get_ydata()[-1] == at
    assert mean.get_ydata()[-1] == at
    assert ax.get_ylim()[1] > at


def test_one_network_is_no_mean():
    display = a_signal("relu", "he_normal", draws=1)
    labels = [text.get_text() for text in display.figure_.legends[0].get_texts()]
    assert labels[1:] == ["predicted", "measured: one random network"]
    several = a_signal("relu", "zeros")
    labels = [text.get_text() for text in several.figure_.legends[0].get_texts()]
    assert labels == ["predicted", "measured: 5 random networks, and their mean"]


def test_nothing_is_cut_at_the_ends_of_the_axes(display: PredictedSignalDisplay):
    """Markers are whole: their middle is further inside than they are thick."""
    FigureCanvasAgg(display.figure_).draw()
    for ax in display.axes_.values():
        _, mean, _ = series(ax)
        radius = mean.get_markersize() / 2 / 72 * display.figure_.dpi
        box = ax.get_window_extent()
        for line in ax.lines:
            if len(line.get_xdata()) < len(display.signal.layers):
                continue  # the line across at 0, or at inf
            points = ax.transData.transform(line.get_xydata())
            points = points[np.isfinite(points).all(axis=1)]
            assert (points[:, 1] >= box.y0 + radius).all()
            assert (points[:, 1] <= box.y1 - radius).all()
            if line is mean and len(points) < 50:
                assert (points[:, 0] >= box.x0 + radius).all()
                assert (points[:, 0] <= box.x1 - radius).all()


def test_all_words_of_a_signal_can_be_read(display: PredictedSignalDisplay):
    check_words(display.figure_)


def test_ticks_are_few_and_short(display: PredictedSignalDisplay):
    for name in ("variance", "gradient"):
        labels = ticks(display.axes_[name])
        assert 1 <= len(labels) <= 12
        assert not [label for label in labels if "e-0" in label or "e+0" in label]


@pytest.mark.parametrize("depth", [1, 2, 5, 7, 60])
def test_layers_are_counted_in_whole_numbers(depth: int):
    display = a_signal("relu", "he_normal", depth=depth, draws=1)
    ax = display.axes_["gradient"]
    low, high = ax.get_xlim()
    places = [at for at in ax.get_xticks() if low <= at <= high]
    assert places
    assert all(at == int(at) and 1 <= at <= depth for at in places)
    # One layer is no line: a dash says what is predicted.
    predicted, _, _ = series(ax)
    assert (predicted.get_marker() == "_") == (depth == 1)


def test_it_draws_into_the_figure_it_is_given():
    drawn = a_signal("relu", "he_normal", depth=2)
    figure = Figure(figsize=(11, 3.8))
    display = PredictedSignalDisplay(drawn.signal, drawn.measured, "twice").plot(figure)
    assert display.figure_ is figure
    assert list(display.axes_) == ["variance", "correlation", "gradient"]
    assert figure.axes == list(display.axes_.values())
    assert "he_normal, twice" in {text.get_text() for text in figure.texts}


def test_powers_of_ten_are_written_as_people_do():
    labels = [label for _, label in log_ticks(1e-12, 1e12)]
    assert {"1e-8", "1e+8", "1"} <= set(labels)
    assert [float(label) for label in labels] == [at for at, _ in log_ticks(1e-12, 1e12)]


# Rings: what is predicted beside what is measured, in the report.


def rings(display: SignalDisplay, quantity: Any, moment: Any) -> dict[str, np.ndarray]:
    prefix = "_predicted "
    return {
        str(line.get_label()).removeprefix(prefix): np.asarray(line.get_ydata())
        for line in display.axes_[quantity, moment].lines
        if str(line.get_label()).startswith(prefix)
    }


@pytest.fixture(scope="module")
def mixed() -> Results:
    """Run two starts that the theory is about, and two that it is not."""
    return execute(["he_normal", "lsuv", "ones", "normal(std=0.1)"], seeds=2, steps=3)


@pytest.mark.parametrize("quantity", ["activation_std", "gradient_std"])
def test_rings_are_the_prediction(mixed: Results, quantity: Any):
    display = SignalDisplay.from_results(mixed)
    display.figure()
    found = rings(display, quantity, "start")
    assert list(found) == ["he_normal", "normal(std=0.1)"]
    for each in mixed.predictions():
        if each.layers:
            expected = [getattr(layer, quantity) for layer in each.layers]
            np.testing.assert_allclose(found[each.init], expected)
    assert not rings(display, quantity, "end")


def test_rings_have_the_colour_of_their_start_and_a_word_in_the_legend(mixed: Results):
    display = SignalDisplay.from_results(mixed)
    display.figure()
    lines = {str(line.get_label()): line for line in display.axes_["gradient_std", "start"].lines}
    for init in ("he_normal", "normal(std=0.1)"):
        ring = lines[f"_predicted {init}"]
        assert ring.get_markeredgecolor() == lines[init].get_color()
        assert ring.get_markerfacecolor() == "none"
        assert ring.get_markersize() > lines[init].get_markersize()
    labels = [text.get_text() for text in display.figure_.legends[0].get_texts()]
    assert labels == ["he_normal", "lsuv", "ones", "normal(std=0.1)", "as predicted"]
    none = execute(["lsuv"], seeds=1, steps=1)
    without = SignalDisplay.from_results(none)
    without.figure()
    assert [text.get_text() for text in without.figure_.legends[0].get_texts()] == ["lsuv"]


def test_rings_of_exact_zeros_lie_on_the_line_of_zeros(course: Results):
    display = SignalDisplay.from_results(course)
    display.figure()
    ax = display.axes_["activation_std", "start"]
    np.testing.assert_array_equal(
        rings(display, "activation_std", "start")["zeros"], ticks(ax)["0"]
    )
    gradient = rings(display, "gradient_std", "start")["zeros"]
    assert gradient[:2].tolist() == [ticks(display.axes_["gradient_std", "start"])["0"]] * 2
    assert gradient[2] == pytest.approx(0.5)


def test_only_what_was_run_has_rings(mixed: Results):
    """As where Ctrl-C came before the last starts."""
    part = replace(mixed, runs=mixed.runs[:2], interrupted=True)
    display = SignalDisplay.from_results(part)
    display.figure()
    assert list(rings(display, "gradient_std", "start")) == ["he_normal"]


def test_starts_of_any_size_fit_one_figure():
    """From 1e-200 to 1e200: their ratio is beyond float64."""
    results = execute(["normal(std=1e200)", "normal(std=1e-200)", "zeros"], steps=2)
    display = SignalDisplay.from_results(results)
    assert png(display.figure()).startswith(PNG[:8])
    low, high = display.axes_["activation_std", "start"].get_ylim()
    assert 0 < low < 1e-200
    assert 1e200 < high < math.inf


def test_the_caption_says_why_a_ring_is_missing(mixed: Results, course: Results):
    figures = {"costs": PNG, "boundaries": PNG, "signals": PNG}
    text = html.page(mixed, figures)
    caption = text.partition("Rings: ")[2].partition("</figcaption>")[0]
    assert "No prediction: lsuv adapts its weights to data" in caption
    assert "No prediction: ones gives entries of a common mean" in caption
    assert caption.count("No prediction") == 2
    assert "No prediction" not in html.page(course, figures)


def test_records_alone_are_drawn() -> None:
    """A display needs neither a network nor a run: what was measured may come from anywhere."""
    layer = signal(fully_connected((4, 4), "relu"), "he_normal").layers[0]
    made = Signal("mine", 1.0, 0.5, 0.0, (replace(layer, variance=3.0),))
    values = np.full((2, 1), 3.0)
    measured = MeasuredSignal(values, values / 6, values, values, values / 3)
    display = PredictedSignalDisplay(made, measured, "one layer")
    assert png(display.figure()).startswith(PNG[:8])
    predicted, mean, _ = series(display.axes_["variance"])
    assert predicted.get_ydata() == mean.get_ydata() == [3.0]
