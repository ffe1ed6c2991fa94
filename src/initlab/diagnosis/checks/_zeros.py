"""Parameters that are exactly zero: which start everything at zero, and which are meant to."""

from __future__ import annotations

from initlab.diagnosis.checks._paths import SUMS, all_zero, joins, onward, trains
from initlab.diagnosis.evidence import Evidence
from initlab.models.facts import WEIGHT_KINDS, ParameterFact


def is_zero(evidence: Evidence, name: str) -> bool:
    """Tell whether all entries are exactly zero, as the model uses them."""
    value = evidence.values[name]
    if value.is_meta or not value.numel() or not value.is_floating_point():
        return False
    offset = evidence.facts.parameters[name].offset
    return all_zero(value + offset if offset else value)


def joins_another(evidence: Evidence, name: str) -> bool:
    """Tell whether what a parameter makes meets another signal, each time that it is used."""
    nodes = evidence.uses.get(name, [])
    return bool(nodes) and all(joins(evidence, node) for node in nodes)


def zero_starts(evidence: Evidence) -> set[str]:
    """Return the zero weights that make the classic start at zero.

    These are two or more that follow one another, or all hidden ones. A single one between others
    is told of by the check of blocked gradients.
    """
    weights = [
        fact
        for fact in evidence.facts.in_order()
        if fact.kind in {*WEIGHT_KINDS, "embedding"} and trains(evidence, fact)
    ]
    zeros = [fact for fact in weights if is_zero(evidence, fact.name)]
    open_ = [fact for fact in zeros if not joins_another(evidence, fact.name)]
    open_ = [fact for fact in open_ if _reads_zero(evidence, fact)]
    found = _consecutive(evidence, {fact.name for fact in open_})
    hidden = {fact.name for fact in weights if not fact.output and fact.kind in WEIGHT_KINDS}
    plain = {fact.name for fact in open_ if fact.kind in WEIGHT_KINDS and not fact.output}
    if hidden and hidden <= plain:
        found |= {fact.name for fact in open_}
    found |= {fact.name for fact in open_ if fact.kind == "embedding"}
    return found


def _reads_zero(evidence: Evidence, fact: ParameterFact) -> bool:
    """Tell whether a recurrent weight's partner is zero too; true of any other weight."""
    if fact.kind != "recurrent" or not fact.hidden_to_hidden:
        return True
    partner = fact.name.replace("_hh", "_ih")
    return partner not in evidence.values or is_zero(evidence, partner)


def _consecutive(evidence: Evidence, zeros: set[str]) -> set[str]:
    """Return the zero weights that another one follows, or precedes, without a layer between."""
    found: set[str] = set()
    ordered = [name for name in zeros if not evidence.uses.get(name)]
    if len(ordered) > 1:  # not seen to run
        found.update(ordered)
    for name in zeros:
        for start in evidence.uses.get(name, ()):
            if evidence.node(start).kind == "embedding":
                continue
            for node in onward(evidence, start):
                use = evidence.canonical.get(node.weight.name, "") if node.weight else ""
                if node.kind in SUMS and use in zeros:
                    found |= {name, use}
    return found
