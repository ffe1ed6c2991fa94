"""What stands in the tables, as text: the terminal and the page print the same cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from initlab.experiments import Interval, Results, StartSummary
from initlab.report.spread import by_start, spread
from initlab.report.text import cost_text, score_text, step_text

MOST_ROWS = 16

# The first line of a cell, then its details.
Lines = tuple[str, ...]


@dataclass(frozen=True)
class CostColumn:
    """The costs of one start in one form.

    Attributes
    ----------
    init
        The start.
    careful
        Whether this is the careful form of the column before, which reports the course's.
    cells
        One a row.
    """

    init: str
    careful: bool
    cells: tuple[str, ...]


@dataclass(frozen=True)
class CostCells:
    """Rows of steps, for each start a column or two.

    Attributes
    ----------
    steps
        First cell of each row.
    columns
        The others.
    seeds
        Runs behind each median; 1 where the numbers are those of single runs.
    """

    steps: tuple[str, ...]
    columns: tuple[CostColumn, ...]
    seeds: int


def cost_cells(results: Results) -> CostCells:
    """Put the recorded costs into rows, :data:`MOST_ROWS` at most.

    The last row is the careful cost after the last update. A start whose careful cost reads
    differently from the reported one has a second column for it.
    """
    groups = by_start(results.runs)
    steps = next(iter(groups.values()))[0].steps if groups else ()
    rows = _thinned(len(steps))
    columns: list[CostColumn] = []
    for init, runs in groups.items():
        final = cost_text(spread([[run.final_cost] for run in runs]).median[0])
        reported = _medians([run.cost for run in runs], rows)
        careful = _medians([run.careful_cost for run in runs], rows)
        if reported == careful:
            columns.append(CostColumn(init, careful=False, cells=(*careful, final)))
        else:
            columns.append(CostColumn(init, careful=False, cells=(*reported, "")))
            columns.append(CostColumn(init, careful=True, cells=(*careful, final)))
    labels = (*(step_text(steps[row]) for row in rows), step_text(results.experiment.steps))
    return CostCells(labels, tuple(columns), max(map(len, groups.values()), default=0))


def _thinned(count: int) -> list[int]:
    """Return the rows to show: every one, or every n-th and the last."""
    every = -(-count // (MOST_ROWS - 2)) if count >= MOST_ROWS else 1
    rows = list(range(0, count, every))
    return rows if not rows or rows[-1] == count - 1 else [*rows, count - 1]


def _medians(values: Sequence[Sequence[float]], rows: Sequence[int]) -> tuple[str, ...]:
    medians = spread(np.asarray(values)[:, list(rows)]).median
    return tuple(cost_text(value) for value in medians.tolist())


@dataclass(frozen=True)
class SummaryCells:
    """One row a start.

    Attributes
    ----------
    headings
        Of the columns.
    rows
        Of cells.
    several
        Whether cells hold median, quartiles in square and interval in round brackets, line by
        line (the median alone where all read the same); else each is the number of a single run.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[Lines, ...], ...]
    several: bool


def summary_cells(results: Results) -> SummaryCells:
    """Put the summaries over seeds into rows."""
    summaries = results.summaries()
    several = any(each.runs > 1 for each in summaries)
    regression = results.dataset.task == "regression"
    score = "R2" if regression else "accuracy"

    def score_cell(value: float) -> str:
        return score_text(value, regression=regression)

    rows = [
        (
            (each.init,),
            outcome(each),
            _interval(each.final_cost, cost_text, several=several),
            _interval(each.train_score, score_cell, several=several),
            _interval(each.test_score, score_cell, several=several),
            _interval(each.steps_to_target, step_text, several=several),
        )
        for each in summaries
    ]
    ended = "runs" if several else "status"
    headings = ("start", ended, "final cost", f"train {score}", f"test {score}", "steps to target")
    return SummaryCells(headings, tuple(rows), several)


def outcome(each: StartSummary) -> Lines:
    """Say how the runs of a start ended: ``18 converged``, ``2 stalled``, or just ``stalled``."""
    counts = {
        "converged": each.converged,
        "stalled": each.stalled,
        "diverged": each.diverged,
    }
    if each.runs == 1:
        return tuple(name for name, count in counts.items() if count)
    return tuple(f"{count} {name}" for name, count in counts.items() if count)


def happened(each: StartSummary) -> Lines:
    """Say what happened to the runs of a start, then what the start itself could not do."""
    return each.what_happened, *(f"when adapted, {note}" for note in each.notes)


def _interval(value: Interval | None, text: Callable[[float], str], *, several: bool) -> Lines:
    if value is None:
        return ("",)
    if not several:
        return (text(value.median),)
    median = text(value.median)
    low, high, least, most = (text(edge) for edge in (*value.iqr, *value.ci95))
    if {low, high, least, most} == {median}:  # no spread to tell of
        return (median,)
    details = f"[{low}, {high}]", f"({least}, {most})"
    return median, *(line.replace(" %", "") for line in details)
