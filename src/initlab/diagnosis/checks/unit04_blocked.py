"""UNIT04: parameters that are exactly zero, and let no gradient through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, redraw, with_rules
from initlab.diagnosis.checks._paths import trains
from initlab.diagnosis.checks._zeros import is_zero, joins_another, zero_starts
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Rule
from initlab.models.facts import WEIGHT_KINDS, ParameterFact

Verdict = Literal["blocked", "stuck", "meant", ""]

_KINDS = frozenset({*WEIGHT_KINDS, "norm_scale", "scale"})
_EXPLAINS = frozenset(
    {"SIG01", "SIG03", "SIG05", "LAYER02", "LAYER06", "LAYER09", "UNIT02", "OUT01", "STEP01"}
)


@dataclass(frozen=True)
class _Zero:
    """A parameter that is all zero, and what becomes of it."""

    fact: ParameterFact
    verdict: Verdict


def _applies(evidence: Evidence) -> bool:
    return bool(evidence.graph.nodes) and bool(evidence.of_kind(*_KINDS))


def _find(evidence: Evidence) -> Iterator[Finding]:
    told = zero_starts(evidence)
    zeros = [
        fact
        for fact in evidence.facts.in_order()
        if fact.kind in _KINDS and trains(evidence, fact) and is_zero(evidence, fact.name)
    ]
    zeros = [fact for fact in zeros if not (fact.hidden_to_hidden or fact.name in told)]
    judged = [_Zero(fact, _verdict(evidence, fact, zeros)) for fact in zeros]
    for verdict in ("blocked", "stuck"):
        group = [one.fact for one in judged if one.verdict == verdict]
        if group:
            yield _alarm(evidence, group, blocked=verdict == "blocked")
    meant: dict[str, list[str]] = {}
    for one in judged:
        if one.verdict == "meant":
            meant.setdefault(_what(one.fact), []).append(one.fact.name)
    for what, names in meant.items():
        yield _note(what, names)


def _verdict(evidence: Evidence, fact: ParameterFact, zeros: Sequence[ParameterFact]) -> Verdict:
    if not evidence.uses.get(fact.name):
        return ""
    meant = fact.output or joins_another(evidence, fact.name)
    stuck = _is_stuck(evidence, fact, zeros)
    if meant:
        return "stuck" if stuck else "meant"
    if _blocks(evidence, fact):
        return "blocked"
    return "stuck" if stuck else ""


def _blocks(evidence: Evidence, fact: ParameterFact) -> bool:
    """Tell whether there are parameters before it, and none of them gets a gradient."""
    ancestors = evidence.ancestors
    own = evidence.uses[fact.name]
    before = [
        name
        for name, nodes in evidence.uses.items()
        if name != fact.name
        and trains(evidence, evidence.facts.parameters[name])
        and any(ancestors[place] >> node & 1 and node != place for place in own for node in nodes)
    ]
    return (
        bool(before)
        and evidence.has_gradients()
        and not any(_has_gradient(evidence, name) for name in before)
    )


def _is_stuck(evidence: Evidence, fact: ParameterFact, zeros: Sequence[ParameterFact]) -> bool:
    """Tell whether it gets no gradient, and nothing that moves will let one through.

    Its gradient is 0 because that of its output is, by the zeros behind it, or because its input
    is, by the zeros before it. If one of them gets a gradient, all come to life after a step.
    """
    trained = any(bool(gradient.any()) for gradient in evidence.run.gradients.values())
    if not trained or _has_gradient(evidence, fact.name):
        return False
    names = {other.name for other in zeros if other.name != fact.name}
    reasons: set[str] = set()
    for node in evidence.uses[fact.name]:
        if evidence.run.squares.get(node):
            reasons |= names & _silent(evidence, node, forward=False)
        else:
            reasons |= names & _silent(evidence, node, forward=True)
    return not any(_has_gradient(evidence, name) for name in reasons)


def _silent(evidence: Evidence, start: int, *, forward: bool) -> set[str]:
    """Return the parameters of the nodes behind one, up to the first with a gradient.

    Or of those before it whose values are all 0.
    """
    found: set[str] = set()
    todo, seen = [start], {start}
    while todo:
        here = todo.pop()
        near = evidence.children[here] if forward else evidence.node(here).parents
        for index in near:
            if index in seen:
                continue
            seen.add(index)
            node = evidence.node(index)
            uses = [use for use in (node.weight, node.factor) if use is not None]
            found.update(evidence.canonical.get(use.name, use.name) for use in uses)
            ends = evidence.run.squares.get(index) if forward else evidence.second(index) != 0
            if not ends:
                todo.append(index)
    return found


def _has_gradient(evidence: Evidence, name: str) -> bool:
    gradient = evidence.gradient(name)
    return gradient is not None and bool(gradient.any())


def _alarm(evidence: Evidence, group: Sequence[ParameterFact], *, blocked: bool) -> Finding:
    names = [fact.name for fact in group]
    are = "is" if len(names) == 1 else "are"
    title = (
        f"{named(names)} {are} exactly zero and {'lets' if len(names) == 1 else 'let'} no gradient "
        "through"
        if blocked
        else f"{named(names)} {are} exactly zero and will stay so: no gradient reaches "
        f"{'it' if len(names) == 1 else 'them'}"
    )
    own = {name: _has_gradient(evidence, name) for name in names}
    cause = (
        "All that comes before is multiplied by 0, forth and back, and no path leads around: every "
        "parameter before it has a gradient of exactly 0."
        if blocked
        else "A zero behind or before it, or a rectifier at 0, takes the gradient that would move "
        "it away: this part of the model never starts to learn."
    )
    return Finding(
        code="UNIT04",
        title=title,
        severity="error" if blocked else "warning",
        where=tuple(names),
        evidence={
            "zeros": {fact.name: list(fact.shape) for fact in group},
            "gets_a_gradient": own,
            "gradient_before": 0.0 if blocked else "not zero",
        },
        cause=cause,
        fix=Fix(
            "Draw the weight at random; start a normalisation's scale, or a factor, at 1.",
            _code(evidence, group),
            rules=tuple(_rule(fact) for fact in group),
        ),
        explains=_EXPLAINS,
    )


def _code(evidence: Evidence, group: Sequence[ParameterFact]) -> str:
    names = [fact.name for fact in group if fact.kind in WEIGHT_KINDS]
    redrawn = [layer for layer in evidence.layers if layer.name in names]
    others = [fact.name for fact in group if fact.kind not in WEIGHT_KINDS]
    lines = [redraw(redrawn)] if redrawn else []
    lines += each(others, "nn.init.ones_({})") if others else []
    return "\n".join(lines) or with_rules(names)


def _rule(fact: ParameterFact) -> Rule:
    if fact.kind in WEIGHT_KINDS:
        return fact.name, "auto"
    return fact.name, f"constant({1.0 - fact.offset!r})"


def _what(fact: ParameterFact) -> str:
    if fact.output and fact.kind in WEIGHT_KINDS:
        return "zero readout"
    if fact.kind == "norm_scale":
        return "zero γ at the end of a branch"
    if fact.kind == "scale":
        return "closed gate"
    own = fact.name.lower()
    if "lora" in own or "adapter" in own:
        return "adapter that starts at zero"
    return "branch that starts at zero"


def _note(what: str, names: Sequence[str]) -> Finding:
    reason = (
        "It makes the model's output, and gets a gradient itself from the first step on"
        if what == "zero readout"
        else "What it makes joins another signal, which passes around it"
    )
    return Finding(
        code="UNIT04",
        title=f"{what}: {named(names)}",
        severity="note",
        where=tuple(names),
        evidence={"zeros": len(names)},
        cause=f"{reason}; such a start is meant.",
        fix=Fix("Nothing has to change."),
    )


CHECK = Check("UNIT04", "Weights that are exactly zero block all gradient", _applies, _find)
