"""The terminal's tables: right numbers, in the width there is, with and without colours."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from initlab.experiments import Results
from initlab.report.cells import MOST_ROWS, cost_cells, summary_cells
from initlab.report.tables import CostTable, HappenedTable, SummaryTable
from initlab.report.text import cost_text, score_text, step_text, wrap

TABLES = (CostTable, SummaryTable, HappenedTable)


class AsciiStream(io.StringIO):
    """A stream that can hold nothing but ASCII."""

    encoding = "ascii"


def printed(table: Any, width: int = 100, **console: Any) -> str:
    stream = console.pop("file", None) or io.StringIO()
    Console(file=stream, width=width, **console).print(table)
    return stream.getvalue()


def with_starts(results: Results, count: int) -> Results:
    """Give one run many names, some of them long."""
    names = [f"variance_scaling(scale={k}, mode='fan_out')" for k in range(0, count, 4)]
    names += [f"normal(std=0.{k})" for k in range(count - len(names))]
    run = results.runs[-1]
    return replace(results, runs=tuple(replace(run, init=name) for name in names))


def test_cost_cells_hold_every_recorded_cost(course: Results):
    found = cost_cells(course)
    he = course.runs[2]
    column = next(column for column in found.columns if column.init == "he_normal")
    assert found.steps == (*map(str, he.steps), "300")
    assert column.cells == (*(f"{cost:.4f}" for cost in he.cost), f"{he.final_cost:.4f}")


def test_the_careful_form_stands_beside_the_courses_where_they_differ(course: Results):
    found = cost_cells(course)
    assert [(column.init, column.careful) for column in found.columns] == [
        ("zeros", False),
        ("normal(std=10)", False),
        ("normal(std=10)", True),
        ("he_normal", False),
    ]
    reported, careful = found.columns[1:3]
    assert reported.cells[0] == "inf"
    assert float(careful.cells[0]) == pytest.approx(course.runs[1].careful_cost[0], rel=1e-3)
    # What follows the last update is known in the careful form only.
    assert reported.cells[-1] == ""
    assert careful.cells[-1] == cost_text(course.runs[1].final_cost)


def test_several_seeds_show_their_median(seeded: Results):
    found = cost_cells(seeded)
    costs = np.median([run.cost for run in seeded.runs[:5]], axis=0)
    assert found.columns[0].cells[:-1] == tuple(f"{cost:.4f}" for cost in costs)
    assert found.seeds == 5
    assert "median of 5 seeds" in printed(CostTable(seeded))


@pytest.mark.parametrize("records", [1, 2, 15, 16, 17, 31, 1000])
def test_many_records_are_thinned_to_first_last_and_even_steps(course: Results, records: int):
    run = course.runs[0]
    long = replace(
        run,
        steps=tuple(range(0, 10 * records, 10)),
        cost=tuple(map(float, range(records))),
        careful_cost=tuple(map(float, range(records))),
    )
    found = cost_cells(replace(course, runs=(long,)))
    steps = [int(step) for step in found.steps[:-1]]
    assert len(found.steps) <= MOST_ROWS + 1
    assert (steps[0], steps[-1]) == (0, 10 * (records - 1))
    assert len({*np.diff(steps[:-1]).tolist()}) <= 1
    assert [float(cell) * 10 for cell in found.columns[0].cells[:-1]] == steps


def test_summary_cells_hold_median_quartiles_and_interval(seeded: Results):
    found = summary_cells(seeded)
    each = seeded.summaries()[0]
    start, ended, final, train, *_ = found.rows[0]
    assert start == ("he_normal",)
    assert ended == (f"{each.stalled} stalled",)
    low, high = each.final_cost.iqr
    least, most = each.final_cost.ci95
    assert final == (
        f"{each.final_cost.median:.4f}",
        f"[{low:.4f}, {high:.4f}]",
        f"({least:.4f}, {most:.4f})",
    )
    assert train[0] == f"{100 * each.train_score.median:.1f} %"
    assert "%" not in train[1]


def test_summary_of_single_runs_is_their_numbers(course: Results):
    found = summary_cells(course)
    assert not found.several
    assert found.rows[0] == (
        ("zeros",),
        ("stalled",),
        ("0.6931",),
        ("50.0 %",),
        ("50.0 %",),
        ("never",),
    )


def test_regression_scores_are_r2(regression: Results):
    found = summary_cells(regression)
    assert "train R2" in found.headings
    median = np.median([run.train_score for run in regression.runs])
    assert found.rows[0][3][0] == f"{median:.3f}"


@pytest.mark.parametrize("width", [72, 80, 100, 200])
@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("table", TABLES)
def test_tables_keep_to_the_width_and_never_exceed_100(
    seeded: Results, table: Any, count: int, width: int
):
    results = with_starts(seeded, count)
    lines = printed(table(results), width).splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    assert "…" not in "".join(lines)


def test_every_start_and_number_survives_the_split_into_tables(seeded: Results):
    results = with_starts(seeded, 12)
    text = printed(CostTable(results), 80)
    found = cost_cells(results)
    assert text.count("step ") >= 2
    for column in found.columns:
        for part in wrap(column.init, 26).split("\n"):
            assert part in text
    words = text.split()
    for cell in {*found.columns[0].cells}:
        assert words.count(cell) == sum(column.cells.count(cell) for column in found.columns)


def test_start_and_careful_form_share_a_table(course: Results):
    runs = tuple(replace(course.runs[1], init=f"normal(std=1{k})") for k in range(9))
    text = printed(CostTable(replace(course, runs=runs)), 80)
    for block in text.split("\n\n"):
        head = "".join(block.split("\n")[:3])
        assert head.count("normal(") == head.count("careful")


def test_what_happened_stands_beside_each_start(course: Results):
    lines = printed(HappenedTable(course)).splitlines()
    (zeros,) = [line for line in lines if line.startswith("zeros")]
    assert "stalled" in zeros
    assert "hidden units identical" in zeros


@pytest.mark.parametrize("table", TABLES)
def test_piped_output_has_no_escape_codes(course: Results, table: Any):
    assert "\x1b" not in printed(table(course))


@pytest.mark.parametrize("table", TABLES)
def test_no_color_is_honoured_on_a_terminal(
    course: Results, table: Any, monkeypatch: pytest.MonkeyPatch
):
    colours = printed(table(course), force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed(table(course), force_terminal=True)
    assert not any(f"\x1b[{code}m" in plain for code in range(30, 38))
    if table is not CostTable:
        assert "\x1b[33m" in colours  # yellow: stalled


@pytest.mark.parametrize("table", TABLES)
def test_a_stream_without_unicode_gets_ascii(seeded: Results, table: Any):
    assert printed(table(seeded), file=AsciiStream()).isascii()


def test_cells_are_not_read_as_markup(seeded: Results):
    runs = tuple(
        replace(run, final_cost=cost, what_happened="[bold]units")
        for run, cost in zip(seeded.runs[:5], [math.nan, math.inf, math.inf, 1.0, 2.0], strict=True)
    )
    broken = replace(seeded, runs=runs)
    assert "[bold]units" in printed(HappenedTable(broken))
    assert "[2.0000, inf]" in printed(SummaryTable(broken))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.07357895962677369, "0.0736"),
        (0.6931471805599453, "0.6931"),
        (1773.6123, "1773.6"),
        (9_999.96, "10000.0"),
        (10_000.0, "1.00e+04"),
        (0.001, "0.0010"),
        (0.00099, "9.90e-04"),
        (0.0, "0"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (-0.5, "-0.5000"),
    ],
)
def test_costs_in_words(value: float, text: str):
    assert cost_text(value) == text


def test_scores_and_steps_in_words():
    assert score_text(None) == ""
    assert score_text(1.0) == "100.0 %"
    assert score_text(-math.inf, regression=True) == "-inf"
    assert score_text(-12345.6, regression=True) == "-1.23e+04"
    assert step_text(None) == step_text(math.inf) == "never"
    assert step_text(0) == "0"


def test_long_names_break_after_the_bracket_and_lose_nothing():
    name = "variance_scaling(scale=2, mode='fan_avg', distribution='uniform')"
    lines = wrap(name, 26).split("\n")
    assert lines[0] == "variance_scaling("
    assert max(map(len, lines)) <= 26
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert wrap("zeros", 26) == "zeros"
