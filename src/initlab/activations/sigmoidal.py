"""Bounded functions that saturate on both sides."""

from __future__ import annotations

import math
from typing import Any

from initlab.activations._definition import Activation, Operations, no_curvature


def tanh() -> Activation:
    """Return the hyperbolic tangent."""

    def derivative(x: Any, ops: Operations) -> Any:
        y = ops.tanh(x)
        return 1.0 - y * y

    def second_derivative(x: Any, ops: Operations) -> Any:
        # 1 - tanh² = 4 s(2x) s(-2x), s the logistic function, without the cancellation.
        return -8.0 * ops.tanh(x) * ops.sigmoid(2.0 * x) * ops.sigmoid(-2.0 * x)

    return Activation(
        name="tanh",
        formula="(e^x - e^-x) / (e^x + e^-x)",
        reference="LeCun, Bottou, Orr & Müller 1998",
        value=lambda x, ops: ops.tanh(x),
        derivative=derivative,
        derivative_from_value=lambda y, _: 1.0 - y * y,
        second_derivative=second_derivative,
    )


def sigmoid() -> Activation:
    """Return the logistic function."""

    def derivative(x: Any, ops: Operations) -> Any:
        y = ops.sigmoid(x)
        return y * (1.0 - y)

    def second_derivative(x: Any, ops: Operations) -> Any:
        # φ (1 - φ) (1 - 2φ), where 1 - φ = φ(-x) and 2φ - 1 = tanh(x / 2).
        return -ops.sigmoid(x) * ops.sigmoid(-x) * ops.tanh(0.5 * x)

    return Activation(
        name="sigmoid",
        formula="1 / (1 + e^-x)",
        reference="Rumelhart, Hinton & Williams 1986",
        value=lambda x, ops: ops.sigmoid(x),
        derivative=derivative,
        derivative_from_value=lambda y, _: y * (1.0 - y),
        second_derivative=second_derivative,
    )


def softsign() -> Activation:
    """Return x / (1 + |x|); φ''(0) is that from the right."""
    far = 1e30  # x / (1 + |x|) is ±1 from there on; stopping there spares x = ±inf from inf / inf

    def value(x: Any, ops: Operations) -> Any:
        x = ops.where(x > far, far, ops.where(x < -far, -far, x))
        return x / (1.0 + ops.absolute(x))

    def derivative(x: Any, ops: Operations) -> Any:
        shrink = 1.0 / (1.0 + ops.absolute(x))
        return shrink * shrink

    def derivative_from_value(y: Any, ops: Operations) -> Any:
        shrink = 1.0 - ops.absolute(y)
        return shrink * shrink

    def second_derivative(x: Any, ops: Operations) -> Any:
        shrink = 1.0 / (1.0 + ops.absolute(x))
        return ops.where(x < 0, 2.0, -2.0) * (shrink * shrink * shrink)

    return Activation(
        name="softsign",
        formula="x / (1 + |x|)",
        reference="Bergstra, Desjardins, Lamblin & Bengio 2009",
        value=value,
        derivative=derivative,
        derivative_from_value=derivative_from_value,
        second_derivative=second_derivative,
    )


def erf() -> Activation:
    """Return the error function."""
    slope = 2.0 / math.sqrt(math.pi)
    far = 1e3  # e^-x² is 0 from there on; stopping there spares x = ±inf from inf · 0

    def second_derivative(x: Any, ops: Operations) -> Any:
        x = ops.where(x > far, far, ops.where(x < -far, -far, x))
        return (-2.0 * slope) * x * ops.exp(-(x * x))

    return Activation(
        name="erf",
        formula="2 / sqrt(π) ∫_0^x e^-t² dt",
        reference="Williams 1997 (infinite networks)",
        value=lambda x, ops: ops.erf(x),
        derivative=lambda x, ops: slope * ops.exp(-(x * x)),
        second_derivative=second_derivative,
    )


def hardtanh() -> Activation:
    """Return x clipped to [-1, 1], with derivative 0 at the ends; nan stays nan."""

    def derivative(x: Any, ops: Operations) -> Any:
        return ops.where(ops.absolute(x) < 1.0, 1.0, 0.0)

    return Activation(
        name="hardtanh",
        formula="min(1, max(-1, x))",
        reference="Collobert 2004",
        value=lambda x, ops: ops.where(x > 1.0, 1.0, ops.where(x < -1.0, -1.0, x)),
        derivative=derivative,
        derivative_from_value=derivative,
        kinks=(-1.0, 1.0),
        piecewise_linear=True,
        second_derivative=no_curvature,
    )
