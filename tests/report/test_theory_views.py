"""The theory in words, as documents and in a terminal of any width."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from initlab._base.records import dumps
from initlab.experiments import MeasuredSignal, measure_signal
from initlab.report.theory import (
    EdgeView,
    GainView,
    MapView,
    PointView,
    SignalView,
    edge_document,
    gain_document,
    map_document,
    point_document,
    signal_document,
)
from initlab.report.theory.documents import number
from initlab.report.theory.words import explain
from initlab.theory import (
    Point,
    Signal,
    as_activation,
    critical_point,
    edge_of_chaos,
    fixed_point,
    fully_connected,
    gain,
    phase_diagram,
    signal,
)

WIDTHS = (40, 60, 80, 100)


def printed(part: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, color_system=None).print(part)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def squeezed(text: str) -> str:
    return "".join(text.split())


def critical(f: str, q: float) -> Point:
    at = critical_point(f, q)
    return fixed_point(f, weight_var=at.weight_var, bias_var=at.bias_var, start=q)


def cube(x: Any) -> Any:
    return x**3


TRAINED = "{}, by e over {} layers, so that {} can be trained"
# 44.41 = 9π²/2; 0.1086 = -1 / ln 0.0001.
WORDS: Mapping[str, tuple[Point, tuple[str, ...]]] = {
    "ordered": (
        fixed_point("tanh", weight_var=1.5, bias_var=0.05),
        (
            TRAINED.format("two inputs become alike", "15.79", "about 95 layers"),
            "squared gradients shrink by 0.9386 a layer",
        ),
    ),
    "chaotic": (
        fixed_point("tanh", weight_var=4, bias_var=0.3),
        (
            TRAINED.format(
                "near inputs part, to end at correlation 0.5754", "6.55", "about 39 layers"
            ),
            "squared gradients grow by 1.257 a layer",
        ),
    ),
    "critical, kinks": (
        fixed_point("relu", weight_var=2),
        (
            "1 - c falls only like 44.41 / l² with the layer l",
            "squared gradients keep their size",
        ),
    ),
    "critical, linear": (
        fixed_point("identity", weight_var=1),
        ("correlations stay as they are", "squared gradients keep their size"),
    ),
    "critical, no signal": (
        fixed_point("tanh", weight_var=1),
        ("the signal vanishes, slower than exponentially", "squared gradients keep their size"),
    ),
    "vanishing": (
        fixed_point("relu", weight_var=1),
        ("the signal vanishes", "squared gradients shrink by 0.5 a layer"),
    ),
    "no weights": (
        fixed_point("relu", weight_var=0),
        ("the signal vanishes", "gradients are 0 below the last layer"),
    ),
    "not even a layer": (
        fixed_point("identity", weight_var=1e-4, bias_var=1),
        (
            TRAINED.format("two inputs become alike", "0.1086", "hardly more than one layer"),
            "squared gradients shrink by 0.0001 a layer",
        ),
    ),
    "diverging": (
        fixed_point("relu", weight_var=3, bias_var=0.1),
        ("the variance grows without end, in the long run by 1.5 a layer",),
    ),
    "diverging, slowly": (
        fixed_point("relu", weight_var=2, bias_var=0.1),
        ("the variance grows without end, in the long run slower than exponentially",),
    ),
    "diverging, faster": (
        fixed_point(cube, weight_var=1),
        ("the variance grows without end, faster and faster",),
    ),
    "beyond": (
        fixed_point("tanh", weight_var=1e20),
        ("the variance grows beyond 1e16, up to where fixed points are looked for",),
    ),
}


@pytest.mark.parametrize(("point", "words"), WORDS.values(), ids=WORDS)
def test_each_regime_in_words(point: Point, words: tuple[str, ...]):
    assert explain(point) == f"{point.regime}: {'; '.join(words)}"
    assert point_document(point)["explanation"] == explain(point)
    assert squeezed(explain(point)) in squeezed(printed(PointView(point)))


def test_a_smooth_critical_point_says_how_fast_correlations_grow():
    """β = 2 / (σw² q E[φ''²]), with l to the first power."""
    point = critical("tanh", 1.0)
    z, w = np.polynomial.hermite_e.hermegauss(80)
    bent = w @ np.square(-2 * np.tanh(z) / np.cosh(z) ** 2) / w.sum()
    assert f"1 - c falls only like {2 / (point.weight_var * bent):.4g} / l with" in explain(point)


def test_inputs_that_lose_all_they_share_end_at_0():
    """Without rounding: -1.1e-16 or 8e-15 is no correlation."""
    point = fixed_point("tanh", weight_var=4)
    assert "to end at correlation 0, by e" in explain(point)
    assert re.search(r"c\* +0 ", printed(PointView(point)))


def test_an_unstable_point_says_so():
    """A network of GELU that starts exactly there: V' is above 1."""
    point = critical("gelu", 1.0)
    assert not point.stable
    assert explain(point).endswith(
        "but the variance does not stay: the fixed point is unstable, and a deviation grows"
    )
    text = printed(PointView(point))
    assert "variance of the pre-activations, unstable" in text
    assert re.search(r"ξq +none", text)


def test_all_fixed_points_are_listed_where_there_are_several():
    text = printed(PointView(fixed_point("tanh", weight_var=2)))
    heading, *rows = text.partition("All fixed points of the variance\n")[2].splitlines()
    assert heading.split() == ["q", "V'(q)", "χ1"]
    assert [row.split()[-1] for row in rows] == ["unstable", "stable"]
    assert rows[0].split()[:3] == ["0", "2", "2"]  # V'(0) = χ1 = σw²
    assert "All fixed points" not in printed(PointView(fixed_point("sigmoid", weight_var=1)))
    # Where the variance diverges, what it has left behind.
    unstable = printed(PointView(fixed_point(cube, weight_var=1)))
    assert unstable.count("\n\n\n") == 0
    assert "0.2581988897" in unstable  # 1 / √15


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5335304411955353, "1.5335304412"),
        (-0.25, "-0.25"),
        (2.0, "2"),
        (0.0, "0"),
        (1e-30, "1e-30"),
        (2e-16, "2e-16"),
        (123456789.0, "123456789"),
        (6.1e22, "6.1e+22"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (None, "none"),
    ],
)
def test_a_number_has_its_digits_and_no_noise(value: float | None, text: str):
    assert number(value) == text


def test_no_rounding_is_shown_for_a_moment_of_0():
    text = printed(GainView(gain("tanh"), "tanh"))
    assert re.search(r"E\[φ\] +0\n", text)
    # Small is not nothing.
    small = gain(lambda x: 1e-20 * np.maximum(x, 0))
    assert re.search(r"E\[φ\] +3\.989422804e-21\n", printed(GainView(small, "")))
    point = fixed_point("relu", weight_var=1, bias_var=1e-16)
    assert re.search(r"q\* +2e-16 ", printed(PointView(point)))


def test_gains_side_by_side():
    text = printed(GainView(gain("gelu"), "x Φ(x)"))
    assert text.startswith("gelu   φ(x) = x Φ(x)\n")
    assert re.search(r"E\[φ²\]\^-1/2 +1\.5335304412 ", text)
    assert re.search(r"Var\(φ\)\^-1/2 +1\.7009262434 ", text)
    assert re.search(r"PyTorch +none +nn\.init\.calculate_gain has no number\n", text)
    assert re.search(r"PyTorch +1\.6666666667 +nn\.init\.calculate_gain\n", printed_gain("tanh"))
    assert re.search(r"E\[φ''²\] +inf ", printed_gain("relu"))


def printed_gain(name: str) -> str:
    return printed(GainView(gain(name), as_activation(name).formula))


def test_an_edge_and_why_there_is_none():
    found = edge_of_chaos("tanh", bias_var=0.05)
    text = printed(EdgeView(found))
    assert re.search(r"σw² +1\.7609546396 ", text)
    assert re.search(r"σw +1\.3270096607 ", text)
    assert edge_document(found) == {
        "weight_var": found.weight_var,
        "bias_var": 0.05,
        "q_star": found.q_star,
    }
    none = edge_of_chaos("softplus")
    assert edge_document(none) == {"weight_var": None, "why": none.why}
    assert squeezed(f"None: {none.why}.") in squeezed(printed(EdgeView(none)))


def test_shares_of_a_map():
    diagram = phase_diagram("relu", size=(9, 3), bias_var=(0.1, 0.5))
    # Columns at 0, 0.5, ..., 4: ordered below 2, without end from there on.
    text = printed(MapView(diagram))
    assert "weight variance 0 to 4, bias variance 0.1 to 0.5" in text
    assert re.search(
        r"ordered +44\.4 %\n +critical +0\.0 %\n +chaotic +0\.0 %\n +diverges +55\.6 %\n", text
    )
    single = phase_diagram("relu", size=(3, 1), bias_var=(0.1, 0.1))
    assert "weight variance 0 to 4, bias variance 0.1\n" in printed(MapView(single))


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document as it comes back from strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not strict JSON")

    found = json.loads(dumps(document), parse_constant=refuse)
    assert found == document
    return found


def test_documents_hold_what_was_found():
    found = gain("relu")
    assert strict(gain_document(found)) == {
        "moments": {
            "f": pytest.approx(1 / math.sqrt(2 * math.pi)),
            "f2": 0.5,
            "var": pytest.approx(0.5 - 0.5 / math.pi),
            "df2": 0.5,
        },
        "gain_second_moment": pytest.approx(math.sqrt(2)),
        "gain_variance": pytest.approx(1 / math.sqrt(0.5 - 0.5 / math.pi)),
        "torch_gain": math.sqrt(2),
    }
    point = strict(point_document(fixed_point("relu", weight_var=2)))
    assert (point["xi_q"], point["xi_c"]) == ("inf", "inf")
    assert point["law"] == {"coefficient": pytest.approx(4.5 * math.pi**2), "power": 2}
    nothing = strict(point_document(fixed_point(cube, weight_var=1)))
    assert nothing["growth"] == "inf"
    assert [nothing[name] for name in ("q_star", "chi_1", "c_star", "xi_q", "xi_c")] == [None] * 5
    assert (nothing["stable"], nothing["regime"]) == (False, "diverges")
    assert [each["stable"] for each in nothing["fixed_points"]] == [True, False]


def test_the_document_of_a_map_is_row_by_row():
    diagram = phase_diagram("relu", size=(5, 2), bias_var=(0.0, 0.1))
    document = strict(map_document(diagram))
    assert document["weight_var"] == [0, 1, 2, 3, 4]
    assert document["bias_var"] == [0, 0.1]
    # q* = σb² / (1 - σw² / 2)
    expected = [pytest.approx(0.1), pytest.approx(0.2), "inf", "inf", "inf"]
    assert document["q_star"][1] == expected
    assert document["chi_1"][1][2:] == ["nan"] * 3
    assert set(document["edge"][0]) == {"q", "weight_var", "bias_var", "slope"}
    assert {each["weight_var"] for each in document["edge"]} == {2.0}


def a_signal(init: str = "he_normal", depth: int = 20, draws: int = 3) -> tuple[Signal, Any]:
    sizes = (20,) * (depth + 1)
    found = signal(fully_connected(sizes, "relu"), init)
    return found, measure_signal(sizes, "relu", init, draws=draws)


def test_the_document_of_a_signal_goes_layer_by_layer():
    found, measured = a_signal(depth=4)
    document = strict(signal_document(found, measured))
    assert document["draws"] == 3
    assert [each["layer"] for each in document["layers"]] == [1, 2, 3, 4]
    for place, layer in enumerate(document["layers"]):
        assert layer["predicted"]["variance"] == pytest.approx(2)
        for name in ("variance", "correlation", "mean", "second_moment", "gradient"):
            values = getattr(measured, name)[:, place]
            assert layer["predicted"][name] == getattr(found.layers[place], name)
            assert layer["measured"][name]["mean"] == pytest.approx(np.mean(values))
            assert layer["measured"][name]["std"] == pytest.approx(np.std(values, ddof=1))


def test_one_draw_has_no_deviation_and_what_is_not_finite_is_text():
    document = strict(signal_document(*a_signal(depth=2, draws=1)))
    assert document["layers"][0]["measured"]["variance"]["std"] is None
    nothing = strict(signal_document(*a_signal("zeros", depth=2)))
    assert nothing["layers"][0]["predicted"]["correlation"] == "nan"
    assert nothing["layers"][0]["measured"]["correlation"] == {"mean": "nan", "std": "nan"}
    large = strict(signal_document(*a_signal("normal(std=1e200)", depth=2)))
    assert large["layers"][1]["predicted"]["variance"] == "inf"


def rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of layers."""
    return [line.split() for line in text.splitlines() if re.match(r" *\d+ ", line)]


def test_a_table_of_layers():
    found, measured = a_signal(depth=5)
    text = printed(SignalView(found, measured, "5 layers"))
    assert text.startswith("he_normal   5 layers\n")
    assert "measured: mean of 3 random networks." in text
    for name in ("E[z²]", "E[φ²]", "correlation", "gradient²", "±"):
        assert f" {name}" in text
    cells = rows(text)
    assert [row[0] for row in cells] == ["1", "2", "3", "4", "5"]
    layer = found.layers[1]
    assert layer.fluctuation is not None
    assert cells[1][1:] == [
        "2.000",
        f"{measured.variance[:, 1].mean():.3f}",
        f"{100 * layer.fluctuation:.0f}",
        "%",
        "1.000",
        f"{measured.second_moment[:, 1].mean():.3f}",
        f"{layer.correlation:.3f}",
        f"{measured.correlation[:, 1].mean():.3f}",
        "1.000",
        f"{measured.gradient[:, 1].mean():.3f}",
    ]
    assert len(cells[4]) == len(cells[1]) - 2  # no activation follows


def test_of_many_layers_some_are_shown_the_ends_among_them():
    shown = [int(row[0]) for row in rows(printed(SignalView(*a_signal(depth=50), "")))]
    assert len(shown) == 16
    assert (shown[0], shown[-1]) == (1, 50)
    assert set(np.diff(shown)) == {3, 4}


def test_one_network_is_no_mean():
    text = printed(SignalView(*a_signal(depth=2, draws=1), ""))
    assert "measured: one random network." in text


def test_a_correlation_of_0_is_not_rounding():
    sizes = (10, 10, 10)
    found = signal(fully_connected(sizes, "relu"), "he_normal", input_correlation=-1.0)
    measured = measure_signal(sizes, "relu", "he_normal", input_correlation=-1.0)
    text = printed(SignalView(found, measured, ""))
    assert "e-1" not in text
    assert "-0.000" not in text
    assert [row[7] for row in rows(text)[:1]] == ["-1.000"]


@pytest.mark.parametrize("init", ["zeros", "normal(std=1e200)", "normal(std=1e40)"])
def test_signals_that_vanish_and_explode_are_shown(init: str):
    """Warnings are errors here."""
    text = printed(SignalView(*a_signal(init, depth=6), ""))
    assert "…" not in text
    assert "nan" in text
    assert ("inf" in text) == (init != "zeros")


def narrow_network() -> tuple[Signal, MeasuredSignal]:
    """Of one unit a layer, which differ by so much that it takes more room."""
    sizes = (1,) * 31
    return (
        signal(fully_connected(sizes, "relu"), "he_normal"),
        measure_signal(sizes, "relu", "he_normal", draws=2),
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_lost_on_a_narrow_terminal(width: int):
    views: list[RenderableType] = [
        GainView(gain("leaky_relu(0.2)"), "x if x > 0 else 0.2 x"),
        PointView(fixed_point("tanh", weight_var=2, bias_var=0)),
        PointView(fixed_point("relu", weight_var=3, bias_var=0.1)),
        EdgeView(edge_of_chaos("tanh", bias_var=0.05)),
        EdgeView(edge_of_chaos("sigmoid")),
        MapView(phase_diagram("relu", size=(3, 3))),
        SignalView(*a_signal(), "20 layers of 20 units, relu"),
        SignalView(*a_signal("normal(std=1e-20)"), "20 layers of 20 units, relu"),
        SignalView(*narrow_network(), "30 layers of 1 unit, relu"),
    ]
    for view in views:
        text, free = printed(view, width), printed(view, 300)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        # Every letter is there: broken, or in one table below the other.
        assert not set(re.findall(r"[\d.]{4,}", free)) - set(re.findall(r"[\d.]{4,}", text)) or (
            sorted(squeezed(text)) == sorted(squeezed(free))
        )


def test_names_with_brackets_are_no_markup():
    found, measured = a_signal(depth=2)
    text = printed(SignalView(found, measured, "[bold]title[/bold] [/]"))
    assert "[bold]title[/bold] [/]" in text
    assert text.count("E[z²]") == 2
    assert "[red]" in printed(GainView(gain("relu"), "[red]x"))
