"""The records that say where a deep network ends: fixed points, depth scales, regime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Regime = Literal["ordered", "critical", "chaotic", "diverges"]


@dataclass(frozen=True)
class FixedPoint:
    """A variance that a layer keeps: V(q) = q.

    Attributes
    ----------
    q
        The variance.
    slope
        V'(q): what a small deviation is multiplied by at each layer.
    chi_1
        χ1 = σw² E[φ'(√q z)²].
    stable
        Whether deviations do not grow: |V'| < 1, or |V'| = 1 and they do not by the next order.
    """

    q: float
    slope: float
    chi_1: float
    stable: bool


@dataclass(frozen=True)
class Law:
    """How 1 - c vanishes where it does not do so exponentially: coefficient / layer^power.

    Attributes
    ----------
    coefficient
        For a smooth φ β = 2 / (σw² q E[φ''²]); for kinks with jumps J_k of the slope 4 / A², A =
        2/3 σw² Σ J_k² p(k/√q) / √π, p the normal density: 9π²/2 for ReLU.
    power
        1 for a smooth function, 2 for one with kinks (Hayou, Doucet & Rousseau 2019).
    """

    coefficient: float
    power: int


@dataclass(frozen=True)
class Point:
    """What becomes of two inputs in a deep network of such layers.

    Attributes
    ----------
    activation
        Name of φ.
    weight_var, bias_var
        σw², σb².
    regime
        ``"ordered"``: χ1 < 1, inputs become alike and gradients vanish. ``"chaotic"``: χ1 > 1,
        near inputs part and gradients explode. ``"critical"``: χ1 = 1. ``"diverges"``: the
        variance has no fixed point that it reaches.
    q_star
        The variance that is reached; ``None`` where it diverges. Where several may be, that from
        the variance asked for.
    chi_1
        χ1 at q*.
    c_star
        The stable correlation of two different inputs. Where q* is 0, this, ξc and the law are the
        limits for small bias variances: without any, what is left of the inputs keeps its
        correlation, or nears 1 by a power of the depth if φ has a kink at 0.
    chi_star
        χ at c*: the factor on a small deviation from it.
    xi_q, xi_c
        Depth scales -1 / ln V'(q*) and -1 / ln χ(c*), in layers: deviations shrink by e over each.
        ``inf`` where they do not shrink exponentially, ``None`` where q* is unstable.
    stable
        Whether q* is.
    growth
        lim V(q) / q for q → ∞, what the variance is multiplied by at each layer once it is large;
        ``inf`` where φ grows faster than linearly.
    law
        How 1 - c vanishes at the critical point; ``None`` elsewhere, and where it does not.
    fixed_points
        All of them, by variance.
    """

    activation: str
    weight_var: float
    bias_var: float
    regime: Regime
    q_star: float | None
    chi_1: float | None
    c_star: float | None
    chi_star: float | None
    xi_q: float | None
    xi_c: float | None
    stable: bool
    growth: float
    law: Law | None
    fixed_points: tuple[FixedPoint, ...]


@dataclass(frozen=True)
class DepthScales:
    """Over how many layers deviations from the fixed point shrink by e; see :class:`Point`."""

    xi_q: float | None
    xi_c: float | None
    law: Law | None
