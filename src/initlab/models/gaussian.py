"""A signal as a function of a Gaussian, on a grid of z weighted with the density of N(0, 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

# 0 is a node, so that the kink of a rectifier falls on it; beyond 8 the density is below 1e-14.
# Pairs of Gaussians go by the coarser grid.
_LIMIT, NODES, PAIR_NODES = 8.0, 2049, 257

# Terms of a Hermite series: enough for a kink, whose coefficients fall like k^(-5/4).
_HERMITE = 60


@dataclass(frozen=True)
class Signal:
    """What is known of the entries of a tensor.

    Attributes
    ----------
    mean, second
        E[x] and E[x²] of an entry.
    source
        Which Gaussian it is a function of; None for a constant.
    values
        That function on the grid; None for a constant.
    alike
        Correlation of the Gaussian at two places of one sample: two pixels, two tokens. White noise
        has 0; deep in a network, places are all but copies of each other.
    """

    mean: float
    second: float
    source: int | None = None
    values: Tensor | None = None
    alike: float = 0.0

    @property
    def variance(self) -> float:
        """E[x²] - E[x]², at least 0."""
        return max(self.second - self.mean**2, 0.0)

    @cached_property
    def is_gaussian(self) -> bool:
        """True if an entry is a Gaussian itself, or a constant."""
        if self.values is None:
            return True
        size = float(self.values.abs().max())
        return float(torch.diff(self.values, n=2).abs().max()) <= 1e-9 * size

    @cached_property
    def pair(self) -> float:
        """E[x x'] of two places: the sum of a_k² alike^k over the Hermite coefficients a_k."""
        if self.values is None:
            return self.second
        powers = self.alike ** torch.arange(_HERMITE, dtype=torch.float64, device="cpu")
        coefficients = _hermite() @ self.values
        return min(float((coefficients.square() * powers).sum()), self.second)

    @property
    def shared(self) -> float:
        """Correlation of two places, by their second moments: what a layer makes its ``alike``."""
        return min(max(self.pair / self.second, 0.0), 1.0) if self.second > 0 else 0.0

    @property
    def covariance(self) -> float:
        """E[x x'] - E[x]² of two places, at least 0."""
        return max(self.pair - self.mean**2, 0.0)

    @cached_property
    def slope(self) -> float:
        """E[φ'²] of the function φ of the Gaussian, per unit of z; 0 for a constant."""
        if self.values is None:
            return 0.0
        z, weights = grid(NODES)
        steps = torch.diff(self.values) / torch.diff(z)  # no kink falls inside a step
        return float((steps.square() * (weights[1:] + weights[:-1]) / 2).sum())


@cache
def _hermite() -> Tensor:
    """Return rows that turn the values of a function into its normalised Hermite coefficients."""
    z, weights = grid(NODES)
    rows = [torch.ones_like(z), z]
    for k in range(2, _HERMITE):
        rows.append((z * rows[-1] - math.sqrt(k - 1) * rows[-2]) / math.sqrt(k))
    return torch.stack(rows) * weights


@cache
def grid(nodes: int) -> tuple[Tensor, Tensor]:
    """Return nodes z and weights of N(0, 1), which sum to 1."""
    # On the CPU whatever the default device, which may be the meta device.
    z = torch.linspace(-_LIMIT, _LIMIT, nodes, dtype=torch.float64, device="cpu")
    density = torch.exp(-0.5 * z * z)
    return z, density / density.sum()


def gaussian(mean: float, variance: float, source: int, alike: float = 0.0) -> Signal:
    """Return the signal mean + sqrt(variance) z."""
    if not (math.isfinite(mean) and math.isfinite(variance)):
        mean, variance = 0.0, 1.0
    z, _ = grid(NODES)
    variance = max(variance, 0.0)
    values = mean + math.sqrt(variance) * z
    return Signal(mean, mean**2 + variance, source, values, min(max(alike, 0.0), 1.0))


def constant(value: float) -> Signal:
    """Return a signal that is the same everywhere."""
    return Signal(value, value * value)


def of_values(values: Tensor, source: int, alike: float) -> Signal | None:
    """Return the signal with these values on the grid; None if they are not finite."""
    _, weights = grid(NODES)
    mean = float((weights * values).sum())
    second = float((weights * values * values).sum())
    if not (math.isfinite(mean) and math.isfinite(second)):
        return None
    return Signal(mean, second, source, values, alike)


def at(values: Tensor, z: Tensor) -> Tensor:
    """Read a function on the grid between its nodes."""
    place = ((z + _LIMIT) * ((NODES - 1) / (2 * _LIMIT))).clamp(0, NODES - 1)
    left = place.floor().long().clamp(max=NODES - 2)
    return torch.lerp(values[left], values[left + 1], place - left)


def coarse(signal: Signal) -> Tensor:
    """Return a signal's values on the nodes of the coarser grid."""
    if signal.values is None:
        return torch.full((PAIR_NODES,), signal.mean, dtype=torch.float64, device="cpu")
    return signal.values[:: (NODES - 1) // (PAIR_NODES - 1)]


def given_shared(signal: Signal) -> Tensor:
    """Return the values on the grid, for each value (row) of the part that all places share."""
    assert signal.values is not None  # noqa: S101 - the caller has looked
    z, _ = grid(PAIR_NODES)
    a = signal.alike
    return at(signal.values, math.sqrt(a) * z[:, None] + math.sqrt(1 - a) * z[None, :])


def distributed(pairs: Tensor, source: int, alike: float) -> Signal:
    """Return the signal with the distribution of these values on all pairs of two Gaussians.

    It is the increasing function of one Gaussian that has it.
    """
    _, weights = grid(PAIR_NODES)
    values, order = torch.sort(pairs.reshape(-1))
    mass = (weights[:, None] * weights[None, :]).reshape(-1)[order]
    below = torch.cumsum(mass, 0) - mass / 2
    z, _ = grid(NODES)
    share = torch.special.ndtr(z)
    right = torch.searchsorted(below, share).clamp(1, len(below) - 1)
    step = (below[right] - below[right - 1]).clamp(min=1e-300)
    place = ((share - below[right - 1]) / step).clamp(0, 1)
    quantiles = torch.lerp(values[right - 1], values[right], place)
    return of_values(quantiles, source, alike) or gaussian(0.0, 1.0, source)


def ratio(part: float, whole: float) -> float:
    """Return a share of a whole; 0 of nothing."""
    return part / whole if whole > 0 else 0.0
