"""Integrals against the normal density, by adaptive quadrature that knows an activation's kinks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab.activations._definition import Activation

Floats = NDArray[np.float64]

# Beyond 38 standard deviations the normal density is no longer a normal number.
_END = 38.0
# A panel is done when halving it changes less than this share of itself, or than a share of the
# whole that no number of panels adds up. What is summed is the halves, closer by far.
_OF_PANEL, _OF_WHOLE = 1e-13, 1e-15
_MOST_PANELS = 200_000
_ALL_BUT_NOTHING = 1e-250
_FAR = 36.0  # from here on, nothing may be left of an integral
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def expectation(activation: Activation, q: float, function: Callable[[Floats], Floats]) -> float:
    """Return E[function(sqrt(q) z)], z standard normal; the value at 0 where q is 0.

    Gauss-Legendre quadrature on panels which are halved until halving changes nothing. The accuracy
    is 1e-10 of E|function|.

    Parameters
    ----------
    activation
        What the function is made from: its kinks are where panels meet, an error names it.
    q
        Variance, finite and at least 0.
    function
        Of an array of any shape, elementwise.

    Raises
    ------
    InvalidValueError
        If the integral does not converge.
    """
    if q == 0:
        return float(function(np.zeros(1))[0])
    root = math.sqrt(q)
    edges = _edges(activation.kinks, root)
    left, right = edges[:-1], edges[1:]
    whole, size = _panels(function, root, left, right)
    negligible = _OF_WHOLE * float(size.sum())
    _require_end(activation, q, size, far=np.maximum(-left, right) > _FAR)
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


def _require_end(activation: Activation, q: float, size: Floats, far: NDArray[np.bool_]) -> None:
    """Refuse an integral to which what lies far out still adds: it would go on beyond the end."""
    whole = float(size.sum())
    # A function that is 0 around 0 has all of its little there; it need not grow.
    if whole > _ALL_BUT_NOTHING and float(size[far].sum()) > 1e-12 * whole:
        raise InvalidValueError(
            f"the moments of {activation.name} at q={q!r} do not exist, or lie beyond {_END:g} "
            "standard deviations: it grows as fast as the normal density falls; expected a "
            "function that grows less, or a smaller q"
        )


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
