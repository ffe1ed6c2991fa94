"""What is kept of a tensor that passes by: a handful of numbers, and two for each unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# An entry counts as saturated where the derivative is below this share of its largest value.
_FLAT = 0.05
# A row of probabilities counts as saturated where one of them is above this.
_CERTAIN = 0.9
_FEWEST_KEYS = 4
# Queries, heads and samples of an attention that are looked at.
_QUERIES, _HEADS, _SAMPLES = 64, 8, 2


@dataclass(frozen=True)
class Numbers:
    """Statistics of one operation's output over a batch.

    Attributes
    ----------
    count
        Entries.
    mean, second
        E[x] and E[x²]; nan or inf where an entry is.
    unit_mean, unit_second
        The same for each unit (features along ``axis``), float32 on the CPU.
    axis
        The axis that holds the units.
    samples
        Entries of each unit.
    alike
        Mean cosine of the signals of two samples (rows along axis 0); None with a single one.
    zeros
        Share of entries that are exactly 0.
    saturated
        Of an operation that saturates: the share of entries, or of rows of probabilities, that
        do; None for any other.
    """

    count: int
    mean: float
    second: float
    unit_mean: Tensor
    unit_second: Tensor
    axis: int
    samples: int
    alike: float | None = None
    zeros: float = 0.0
    saturated: float | None = None

    @property
    def variance(self) -> float:
        """Variance over all entries."""
        return max(self.second - self.mean**2, 0.0)

    @property
    def unit_variance(self) -> Tensor:
        """Variance of each unit over the batch."""
        return (self.unit_second - self.unit_mean.square()).clamp(min=0)

    @property
    def dead(self) -> float:
        """Share of units that are 0 on the whole batch."""
        return float((self.unit_second == 0).double().mean())


def reduce(value: Tensor, axis: int, op: str = "", probabilities: int = -1) -> Numbers | None:
    """Reduce a tensor; None if there is nothing to reduce (whole numbers, no entries, sparse).

    Parameters
    ----------
    value
        Any real tensor.
    axis
        Holds the units.
    op
        Operation that made it: decides what counts as saturated.
    probabilities
        Of a softmax: the axis that it sums to 1 over.
    """
    x = value.detach()
    if not x.is_floating_point() or x.layout != torch.strided or not x.numel():
        return None
    if x.dim() == 0:
        x = x.reshape(1)
    axis %= x.dim()
    others = [each for each in range(x.dim()) if each != axis]
    wide = x.dtype if x.dtype == torch.float64 else torch.float32
    if others:
        samples = x.numel() // x.shape[axis]
        unit_mean = x.mean(dim=others, dtype=wide)
        unit_second = torch.linalg.vector_norm(x, dim=others, dtype=wide).double().square()
        if not bool(unit_second.isfinite().all()):  # squares may not fit where the values do
            norms = torch.linalg.vector_norm(x, dim=others, dtype=torch.float64)
            unit_second = norms.square()
        unit_second = unit_second / samples
    else:
        samples, unit_mean, unit_second = 1, x.to(wide), x.double().square()
    return Numbers(
        count=x.numel(),
        mean=float(unit_mean.double().mean()),
        second=float(unit_second.mean()),
        unit_mean=unit_mean.cpu().float(),
        unit_second=unit_second.cpu().float(),
        axis=axis,
        samples=samples,
        alike=_alike(x, float(unit_second.mean()), wide),
        zeros=float(x.numel() - torch.count_nonzero(x)) / x.numel(),
        saturated=_saturated(x, op, probabilities),
    )


def _alike(x: Tensor, second: float, wide: torch.dtype) -> float | None:
    """Return the mean of <a, b> over that of <a, a>, over pairs of different rows."""
    rows = x.shape[0]
    if x.dim() < 2 or rows < 2 or not 0 < second < float("inf"):
        return None
    shared = float(x.mean(dim=0, dtype=wide).double().square().mean())
    # Σ_{a≠b} <a, b> = |Σ a|² - Σ |a|²
    return (rows * shared / second - 1) / (rows - 1)


def _saturated(x: Tensor, op: str, probabilities: int) -> float | None:
    if op == "tanh":  # φ' = 1 - φ²
        return _share(x.square() > 1 - _FLAT)
    if op == "sigmoid":  # φ' = φ (1 - φ), at most 1/4
        return _share(x * (1 - x) < _FLAT / 4)
    if op == "hardtanh":
        return _share((x == x.amax()) | (x == x.amin())) if bool(x.amax() > x.amin()) else None
    if op == "softsign":  # φ' = (1 - |φ|)²
        return _share((1 - x.abs()).square() < _FLAT)
    if "softmax" in op and "log" not in op and x.shape[probabilities] >= _FEWEST_KEYS:
        return _share(x.amax(probabilities) > _CERTAIN)
    return None


def _share(mask: Tensor) -> float:
    return float(torch.count_nonzero(mask)) / mask.numel()


@dataclass(frozen=True)
class Scores:
    """What goes into the softmax of an attention that is computed in one step.

    Attributes
    ----------
    std
        Standard deviation of the scores of one query, over its keys.
    saturated
        Share of queries whose largest probability is above 0.9, without a mask.
    concentration
        Mean of Σ p² over the keys of a query: 1 / keys if it looks at all alike, 1 if at one.
    """

    std: float
    saturated: float
    concentration: float


def scores(query: Tensor, key: Tensor, scale: float | None, *, causal: bool) -> Scores | None:
    """Look at some of the scores q·k; None where there are too few keys to tell."""
    if query.dim() != 4 or key.dim() != 4 or key.shape[-2] < _FEWEST_KEYS:
        return None
    q = query.detach()[:_SAMPLES, :_HEADS, :_QUERIES].float()  # (B, h, Tq, d)
    k = key.detach()[:_SAMPLES, :_HEADS].float()  # (B, h', Tk, d)
    if k.shape[1] != q.shape[1]:  # heads that share their keys
        q, k = q[:, :1], k[:, :1]
    s = (q @ k.transpose(-1, -2)) * (scale if scale is not None else q.shape[-1] ** -0.5)
    spread = float(s.std(dim=-1).square().mean().sqrt())
    saturated = _share(s.softmax(-1).amax(-1) > _CERTAIN)
    if causal:
        s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), -torch.inf)
    return Scores(spread, saturated, float(s.softmax(-1).square().sum(-1).mean()))
