"""Gaussian moments of an activation: what it makes of normal pre-activations, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab.activations._definition import Activation

Floats = NDArray[np.float64]
Moment = Callable[[Activation, float], float]

# Beyond 38 standard deviations the normal density is no longer a normal number.
_END = 38.0
# A panel is done when halving it changes less than this share of itself, or than a share of the
# whole that no number of panels adds up. What is summed is the halves, closer by far.
_OF_PANEL, _OF_WHOLE = 1e-13, 1e-15
_MOST_PANELS = 200_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


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
    return _at(_mean, activation, q)


def second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ(sqrt(q) z)²]: what is passed on by a layer whose weights have mean 0.

    Its relative accuracy is 1e-10. Parameters and errors are those of :func:`mean`.

    Examples
    --------
    >>> from initlab import activations
    >>> round(second_moment(activations.get("relu"), q=2.0), 10)
    1.0
    """
    return _at(_second_moment, activation, q)


def variance(activation: Activation, q: float = 1.0) -> float:
    """Return the variance of φ(sqrt(q) z), without the cancellation of E[φ²] - E[φ]².

    Its relative accuracy is 1e-10. Parameters and errors are those of :func:`mean`.
    """
    return _at(_variance, activation, q)


def derivative_second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E[φ'(sqrt(q) z)²]: the factor on the variance of a gradient.

    Its relative accuracy is 1e-10. Parameters and errors are those of :func:`mean`. At q = 0 it is
    φ'(0)², which at a kink is the value that the activation takes there, no limit.
    """
    return _at(_derivative_second_moment, activation, q)


def _mean(activation: Activation, q: float) -> float:
    return _expectation(activation, q, activation)


def _second_moment(activation: Activation, q: float) -> float:
    return _expectation(activation, q, lambda x: np.square(activation(x)))


def _variance(activation: Activation, q: float) -> float:
    if q == 0:
        return 0.0
    center = mean(activation, q)
    return _expectation(activation, q, lambda x: np.square(activation(x) - center))


def _derivative_second_moment(activation: Activation, q: float) -> float:
    return _expectation(activation, q, lambda x: np.square(activation.slope(x)))


def _at(moment: Moment, activation: Activation, q: float) -> float:
    """Return the moment, from the cache where the activation can be a key."""
    # Strings and arrays must not pass for numbers, nor True for 1.
    if isinstance(q, bool) or not isinstance(q, Real) or not 0 <= q < math.inf:  # pyright: ignore[reportUnnecessaryIsInstance] - the caller's promise is what is checked
        raise InvalidValueError(f"q={q!r} is not a finite number of at least 0")
    try:
        hash(activation)
    except TypeError:  # kinks in a list
        return moment(activation, float(q))
    return _cached(moment, activation, float(q))


@lru_cache(maxsize=4096)
def _cached(moment: Moment, activation: Activation, q: float) -> float:
    return moment(activation, q)


def _expectation(activation: Activation, q: float, function: Callable[[Floats], Floats]) -> float:
    """Integrate function(sqrt(q) z) against the normal density.

    Gauss-Legendre quadrature on panels which are halved until halving changes nothing.
    """
    if q == 0:
        return float(function(np.zeros(1))[0])
    root = math.sqrt(q)
    edges = _edges(activation.kinks, root)
    left, right = edges[:-1], edges[1:]
    whole, size = _panels(function, root, left, right)
    negligible = _OF_WHOLE * float(size.sum())
    total = 0.0
    while left.size:
        middle = (left + right) / 2
        first, first_size = _panels(function, root, left, middle)
        second, second_size = _panels(function, root, middle, right)
        halves = first + second
        if not np.isfinite(halves).all() or left.size > _MOST_PANELS:
            raise InvalidValueError(
                f"the moments of {activation.name} at q={q!r} do not converge; expected a function "
                "that is finite and oscillates less, or a smaller q"
            )
        enough = _OF_PANEL * (first_size + second_size) + negligible
        rough = np.abs(whole - halves) > enough
        total += float(halves[~rough].sum())
        whole = np.concatenate([first[rough], second[rough]])
        left, right = (
            np.concatenate([left[rough], middle[rough]]),
            np.concatenate([middle[rough], right[rough]]),
        )
    return total


def _edges(kinks: tuple[float, ...], root: float) -> Floats:
    """Return where the panels meet: at the kinks, at 0, and ever further apart away from them.

    An activation bends within a few units of those points, whatever the standard deviation
    ``root`` of its input, and the density within a few standard deviations.
    """
    centers = np.array([0.0, *kinks])
    furthest = _END * root + float(np.abs(centers).max())
    steps = 2.0 ** np.arange(-6, max(math.ceil(math.log2(furthest)), -6) + 1)
    offsets = np.concatenate([-steps, [0.0], steps])
    with np.errstate(over="ignore"):  # a kink may be infinitely many standard deviations away
        bends = (centers[:, None] + offsets).ravel() / root
    density = np.arange(-_END, _END + 1, 2.0)
    edges = np.unique(np.concatenate([bends, density]))
    return edges[np.abs(edges) <= _END]


def _panels(
    function: Callable[[Floats], Floats], root: float, left: Floats, right: Floats
) -> tuple[Floats, Floats]:
    """Integrate over each panel; return the integrals, and those of the absolute value."""
    half = (right - left)[:, None] / 2
    z = left[:, None] + half * (1 + _NODES)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        terms = function(root * z) * density * _WEIGHTS * half
        return terms.sum(axis=1), np.abs(terms).sum(axis=1)
