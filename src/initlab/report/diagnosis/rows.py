"""Which rows of the table are shown, and which of their cells a finding is about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.finding import Finding
    from initlab.diagnosis.operations import Operation

# The number that a finding of this code, or of this family, is about.
_ABOUT = {
    "SIG01": "second_moment",
    "SIG02": "second_moment",
    "SIG03": "gradient_norm",
    "SIG04": "gradient_norm",
    "SIG05": "correlation",
    "SIG06": "second_moment",
    "UNIT01": "std",
    "UNIT02": "dead",
    "UNIT03": "saturated",
    "UNIT04": "std",
    "LAYER": "std",
    "OUT01": "second_moment",
    "OUT03": "std",
}
_MEASURED = ("mean", "second_moment", "gradient_norm")
_RANK = {"error": 0, "warning": 1, "note": 2}

_ALL = 40  # operations that are all shown
_ENDS = 5  # of a longer model: rows at either end
_POINTED = (8, 4)  # of one finding that points to more: the first, and the last


@dataclass(frozen=True)
class Row:
    """One operation, with what points to it.

    Attributes
    ----------
    operation
        The record.
    label
        Name of the module that ran it.
    findings
        Numbers of the findings that point to it, from 1.
    trouble
        For each cell in trouble, by its name in the record, how bad: ``"error"``.
    """

    operation: Operation
    label: str
    findings: tuple[int, ...] = ()
    trouble: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def severity(self) -> str:
        """The worst that is said of it; empty if nothing is."""
        return min(self.trouble.values(), key=_RANK.__getitem__, default="")


@dataclass(frozen=True)
class Gap:
    """Rows that are left out.

    Attributes
    ----------
    count, pointed
        How many; to how many of these a finding points.
    """

    count: int
    pointed: int


def rows(report: Diagnosis) -> tuple[Row, ...]:
    """Return every operation, with the findings that point to it."""
    numbers: list[list[int]] = [[] for _ in report.layers]
    trouble = [_broken(operation) for operation in report.layers]
    for number, one in enumerate(report.findings, start=1):
        for place in _places(one, report.layers):
            numbers[place].append(number)
            cell = _cell(one.code, report.layers[place])
            worst = min(trouble[place].get(cell, "note"), one.severity, key=_RANK.__getitem__)
            trouble[place][cell] = worst
    return tuple(
        Row(operation, _label(operation), tuple(told), bad)
        for operation, told, bad in zip(report.layers, numbers, trouble, strict=True)
    )


def shown(found: Sequence[Row], *, everything: bool = False) -> Iterator[Row | Gap]:
    """Choose rows: all of a short model; of a long one the ends, and what findings point to."""
    if everything or len(found) <= _ALL:
        yield from found
        return
    chosen = {*range(_ENDS), *range(len(found) - _ENDS, len(found))}
    numbers = {number for row in found for number in row.findings}
    for number in numbers:
        places = [place for place, row in enumerate(found) if number in row.findings]
        first, last = _POINTED
        chosen |= {*places} if len(places) <= first + last else {*places[:first], *places[-last:]}
    broken = [place for place, row in enumerate(found) if row.trouble and not row.findings]
    chosen |= {*broken[:2]}
    before = -1
    for place in [*sorted(chosen), len(found)]:
        left = found[before + 1 : place]
        if len(left) == 1:
            yield left[0]
        elif left:
            yield Gap(len(left), sum(bool(row.findings) for row in left))
        if place < len(found):
            yield found[place]
        before = place


def _broken(operation: Operation) -> dict[str, str]:
    """Return the numbers that are none, or infinite."""
    values = {name: getattr(operation, name) for name in _MEASURED}
    return {name: "error" for name, value in values.items() if not math.isfinite(value or 0.0)}


def _cell(code: str, operation: Operation) -> str:
    """Return the cell that a finding is about; the name where that is empty."""
    cell = _ABOUT.get(code) or _ABOUT.get(code.rstrip("0123456789"), "label")
    return cell if getattr(operation, cell, None) is not None else "label"


def _places(one: Finding, layers: Sequence[Operation]) -> list[int]:
    """Return the operations that a finding points to."""
    found: set[int] = set()
    for name in one.where:
        exact = {
            place
            for place, operation in enumerate(layers)
            if operation.parameter and name == operation.parameter
        }
        found |= exact or _within(name, one.code, layers)
    return sorted(found)


def _within(name: str, code: str, layers: Sequence[Operation]) -> set[int]:
    """Return the operations of a module that a finding names, or that reads a bias it names."""
    owner, _, last = name.rpartition(".")
    inside = {
        place
        for place, operation in enumerate(layers)
        if operation.name == name
        or f"{operation.name}.".startswith(f"{name}.")
        or operation.parameter.startswith(f"{name}.")
    }
    if not inside and "bias" in last:
        return {
            place
            for place, operation in enumerate(layers)
            if operation.parameter.rpartition(".")[0] == owner and operation.parameter
        }
    # Of all that runs in it, what has the number that the finding is about.
    about = {place for place in inside if _cell(code, layers[place]) != "label"}
    weights = {place for place in about or inside if layers[place].fan_in}
    return weights or about or {*sorted(inside)[:1]}


def _label(operation: Operation) -> str:
    return operation.name or operation.parameter.removesuffix(".weight") or "(model)"
