"""A diagnosis for the terminal: at most as wide as the console, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from initlab.report.diagnosis import words
from initlab.report.diagnosis.changes import changes, outcomes
from initlab.report.diagnosis.rows import Gap, Row, rows, shown

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.finding import Finding
    from initlab.diagnosis.job import Remedy

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan", "": ""}
_LEGEND = (
    "wanted std: what the place of the weight asks for. pred.: from the weights alone. dead, sat.: "
    "units that are 0 on the whole batch, or entries that saturate."
)
_POINTERS = "! marks what a finding is about; the number in front is the finding's."
# Heading, name in the record; the first to go where there is no room has the highest number.
_COLUMNS = (
    ("\n", "findings", 0),
    ("\noperation", "label", 0),
    ("\ntype", "type", 0),
    ("\nshape", "shape", 5),
    ("\nfans", "fans", 4),
    ("\nstd", "std", 0),
    ("wanted\nstd", "wanted_std", 0),
    ("\nmean", "mean", 2),
    ("\nE[x²]", "second_moment", 0),
    ("pred.\nE[x²]", "predicted_second_moment", 3),
    ("dead,\nsat.", "dead", 0),
    ("grad\nnorm", "gradient_norm", 1),
)
_TEXT = frozenset({"findings", "label", "type", "shape", "fans"})
_TYPE, _FEWEST = 12, 16  # characters of a type at most, of a name at least


class DiagnosisView:
    """What was diagnosed, the operations, the findings, the notes; the verdict comes last.

    Parameters
    ----------
    report
        The diagnosis.
    everything
        Show every operation, however many there are.
    """

    def __init__(self, report: Diagnosis, *, everything: bool = False) -> None:
        self.report, self.everything = report, everything

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        yield from self.body(options.max_width)
        yield ""
        yield _verdict(words.verdict(self.report), _worst(self.report))

    def body(self, width: int) -> Iterator[RenderableType]:
        """Yield all but the verdict."""
        report = self.report
        yield Text(report.model_type, style="bold")
        yield _fields([(name, text) for name, text in words.facts(report).items()])
        if report.problem:
            yield ""
            yield Text.assemble(("! stopped  ", STYLES["error"]), report.problem)
        if report.layers:
            yield ""
            found = rows(report)
            yield _table(found, list(shown(found, everything=self.everything)), width)
            yield ""
            yield Text(_LEGEND, style="dim")
            if any(row.trouble for row in found):
                yield Text(_POINTERS, style="dim")
        for number, one in enumerate(report.findings, start=1):
            yield ""
            yield from _finding(number, one)
        notes = words.notes(report)
        if notes:
            yield ""
            yield _fields([("note", note) for note in notes])
        if report.not_applicable:
            yield ""
            codes = ", ".join(report.not_applicable)
            yield Text(f"Nothing in this model for: {codes}", style="dim")


class RemedyView:
    """A diagnosis, then what the treatment changed, its code, and what is left.

    Parameters
    ----------
    remedy
        Both diagnoses, and the code.
    everything
        Show every operation, however many there are.
    """

    def __init__(self, remedy: Remedy, *, everything: bool = False) -> None:
        self.remedy, self.everything = remedy, everything

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        before, after = self.remedy.before, self.remedy.after
        yield from DiagnosisView(before, everything=self.everything).body(options.max_width)
        yield ""
        if not before.alarms:
            yield Text("Nothing to fix.")
            yield ""
            yield _verdict(words.verdict(before), _worst(before))
            return
        yield Text("After the fix", style="bold")
        yield ""
        yield _outcomes(before, after)
        yield ""
        yield _changes(before, after)
        for number, one in enumerate(after.alarms, start=1):
            yield ""
            yield from _finding(number, one)
        told = [note for note in dict.fromkeys(self.remedy.notes) if note not in before.notes]
        if told:
            yield ""
            yield _fields([("note", note) for note in told])
        yield ""
        yield Text("The change in plain PyTorch", style="bold")
        yield ""
        yield _code(self.remedy.code, 0)
        yield ""
        yield _verdict(f"{words.verdict(before)}  →  {words.verdict(after)}", _worst(after))


def _table(found: Sequence[Row], chosen: Sequence[Row | Gap], width: int) -> Table:
    """Lay the rows out; columns go, then names are cut, until it fits."""
    cells = [_cells(row) for row in chosen if isinstance(row, Row)]
    columns = list(_COLUMNS)
    if not any(row.findings for row in found):
        columns = columns[1:]
    columns = [one for one in columns if one[1] in _TEXT or any(row[one[1]][0] for row in cells)]
    while True:
        sizes = {name: _size(heading, name, cells) for heading, name, _ in columns}
        room = width - sum(sizes.values()) - (len(columns) - 1) + sizes["label"]
        least = min(sizes["label"], _FEWEST)
        droppable = max(columns, key=lambda one: one[2])
        if room >= least or not droppable[2]:
            break
        columns.remove(droppable)
    wide = room - (len(columns) - 1) >= sizes["label"]  # enough for two blanks in between
    sizes["label"] = max(min(sizes["label"], room), 8)
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, int(wide), 0, 0)
    )
    for heading, name, _ in columns:
        justify = "left" if name in _TEXT else "right"
        table.add_column(Text(heading), justify=justify, no_wrap=True, width=sizes[name])
    made = iter(cells)
    for row in chosen:
        if isinstance(row, Gap):
            names = [name for _, name, _ in columns]
            table.add_row(*_gap(row, names, sizes["label"]))
            continue
        texts = next(made)
        texts["label"] = (words.tail(texts["label"][0], sizes["label"]), texts["label"][1])
        table.add_row(*(Text(*texts[name]) for _, name, _ in columns))
    return table


def _size(heading: str, name: str, cells: Sequence[dict[str, tuple[str, str]]]) -> int:
    return max(
        *(cell_len(line) for line in heading.split("\n")),
        *(cell_len(row[name][0]) for row in cells),
    )


def _cells(row: Row) -> dict[str, tuple[str, str]]:
    """Return text and style of each cell, by the name of its column."""
    one = row.operation
    rough = (one.second_moment or 0.0) ** 0.5
    flat = "saturated" if one.saturated is not None else "dead"
    texts = {
        "findings": ",".join(map(str, row.findings)),
        "label": row.label,
        "type": _cut(words.kind(one), _TYPE),
        "shape": words.shape(one.shape),
        "fans": words.fans(one),
        "std": words.short(one.std),
        "wanted_std": words.short(one.wanted_std),
        "mean": words.short(one.mean, rough),
        "second_moment": words.short(one.second_moment),
        "predicted_second_moment": words.short(one.predicted_second_moment),
        "dead": words.share(one.saturated if flat == "saturated" else one.dead).replace(" ", ""),
        "gradient_norm": words.short(one.gradient_norm),
    }
    trouble = {("dead" if name == flat else name): bad for name, bad in row.trouble.items()}
    styled = {name: (text, STYLES[trouble.get(name, "")]) for name, text in texts.items()}
    for name, bad in trouble.items():
        if name in styled and name != "label" and bad != "note":
            styled[name] = (f"!{texts[name]}", STYLES[bad])
    styled["findings"] = (texts["findings"], STYLES[row.severity])
    return styled


def _gap(gap: Gap, names: Sequence[str], width: int) -> list[Text]:
    told = f"… {gap.count} more"
    if gap.pointed:
        told = f"{told}, {gap.pointed} !"
    cells = [Text("") for _ in names]
    cells[names.index("label")] = Text(_cut(told, width), style="dim")
    return cells


def _finding(number: int, one: Finding) -> Iterator[RenderableType]:
    title = Table.grid(padding=(0, 2, 0, 0))
    title.add_column(no_wrap=True)
    title.add_column(overflow="fold", style="bold")
    head = f"{number}  {one.severity} {one.code}"
    title.add_row(Text(head, style=STYLES[one.severity]), Text(one.title))
    yield title
    fields = [
        ("where", words.named(one.where)),
        ("numbers", words.sentence(one.evidence)),
        ("cause", one.cause),
        ("fix", one.fix.text),
    ]
    yield _fields([(name, text) for name, text in fields if text], indent=3)
    if one.fix.code:
        yield _code(one.fix.code, 12)


def _outcomes(before: Diagnosis, after: Diagnosis) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for code, title, cleared in outcomes(before, after):
        state = ("cleared", "green") if cleared else ("! still there", STYLES["error"])
        table.add_row(Text(*state), code, Text(title))
    return table


def _changes(before: Diagnosis, after: Diagnosis) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", style="cyan")
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right")
    table.add_row("", Text("before", style="dim"), "", Text("after", style="dim"))
    for name, old, new in changes(before, after):
        table.add_row(Text(name), old, "→", new)
    return table


def _fields(pairs: Sequence[tuple[str, str]], indent: int = 0) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    if indent:
        table.add_column(width=max(indent - 2, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for name, text in pairs:
        cells = [Text(name), Text(text)]
        table.add_row(*([Text(""), *cells] if indent else cells))
    return table


def _code(code: str, indent: int) -> Text:
    lines = [f"{' ' * indent}{line}" for line in code.rstrip().splitlines()]
    return Text("\n".join(lines), style="green", overflow="fold")


def _verdict(text: str, severity: str) -> Text:
    return Text.assemble("Verdict: ", (text, STYLES[severity] if severity else "bold green"))


def _worst(report: Diagnosis) -> str:
    if report.problem or report.errors:
        return "error"
    return "warning" if report.alarms else ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
