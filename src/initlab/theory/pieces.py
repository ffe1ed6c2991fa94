"""A function in pieces, on each of which a polynomial follows it: its bends, its derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]

DEGREE = 19
_POINTS = chebyshev.chebpts1(DEGREE + 1)
# Values at the points to coefficients: the inverse of evaluating every polynomial at them.
_TO_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(_POINTS, DEGREE)).T

# The outermost points leave 0.3 % at each end, where a kink would not show: looked at as well, from
# inside, for there a derivative may jump.
_ENDS = np.array([-1 + 1e-6, 1 - 1e-6])
_AT_ENDS = chebyshev.chebvander(_ENDS, DEGREE).T
_ALL_POINTS = np.concatenate([_POINTS, _ENDS])

_MOST_PIECES = 50_000

# Rounding of x makes a value uncertain by about eps |x φ'|: no polynomial follows it any closer.
_NOISE = 4 * np.finfo(np.float64).eps
# |c_k| times this is what its term may add to a derivative, on [-1, 1].
_STEEP = np.arange(DEGREE + 1.0) ** 2

# No piece is cut below this width (times 1 + |x|): what is not smooth there is a kink or a jump.
NARROWEST = 2.0**-24


def cut(
    functions: Callable[[Floats], list[Floats]], edges: Floats, tolerance: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Cut pieces in halves until polynomials follow every function on each of them.

    Parameters
    ----------
    functions
        From points ``(pieces, points)`` to the values of each function there.
    edges
        Where pieces begin and end at first, ``(pieces + 1,)``, increasing.
    tolerance
        What the last coefficients may be, in units of the function's size: the largest value on the
        piece, or the largest within two units of 0, as rounding leaves noise of that size there.
        What rounding of x does to the values comes on top.

    Returns
    -------
    edges, rough
        And which pieces are too narrow to be cut but still not followed, ``(pieces,)``.

    Raises
    ------
    InvalidValueError
        If there are too many pieces, or a value is not finite.
    """
    sizes = [np.abs(values).max() for values in functions(2 * _POINTS[None])]
    left, right = edges[:-1], edges[1:]
    done: list[tuple[Floats, Floats, NDArray[np.bool_]]] = []
    pieces = 0
    while left.size:
        smooth = _followed(functions, left, right, tolerance, sizes)
        narrow = right - left <= NARROWEST * (1 + np.abs(left))
        stay = smooth | narrow
        done.append((left[stay], right[stay], ~smooth[stay]))
        pieces += left.size
        if pieces > _MOST_PIECES:
            raise InvalidValueError(
                f"the function bends too often between {edges[0]:g} and {edges[-1]:g}; expected "
                "one that oscillates less, or smaller variances"
            )
        left, right = left[~stay], right[~stay]
        middle = (left + right) / 2
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
    lefts, rights, rough = (np.concatenate(each) for each in zip(*done, strict=True))
    order = np.argsort(lefts)
    return np.append(lefts[order], rights[order][-1]), rough[order]


def _followed(
    functions: Callable[[Floats], list[Floats]],
    left: Floats,
    right: Floats,
    tolerance: float,
    sizes: list[Floats],
) -> NDArray[np.bool_]:
    smooth = np.ones(left.shape, dtype=np.bool_)
    furthest = np.maximum(np.abs(left), np.abs(right)) / ((right - left) / 2)
    points = _spread(left, right, _ALL_POINTS)
    for values, size in zip(functions(points), sizes, strict=True):
        bad = ~np.isfinite(values)
        if bad.any():
            raise InvalidValueError(
                f"the function is nan or infinite at x = {points[bad][0]:g}; expected one that is "
                "finite everywhere, or smaller variances"
            )
        coefficients = values[:, : DEGREE + 1] @ _TO_COEFFICIENTS
        off = np.abs(coefficients @ _AT_ENDS - values[:, DEGREE + 1 :]).max(axis=1)
        coefficients = np.abs(coefficients)
        largest = np.maximum(coefficients.max(axis=1), size)
        noise = _NOISE * furthest * (coefficients @ _STEEP)
        enough = tolerance * largest + noise
        smooth &= (coefficients[:, -3:].max(axis=1) <= enough) & (off <= 10 * enough)
    return smooth


def _spread(left: Floats, right: Floats, points: Floats = _POINTS) -> Floats:
    """Return points between -1 and 1 on each piece, ``(pieces, points)``."""
    half = (right - left)[:, None] / 2
    return left[:, None] + half * (1 + points)


class Pieces:
    """A function between the first and the last edge, as a polynomial on each piece.

    Parameters
    ----------
    function
        Elementwise.
    edges
        From :func:`cut`.
    """

    def __init__(self, function: Function, edges: Floats) -> None:
        self.edges = edges
        coefficients = (function(_spread(edges[:-1], edges[1:])) @ _TO_COEFFICIENTS).T
        size = np.abs(coefficients).max(axis=0)
        # What is rounding alone would be a slope of something constant.
        coefficients[np.abs(coefficients) <= _NOISE * size] = 0.0
        self._coefficients = coefficients  # (degree + 1, pieces)

    def derivative(self, x: Floats, order: int) -> Floats:
        """Return the derivative of this order at each point; at an edge, that of the right side."""
        flat = x.ravel()
        last = len(self.edges) - 2
        piece = np.clip(np.searchsorted(self.edges, flat, side="right") - 1, 0, last)
        left, right = self.edges[piece], self.edges[piece + 1]
        half = (right - left) / 2
        coefficients = chebyshev.chebder(self._coefficients, order)[:, piece]
        value = chebyshev.chebval((flat - left) / half - 1, coefficients, tensor=False)
        return (value / half**order).reshape(x.shape)
