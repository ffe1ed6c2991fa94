"""One root cause, one finding: what is a side effect of another finding is none of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding

_RANK = {"error": 0, "warning": 1, "note": 2}


def roots(evidence: Evidence, found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Leave out the side effects; what is left is ordered by severity.

    Parameters
    ----------
    evidence
        Tells what runs behind what.
    found
        Findings, causes before their effects.

    A finding is a side effect of an earlier one that says that it explains such, if the two are at
    one place, or one is computed from the other: an odd scale changes signals behind it, and
    gradients before it. A fault of weights is none of other weights: only what both name is left
    to the earlier finding.
    """
    kept: list[Finding] = []
    for one in found:
        if one.code.startswith("LAYER"):
            left = _unclaimed(one, kept)
            kept += [left] if left is not None else []
        elif not any(_explained(evidence, one, cause) for cause in kept):
            kept.append(one)
    kept = [one for one in kept if not any(_outweighs(alarm, one) for alarm in kept)]
    return tuple(sorted(kept, key=lambda one: _RANK[one.severity]))


def _unclaimed(one: Finding, kept: Sequence[Finding]) -> Finding | None:
    """Return a finding without the weights that earlier ones account for; None if none is left."""
    claimed = {
        name
        for cause in kept
        if cause.severity != "note" and one.code in cause.explains
        for name in cause.where
    }
    where = tuple(name for name in one.where if name not in claimed)
    if len(where) == len(one.where):
        return one
    if not where:
        return None
    rules = tuple(rule for rule in one.fix.rules if rule[0] not in claimed)
    return replace(one, where=where, fix=replace(one.fix, rules=rules))


def _outweighs(alarm: Finding, note: Finding) -> bool:
    """Tell whether a note is about what an alarm says more of."""
    return (
        note.severity == "note" != alarm.severity
        and note.code in alarm.explains
        and bool(set(note.where) & set(alarm.where))
    )


# Of variance over the wanted one: beyond, a weight is a fault of its own. And of a bias.
_OFF, _BIAS = 4.0, 1.0
_TOO_LARGE = frozenset({"SIG02", "SIG04", "UNIT03", "OUT01", "OUT03"})
_TOO_SMALL = frozenset({"SIG01", "SIG03"})


def _is_own(evidence: Evidence, one: Finding, cause: Finding) -> bool:
    """Tell whether a finding names weights that are off by themselves, and not of the cause.

    A signal that explodes has its cause in front of it; a head that is drawn thirty times too wide
    makes an overconfident model of any signal.
    """
    names = set(one.where) - set(cause.where)
    ratios = [layer.ratio for layer in evidence.layers if layer.name in names]
    if one.code in _TOO_LARGE and any(ratio > _OFF for ratio in ratios):
        return True
    if one.code in _TOO_SMALL and any(0 < ratio < 1 / _OFF for ratio in ratios):
        return True
    biases = [fact.name for fact in evidence.of_kind("bias", "norm_shift") if fact.name in names]
    return one.code in {"UNIT02", "UNIT03"} and any(
        float(evidence.values[name].double().square().mean()) > _BIAS**2 for name in biases
    )


def _explained(evidence: Evidence, one: Finding, cause: Finding) -> bool:
    if one.code not in cause.explains or cause.severity == "note":
        return False
    if one.severity == "note" or _is_own(evidence, one, cause):
        return False
    ours, theirs = evidence.places(one.where), evidence.places(cause.where)
    if not ours or not theirs:
        return True  # of the model as a whole
    ancestors = evidence.ancestors
    return any(ancestors[a] >> b & 1 or ancestors[b] >> a & 1 for a in ours for b in theirs)
