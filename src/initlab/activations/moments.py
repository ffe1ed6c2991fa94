"""Gaussian moments of an activation: what it makes of normal pre-activations.

In closed form where one is known and keeps its digits, else by quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab.activations._definition import Activation
from initlab.activations.closed_forms import GaussianMoments, find
from initlab.activations.quadrature import expectation


def moments(activation: Activation, q: float = 1.0) -> GaussianMoments:
    """Return all moments that mean field theory asks for; each is a function of its own below.

    Parameters and errors are those of :func:`mean` and :func:`second_derivative_second_moment`.

    Examples
    --------
    >>> from initlab import activations
    >>> found = moments(activations.get("relu"), q=2.0)
    >>> found.f2, found.df2, found.d2f2
    (1.0, 0.5, inf)
    """
    return find(activation, _checked(q)) or GaussianMoments(
        f=mean(activation, q),
        f2=second_moment(activation, q),
        var=variance(activation, q),
        df2=derivative_second_moment(activation, q),
        d2f2=second_derivative_second_moment(activation, q),
        zfdf=value_derivative_moment(activation, q),
    )


def mean(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ(sqrt(q) z)], z standard normal.

    The absolute accuracy is 1e-10 of E|φ|: a mean of 0 comes out as about 1e-17.

    Parameters
    ----------
    activation
        φ.
    q
        Variance of the pre-activation, at least 0.

    Raises
    ------
    InvalidValueError
        If ``q`` is no finite number of at least 0, or the integral does not converge, as for a
        function that oscillates too fast or overflows.
    """
    return _at("f", activation, q)


def second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ(sqrt(q) z)²]: what is passed on by a layer whose weights have mean 0.

    Its relative accuracy is 1e-10. Parameters and errors are those of :func:`mean`.

    Examples
    --------
    >>> from initlab import activations
    >>> round(second_moment(activations.get("relu"), q=2.0), 10)
    1.0
    """
    return _at("f2", activation, q)


def variance(activation: Activation, q: float = 1.0) -> float:
    """Return the variance of φ(sqrt(q) z), without the cancellation of E[φ²] - E[φ]².

    Its relative accuracy is 1e-10. Parameters and errors are those of :func:`mean`.
    """
    return _at("var", activation, q)


def derivative_second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ'(sqrt(q) z)²]: the factor on the variance of a gradient.

    Its relative accuracy is 1e-10. Parameters and errors are those of :func:`mean`. At q = 0 it is
    φ'(0)², which at a kink is the value that the activation takes there, no limit.
    """
    return _at("df2", activation, q)


def second_derivative_second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ''(sqrt(q) z)²]: what bends the map of correlations, C''(1), at equal inputs.

    It is infinite where φ has kinks: φ'' holds a point mass there, whose square has no expectation.
    It is the limit for smooth functions that approach φ, and C''(1) is infinite as well. At q = 0
    it is φ''(0)², infinite where 0 is a kink.

    Its relative accuracy is 1e-10. Parameters are those of :func:`mean`.

    Raises
    ------
    InvalidValueError
        As :func:`mean`; and if the activation has neither kinks nor a second derivative.
    """
    return _at("d2f2", activation, q)


def value_derivative_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[z φ(sqrt(q) z) φ'(sqrt(q) z)], which is sqrt(q) dE[φ²]/dq.

    The chain rule gives dE[φ²]/dq = E[2 φ φ' z / (2 sqrt(q))]; kinks do no harm. What lies left and
    right of 0 may cancel, as for a φ with φ(0) ≠ 0 at small q: the absolute accuracy is 1e-10 of
    E|z φ φ'|. Parameters and errors are those of :func:`mean`. At q = 0 it is 0.
    """
    return _at("zfdf", activation, q)


def fourth_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ(sqrt(q) z)⁴], by quadrature.

    Its relative accuracy is 1e-10, as long as φ⁴ does not underflow. Parameters and errors are
    those of :func:`mean`.
    """
    return _at("f4", activation, q)


def _mean(activation: Activation, q: float) -> float:
    return expectation(activation, q, activation)


def _second_moment(activation: Activation, q: float) -> float:
    return expectation(activation, q, lambda x: np.square(activation(x)))


def _variance(activation: Activation, q: float) -> float:
    if q == 0:
        return 0.0
    center = mean(activation, q)
    return expectation(activation, q, lambda x: np.square(activation(x) - center))


def _derivative_second_moment(activation: Activation, q: float) -> float:
    return expectation(activation, q, lambda x: np.square(activation.slope(x)))


def _second_derivative_second_moment(activation: Activation, q: float) -> float:
    if any(q > 0 or kink == 0 for kink in activation.kinks):
        return math.inf
    return expectation(activation, q, lambda x: np.square(activation.curvature(x)))


def _value_derivative_moment(activation: Activation, q: float) -> float:
    if q == 0:
        return 0.0
    root = math.sqrt(q)
    return expectation(activation, q, lambda x: x / root * activation(x) * activation.slope(x))


def _fourth_moment(activation: Activation, q: float) -> float:
    return expectation(activation, q, lambda x: np.square(np.square(activation(x))))


_INTEGRALS: dict[str, Callable[[Activation, float], float]] = {
    "f": _mean,
    "f2": _second_moment,
    "var": _variance,
    "df2": _derivative_second_moment,
    "d2f2": _second_derivative_second_moment,
    "zfdf": _value_derivative_moment,
    "f4": _fourth_moment,
}


def _at(which: str, activation: Activation, q: float) -> float:
    """Return the moment, from the cache where the activation can be a key."""
    q = _checked(q)
    try:
        hash(activation)
    except TypeError:  # kinks in a list
        return _found(which, activation, q)
    return _cached(which, activation, q)


def _checked(q: float) -> float:
    # Strings and arrays must not pass for numbers, nor True for 1.
    if isinstance(q, bool) or not isinstance(q, Real) or not 0 <= q < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance] - the caller's promise is what is checked
        raise InvalidValueError(f"q={q!r} is not a finite number of at least 0")
    return float(q)


@lru_cache(maxsize=4096)
def _cached(which: str, activation: Activation, q: float) -> float:
    return _found(which, activation, q)


def _found(which: str, activation: Activation, q: float) -> float:
    closed = find(activation, q) if which != "f4" else None
    return _INTEGRALS[which](activation, q) if closed is None else getattr(closed, which)


__all__ = [
    "GaussianMoments",
    "derivative_second_moment",
    "fourth_moment",
    "mean",
    "moments",
    "second_derivative_second_moment",
    "second_moment",
    "value_derivative_moment",
    "variance",
]
