"""Experiments: plan jobs, run them, tell what happened, summarise over seeds."""

from __future__ import annotations

from initlab.experiments.plan import Experiment, Job
from initlab.experiments.records import (
    Adaptation,
    Evidence,
    Interval,
    LayerEvidence,
    RunRecord,
    StartSummary,
)
from initlab.experiments.results import Results, execute
from initlab.experiments.run import Progress, Runs
from initlab.experiments.summary import summarise

__all__ = [
    "Adaptation",
    "Evidence",
    "Experiment",
    "Interval",
    "Job",
    "LayerEvidence",
    "Progress",
    "Results",
    "RunRecord",
    "Runs",
    "StartSummary",
    "execute",
    "summarise",
]
