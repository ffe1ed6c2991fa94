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


def _explained(evidence: Evidence, one: Finding, cause: Finding) -> bool:
    if one.code not in cause.explains or cause.severity == "note":
        return False
    if one.severity == "note":
        return False
    ours, theirs = evidence.places(one.where), evidence.places(cause.where)
    if not ours or not theirs:
        return True  # of the model as a whole
    ancestors = evidence.ancestors
    return any(ancestors[a] >> b & 1 or ancestors[b] >> a & 1 for a in ours for b in theirs)
