"""The edge of chaos: where the gradient neither vanishes nor explodes, and whether one can stay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import not_negative, positive
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.theory.function import AnyFunction, as_activation
from initlab.theory.maps import MeanField, root

# Pre-activations of a larger variance are too far out for a function that saturates.
_SATURATED = 25.0

_GRID = tuple(10.0 ** (k / 8) for k in range(-64, 65))
_LEVEL = 1e-12


class Critical(NamedTuple):
    """A point of the edge: χ1 = 1 at the fixed point q.

    Attributes
    ----------
    q
        Variance of the pre-activations.
    weight_var, bias_var
        σw² = 1 / E[φ'²], σb² = q - σw² E[φ²]; the latter may come out negative: then no bias gives
        this q.
    slope
        V'(q) = σw² E[z φ φ'] / √q. Above 1, q is unstable.
    """

    q: float
    weight_var: float
    bias_var: float
    slope: float


@dataclass(frozen=True)
class Edge:
    """The critical weight variance for a bias variance, or why there is none.

    Attributes
    ----------
    activation
        Name of φ.
    bias_var
        σb², as given.
    weight_var
        σw² with χ1 = 1 at a stable q*; ``None`` if there is none.
    q_star
        The variance of the pre-activations there; ``None`` without one. Where every variance is
        kept, as by ReLU at σw² = 2, it is 1.
    why
        Why there is none; ``None`` if there is.
    """

    activation: str
    bias_var: float
    weight_var: float | None
    q_star: float | None
    why: str | None = None


def critical_point(f: AnyFunction, q: float) -> Critical:
    """Return the point of the edge of chaos at which pre-activations have variance q.

    σw² = 1 / E[φ'(√q z)²] makes χ1 = 1, and σb² = q - σw² E[φ(√q z)²] makes q a fixed point: so the
    edge is a curve with parameter q (Hayou, Doucet & Rousseau 2019, sec. 3).

    Parameters
    ----------
    f
        Activation, by name or as any function.
    q
        At least 0; 0 stands for the limit.

    Raises
    ------
    InvalidValueError
        If q is out of range, φ is constant, or a moment does not exist.

    Examples
    --------
    GELU's at q = 1 is unstable:

    >>> critical_point("gelu", 1.0).slope > 1
    True
    """
    return _critical(as_activation(f), not_negative("q", q))


def edge_of_chaos(f: AnyFunction, *, bias_var: float = 0.0, largest_q: float | None = None) -> Edge:
    """Return the weight variance of the edge of chaos for a bias variance.

    The edge is followed from q = 0 to ``largest_q``; where it meets the bias variance, q has to be
    stable, |V'(q)| ≤ 1, or no network stays there.

    Parameters
    ----------
    f
        Activation, by name or as any function.
    bias_var
        σb², at least 0.
    largest_q
        Variance of pre-activations up to which an edge counts. By default any, but where units are
        saturated 25, or twice the bias variance: a sigmoid has an edge at σw² ≈ 103, q ≈ 46, which
        is of no use, and which ``why`` tells of.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, or a moment does not exist.

    Examples
    --------
    >>> round(edge_of_chaos("tanh", bias_var=0.05).weight_var, 10)
    1.7609546396
    >>> edge_of_chaos("relu").weight_var
    2.0
    >>> print(edge_of_chaos("relu", bias_var=0.1).why)
    χ1 = 1 asks for weight variance 2, where every layer adds the bias variance to q: it never \
settles; the edge is a single point, at bias variance 0
    """
    activation = as_activation(f)
    bias_var = not_negative("bias_var", bias_var)
    largest = math.inf if largest_q is None else positive("largest_q", largest_q)
    points = edge_curve(activation)
    if all(abs(p.bias_var) <= _LEVEL * p.q for p in points):
        return _homogeneous(activation, points[0], bias_var)
    candidates = list(_meetings(activation, points, bias_var))
    stable = [p for p in candidates if _is_stable(activation, p)]
    if largest_q is None and stable and _saturated(activation, stable[0]):
        largest = max(_SATURATED, 2 * bias_var)
    near = next((p for p in stable if p.q <= largest), None)
    if near is not None:
        return Edge(activation.name, bias_var, near.weight_var, near.q)
    why = _why(activation, candidates, stable, points, largest)
    return Edge(activation.name, bias_var, None, None, why)


def _critical(activation: Activation, q: float) -> Critical:
    at = q or 1e-30
    slope_second = gaussian.derivative_second_moment(activation, at)
    if slope_second == 0:
        raise InvalidValueError(
            f"{activation.name} has slope 0 wherever inputs of variance {q:g} are: no weights make "
            "a gradient; expected another activation or variance"
        )
    layer = MeanField(activation, 1 / slope_second)
    bias_var = q - layer.variance(at) if q else 0.0 - layer.variance(0.0)
    return Critical(q, layer.weight_var, bias_var, layer.variance_slope(q))


def edge_curve(f: AnyFunction) -> tuple[Critical, ...]:
    """Return the edge of chaos on a grid of q, eight a decade from 1e-8 to 1e8.

    As far as there are moments; parameters and errors are those of :func:`critical_point`.
    """
    activation = as_activation(f)
    points: list[Critical] = []
    for q in _GRID:
        try:
            points.append(_critical(activation, q))
        except InvalidValueError:
            if points:  # it oscillates or grows too much from here on
                break
    return tuple(points) or (_critical(activation, 1.0),)


def _homogeneous(activation: Activation, point: Critical, bias_var: float) -> Edge:
    """Every q has the same σw², and needs a bias of 0."""
    if bias_var == 0:
        return Edge(activation.name, bias_var, point.weight_var, 1.0)
    why = (
        f"χ1 = 1 asks for weight variance {point.weight_var:.6g}, where every layer adds the bias "
        "variance to q: it never settles; the edge is a single point, at bias variance 0"
    )
    return Edge(activation.name, bias_var, None, None, why)


def _meetings(
    activation: Activation, points: tuple[Critical, ...], bias_var: float
) -> Iterator[Critical]:
    """Yield where the edge has the bias variance asked for, by increasing q."""
    if bias_var == 0 and float(activation(0.0)) == 0:
        # Where φ' is 0 at 0, but for the rounding of a computed one, no weights make χ1 = 1 there.
        if gaussian.derivative_second_moment(activation, 1e-30) > 1e-20:
            yield _critical(activation, 0.0)
        # Where a function is linear for a while, the edge stays at 0 to rounding.
        points = points[next((k for k, p in enumerate(points) if _away(p)), len(points)) :]
    for before, after in pairwise(points):
        if (before.bias_var - bias_var) * (after.bias_var - bias_var) <= 0:

            def off(q: float) -> float:
                return _critical(activation, q).bias_var - bias_var

            yield _critical(activation, root(off, before.q, after.q))


def _away(point: Critical) -> bool:
    return abs(point.bias_var) > _LEVEL * point.q


def _is_stable(activation: Activation, point: Critical) -> bool:
    """Return whether a deviation from q does not grow; at q = 0 by the next order."""
    if point.q > 0:
        return abs(point.slope) <= 1 + _LEVEL
    small = 1e-4
    layer = MeanField(activation, point.weight_var)
    return layer.variance(small) <= small * (1 + _LEVEL)


def _why(
    activation: Activation,
    candidates: list[Critical],
    stable: list[Critical],
    points: tuple[Critical, ...],
    largest: float,
) -> str:
    if not candidates:
        most = max(p.bias_var for p in points)
        if most < 0:
            return (
                "χ1 = 1 at a fixed point of the variance would ask for a negative bias variance, "
                f"at best {most:.3g}: there is no edge of chaos"
            )
        least = max(min(p.bias_var for p in points), 0.0)
        return (
            f"the edge of chaos has bias variances between {least:.3g} and {most:.3g}, as far as "
            "it is followed"
        )
    if not stable:
        p = candidates[0]
        return (
            f"the critical point, weight variance {p.weight_var:.6g} at q = {p.q:.6g}, is "
            f"unstable: V'(q) = {p.slope:.6g}"
            + (", and the next order grows" if p.q == 0 else " > 1")
            + ", so the variance runs away from it, to another fixed point or without end"
        )
    p = stable[0]
    return (
        f"no edge of chaos up to q = {largest:g}; the first is at weight variance "
        f"{p.weight_var:.6g} and q = {p.q:.4g}"
        + (", where units are saturated" if _saturated(activation, p) else "")
    )


def _saturated(activation: Activation, point: Critical) -> bool:
    """Return whether slopes a standard deviation out are few of those that make χ1 = 1."""
    root = math.sqrt(point.q)
    slopes = np.abs(activation.slope([-root, root]))
    return float(slopes.max()) < 0.25 / math.sqrt(point.weight_var)
