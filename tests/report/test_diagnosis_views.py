"""What the terminal and the page show of a diagnosis, from records made by hand."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.job import Remedy
from initlab.diagnosis.operations import Operation
from initlab.report.diagnosis import view, words
from initlab.report.diagnosis.charts import display
from initlab.report.diagnosis.page import page
from initlab.report.diagnosis.rows import Gap, rows, shown


def linear(name: str, **changes: Any) -> Operation:
    one = Operation(
        name=name,
        type="Linear",
        op="addmm",
        shape=(32, 64),
        parameter=f"{name}.weight",
        fan_in=20.0,
        fan_out=64.0,
        std=0.129,
        wanted_std=0.222,
        mean=-0.0021,
        second_moment=0.356,
        predicted_second_moment=0.36,
        correlation=0.04,
        gradient_norm=8.6e-6,
    )
    return replace(one, **changes)


def relu(name: str, **changes: Any) -> Operation:
    one = Operation(
        name=name,
        type="ReLU",
        op="relu",
        shape=(32, 64),
        mean=0.236,
        second_moment=0.178,
        predicted_second_moment=0.18,
        dead=0.12,
        correlation=0.33,
        gradient_norm=1.2e-5,
    )
    return replace(one, **changes)


def finding(code: str = "LAYER02", severity: Any = "error", **changes: Any) -> Finding:
    one = Finding(
        code=code,
        title="a std that does not fit",
        severity=severity,
        where=("0.weight",),
        evidence={"std": 0.129, "expected_std": 0.2222222, "layers": ["0", "2"], "exact": True},
        cause="It was drawn <so> & so.",
        fix=Fix("Draw it anew.", "nn.init.normal_(model[0].weight, std=0.2)", (("0", "auto"),)),
    )
    return replace(one, **changes)


def report(*findings: Finding, layers: tuple[Operation, ...] | None = None, **more: Any) -> Any:
    layers = layers if layers is not None else (linear("0"), relu("1"), linear("2"))
    return Diagnosis(
        findings=findings,
        layers=layers,
        model_type="Sequential",
        **({"parameters": 6154, "loss": 2.31, "classes": 10, "inputs": "given"} | more),
    )


def printed(found: Any, width: int = 100, **options: Any) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, color_system=None).print(
        view(found, **options)
    )
    return file.getvalue()


def long(blocks: int = 30) -> tuple[Operation, ...]:
    return tuple(
        one
        for n in range(blocks)
        for one in (
            linear(f"transformer.decoder.layers.{n}.feed_forward.expand"),
            relu(f"transformer.decoder.layers.{n}.feed_forward.activation"),
        )
    )


def test_the_table():
    text = printed(report())
    row = next(line for line in text.splitlines() if line.startswith("0 "))
    assert row.split() == [
        *("0", "Linear", "32×64", "20→64", "0.129", "0.222", "-0.0021", "0.356", "0.36", "8.6e-6")
    ]
    assert "12%" in text
    assert "6,154" in text
    assert "ln 10 = 2.303" in text
    assert text.splitlines()[-1] == "Verdict: healthy"


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("length", [1, 30])
def test_it_fits(width: int, length: int):
    found = report(
        finding(where=tuple(f"transformer.decoder.layers.{n}" for n in range(20))),
        layers=long(length),
    )
    for everything in (False, True):
        lines = printed(found, width, everything=everything).splitlines()
        assert max(map(len, lines)) <= width
        assert any("0.129" in line for line in lines)


def test_a_finding_marks_its_cell_and_its_row():
    text = printed(report(finding()))
    marked = [line for line in text.splitlines() if re.match(r"1 +0 ", line)]
    assert len(marked) == 1
    assert "!0.129" in marked[0]
    assert text.count("!0.129") == 1
    assert "1  error LAYER02  a std that does not fit" in text
    assert "std = 0.129 · expected std = 0.2222 · layers = 0, 2 · exact = yes" in text
    assert "nn.init.normal_(model[0].weight, std=0.2)" in text
    assert text.splitlines()[-1] == "Verdict: 1 error"


@pytest.mark.parametrize(
    ("code", "where", "marked"),
    [
        ("SIG01", "0.weight", "second_moment"),
        ("SIG03", "0.weight", "gradient_norm"),
        ("SIG05", "0", "correlation"),
        ("UNIT01", "0.weight", "std"),
        ("UNIT02", "1", "dead"),
        ("LAYER09", "0.bias", "std"),
        ("OUT02", "0.bias", "label"),
        ("STEP01", "0.weight", "label"),
    ],
)
def test_what_each_finding_is_about(code: str, where: str, marked: str):
    found = rows(report(finding(code, where=(where,))))
    pointed = [row for row in found if row.findings]
    assert [row.label for row in pointed] == [where[0]]
    assert dict(pointed[0].trouble) == {marked: "error"}


def test_a_module_points_to_the_weights_in_it():
    layers = (linear("a.b"), relu("a"), linear("c"), relu("ab"))
    found = rows(report(finding(where=("a",)), layers=layers))
    assert [row.label for row in found if row.findings] == ["a.b"]


def test_a_note_is_no_alarm():
    text = printed(report(finding(severity="note")))
    assert "!0.129" not in text
    assert text.splitlines()[-1] == "Verdict: healthy (1 note)"


def test_numbers_that_are_none_are_marked():
    text = printed(report(layers=(linear("0", second_moment=float("nan")), relu("1"))))
    assert "!nan" in text


def test_a_long_model_shows_its_ends_and_what_is_pointed_to():
    name = "transformer.decoder.layers.14.feed_forward.expand"
    found = rows(report(finding(where=(f"{name}.weight",)), layers=long()))
    chosen = [*shown(found)]
    labels = [row.label for row in chosen if not isinstance(row, Gap)]
    assert labels[0].endswith("layers.0.feed_forward.expand")
    assert labels[-1].endswith("layers.29.feed_forward.activation")
    assert name in labels
    gaps = [row for row in chosen if isinstance(row, Gap)]
    assert len(labels) + sum(gap.count for gap in gaps) == len(found)
    assert [gap.pointed for gap in gaps] == [0, 0]
    assert [*shown(found, everything=True)] == [*found]
    text = printed(report(layers=long()))
    assert "… 50 more" in text
    assert "…layers.0.feed_forward.expand" in text.replace("…decoder.", "…")


def test_of_many_places_some_are_shown_and_the_rest_is_counted():
    where = tuple(f"{one.parameter}" for one in long() if one.parameter)
    chosen = [*shown(rows(report(finding(where=where), layers=long())))]
    gaps = [row for row in chosen if isinstance(row, Gap)]
    assert sum(gap.pointed for gap in gaps) > 0
    assert len(chosen) < 40


def test_parts_of_a_module_are_told_apart():
    def part(name: str) -> str:
        return words.kind(
            linear("attn", type="MultiheadAttention", parameter=f"attn.{name}", op="mm")
        )

    assert [part("in_proj_weight"), part("out_proj.weight")] == ["in_proj", "out_proj"]
    attention = linear("attn", parameter="", op="_scaled_dot_product_flash_attention")
    assert words.kind(attention) == "attention"
    assert words.kind(linear("lstm", type="LSTM", parameter="lstm.weight_ih_l0")) == "LSTM"
    assert words.kind(relu("", type="ResNet", op="mean")) == "mean"


def test_what_stopped_it_is_told():
    found = report(layers=(linear("0"),), problem="at 2 (Linear): shapes differ", loss=None)
    text = printed(found)
    assert "! stopped  at 2 (Linear): shapes differ" in text
    assert text.splitlines()[-1] == "Verdict: not measured to the end"
    assert "at 2 (Linear): shapes differ" in page(found)


def test_nothing_was_measured():
    found = report(layers=(), problem="the model was not run", inputs="", loss=None)
    assert "the model was not run" in printed(found)
    assert "<img" not in page(found)


def test_notes_and_what_does_not_apply():
    found = report(
        notes=("no inputs were given: random tokens", "twice", "twice"), not_applicable=("SIG05",)
    )
    for text in (printed(found), page(found)):
        assert text.count("twice") == 1
        assert "no inputs were given" not in text  # stands with the inputs
        assert "SIG05" in text


def test_markup_is_text():
    found = report(finding(title="[red]x[/red] <b>"), notes=("[bold]",))
    assert "[red]x[/red] <b>" in printed(found)
    html = page(found)
    assert "[red]x[/red] &lt;b&gt;" in html
    assert "drawn &lt;so&gt; &amp; so" in html


def test_the_page_needs_nothing_else():
    html = page(report(finding()))
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert html.count("data:image/png;base64,") == 1
    assert "!&nbsp;0.129" in html
    assert '<a href="#finding-1">1</a>' in html
    assert 'id="finding-1"' in html


def fixed() -> Remedy:
    before = report(finding(), finding("OUT01", "warning", where=("2.weight",)))
    after = report(
        finding("OUT01", "warning", where=("2.weight",)),
        layers=(linear("0", std=0.2215), relu("1"), linear("2")),
        loss=2.3,
    )
    return Remedy(before, after, "nn.init.normal_(w)", ("a note of the fix",))


def test_before_and_after():
    text = printed(fixed())
    _, _, after = text.partition("After the fix")
    assert "cleared        LAYER02" in after
    assert "! still there  OUT01" in after
    assert re.search(r"0: std +0.129 +→ +0.2215", after)
    assert re.search(r"loss +2.31 +→ +2.3", after)
    assert "nn.init.normal_(w)" in after
    assert "a note of the fix" in after
    assert text.splitlines()[-1] == "Verdict: 1 error, 1 warning  →  1 warning"
    html = page(fixed())
    assert html.count("data:image/png;base64,") == 2
    assert "still there" in html
    assert "<td>0: std</td><td>0.129</td><td>0.2215</td>" in html


def test_code_is_never_cut():
    line = f"x = [{', '.join(map(str, range(80)))}]"
    found = report(finding(fix=Fix("Do.", line)))
    assert "79]" in "".join(printed(found).split())


def test_the_charts_show_what_there_is():
    found = rows(report(finding()))
    drawn = display(found)
    assert drawn is not None
    titles = [panel.title for panel in drawn.panels]
    assert titles == [
        "E[x²] of the output",
        "norm of the gradient",
        "std of the weight over the wanted std",
        "dead or saturated",
        "correlation of two inputs",
    ]
    measured, predicted = drawn.panels[0].curves
    assert measured.values == (0.356, 0.178, 0.356)
    assert predicted.values == (0.36, 0.18, 0.36)
    assert drawn.panels[2].curves[0].values == pytest.approx((0.129 / 0.222,) * 2)
    assert drawn.panels[2].marked == {0}
    assert drawn.panels[2].reference == 1


def test_only_some_numbers():
    one = Operation("a", "Embedding", "embedding", (2, 3), second_moment=1.0)
    drawn = display(rows(report(layers=(one,))))
    assert drawn is not None
    assert [panel.title for panel in drawn.panels] == ["E[x²] of the output"]
    assert display(rows(report(layers=()))) is None


@pytest.mark.parametrize("value", [0.0, 1e-320, 1e300, float("inf"), float("nan"), 1.0])
def test_charts_of_odd_numbers(value: float):
    layers = (linear("0", second_moment=value, gradient_norm=value, std=value), relu("1"))
    html = page(report(layers=layers))
    assert "<img" in html


@pytest.mark.parametrize("blocks", [1, 40])
def test_no_label_of_a_chart_is_cut_off(blocks: int):
    drawn = display(rows(report(finding(), layers=long(blocks))))
    assert drawn is not None
    figure = drawn.figure()
    figure.canvas.draw()
    edges = figure.bbox
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() + ax.get_yticklabels()]
        boxes.append(ax.title.get_window_extent())
        legend = ax.get_legend()
        boxes += [legend.get_window_extent()] if legend is not None else []
        for box in boxes:
            assert box.x0 >= edges.x0
            assert box.y0 >= edges.y0
            assert box.x1 <= edges.x1
            assert box.y1 <= edges.y1
        if legend is not None:
            title = ax.title.get_window_extent()
            assert title.x1 < legend.get_window_extent().x0
    tops = np.array([ax.get_position().y1 for ax in figure.axes])
    assert (np.diff(tops) < 0).all()
