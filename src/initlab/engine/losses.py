"""Costs and output functions on logits: mean over samples, numerically careful."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from initlab.engine.network import Array
from initlab.engine.recipe import LossName


def output(loss: LossName, logits: Array) -> Array:
    """Turn logits into predictions: sigmoid, softmax over outputs, or the logits themselves.

    Parameters
    ----------
    loss
        Decides which.
    logits
        ``(outputs, samples)``.
    """
    if loss == "binary_cross_entropy":
        return special.expit(logits)
    if loss == "cross_entropy":
        with np.errstate(invalid="ignore"):
            return special.softmax(logits, axis=0)
    return logits


def cost(loss: LossName, logits: Array, targets: Array) -> float:
    """Mean cost over samples, in the form that neither overflows nor cancels.

    Binary cross-entropy: softplus((1 - 2 y) z). Cross-entropy: log-sum-exp(z) - Σ y z. Squared
    error: the mean of (z - y)² over samples and outputs.

    Parameters
    ----------
    loss
        Which.
    logits
        ``(outputs, samples)``.
    targets
        ``(outputs, samples)``: 0 or 1, one-hot columns, or values.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        z = np.asarray(logits, dtype=np.float64)
        if loss == "binary_cross_entropy":
            each = np.logaddexp(0.0, (1 - 2 * targets) * z)  # y is 0 or 1; no inf - inf
        elif loss == "cross_entropy":
            each = special.logsumexp(z, axis=0) - (targets * z).sum(axis=0)
        else:
            each = (z - targets) ** 2
        return float(each.mean())


def course_cost(logits: Array, targets: Array) -> float:
    """Binary cross-entropy as the course computes it: -log(a) y - log(1 - a) (1 - y).

    Samples whose term is nan (0 · log 0) are left out of the sum but not of the divisor, so a
    saturated right answer costs nothing and a saturated wrong one ``inf``.

    Parameters
    ----------
    logits, targets
        ``(1, samples)``.
    """
    return course_cost_of_outputs(special.expit(np.asarray(logits, dtype=np.float64)), targets)


def course_cost_of_outputs(outputs: Array, targets: NDArray[Any]) -> float:
    """Return the course's cost from outputs ``(1, samples)``; see :func:`course_cost`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.multiply(-np.log(outputs), targets) + np.multiply(
            -np.log(1 - outputs), 1 - targets
        )
        return float(np.nansum(terms) / targets.shape[1])


def output_delta(loss: LossName, logits: Array, targets: Array) -> Array:
    """Return the derivative of :func:`cost` by the logits, ``(outputs, samples)``."""
    outputs, samples = logits.shape
    scale = 2 / (outputs * samples) if loss == "squared_error" else 1 / samples
    return (output(loss, logits) - targets) * scale
