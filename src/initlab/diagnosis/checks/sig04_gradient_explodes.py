"""SIG04: the gradient explodes with depth."""

from __future__ import annotations

from collections.abc import Iterator

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._signals import backward, has_gradient_path
from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding


def _find(evidence: Evidence) -> Iterator[Finding]:
    return backward(evidence, "SIG04", larger=True)


CHECK = Check("SIG04", "The gradient explodes with depth", has_gradient_path, _find)
