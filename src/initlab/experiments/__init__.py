"""Experiments: plan jobs, run them, tell what happened, summarise over seeds."""

from __future__ import annotations

from initlab.experiments.plan import Experiment, Job
from initlab.experiments.prediction import LayerPrediction, Prediction
from initlab.experiments.random_networks import MeasuredSignal, measure_signal
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
    "LayerPrediction",
    "MeasuredSignal",
    "Prediction",
    "Progress",
    "Results",
    "RunRecord",
    "Runs",
    "StartSummary",
    "execute",
    "measure_signal",
    "summarise",
]
