"""Distributions of unit size, which the scale rules multiply."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.streams import Stream
from initlab.initializers._definition import Array, Float32, Moments, Shape
from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform


@dataclass(frozen=True)
class One:
    """Every entry is 1; nothing is drawn from the stream."""

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return ones."""
        return np.ones(shape)

    def write(self, out: Float32, _key: Key, _start: int, scale: float, shift: float, /) -> None:
        """Write the constant.

        Raises
        ------
        InvalidValueError
            If it is beyond float32.
        """
        value = scale + shift
        if abs(value) > float(np.finfo(np.float32).max):
            raise InvalidValueError(f"entries of {value:g} are beyond float32")
        out[...] = value

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 1, std 0."""
        return Moments(1.0, 0.0)


@dataclass(frozen=True)
class Normal:
    """N(0, 1), independently for each entry."""

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw from the standard normal distribution."""
        return stream.standard_normal(shape)

    def write(self, out: Float32, key: Key, start: int, scale: float, shift: float, /) -> None:
        """Write N(shift, scale²)."""
        fill_normal(out, key, start=start, std=abs(scale), mean=shift)

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 0, std 1."""
        return Moments(0.0, 1.0)


@dataclass(frozen=True)
class Uniform:
    """U(-1, 1), independently for each entry."""

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw from [-1, 1)."""
        return stream.uniform(-1.0, 1.0, shape)

    def write(self, out: Float32, key: Key, start: int, scale: float, shift: float, /) -> None:
        """Write U(shift - scale, shift + scale)."""
        fill_uniform(out, key, start=start, low=shift - abs(scale), high=shift + abs(scale))

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 0, std 1 / sqrt(3)."""
        return Moments(0.0, math.sqrt(1 / 3))


@dataclass(frozen=True)
class TruncatedNormal:
    """N(0, 1) given that it lies in [-cut, cut], independently for each entry.

    Attributes
    ----------
    cut
        In standard deviations of the normal distribution that is cut.
    """

    cut: float

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw by the inverse of the distribution function, one uniform number an entry.

        Both halves are computed in the lower tail, where a probability near 0 keeps its relative
        precision; in the upper tail it would round to 1.
        """
        from scipy import special  # noqa: PLC0415 - 150 ms that only this draw needs

        uniform = stream.uniform(-1.0, 1.0, shape)
        outside = special.ndtr(-self.cut)
        below = outside + (0.5 - outside) * np.abs(uniform)  # in [outside, 1/2]
        distance = np.minimum(-special.ndtri(below), self.cut)
        return np.copysign(distance, uniform)

    def write(self, out: Float32, key: Key, start: int, scale: float, shift: float, /) -> None:
        """Write N(shift, scale²), cut at ``cut`` stds."""
        fill_truncated_normal(
            out, key, start=start, std=abs(scale), mean=shift, low=-self.cut, high=self.cut
        )

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 - 2 c φ(c) / (2 Φ(c) - 1))."""
        return Moments(0.0, self.std)

    @property
    def std(self) -> float:
        """What the cut leaves of the standard deviation: 0.8796256610342398 for a cut of 2."""
        if self.cut > 40:  # nothing of the density is left there, and a large cut squared overflows
            return 1.0
        density = math.exp(-0.5 * self.cut * self.cut) / math.sqrt(2 * math.pi)
        inside = math.erf(self.cut / math.sqrt(2))
        return math.sqrt(1 - 2 * self.cut * density / inside)


@dataclass(frozen=True)
class BoundedNormal:
    """N(0, 1) given that it lies in [low, high], independently for each entry.

    Attributes
    ----------
    low, high
        Bounds anywhere, 0 need not lie between them.
    """

    low: float
    high: float

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw by the inverse of the distribution function, one uniform number an entry.

        As in :class:`TruncatedNormal`, each half is computed in the lower tail.
        """
        share = (stream.uniform(-1.0, 1.0, shape) + 1) / 2
        if self.low > 0:
            values = -_quantile(1 - share, -self.high, -self.low)
        else:
            values = _quantile(share, self.low, self.high)
        return np.clip(values, self.low, self.high)

    def write(self, out: Float32, key: Key, start: int, scale: float, shift: float, /) -> None:
        """Write N(shift, scale²) between the bounds; a negative scale would turn them round."""
        fill_truncated_normal(
            out, key, start=start, std=scale, mean=shift, low=self.low, high=self.high
        )

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean and std, by quadrature: the closed forms cancel between close bounds."""
        return _bounded_moments(self.low, self.high)


def _quantile(share: Array, low: float, high: float) -> Array:
    """Return the points below which these shares of the distribution between two bounds lie."""
    from scipy import special  # noqa: PLC0415 - 150 ms that only this draw needs

    under, over = special.ndtr(low), special.ndtr(-max(high, 0.0))
    below = special.ndtr(min(high, 0.0)) - under
    above = 0.5 - over
    mass = share * (below + above)
    left = mass < below
    tail = np.where(left, under + mass, over + (below + above - mass))
    distance = -special.ndtri(np.minimum(tail, 0.5))
    return np.where(left, -distance, distance)


@cache
def _bounded_moments(low: float, high: float) -> Moments:
    # Everything relative to where the density is largest, so that nothing is lost far out; beyond
    # 40 in its exponent, (x² - peak²) / 2, nothing is left of it.
    peak = min(max(low, 0.0), high)
    reach = 80.0 / (math.hypot(peak, math.sqrt(80.0)) + abs(peak))
    first, last = max(low - peak, -reach), min(high - peak, reach)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    offset = first + (last - first) / 2 * (nodes + 1)
    weights = weights * np.exp(-0.5 * offset * (offset + 2 * peak))
    weights /= weights.sum()
    mean = 0.0 if low == -high else float(weights @ offset)
    return Moments(peak + mean, math.sqrt(float(weights @ (offset - mean) ** 2)))
