"""What a check says: one record a finding, with its evidence and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

Rule = tuple[str, str]
"""A parameter or module, and the initialiser that it gets, as ``initialize(rules=)`` reads."""


@dataclass(frozen=True)
class Fix:
    """What to change.

    Attributes
    ----------
    text
        In words, one sentence.
    code
        The line or lines to change, as Python.
    rules
        The same for :func:`initlab.initialize`: what :func:`initlab.treat` applies.
    standardise
        True where the first layers are to take the standardisation of the inputs upon them.
    centre
        Layers that read sigmoids, whose mean of 1/2 their biases are to take away.
    learning_rate
        Factor on the learning rate; 1 leaves it.
    """

    text: str
    code: str = ""
    rules: tuple[Rule, ...] = ()
    standardise: bool = False
    centre: tuple[str, ...] = ()
    learning_rate: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a model's start, or looks wrong and is meant.

    Attributes
    ----------
    code
        Of the check, ``"SIG01"``.
    title
        One line.
    severity
        ``"error"``: it will not train, or hardly. ``"warning"``: it trains worse than it could.
        ``"note"``: worth knowing, nothing to change.
    where
        Qualified names of modules or parameters, the source first.
    evidence
        Numbers by name.
    cause
        Why, in one or two sentences.
    fix
        What to change.
    explains
        Codes of which a finding behind this one, or at the same place, is a side effect.
    """

    code: str
    title: str
    severity: Severity
    where: tuple[str, ...]
    evidence: Mapping[str, Any]
    cause: str
    fix: Fix
    explains: frozenset[str] = field(default_factory=frozenset[str])

    def document(self) -> dict[str, Any]:
        """Return what the JSON document holds of it."""
        return {
            "code": self.code,
            "title": self.title,
            "severity": self.severity,
            "where": list(self.where),
            "evidence": dict(self.evidence),
            "cause": self.cause,
            "fix": {"text": self.fix.text, "code": self.fix.code},
        }
