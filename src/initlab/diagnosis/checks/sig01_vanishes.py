"""SIG01: the forward signal vanishes with depth."""

from __future__ import annotations

from collections.abc import Iterator

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._signals import forward, has_depth
from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding


def _find(evidence: Evidence) -> Iterator[Finding]:
    return forward(evidence, "SIG01", larger=False)


CHECK = Check("SIG01", "The forward signal vanishes with depth", has_depth, _find)
