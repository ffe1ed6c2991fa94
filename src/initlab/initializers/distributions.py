"""Distributions of unit size, which the scale rules multiply."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from initlab._base.streams import Stream
from initlab.initializers._definition import Array, Moments, Shape


@dataclass(frozen=True)
class One:
    """Every entry is 1; nothing is drawn from the stream."""

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return ones."""
        return np.ones(shape)

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 1, std 0."""
        return Moments(1.0, 0.0)


@dataclass(frozen=True)
class Normal:
    """N(0, 1), independently for each entry."""

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw from the standard normal distribution."""
        return stream.standard_normal(shape)

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 0, std 1."""
        return Moments(0.0, 1.0)


@dataclass(frozen=True)
class Uniform:
    """U(-1, 1), independently for each entry."""

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw from [-1, 1)."""
        return stream.uniform(-1.0, 1.0, shape)

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

    def moments(self, _shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 - 2 c φ(c) / (2 Φ(c) - 1))."""
        return Moments(0.0, self.std)

    @property
    def std(self) -> float:
        """What the cut leaves of the standard deviation: 0.8796256610342398 for a cut of 2."""
        density = math.exp(-0.5 * self.cut * self.cut) / math.sqrt(2 * math.pi)
        inside = math.erf(self.cut / math.sqrt(2))
        return math.sqrt(1 - 2 * self.cut * density / inside)
