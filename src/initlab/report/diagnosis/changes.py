"""What a treatment changed: which findings went, and the numbers that they were about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from initlab.report.diagnosis import words
from initlab.report.diagnosis.rows import Row, rows

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis

_NAMES = {
    "std": "std",
    "second_moment": "E[x²]",
    "gradient_norm": "gradient norm",
    "dead": "dead units",
    "saturated": "saturated",
    "correlation": "correlation of inputs",
}
_SHARES = frozenset({"dead", "saturated"})


def outcomes(before: Diagnosis, after: Diagnosis) -> Iterator[tuple[str, str, bool]]:
    """Yield code and title of each error and warning there was, and whether it is gone."""
    left = {(one.code, name) for one in after.alarms for name in one.where}
    for one in before.alarms:
        yield one.code, one.title, not any((one.code, name) in left for name in one.where)


def changes(before: Diagnosis, after: Diagnosis) -> Iterator[tuple[str, str, str]]:
    """Yield the key numbers, before and after: a name, and both as text."""
    if before.loss is not None and after.loss is not None:
        yield "loss", words.number(before.loss), words.number(after.loss)
    steps = before.context("optimizer"), after.context("optimizer")
    if steps[0] != steps[1] and all(isinstance(step, str) for step in steps):
        yield "optimizer", *steps
    old, new = rows(before), rows(after)
    if len(old) == len(new):  # the same model on the same inputs runs the same operations
        for place, name in _chosen(before, old):
            yield _change(old[place], new[place], name)


def _chosen(before: Diagnosis, old: Sequence[Row]) -> dict[tuple[int, str], None]:
    """Choose numbers by row and name: those of findings, the last signal, the first gradient."""
    chosen: dict[tuple[int, str], None] = {}
    for number, one in enumerate(before.findings, start=1):
        places = [place for place, row in enumerate(old) if number in row.findings]
        ends = sorted({*places[:1], *places[-1:]}) if one.severity != "note" else []
        for place in ends:
            chosen |= {(place, name): None for name in _cells_of(old[place])}
    ran = [place for place, row in enumerate(old) if row.operation.shape]
    if ran:
        chosen |= {(ran[-1], "second_moment"): None, (ran[0], "gradient_norm"): None}
    return chosen


def _cells_of(row: Row) -> list[str]:
    return [name for name in row.trouble if name in _NAMES]


def _change(old: Row, new: Row, name: str) -> tuple[str, str, str]:
    write = words.share if name in _SHARES else words.number
    values = [write(getattr(row.operation, name)) for row in (old, new)]
    return f"{old.label}: {_NAMES[name]}", values[0], values[1]
