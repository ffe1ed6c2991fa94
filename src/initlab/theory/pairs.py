"""Expectations over a pair of correlated Gaussians: what two inputs have in common after φ."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.activations.moments import derivative_second_moment, second_moment
from initlab.theory.pieces import Floats

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# From values at the nodes to the last two coefficients of their Legendre series.
_LEGENDRE = np.polynomial.legendre.legvander(_NODES, 15) * (np.arange(16) + 0.5)
_TAIL = _LEGENDRE[:, -2:] * _WEIGHTS[:, None]

# Beyond 10 standard deviations the density is 1e-22 of its height. What makes up for that grows
# exponentially: then integrals go on, at most to where the density is no longer a normal number.
_END, _FURTHEST = 10.0, 38.0
_DENSITY = np.array([-_END, -5.0, 0.0, 5.0, _END])
_LOOKED_AT = np.linspace(-_FURTHEST, _FURTHEST, 153)
_NEGLIGIBLE = math.log(1e-19)
_ROOT_2PI = math.sqrt(2 * math.pi)

# Where the last coefficients of a function are a share t of it, Gauss-Legendre, exact to twice the
# degree, is off by about t². A panel is cut while that is above this share of the whole.
_FULL = 1e-15
_ROUNDING = 16 * np.finfo(np.float64).eps
_MOST_CUTS = 40
_MOST_POINTS = 8_000_000  # a second's work


class Pair(NamedTuple):
    """Expectations over u, u' of variance q and correlation c = 1 - gap.

    Attributes
    ----------
    distance
        E[(φ(u) - φ(u'))²] / 2, without cancellation where c is near 1.
    slope_distance
        E[(φ'(u) - φ'(u'))²] / 2, likewise.
    product
        E[φ(u) φ(u')].
    slope_product
        E[φ'(u) φ'(u')].
    """

    distance: float
    slope_distance: float
    product: float
    slope_product: float


def pair(activation: Activation, q: float, gap: float, *, accuracy: float = _FULL) -> Pair:
    """Integrate over two Gaussians of variance q > 0 and correlation 1 - ``gap``.

    With independent standard normal z and w, u = √q (a z + b w) and u' = √q (a z - b w), where
    a² = 1 - gap / 2 and b² = gap / 2. For each w, the line of z is cut where u or u' is at a kink,
    so that Gauss-Legendre quadrature meets smooth functions only, and where kinks of both meet, w
    is. Panels are halved until the Legendre series of the integrand ends on each. The relative
    accuracy is about 1e-13, of the distances also down to gaps of 1e-9, as far as φ or φ' changes
    by more than its rounding over √(q gap): φ' of a smooth function does not at a q of 1e-12.

    Parameters
    ----------
    activation
        φ; its second moment at q must exist.
    q
        Variance of each, above 0.
    gap
        1 - correlation, from 0 to 2.
    accuracy
        Share of the distances that a panel may be off by; 1e-8 takes about half the time.

    Raises
    ------
    InvalidValueError
        If the integral does not converge, as for a function that grows too fast.
    """
    second = second_moment(activation, q)
    slope_second = derivative_second_moment(activation, q)
    if gap <= 0:
        return Pair(0.0, 0.0, second, slope_second)
    # At a negative correlation, u' is the mirror image of one of positive correlation.
    mirrored = gap > 1
    plane = _Plane(activation, q, 2 - gap if mirrored else gap, -1 if mirrored else 1, accuracy)
    distance, slope_distance = plane.integral()
    return Pair(distance, slope_distance, second - distance, slope_second - slope_distance)


class _Plane:
    """The plane of (z, w) on which φ(u) and φ(u') are compared."""

    def __init__(
        self, activation: Activation, q: float, gap: float, mirror: int, accuracy: float
    ) -> None:
        self.activation, self.mirror, self.accuracy = activation, mirror, accuracy
        self.root = math.sqrt(q)
        self.a, self.b = math.sqrt(1 - gap / 2), math.sqrt(gap / 2)
        self.end = _END if activation.piecewise_linear else self._end()
        self.density = np.unique([*_DENSITY, -self.end, self.end])
        # 0 is where functions bend that have no kink, or two curvatures.
        self.centers = np.unique([0.0, *activation.kinks]) / self.root
        # A function may bend in a few units, which are few or many standard deviations.
        self.units = np.array([]) if activation.piecewise_linear else self._units()
        self.near = np.unique(self.centers[:, None] + np.array([0.0, *self.units]))
        self.points = 0

    def _units(self) -> Floats:
        most = math.ceil(math.log(self.end * self.root + 1, 8))
        steps = 2.0 * np.power(8.0, np.arange(0, most + 1, dtype=np.float64))
        return np.concatenate([-steps, steps]) / self.root

    def _end(self) -> float:
        """Return how many standard deviations out the integrals of φ² have all their digits."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            size = np.log(np.abs(self.activation(self.root * _LOOKED_AT)))
            share = 2 * size - _LOOKED_AT**2 / 2
        highest = share.max()
        if highest == -math.inf:  # φ is 0 all over
            return _END
        end = float(np.abs(_LOOKED_AT[share > highest + _NEGLIGIBLE]).max(initial=_END))
        self._require(math.isfinite(highest) and end < _FURTHEST)
        return end

    def integral(self) -> tuple[float, float]:
        """Integrate both squared differences, halved, against the density of z and w."""
        left, right = self._first_panels()
        total, cuts = np.zeros(2), 0
        while left.size:
            half = (right - left)[:, None] / 2
            w = left[:, None] + half * (1 + _NODES)  # (panels, nodes)
            density = np.exp(-0.5 * w * w) / _ROOT_2PI
            found = self._over_z(w.ravel(), density.ravel())
            inner, noise = (each.reshape(2, *w.shape) * density for each in found)
            parts = (inner @ _WEIGHTS) * half[:, 0]  # (2, panels)
            scale = (total + parts.sum(axis=1))[:, None]
            error = _error(inner, half[:, 0], noise.max(axis=-1))
            rough = (error > self.accuracy * scale).any(axis=0)
            total += parts[:, ~rough].sum(axis=1)
            cuts += 1
            self._require(np.isfinite(parts).all() and cuts <= _MOST_CUTS)
            left, right = _halved(left[rough], right[rough])
        return float(total[0]) / 2, float(total[1]) / 2

    def _first_panels(self) -> tuple[Floats, Floats]:
        """Cut w where the kinks of u meet those of u'."""
        meetings = np.abs(self.centers[:, None] - self.mirror * self.centers).ravel()
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # where they never meet
            places = np.concatenate([meetings, self.units]) / (2 * self.b)
        edges = np.unique(np.concatenate([self.density, places, -places]))
        edges = edges[np.abs(edges) <= self.end]
        if self.mirror == 1:  # the integrand is even in w: one half, counted twice
            edges = edges[edges >= 0]
        return edges[:-1], edges[1:]

    def _over_z(self, w: Floats, density: Floats) -> tuple[Floats, Floats]:
        """Integrate over z at each w; returns the integrals ``(2, w)``, and their rounding."""
        left, right = self._first_cuts(w)
        factor = 2.0 if self.mirror == 1 else 1.0
        total, rounding, cuts = np.zeros((2, w.size)), np.zeros((2, w.size)), 0
        while left.size:
            half = (right - left) / 2  # (w, panels)
            values, noise = self._integrand(left[:, :, None] + half[:, :, None] * (1 + _NODES), w)
            parts = (values @ _WEIGHTS) * half  # (2, w, panels)
            # What a w of little density needs no digits of, is not cut for it.
            scale = ((total + parts.sum(axis=2)) * density).max(axis=1)
            error = _error(values, half, noise) * density[:, None]
            rough = (error > self.accuracy * scale[:, None, None]).any(axis=(0, 1))
            total += parts[:, :, ~rough].sum(axis=2)
            rounding += (noise * half)[:, :, ~rough].sum(axis=2)
            cuts += 1
            self.points += values.size
            self._require(
                np.isfinite(parts).all() and cuts <= _MOST_CUTS and self.points <= _MOST_POINTS
            )
            left, right = _halved(left[:, rough], right[:, rough])
        return factor * total, factor * rounding

    def _first_cuts(self, w: Floats) -> tuple[Floats, Floats]:
        """Cut the line of z at each w where u or u' is at a kink, and where φ may bend near it.

        Returns ``(w, panels)`` each.
        """
        shift = self.b * w[:, None]
        cuts = np.concatenate(
            [
                (self.near - shift) / self.a,
                (self.mirror * self.near + shift) / self.a,
                np.broadcast_to(self.density, (w.size, self.density.size)),
            ],
            axis=1,
        )
        cuts = np.sort(np.clip(cuts, -self.end, self.end), axis=1)
        used = (cuts[:, 1:] > cuts[:, :-1]).any(axis=0)
        return cuts[:, :-1][:, used], cuts[:, 1:][:, used]

    def _integrand(self, z: Floats, w: Floats) -> tuple[Floats, Floats]:
        """Return the squared differences times the density of z, ``(2, w, panels, nodes)``.

        And what rounding of φ and φ' may make of them on a panel, ``(2, w, panels)``: where u and
        u' are near, that is no small part.
        """
        common, apart = (self.root * self.a) * z, (self.root * self.b) * w[:, None, None]
        u, other = common + apart, self.mirror * (common - apart)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            there = np.stack([self.activation(u), self.activation.slope(u)])
            differences = there - [self.activation(other), self.activation.slope(other)]
            density = np.exp(-0.5 * z * z) / _ROOT_2PI
            values = np.square(differences) * density
            # A slope such as y (1 - y) is rounded by a share of what it is at its largest.
            largest = (np.abs(there) * np.sqrt(density)).max(axis=(1, 2, 3), keepdims=True)[..., 0]
            return values, _ROUNDING * largest * np.sqrt(values.max(axis=-1))

    def _require(self, good: object) -> None:
        if not good:
            raise InvalidValueError(
                f"the moments of a pair of {self.activation.name} at q={self.root**2:g} do not "
                "converge; expected a function that grows and oscillates less, or a smaller q"
            )


def _error(values: Floats, half: Floats, noise: Floats) -> Floats:
    """Estimate the error of the integral over each panel.

    Parameters
    ----------
    values
        At the nodes, on the last axis; not negative.
    half
        Half the width of each panel.
    noise
        What rounding may have done to the values of each panel, which no cutting mends.
    """
    size = values.max(axis=-1)
    tail = np.maximum(np.abs(values @ _TAIL).max(axis=-1) - noise, 0.0)
    return half * tail * np.divide(tail, size, out=np.zeros_like(tail), where=size > 0)


def _halved(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Cut panels in halves, along the last axis."""
    middle = (left + right) / 2
    return np.concatenate([left, middle], axis=-1), np.concatenate([middle, right], axis=-1)
