"""What the charts of a diagnosis show, from its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from initlab.report.diagnosis import words
from initlab.report.diagnosis.rows import Row
from initlab.report.figures.depth import Curve, DepthDisplay, Panel

if TYPE_CHECKING:
    from initlab.diagnosis.operations import Operation

Read = Callable[["Operation"], float | None]
_NAME = 30  # characters of an operation below the lowest panel


def display(found: Sequence[Row]) -> DepthDisplay | None:
    """Return the charts of a table; None where there is nothing to draw.

    A loss that the model computes itself is left out: it is no signal.
    """
    found = [row for row in found if row.operation.shape]
    panels = [
        _panel(
            found,
            "E[x²] of the output",
            {
                "measured": lambda one: one.second_moment,
                "predicted from the weights": lambda one: one.predicted_second_moment,
            },
            "second_moment",
        ),
        _panel(found, "norm of the gradient", {"": lambda one: one.gradient_norm}, "gradient_norm"),
        _panel(found, "std of the weight over the wanted std", {"": _ratio}, "std"),
    ]
    flat: dict[str, Read] = {"dead units": _dead, "saturated entries": _saturated}
    panels.append(_panel(found, "dead or saturated", flat, "dead"))
    alike: dict[str, Read] = {"": _correlation}
    panels.append(_panel(found, "correlation of two inputs", alike, "correlation"))
    told = [panel for panel in panels if panel is not None]
    names = [_name(row) for row in found]
    return DepthDisplay(told, names) if told else None


def _panel(
    found: Sequence[Row],
    title: str,
    reads: dict[str, Read],
    cell: str,
) -> Panel | None:
    curves = [_curve(found, label, read) for label, read in reads.items()]
    curves = [curve for curve in curves if curve.places]
    if not curves:
        return None
    marks = {cell, "saturated"} if cell == "dead" else {cell}
    marked = frozenset(
        place
        for place, row in enumerate(found)
        if any(row.trouble.get(name, "note") != "note" for name in marks)
    )
    scale = "share" if cell == "dead" else "cosine" if cell == "correlation" else "log"
    weights = cell == "std"
    reference = 1.0 if weights else None
    return Panel(title, scale, tuple(curves), marked, reference, joined=not weights)


def _curve(found: Sequence[Row], label: str, read: Read) -> Curve:
    pairs = [(place, read(row.operation)) for place, row in enumerate(found)]
    told = [(place, value) for place, value in pairs if value is not None]
    return Curve(label, tuple(place for place, _ in told), tuple(value for _, value in told))


def _ratio(one: Operation) -> float | None:
    if one.std is None or not one.wanted_std or not math.isfinite(one.std):
        return None
    return one.std / one.wanted_std


def _dead(one: Operation) -> float | None:
    return one.dead if one.saturated is None else None


def _saturated(one: Operation) -> float | None:
    return one.saturated


def _correlation(one: Operation) -> float | None:
    return one.correlation


def _name(row: Row) -> str:
    name, kind = row.label, words.kind(row.operation)
    if row.label == row.operation.parameter.removesuffix(".weight"):
        return words.tail(name, _NAME)
    return words.tail(kind if name == "(model)" else f"{name} {kind}", _NAME)
