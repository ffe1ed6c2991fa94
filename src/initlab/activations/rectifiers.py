"""Rectifiers and their relatives: a linear right side, a bent or flat left side."""

from __future__ import annotations

from typing import Any

from initlab.activations._definition import Activation, Operations, no_curvature

# Klambauer et al. 2017, eq. 14: the fixed point of mean and variance at (0, 1).
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def identity() -> Activation:
    """Return x itself: a deep linear network."""
    return Activation(
        name="identity",
        formula="x",
        reference="Saxe, McClelland & Ganguli 2013 (deep linear networks)",
        value=lambda x, _: x,
        derivative=lambda _x, _ops: 1.0,
        derivative_from_value=lambda _y, _ops: 1.0,
        piecewise_linear=True,
        second_derivative=no_curvature,
    )


def relu() -> Activation:
    """Return max(0, x), with derivative 0 at 0; nan stays nan."""

    def derivative(x: Any, ops: Operations) -> Any:
        return ops.where(x > 0, 1.0, 0.0)

    return Activation(
        name="relu",
        formula="max(0, x)",
        reference="Nair & Hinton 2010; Glorot, Bordes & Bengio 2011",
        value=lambda x, ops: ops.where(x < 0, 0.0, x),
        derivative=derivative,
        derivative_from_value=derivative,
        kinks=(0.0,),
        piecewise_linear=True,
        second_derivative=no_curvature,
    )


def leaky_relu(negative_slope: float = 0.01) -> Activation:
    """Return x for x > 0 and ``negative_slope``·x elsewhere."""

    def derivative(x: Any, ops: Operations) -> Any:
        return ops.where(x > 0, 1.0, negative_slope)

    return Activation(
        name="leaky_relu" if negative_slope == 0.01 else f"leaky_relu({negative_slope!r})",
        formula=f"x > 0: x, else {negative_slope:g} x",
        reference="Maas, Hannun & Ng 2013",
        value=lambda x, ops: ops.where(x > 0, x, x * negative_slope),
        derivative=derivative,
        derivative_from_value=derivative if negative_slope > 0 else None,
        kinks=() if negative_slope == 1.0 else (0.0,),
        piecewise_linear=True,
        second_derivative=no_curvature,
    )


def elu(alpha: float = 1.0) -> Activation:
    """Return x for x > 0 and ``alpha``·(e^x - 1) elsewhere; φ''(0) is that from the left."""
    return Activation(
        name="elu" if alpha == 1.0 else f"elu({alpha!r})",
        formula=f"x > 0: x, else {alpha:g} (e^x - 1)",
        reference="Clevert, Unterthiner & Hochreiter 2016",
        value=lambda x, ops: ops.where(x > 0, x, alpha * ops.expm1(x)),
        derivative=lambda x, ops: ops.where(x > 0, 1.0, alpha * ops.exp(x)),
        derivative_from_value=(lambda y, ops: ops.where(y > 0, 1.0, y + alpha))
        if alpha > 0
        else None,
        kinks=() if alpha == 1.0 else (0.0,),
        piecewise_linear=alpha == 0.0,
        second_derivative=lambda x, ops: ops.where(x > 0, 0.0, alpha * ops.exp(x)),
    )


def selu() -> Activation:
    """Return the scaled ELU whose fixed point is mean 0, variance 1; φ''(0) as for ELU."""
    steep = SELU_SCALE * SELU_ALPHA
    return Activation(
        name="selu",
        formula="1.0507 (x > 0: x, else 1.6733 (e^x - 1))",
        reference="Klambauer, Unterthiner, Mayr & Hochreiter 2017",
        value=lambda x, ops: ops.where(x > 0, SELU_SCALE * x, steep * ops.expm1(x)),
        derivative=lambda x, ops: ops.where(x > 0, SELU_SCALE, steep * ops.exp(x)),
        derivative_from_value=lambda y, ops: ops.where(y > 0, SELU_SCALE, y + steep),
        kinks=(0.0,),
        second_derivative=lambda x, ops: ops.where(x > 0, 0.0, steep * ops.exp(x)),
    )
