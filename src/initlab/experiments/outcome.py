"""How a run ended: scores, the cost it is measured against, and its status."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from initlab.engine.network import Array
from initlab.engine.recipe import LossName
from initlab.experiments.evidence import correct
from initlab.experiments.records import Status

# A run has solved its task when a quarter of the cost that knowing nothing leaves is left.
TARGET_SHARE = 0.25

# "Clearly above" both the start and the best constant prediction: a tenth more than either. Less is
# what mini-batch noise and a cost hovering at the constant's do.
DIVERGED_FACTOR = 1.1


def best_constant_cost(loss: LossName, targets: Array) -> float:
    """Return the lowest cost of a prediction that ignores its input.

    The entropy of the class frequencies for the cross-entropies, the variance of the targets (mean
    over outputs) for the squared error.

    Parameters
    ----------
    loss
        Which cost.
    targets
        ``(outputs, samples)``.
    """
    if loss == "squared_error":
        return float(targets.var(axis=1).mean())
    share = targets.mean(axis=1)
    shares = np.append(share, 1 - share) if loss == "binary_cross_entropy" else share
    return float(special.entr(shares).sum())


def status(
    final_cost: float, first_cost: float, *, target_cost: float, constant_cost: float
) -> Status:
    """Say how a run ended; all costs in the careful form.

    Parameters
    ----------
    final_cost, first_cost
        After the last update and before the first.
    target_cost
        At or below it the run has converged.
    constant_cost
        :func:`best_constant_cost`.
    """
    if final_cost <= target_cost:
        return "converged"
    above = [cost for cost in (first_cost, constant_cost) if math.isfinite(cost)]
    if not math.isfinite(final_cost) or final_cost > DIVERGED_FACTOR * max(above):
        return "diverged"
    return "stalled"


def steps_to_target(steps: Sequence[int], costs: Sequence[float], target_cost: float) -> int | None:
    """Return the first recorded step whose cost is at or below the target; ``None`` if none is."""
    return next(
        (step for step, cost in zip(steps, costs, strict=True) if cost <= target_cost), None
    )


def accuracy(outputs: Array, targets: Array) -> float | None:
    """Return the share of samples that are classified right; ``None`` without samples.

    Parameters
    ----------
    outputs, targets
        As :func:`initlab.experiments.evidence.correct` takes them.
    """
    return float(correct(outputs, targets).mean()) if targets.shape[1] else None


def r2(outputs: Array, targets: Array) -> float | None:
    """Return 1 - Σ (y - ŷ)² / Σ (y - ȳ)² over samples and outputs; ``None`` without samples.

    ``-inf`` where a prediction is not finite, or the targets do not vary.

    Parameters
    ----------
    outputs, targets
        ``(outputs, samples)``.
    """
    if not targets.shape[1]:
        return None
    with np.errstate(all="ignore"):
        residual = np.square(targets - outputs).sum()
        total = np.square(targets - targets.mean(axis=1, keepdims=True)).sum()
        value = float(1 - residual / total)
    return -math.inf if math.isnan(value) else value
