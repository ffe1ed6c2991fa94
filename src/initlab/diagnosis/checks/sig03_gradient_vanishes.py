"""SIG03: the gradient vanishes with depth."""

from __future__ import annotations

from collections.abc import Iterator

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._signals import backward, has_gradient_path
from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding


def _find(evidence: Evidence) -> Iterator[Finding]:
    return backward(evidence, "SIG03", larger=False)


CHECK = Check("SIG03", "The gradient vanishes with depth", has_gradient_path, _find)
