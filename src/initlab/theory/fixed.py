"""Fixed points of variance and correlation: where a deep network ends, and how fast."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import positive
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.theory.function import AnyFunction
from initlab.theory.maps import MeanField, root
from initlab.theory.pairs import pair
from initlab.theory.points import DepthScales, FixedPoint, Law, Point

# χ1 this near to 1 is 1: what is left of it after fixed points are found to rounding.
CRITICAL = 1e-9

# V(q) / q this near to 1 is 1, to rounding of the moments.
_LEVEL = 1e-13

# Newton's method doubles its digits at each step, once it is near; from far it halves 1 - c.
_MOST_STEPS = 100
_ROUGHLY, _EXACTLY = 1e-9, 1e-14

# Six variances a decade, from a signal that is as good as none to where any function is as good as
# its asymptote. A grid that is the same for every point lets moments be remembered.
_GRID = tuple(10.0 ** (k / 6) for k in range(-60, 97))


def fixed_points(
    f: AnyFunction, *, weight_var: float, bias_var: float = 0.0
) -> tuple[FixedPoint, ...]:
    """Return every variance q with V(q) = q, in increasing order.

    V(q) / q is scanned from 1e-10 to 1e16, six values a decade, extrema between them included;
    where every q is a fixed point, as for ReLU at σw² = 2, only q = 0 is listed.

    Parameters
    ----------
    f
        Activation, by name or as any function.
    weight_var, bias_var
        σw², σb².

    Raises
    ------
    InvalidValueError
        If a variance is negative, or E[φ²] does not exist.

    Examples
    --------
    >>> [round(point.q, 12) for point in fixed_points("relu", weight_var=1.5, bias_var=0.1)]
    [0.4]
    """
    return _fixed_points(MeanField.of(f, weight_var, bias_var))


def fixed_point(
    f: AnyFunction, *, weight_var: float, bias_var: float = 0.0, start: float = 1.0
) -> Point:
    """Return what a deep network of such layers makes of two inputs.

    q* solves V(q) = q, and c* C(c) = c (Poole et al. 2016; Schoenholz et al. 2017).

    Parameters
    ----------
    f
        Activation, by name or as any function.
    weight_var, bias_var
        σw², σb².
    start
        Variance of the first pre-activations, above 0; it decides where there are several stable
        fixed points, or a stable one and divergence.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, or E[φ²] does not exist.

    Examples
    --------
    >>> point = fixed_point("tanh", weight_var=1.5, bias_var=0.05)
    >>> round(point.q_star, 10), round(point.chi_1, 10), round(point.xi_c, 8), point.regime
    (0.4180372005, 0.9386362682, 15.79099403, 'ordered')
    """
    layer = MeanField.of(f, weight_var, bias_var)
    start = positive("start", start)
    points = _fixed_points(layer)
    reached = _reached(layer, points, start)
    growth = _growth(layer)
    if reached is None:
        return Point(
            layer.activation.name,
            *(layer.weight_var, layer.bias_var, "diverges", None, None, None, None, None, None),
            stable=False,
            growth=growth,
            law=None,
            fixed_points=points,
        )
    gap, chi_star = _stable_gap(layer, reached)
    critical = abs(reached.chi_1 - 1) <= CRITICAL
    return Point(
        activation=layer.activation.name,
        weight_var=layer.weight_var,
        bias_var=layer.bias_var,
        regime="critical" if critical else "ordered" if reached.chi_1 < 1 else "chaotic",
        q_star=reached.q,
        chi_1=reached.chi_1,
        c_star=1 - gap,
        chi_star=chi_star,
        xi_q=_depth_scale(reached.slope) if reached.stable else None,
        xi_c=_depth_scale(1.0 if critical else chi_star),
        stable=reached.stable,
        growth=growth,
        law=law(layer, reached.q) if critical else None,
        fixed_points=points,
    )


def depth_scales(
    f: AnyFunction, *, weight_var: float, bias_var: float = 0.0, start: float = 1.0
) -> DepthScales:
    """Return ξq = -1 / ln V'(q*) and ξc = -1 / ln χ(c*), at the stable c* (Schoenholz et al. 2017).

    Trainable depth is a small multiple of ξc. On the edge of chaos ξc is infinite, and 1 - c falls
    by a power of the depth, see :class:`Law`.

    Parameters and errors are those of :func:`fixed_point`.

    Examples
    --------
    >>> scales = depth_scales("relu", weight_var=2)
    >>> scales.xi_c, scales.law.power, round(scales.law.coefficient / np.pi**2, 12)
    (inf, 2, 4.5)
    """
    point = fixed_point(f, weight_var=weight_var, bias_var=bias_var, start=start)
    return DepthScales(point.xi_q, point.xi_c, point.law)


def law(layer: MeanField, q: float) -> Law | None:
    """Return how 1 - c vanishes at a critical point of variance q; ``None`` if it does not.

    With g = 1 - c: 1 - C = g - A g^(3/2) for kinks, g - κ g² for a smooth φ with κ = σw² q
    E[φ''²] / 2; so g → 4 / (A l)² and 1 / (κ l).
    """
    activation = layer.activation
    if q == 0 and 0 not in activation.kinks:
        return None  # so near to 0, φ is linear, and correlations stay as they are
    q = q or _GRID[0]
    if activation.kinks:
        jumps = np.array([_jump(activation, kink) for kink in activation.kinks])
        density = np.exp(-np.square(activation.kinks) / (2 * q)) / math.sqrt(2 * math.pi)
        rate = 2 / 3 * layer.weight_var * float(jumps**2 @ density) / math.sqrt(math.pi)
        return Law(4 / rate**2, 2) if rate > 0 else None
    curvature = gaussian.second_derivative_second_moment(activation, q)
    rate = layer.weight_var * q * curvature / 2
    return Law(1 / rate, 1) if rate > 1e-12 else None


def _jump(activation: Activation, kink: float) -> float:
    """Return by how much φ' jumps at a kink."""
    step = 1e-9 * (1 + abs(kink))
    before, after = activation.slope([kink - step, kink + step])
    return float(after - before)


def _fixed_points(layer: MeanField) -> tuple[FixedPoint, ...]:
    found = [_at(layer, q) for q in _roots(layer)]
    if layer.variance(0.0) == 0:
        slope = layer.variance_slope(0)
        stable = slope < 1 - _LEVEL or (slope <= 1 + _LEVEL and _excess(layer, _GRID[36]) <= _LEVEL)
        found.insert(0, FixedPoint(0.0, slope, layer.chi(0), stable))
    return tuple(found)


def _at(layer: MeanField, q: float) -> FixedPoint:
    slope = layer.variance_slope(q)
    stable = abs(slope) < 1
    if abs(slope - 1) <= 1e-12:  # the next order says
        above, below = _excess(layer, 1.001 * q), _excess(layer, q / 1.001)
        stable = above <= _LEVEL and below >= -_LEVEL
    return FixedPoint(q, slope, layer.chi(q), stable)


def _excess(layer: MeanField, q: float) -> float:
    """Return V(q) / q - 1: above 0 where the variance grows."""
    return layer.variance(q) / q - 1


def _roots(layer: MeanField) -> Iterator[float]:
    """Yield every q > 0 at which the excess is 0, but for a whole interval of them."""
    grid = _scanned(layer)
    excess = [_excess(layer, q) for q in grid]
    levels = [0 if abs(e) <= _LEVEL else math.copysign(1, e) for e in excess]
    if levels[0] == 0 and layer.bias_var > 0:
        yield grid[0]  # weights of variance 0: the bias alone
    for k, ((left, right), (before, after)) in enumerate(
        zip(pairwise(grid), pairwise(levels), strict=True)
    ):
        if before * after < 0:
            yield root(lambda q: _excess(layer, q), left, right)
        elif before * after > 0 and min(abs(excess[k]), abs(excess[k + 1])) < 0.5:
            yield from _between(layer, left, right, before)
        elif after == 0 and before != 0 and k + 2 < len(levels) and levels[k + 2] != 0:
            yield right


def _between(layer: MeanField, left: float, right: float, level: float) -> Iterator[float]:
    """Yield the two fixed points, or the double one, that hide between two grid values."""

    def turn(q: float) -> float:  # has the sign of the derivative of V(q) / q
        return layer.variance_slope(q) - layer.variance(q) / q

    if turn(left) * level < 0 < turn(right) * level:
        extremum = root(turn, left, right)
        excess = _excess(layer, extremum)
        if abs(excess) <= 1e-12:
            yield extremum
        elif excess * level < 0:
            yield root(lambda q: _excess(layer, q), left, extremum)
            yield root(lambda q: _excess(layer, q), extremum, right)


def _scanned(layer: MeanField) -> list[float]:
    """Return the variances to look at: from the bias variance, which none falls below."""
    # Without one, φ(0) may hold the variance above 0, at V(0) if that is little.
    low = layer.bias_var or min(_GRID[0], layer.variance(0.0) / 2)
    high = _ceiling(layer)
    grid = [q for q in _GRID if low < q < high]
    grid = [*([low] if low > 0 else []), *grid, *([high] if high < _GRID[-1] else [])]
    for reached, q in enumerate(grid):
        try:
            layer.variance(q)
        except InvalidValueError:
            if reached < 2:
                raise
            return grid[:reached]  # it oscillates or grows too much from here on
    return grid


def _ceiling(layer: MeanField) -> float:
    """Return a variance that no fixed point lies above."""
    x = np.concatenate([10.0 ** np.arange(0, 9), 3 * 10.0 ** np.arange(0, 8)])
    sizes = np.abs(layer.activation(np.stack([x, -x]))).max(axis=0)
    with np.errstate(invalid="ignore"):
        bounded = sizes.max() <= 1.001 * np.abs(layer.activation(np.linspace(-10, 10, 2001))).max()
    if not bounded:
        return math.inf
    return 2 * (layer.weight_var * 1.1 * float(sizes.max()) ** 2 + layer.bias_var) + 1


def _growth(layer: MeanField) -> float:
    """Return lim V(q) / q, from the largest variance at which there are moments."""
    if _ceiling(layer) < math.inf:
        return 0.0
    weights = MeanField(layer.activation, layer.weight_var)
    for q in (1e16, 1e12, 1e8, 1e4, 1e2):
        try:
            far, near = weights.variance(q) / q, weights.variance(q / 100) / (q / 100)
        except InvalidValueError:
            continue
        return math.inf if far > 1.5 * near and far > 1 else far
    return math.inf


def _reached(layer: MeanField, points: tuple[FixedPoint, ...], start: float) -> FixedPoint | None:
    """Return the fixed point that the variance goes to from ``start``: the next where V rises."""
    for _ in range(_MOST_STEPS):  # where V falls, a step may lead past one
        if layer.variance_slope(start) >= 0:
            break
        start = layer.variance(start)
    here = next((p for p in points if abs(p.q - start) <= 1e-6 * start), None)
    if here is not None:
        return here
    excess = _excess(layer, start)
    if abs(excess) <= _LEVEL:  # every variance stays
        return _at(layer, start)
    if excess > 0:
        return next((p for p in points if p.q > start), None)
    return next((p for p in reversed(points) if p.q < start), None)


def _stable_gap(layer: MeanField, point: FixedPoint) -> tuple[float, float]:
    """Return 1 - c* and χ(c*): 0 up to χ1 = 1, beyond by Newton's method from c = 0.

    C is convex on [0, 1], as a power series without negative coefficients, so the iterates come
    from one side.
    """
    if point.chi_1 <= 1 + CRITICAL or point.q == 0:
        return 0.0, point.chi_1
    gap, accuracy, last = 1.0, _ROUGHLY, math.inf
    slope = 1.0
    for _ in range(_MOST_STEPS):
        found = pair(layer.activation, point.q, gap, accuracy=accuracy)
        slope = layer.weight_var * found.slope_product
        off = gap - layer.weight_var * found.distance / point.q
        step = off / (1 - slope)
        exact = accuracy == _EXACTLY
        if exact and (abs(off) <= _EXACTLY * gap or abs(step) >= last):
            break  # what is left is rounding
        gap = min(gap - step, 1.0) if step < gap else gap / 4  # it stays above 0
        last = abs(step) if exact else math.inf
        # The root is near, or nearly double: from here on each digit counts.
        if abs(step) <= 1e-4 * gap or abs(off) <= 1e-6 * gap:
            accuracy = _EXACTLY
    return min(gap, 1.0), slope


def _depth_scale(factor: float) -> float:
    """Return -1 / ln |factor|, in layers: 0 where all is gone after one, inf where nothing goes."""
    size = abs(factor)
    if size == 0:
        return 0.0
    return -1 / math.log(size) if size < 1 - 1e-12 else math.inf
