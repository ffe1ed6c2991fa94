"""The phase diagram: fixed points, χ1 and depth scales over weight and bias variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import not_negative, positive, within
from initlab._base.whole import require_whole
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.theory.critical import Critical, edge_curve
from initlab.theory.fixed import CRITICAL
from initlab.theory.function import AnyFunction, as_activation
from initlab.theory.pairs import pair
from initlab.theory.pieces import Floats

# Moments are computed on 32 variances a decade, and followed by cubic splines in between.
_DECADES, _PER_DECADE = (-10, 8), 32
# Those of pairs on at most so many variances, no nearer in ln q than that, and on so many angles.
_VARIANCES, _APART, _ANGLES = 32, 0.1, 16
_ROUGHLY = 1e-9
_LEVEL = 1e-12
_LARGEST = 1e6  # variance of weights or biases: any bounded φ then stays where there are moments
_MOST = 4000


@dataclass(frozen=True)
class PhaseDiagram:
    """What a deep network does, for each weight variance and bias variance.

    Attributes
    ----------
    activation
        Name of φ.
    weight_var, bias_var
        σw² ``(columns,)``, σb² ``(rows,)``, increasing.
    q_star
        The variance that is reached, ``(rows, columns)``; ``inf`` where it diverges.
    chi_1
        χ1 there; ``nan`` where it diverges.
    c_star
        The stable correlation: 1 up to χ1 = 1; likewise.
    xi_c
        Its depth scale in layers, ``inf`` on the edge; likewise.
    edge
        The curve χ1 = 1, by increasing q; where its bias variance is negative, it does not exist.
    """

    activation: str
    weight_var: Floats
    bias_var: Floats
    q_star: Floats
    chi_1: Floats
    c_star: Floats
    xi_c: Floats
    edge: tuple[Critical, ...]


def phase_diagram(
    f: AnyFunction,
    *,
    weight_var: tuple[float, float] = (0.0, 4.0),
    bias_var: tuple[float, float] = (0.0, 0.5),
    size: tuple[int, int] = (200, 200),
    start: float = 1.0,
) -> PhaseDiagram:
    """Return fixed points, χ1 and ξc on a grid of weight and bias variances.

    The same as :func:`initlab.theory.fixed_point` at each point, to about four digits: moments are
    interpolated in ln q, and for pairs in the angle as well (Poole et al. 2016, fig. 1; Schoenholz
    et al. 2017, fig. 1).

    Parameters
    ----------
    f
        Activation, by name or as any function.
    weight_var, bias_var
        Least and largest, from 0 to 1e6.
    size
        How many weight variances, how many bias variances.
    start
        Variance of the first pre-activations.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, or a moment does not exist.

    Examples
    --------
    >>> diagram = phase_diagram("tanh", bias_var=(0.05, 0.05), size=(5, 1))
    >>> diagram.weight_var
    array([0., 1., 2., 3., 4.])
    >>> diagram.chi_1[0].round(4)
    array([0.    , 0.759 , 1.0477, 1.2089, 1.3424])
    """
    activation = as_activation(f)
    try:
        columns, rows = size
    except (TypeError, ValueError):
        raise InvalidValueError(f"size={size!r}; accepted: two numbers of points") from None
    widths, biases = _axis("weight_var", weight_var, columns), _axis("bias_var", bias_var, rows)
    table = _Table(activation, positive("start", start))
    q = np.stack([table.fixed(widths, float(bias)) for bias in biases])  # (bias, weight)
    chi = table.chi(widths, q)
    gap, chi_star = table.correlations(np.broadcast_to(widths, q.shape), q, chi)
    with np.errstate(divide="ignore", invalid="ignore"):
        xi = np.where(np.abs(chi_star - 1) <= CRITICAL, np.inf, -1 / np.log(np.abs(chi_star)))
    return PhaseDiagram(
        activation=activation.name,
        weight_var=widths,
        bias_var=biases,
        q_star=q,
        chi_1=chi,
        c_star=1 - gap,
        xi_c=np.where(chi_star == 0, 0.0, xi),
        edge=edge_curve(activation),
    )


def _axis(name: str, ends: tuple[float, float], count: int) -> Floats:
    try:
        low, high = ends
    except (TypeError, ValueError):
        raise InvalidValueError(f"{name}={ends!r}; accepted: a least and a largest value") from None
    low, high = (within(name, not_negative(name, end), 0.0, _LARGEST) for end in (low, high))
    count = require_whole("size", count, 1, _MOST)
    if high < low or (high == low and count > 1):
        raise InvalidValueError(f"{name}={ends!r}; accepted: a least value below the largest")
    return np.linspace(low, high, count)


class _Local(NamedTuple):
    """A function of q and of the angle: cubic in the angle around each of some points."""

    nodes: Floats  # (points, 4)
    values: Floats  # (points, 4)

    def at(self, angle: Floats) -> Floats:
        """Return Lagrange's cubic at one angle for each point."""
        total = np.zeros_like(angle)
        for k in range(4):
            others = [m for m in range(4) if m != k]
            weight = np.ones_like(angle)
            for m in others:
                weight *= (angle - self.nodes[:, m]) / (self.nodes[:, k] - self.nodes[:, m])
            total += weight * self.values[:, k]
        return total


class _Table:
    """Moments of an activation as splines in t = ln q."""

    def __init__(self, activation: Activation, start: float) -> None:
        self.activation, self.start = activation, math.log(start)
        low, high = _DECADES
        grid = np.linspace(low, high, (high - low) * _PER_DECADE + 1) * math.log(10)
        grid = self._reached(grid)
        # Two points that rounding alone keeps apart would leave no slope between them.
        self.t = np.union1d(grid[np.abs(grid - self.start) > 1e-3], [self.start])
        q = np.exp(self.t)
        second = [gaussian.second_moment(activation, each) for each in q.tolist()]
        slope = [gaussian.derivative_second_moment(activation, each) for each in q.tolist()]
        tiny = np.finfo(np.float64).tiny
        self.second = CubicSpline(self.t, np.log(np.maximum(second, tiny)))
        self.slope = CubicSpline(self.t, np.asarray(slope))
        self.rests_at_0 = float(activation(0.0)) == 0

    def _reached(self, grid: Floats) -> Floats:
        """Return the grid as far up as there are moments."""
        high = grid.size
        while high > 1:
            try:
                gaussian.second_moment(self.activation, math.exp(grid[high - 1]))
                gaussian.derivative_second_moment(self.activation, math.exp(grid[high - 1]))
            except InvalidValueError:
                high -= _PER_DECADE
            else:
                break
        return grid[: max(high, 2)]

    def fixed(self, weight_var: Floats, bias_var: float) -> Floats:
        """Return q* for each weight variance: the fixed point next to the start, up or down."""
        with np.errstate(divide="ignore"):
            level = np.log(weight_var[:, None] * np.exp(self.second(self.t)) + bias_var) - self.t
        begin = int(np.searchsorted(self.t, self.start))
        here = level[:, begin]
        grows = here > _LEVEL
        # Where ln V(q) / q has the other sign, by more than rounding: above the start, or below.
        crossed = np.where(grows[:, None], level < -_LEVEL, level > _LEVEL)
        after = np.argmax(crossed[:, begin:], axis=1) + begin
        before = begin - np.argmax(crossed[:, begin::-1], axis=1)
        end = np.where(grows, after, before)
        found = crossed[np.arange(len(end)), end]
        left = np.clip(np.where(grows, end - 1, end), 0, self.t.size - 2)
        t = self._polished(weight_var, bias_var, self.t[left], self.t[left + 1])
        q = np.where(found, np.exp(t), np.where(grows, np.inf, 0.0))
        q = np.where(np.abs(here) <= _LEVEL, math.exp(self.start), q)
        if bias_var == 0 and self.rests_at_0:
            return np.where(np.isneginf(here), 0.0, q)
        # What is below the grid is the bias itself.
        return np.where((q == 0) | (weight_var == 0), bias_var, q)

    def _polished(self, weight_var: Floats, bias_var: float, left: Floats, right: Floats) -> Floats:
        """Find the fixed point between two grid points by Newton's method, kept between them."""
        t = (left + right) / 2
        for _ in range(12):
            second = weight_var * np.exp(self.second(t))
            with np.errstate(divide="ignore", invalid="ignore"):
                level = np.log(second + bias_var) - t
                slope = second * self.second(t, 1) / (second + bias_var) - 1
                step = level / slope
            t = np.clip(np.where(np.isfinite(step), t - step, t), left, right)
        return t

    def chi(self, weight_var: Floats, q: Floats) -> Floats:
        """Return χ1 at fixed points ``(bias, weight)``."""
        with np.errstate(divide="ignore"):
            t = np.clip(np.log(q), self.t[0], self.t[-1])
        return np.where(np.isinf(q), np.nan, weight_var * self.slope(t))

    def correlations(self, weight_var: Floats, q: Floats, chi: Floats) -> tuple[Floats, Floats]:
        """Return 1 - c* and χ(c*) at fixed points ``(bias, weight)``."""
        gap, chi_star = np.where(np.isinf(q), np.nan, 0.0), chi.copy()
        chaotic = (chi > 1 + CRITICAL) & (q > 0)
        if chaotic.any():
            gap[chaotic], chi_star[chaotic] = self._parted(weight_var[chaotic], q[chaotic])
        return gap, chi_star

    def _parted(self, weight_var: Floats, q: Floats) -> tuple[Floats, Floats]:
        """Solve σw² E[(φ - φ')²] / (2 q) = 1 - c for c < 1, in the angle arccos c."""
        t = np.log(q)
        angles = math.pi / 2 * np.linspace(0, 1, _ANGLES + 1) ** 1.5  # denser where c is near 1
        low, high = t.min() - 1e-6, t.max() + 1e-6
        nodes = np.linspace(low, high, min(4 + math.ceil((high - low) / _APART), _VARIANCES))
        distance, product = self._pairs(nodes, angles)
        ratio = weight_var[:, None] * CubicSpline(nodes, distance)(t)  # (points, angles)
        # The ratio falls with the angle; the last one that is above 1, and its neighbours.
        place = np.clip((ratio > 1).sum(axis=1) - 1, 0, _ANGLES - 1)
        first = np.clip(place - 1, 0, _ANGLES - 3)[:, None] + np.arange(4)
        rows = np.arange(t.size)[:, None]
        local = _Local(angles[first], ratio[rows, first])
        left, right = angles[place], angles[place + 1]
        for _ in range(40):
            middle = (left + right) / 2
            above = local.at(middle) > 1
            left, right = np.where(above, middle, left), np.where(above, right, middle)
        slopes = weight_var[:, None] * CubicSpline(nodes, product)(t)
        angle = (left + right) / 2
        return 2 * np.sin(angle / 2) ** 2, _Local(angles[first], slopes[rows, first]).at(angle)

    def _pairs(self, nodes: Floats, angles: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Return E[(φ - φ')²] / (2 q (1 - c)) and E[φ' φ'], each ``(variances, angles)``."""
        distance = np.empty((nodes.size, angles.size))
        product = np.empty_like(distance)
        for row, q in enumerate(np.exp(nodes).tolist()):
            # As c → 1, the ratio goes to E[φ'²].
            distance[row, 0] = product[row, 0] = gaussian.derivative_second_moment(
                self.activation, q
            )
            for column, angle in enumerate(angles[1:].tolist(), start=1):
                gap = 2 * math.sin(angle / 2) ** 2
                found = pair(self.activation, q, gap, accuracy=_ROUGHLY)
                distance[row, column] = found.distance / (q * gap)
                product[row, column] = found.slope_product
        return distance, product
