"""The numbers of a weight, and the shape of the distribution that it was drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Distribution = Literal["normal", "uniform", "truncated normal", "constant", "other"]

# Entries that the shape of the distribution is told from, at most and at least.
_MOST = 1 << 20
FEWEST = 64
_FEWEST_CUT = 500
# Standard errors that a number may be off, and the least that is let pass: rounding, and fans that
# were counted a little otherwise.
ERRORS = 4.0
_SLACK = 0.03

# Std and kurtosis of N(0, 1) given |z| <= 2.
CUT = 2.0
CUT_STD = 0.8796256610342398
_CUT_KURTOSIS = 2.3655


@dataclass(frozen=True)
class Sample:
    """The numbers of a weight.

    Attributes
    ----------
    count
        Entries.
    mean, std
        Of the entries; the std about 0, as the root of their mean square.
    kurtosis
        E[w⁴] / E[w²]²: 1.8 for a uniform distribution, 3 for a normal one.
    smallest, largest
        Least entry, and largest absolute value.
    """

    count: int
    mean: float
    std: float
    kurtosis: float
    smallest: float
    largest: float

    @property
    def variance(self) -> float:
        """E[w²]; where there is a bound, from that: it tells it much better."""
        if self.distribution == "uniform":
            return (self.largest * (1 + 1 / self.count)) ** 2 / 3
        if self.distribution == "truncated normal":
            # The density at the bound makes up for 4.4 / n of it, on average.
            return (self.largest * (1 + 4.4 / self.count) * CUT_STD / CUT) ** 2
        return self.std**2

    @property
    def tolerance(self) -> float:
        """How far the variance may be from that of the distribution by chance, as a share."""
        n = max(self.count, 1)
        if self.distribution == "uniform":
            chance = 2 * 10 / n  # the largest of n is below 1 - ε with probability (1 - ε)ⁿ
        elif self.distribution == "truncated normal":
            chance = 2 * 44 / n
        else:
            chance = ERRORS * math.sqrt(max(self.kurtosis - 1, 1.0) / n)
        return max(_SLACK, chance)

    @property
    def distribution(self) -> Distribution:
        """Its shape; ``"other"`` where that is none of them, or too few entries tell."""
        if not 0 < self.std < math.inf or not self.largest > 0:
            return "constant" if self.std == 0 else "other"
        n, edge = self.count, self.largest / self.std
        if n < FEWEST:
            return "other"
        if self.kurtosis < 1.02:
            return "constant"  # one number, of either sign
        if abs(edge / math.sqrt(3) - 1) < 0.01 + ERRORS * math.sqrt(0.2 / n):
            return "uniform" if abs(self.kurtosis - 1.8) < 0.05 + ERRORS / math.sqrt(n) else "other"
        spread = 0.05 + 5 * math.sqrt(24 / n)
        if self.is_cut and n >= _FEWEST_CUT and abs(self.kurtosis - _CUT_KURTOSIS) < spread:
            return "truncated normal"
        return "normal" if abs(self.kurtosis - 3) < spread else "other"

    @property
    def is_cut(self) -> bool:
        """Tell whether the largest entry is where a cut at 2 std puts it: at 2 / .8796 std."""
        edge = self.largest / self.std * CUT_STD / CUT if self.std > 0 else 0.0
        # The largest of n is at the bound, but for a share of about 1 / (n · density · bound).
        below = 0.01 + 40 / max(self.count, 1)
        above = 0.01 + ERRORS * math.sqrt(0.34 / max(self.count, 1))
        return 1 - below - above < edge < 1 + above

    @property
    def is_centred(self) -> bool:
        """Tell whether the mean is 0 but for chance."""
        return abs(self.mean) <= 5 * self.std / math.sqrt(max(self.count, 1)) + 1e-3 * self.std

    def is_close(self, variance: float) -> bool:
        """Tell whether the entries may have been drawn with this variance."""
        return variance > 0 and abs(self.variance / variance - 1) < self.tolerance


def measured(values: Tensor) -> Sample:
    """Look at the entries of a weight; the shape is told from a million of them at most."""
    flat = values.detach().reshape(-1)
    count = flat.numel()
    if count == 0:
        return Sample(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    wide = torch.float64 if flat.dtype == torch.float64 else torch.float32
    norm = float(torch.linalg.vector_norm(flat, dtype=wide))
    low, high = (float(bound) for bound in torch.aminmax(flat))
    std = norm / math.sqrt(count)
    some = flat[:: -(-count // _MOST)].to(wide)
    square = some.square()
    second = float(square.mean())
    kurtosis = float(square.div_(second or 1.0).square_().mean()) if second > 0 else 0.0
    mean = float(flat.mean(dtype=wide))
    return Sample(count, mean, std, kurtosis, low, max(abs(low), abs(high)))
