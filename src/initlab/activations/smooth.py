"""Smooth relatives of the rectifier, and the sine."""

from __future__ import annotations

import math
from typing import Any

from initlab.activations._definition import Activation, Operations

# Beyond this, e^-|x| is 0 in either precision: each function below has reached its asymptote.
_FAR = 1e3


def _not_below(x: Any, ops: Operations) -> Any:
    """Stop at -_FAR, so that x = -inf gives the limit 0 and not inf · 0; nan stays nan."""
    return ops.where(x < -_FAR, -_FAR, x)


def _within(x: Any, ops: Operations) -> Any:
    """Stop at -_FAR and _FAR, likewise."""
    return ops.where(x > _FAR, _FAR, _not_below(x, ops))


def softplus() -> Activation:
    """Return ln(1 + e^x)."""
    return Activation(
        name="softplus",
        formula="ln(1 + e^x)",
        reference="Dugas, Bengio, Bélisle, Nadeau & Garcia 2001",
        value=lambda x, ops: ops.softplus(x),
        derivative=lambda x, ops: ops.sigmoid(x),
        derivative_from_value=lambda y, ops: -ops.expm1(-y),
        second_derivative=lambda x, ops: ops.sigmoid(x) * ops.sigmoid(-x),
    )


def gelu() -> Activation:
    """Return x Φ(x), Φ the standard normal distribution function (the exact, erf form)."""
    root_half = math.sqrt(0.5)
    density_at_0 = 1.0 / math.sqrt(2.0 * math.pi)

    def value(x: Any, ops: Operations) -> Any:
        x = _not_below(x, ops)
        return 0.5 * x * (1.0 + ops.erf(x * root_half))

    def derivative(x: Any, ops: Operations) -> Any:
        x = _within(x, ops)
        return 0.5 * (1.0 + ops.erf(x * root_half)) + x * density_at_0 * ops.exp(-0.5 * x * x)

    def second_derivative(x: Any, ops: Operations) -> Any:
        x = _within(x, ops)
        return (2.0 - x * x) * density_at_0 * ops.exp(-0.5 * x * x)

    return Activation(
        name="gelu",
        formula="x/2 (1 + erf(x / sqrt(2)))",
        reference="Hendrycks & Gimpel 2016",
        value=value,
        derivative=derivative,
        second_derivative=second_derivative,
    )


def silu() -> Activation:
    """Return x times the logistic function (also called swish)."""

    def value(x: Any, ops: Operations) -> Any:
        x = _not_below(x, ops)
        return x * ops.sigmoid(x)

    def derivative(x: Any, ops: Operations) -> Any:
        x = _within(x, ops)
        s = ops.sigmoid(x)
        return s + x * s * (1.0 - s)

    def second_derivative(x: Any, ops: Operations) -> Any:
        x = _within(x, ops)
        # With s the logistic function: 2 s' + x s'', where s' = s(x) s(-x), s'' = -s' tanh(x / 2).
        return ops.sigmoid(x) * ops.sigmoid(-x) * (2.0 - x * ops.tanh(0.5 * x))

    return Activation(
        name="silu",
        formula="x / (1 + e^-x)",
        reference="Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph & Le 2017",
        value=value,
        derivative=derivative,
        second_derivative=second_derivative,
    )


def mish() -> Activation:
    """Return x tanh(softplus(x))."""

    def value(x: Any, ops: Operations) -> Any:
        x = _not_below(x, ops)
        return x * ops.tanh(ops.softplus(x))

    def derivative(x: Any, ops: Operations) -> Any:
        x = _within(x, ops)
        t = ops.tanh(ops.softplus(x))
        return t + x * (1.0 - t * t) * ops.sigmoid(x)

    def second_derivative(x: Any, ops: Operations) -> Any:
        x = _within(x, ops)
        p, s = ops.softplus(x), ops.sigmoid(x)
        # With t = tanh(p): 2 t' + x t'', where t' = (1 - t²) s, t'' = t' (1 - s - 2 t s).
        slope = 4.0 * ops.sigmoid(2.0 * p) * ops.sigmoid(-2.0 * p) * s
        return slope * (2.0 + x * (ops.sigmoid(-x) - 2.0 * ops.tanh(p) * s))

    return Activation(
        name="mish",
        formula="x tanh(ln(1 + e^x))",
        reference="Misra 2019",
        value=value,
        derivative=derivative,
        second_derivative=second_derivative,
    )


def sin() -> Activation:
    """Return the sine."""
    return Activation(
        name="sin",
        formula="sin(x)",
        reference="Sitzmann, Martel, Bergman, Lindell & Wetzstein 2020",
        value=lambda x, ops: ops.sin(x),
        derivative=lambda x, ops: ops.cos(x),
        second_derivative=lambda x, ops: -ops.sin(x),
    )
