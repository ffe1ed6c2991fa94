"""A diagnosis as people see it: in the terminal, and as a page with charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initlab.report.diagnosis.terminal import DiagnosisView, RemedyView

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.job import Remedy

__all__ = ["DiagnosisView", "RemedyView", "view"]


def view(found: Diagnosis | Remedy, *, everything: bool = False) -> DiagnosisView | RemedyView:
    """Return what the terminal shows of a diagnosis, or of one before and after its treatment."""
    # By what it has, not by its class: that is defined beside PyTorch.
    remedied: bool = hasattr(found, "before")
    return (RemedyView if remedied else DiagnosisView)(found, everything=everything)  # pyright: ignore[reportArgumentType] - told apart above
