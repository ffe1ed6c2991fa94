"""What a point of the theory means, in words."""

from __future__ import annotations

import math

from initlab.theory import Point

# Networks of up to about this many times ξc train (Schoenholz et al. 2017, fig. 5).
TRAINABLE = 6

# What a factor has to differ from 1 by to be another.
_LEVEL = 1e-9


def explain(point: Point) -> str:
    """Say what a deep network at this point does to signals, correlations and gradients.

    Examples
    --------
    >>> from initlab.theory import fixed_point
    >>> explain(fixed_point("relu", weight_var=3, bias_var=0.1))
    'diverges: the variance grows without end, in the long run by 1.5 a layer'
    """
    if point.q_star is None or point.chi_1 is None or point.c_star is None:
        return f"diverges: the variance grows {_pace(point.growth)}"
    parts = [f"{point.regime}: {_inputs(point, point.c_star)}", _gradients(point.chi_1)]
    if not point.stable:
        parts.append(
            "but the variance does not stay: the fixed point is unstable, and a deviation grows"
        )
    return "; ".join(parts)


def _pace(growth: float) -> str:
    """Say how fast a variance grows of which large ones are multiplied by ``growth``."""
    if growth < 1 - _LEVEL:  # it ends somewhere, where no network is of use
        return "beyond 1e16, up to where fixed points are looked for"
    if growth <= 1 + _LEVEL:
        return "without end, in the long run slower than exponentially"
    if math.isfinite(growth):
        return f"without end, in the long run by {growth:.4g} a layer"
    return "without end, faster and faster"


def _inputs(point: Point, c_star: float) -> str:
    if point.q_star == 0 and point.regime == "ordered":
        return "the signal vanishes"
    if point.regime == "ordered":
        return "two inputs become alike" + _over(point.xi_c)
    if point.regime == "chaotic":
        end = f"{round(c_star, 12) + 0.0:.4g}"  # what is left of a sum that is 0 goes
        return f"near inputs part, to end at correlation {end}" + _over(point.xi_c)
    if point.q_star == 0:
        return "the signal vanishes, slower than exponentially"
    if point.law is None:
        return "correlations stay as they are"
    power = "l²" if point.law.power == 2 else "l"
    return f"1 - c falls only like {point.law.coefficient:.4g} / {power} with the layer l"


def _over(xi_c: float | None) -> str:
    if xi_c is None or not math.isfinite(xi_c):
        return ""
    if xi_c == 0:
        return " at once"
    depth = round(TRAINABLE * xi_c)
    many = f"about {depth} layers" if depth > 1 else "hardly more than one layer"
    return f", by e over {xi_c:.4g} layers, so that {many} can be trained"


def _gradients(chi_1: float) -> str:
    if abs(chi_1 - 1) <= _LEVEL:
        return "squared gradients keep their size"
    if chi_1 == 0:
        return "gradients are 0 below the last layer"
    verb = "shrink" if chi_1 < 1 else "grow"
    return f"squared gradients {verb} by {chi_1:.4g} a layer"
