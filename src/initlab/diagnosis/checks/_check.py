"""What every check is: a code, a title, a question of whether it applies, and its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    code
        ``"SIG01"``; its page is ``docs/diagnosis/SIG01.md``.
    title
        What it finds, one line.
    applies
        Tells whether the model has what is checked: a check that does not apply has not passed.
    find
        Yields the findings.
    """

    code: str
    title: str
    applies: Callable[[Evidence], bool]
    find: Callable[[Evidence], Iterable[Finding]]
