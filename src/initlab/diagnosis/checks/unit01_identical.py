"""UNIT01: units that compute the same, and will go on to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from initlab.diagnosis.checks import _rows
from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number, redraw, with_rules
from initlab.diagnosis.checks._paths import all_zero, trains
from initlab.diagnosis.checks._rows import Alike
from initlab.diagnosis.checks._zeros import zero_starts
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Severity
from initlab.models.facts import WEIGHT_KINDS, ParameterFact

Fault = Literal["zeros", "constants", "rows"]

# Share of the units of a layer that chance, or a habit such as tied rows, may make alike.
_SHARE = 0.02
_EXPLAINS = frozenset(
    {"SIG01", "SIG02", "SIG03", "SIG04", "SIG05", "UNIT02", "UNIT03", "UNIT04"}
    | {"LAYER01", "LAYER02", "LAYER05", "LAYER06", "LAYER07", "OUT01", "OUT03", "STEP01"}
)


@dataclass(frozen=True)
class _Suspect:
    """A weight with units that are alike."""

    fact: ParameterFact
    fault: Fault
    alike: Alike
    severity: Severity


def _applies(evidence: Evidence) -> bool:
    return any(_is_looked_at(evidence, fact) for fact in evidence.facts.parameters.values())


def _is_looked_at(evidence: Evidence, fact: ParameterFact) -> bool:
    value = evidence.values[fact.name]
    return (
        fact.kind in {*WEIGHT_KINDS, "embedding"}
        and value.numel() > 0
        and not value.is_meta
        and value.is_floating_point()
        and trains(evidence, fact)
    )


def _find(evidence: Evidence) -> Iterator[Finding]:
    suspects = list(_suspects(evidence))
    for fault in ("zeros", "constants", "rows"):
        group = [one for one in suspects if one.fault == fault]
        alarms = [one for one in group if one.severity != "note"]
        # A readout of the same kind has the same cause; alone it is no fault.
        chosen = [*alarms, *(one for one in group if one.fact.output and alarms)]
        chosen = [one for one in group if one in chosen]
        if chosen:
            yield _finding(evidence, fault, chosen)
        rest = [one for one in group if one not in chosen]
        if rest:
            yield _note(rest)


def _suspects(evidence: Evidence) -> Iterator[_Suspect]:
    zeros = zero_starts(evidence)
    found: list[tuple[ParameterFact, Fault, Alike]] = []
    for fact in evidence.facts.in_order():
        if not _is_looked_at(evidence, fact):
            continue
        value = evidence.values[fact.name]
        if all_zero(value):
            if fact.name in zeros:
                units = value.shape[0]
                found.append((fact, "zeros", Alike(units, units, 1)))
            continue
        alike = _rows.alike(evidence, fact)
        if alike is None or alike.duplicates < 2 or alike.share <= _SHARE:
            continue
        fault: Fault = "constants" if alike.constant else "rows"
        found.append((fact, fault, alike))
    trained = _is_trained(evidence, {fact.name for fact, _, _ in found})
    for fact, fault, alike in found:
        severity: Severity = "error"
        if fault != "zeros":
            severity = "note" if trained else _severity(evidence, fact, alike)
        yield _Suspect(fact, fault, alike, severity)


def _is_trained(evidence: Evidence, suspects: set[str]) -> bool:
    """Tell whether weights look trained that have no copies in them: these alone look so too."""
    return any(
        name not in suspects and len(evidence.facts.parameters[name].shape) > 1 and "its" in text
        for name, text in evidence.pretrained.items()
    )


def _severity(evidence: Evidence, fact: ParameterFact, alike: Alike) -> Severity:
    if fact.output or alike.mirrored:
        return "note"
    stuck = alike.same_gradient if evidence.has_gradients() else alike.groups == 1
    return "error" if stuck and alike.share == 1 and fact.kind != "embedding" else "warning"


def _finding(evidence: Evidence, fault: Fault, group: Sequence[_Suspect]) -> Finding:
    names = [one.fact.name for one in group]
    stuck = any(one.severity == "error" for one in group)
    units = sum(one.alike.units for one in group)
    alike = sum(one.alike.duplicates for one in group)
    what = {
        "zeros": "start at zero",
        "constants": "have weights of one constant",
        "rows": "repeat another unit of their layer",
    }[fault]
    layers = [layer for layer in evidence.layers if layer.name in names]
    tables = [one.fact.name for one in group if one.fact.kind == "embedding"]
    code = "\n".join([*([redraw(layers)] if layers else []), *map(_normal, tables)])
    return Finding(
        code="UNIT01",
        title=f"{alike} of {units} units {what}, in {_layers(len(group))}",
        severity="error" if stuck else "warning",
        where=tuple(names),
        evidence={
            "units": {one.fact.name: one.alike.units for one in group},
            "alike": {one.fact.name: one.alike.duplicates for one in group},
            "distinct": {one.fact.name: one.alike.distinct for one in group},
            "share": number(alike / units),
            "same_gradient": {one.fact.name: one.alike.same_gradient for one in group},
        },
        cause=_cause(fault, group, names, stuck=stuck),
        fix=Fix(
            "Draw every unit's weights on its own, at random.",
            code or with_rules(names),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=_EXPLAINS,
    )


def _cause(fault: Fault, group: Sequence[_Suspect], names: Sequence[str], *, stuck: bool) -> str:
    if fault == "zeros":
        return (
            f"{named(names)} {'is' if len(names) == 1 else 'are'} all zeros: the units of a layer "
            "compute the same and get the same gradient, or none, so they stay one unit."
        )
    how = (
        "have all their weights equal, and differ by a factor at most"
        if fault == "constants"
        else "are copies of one another, or multiples of such (one seed drawn again for each row, "
        "or rows copied)"
    )
    end = (
        "their gradients are the same as well, so training keeps them alike"
        if stuck
        else "only their different ways onward tell them apart, and the layer starts with "
        f"{sum(one.alike.distinct for one in group)} different units"
    )
    return f"Units of {named(names)} {how}; {end}."


def _note(group: Sequence[_Suspect]) -> Finding:
    names = tuple(one.fact.name for one in group)
    mirrored = any(one.alike.mirrored for one in group)
    count = sum(one.alike.duplicates for one in group)
    why = (
        "each unit's copy, or its mirror image, is read with the opposite sign: a start that looks "
        "linear, or gives zero, is meant"
        if mirrored
        else "units of an output get gradients of their own from the loss, and trained weights "
        "have been told apart before"
    )
    return Finding(
        code="UNIT01",
        title=f"{count} units are {'mirrored pairs' if mirrored else 'alike'}, in {named(names)}",
        severity="note",
        where=names,
        evidence={"alike": count, "mirrored": mirrored},
        cause=f"The units repeat one another, but {why}.",
        fix=Fix("Nothing has to change."),
    )


def _normal(name: str) -> str:
    return f'nn.init.normal_(model.get_parameter("{name}"))'


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


CHECK = Check("UNIT01", "Units of a layer are identical or collinear", _applies, _find)
