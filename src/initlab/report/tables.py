"""Tables for the terminal: costs, summary over seeds, what happened.

Each is a rich renderable that fits the console, :data:`WIDTH` columns at most, and needs no colour
to be read: ``Console().print(CostTable(results))``.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from initlab.experiments import Results
from initlab.report.cells import CostColumn, cost_cells, happened, outcome, summary_cells
from initlab.report.text import wrap

WIDTH = 100

_STATUS_STYLES = {"converged": "green", "stalled": "yellow", "diverged": "red"}
_LONGEST, _SHORTEST = 26, 14  # columns of a start's name before it is folded
_BETWEEN = 3  # columns: a cell's padding and the divider, a blank


class CostTable:
    """Cost at the recorded steps; starts that do not fit beside the others get further tables."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the table out for the console's width."""
        found = cost_cells(self.results)
        steps = max(map(len, (*found.steps, "step")))
        yield _title(f"Cost, median of {found.seeds} seeds" if found.seeds > 1 else "Cost")
        for columns in _cost_tables(found.columns, min(options.max_width, WIDTH) - steps):
            table = _table()
            table.add_column("step", justify="right")
            for column in columns:
                heading = "careful\ncost" if column.careful else wrap(column.init, _LONGEST)
                table.add_column(Text(heading), justify="right")
            for row, step in enumerate(found.steps):
                table.add_row(step, *(column.cells[row] for column in columns))
            yield table
            yield ""


def _cost_tables(columns: Sequence[CostColumn], width: int) -> list[list[CostColumn]]:
    """Split columns into tables of ``width``; a start and its careful form stay together."""
    tables: list[list[CostColumn]] = []
    left = 0
    for index, column in enumerate(columns):
        group = [column]
        if column.careful:
            continue
        if index + 1 < len(columns) and columns[index + 1].careful:
            group.append(columns[index + 1])
        needed = sum(_cost_width(each) for each in group)
        if not tables or needed > left:
            tables.append([])
            left = width
        tables[-1] += group
        left -= needed
    return tables


def _cost_width(column: CostColumn) -> int:
    name = len("careful") if column.careful else min(len(column.init), _LONGEST)
    return _BETWEEN + max(name, *map(len, column.cells))


class SummaryTable:
    """One row a start: how its runs ended, then median, quartiles and interval over seeds."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the table out for the console's width; columns that do not fit come below."""
        found = summary_cells(self.results)
        widths = [
            max(len(line) for cell in (heading.split(), *cells) for line in cell)
            for heading, cells in zip(found.headings, zip(*found.rows, strict=True), strict=True)
        ]
        over = ": median [quartiles] (95 % interval of the median) over seeds"
        yield _title("Summary" + over * found.several)
        width = min(options.max_width, WIDTH)
        for chosen, name in _summary_tables(widths, width):
            table = _table(leading=int(found.several))
            table.add_column(found.headings[0], width=name)
            left = width - name - sum(widths[column] + _BETWEEN for column in chosen[1:])
            for column in chosen[1:]:
                # Widths are set, as rich would take from the wrong columns where it is tight: a
                # heading stays on one line while there is room for it.
                heading, least = found.headings[column], widths[column]
                extra = max(0, len(heading) - least)
                extra = extra if extra <= left else 0
                left -= extra
                table.add_column(
                    heading, justify="right" if column > 1 else "left", width=least + extra
                )
            for row in found.rows:
                start = Text(wrap(row[0][0], name), overflow="fold")
                table.add_row(start, *(_cell(row[column]) for column in chosen[1:]))
            yield table
            yield ""


def _summary_tables(widths: Sequence[int], width: int) -> list[tuple[list[int], int]]:
    """Split the columns after the first, which opens every table.

    Returns
    -------
    list
        For each table its columns, and how wide the first one may be.
    """
    name = min(widths[0], _SHORTEST)
    tables: list[list[int]] = []
    left = 0
    for column, needed in enumerate(widths[1:], start=1):
        if not tables or needed + _BETWEEN > left:
            tables.append([0])
            left = width - name
        tables[-1].append(column)
        left -= needed + _BETWEEN
    taken = (sum(widths[column] + _BETWEEN for column in columns[1:]) for columns in tables)
    return [
        (columns, min(widths[0], _LONGEST, width - other))
        for columns, other in zip(tables, taken, strict=True)
    ]


class HappenedTable:
    """One line a start: how its runs ended and what happened, as measured."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the lines out for the console's width."""
        yield _title("What happened, from the measurements")
        table = _table()
        for _ in range(3):
            table.add_column(overflow="fold")
        table.show_header = False
        for each in self.results.summaries():
            table.add_row(
                Text(wrap(each.init, _LONGEST)),
                _cell(outcome(each)),
                Text("\n".join(happened(each))),
            )
        yield table
        yield ""


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _table(leading: int = 0) -> Table:
    return Table(
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, _BETWEEN - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        leading=leading,
    )


def _cell(lines: Sequence[str]) -> Text:
    """Write a cell without reading "[nan, nan]" as markup; statuses get their colour."""
    text = Text(overflow="fold")
    for number, line in enumerate(lines):
        status = line.split()[-1] if line else ""
        text.append("\n" if number else "")
        text.append(line, style=_STATUS_STYLES.get(status, "dim" if number else ""))
    return text
