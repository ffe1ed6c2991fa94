"""What a weight was drawn from, told from its numbers: the distribution, the gain and the fan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from initlab.diagnosis.layers import Layer
from initlab.diagnosis.samples import CUT_STD, ERRORS, FEWEST, Distribution, Sample, measured

Over = Literal["fan_in", "fan_out", "fan_avg", ""]

LOOSEST = 0.3
_MOST = 1 << 20

PYTORCH = "PyTorch's default, kaiming_uniform_(a=√5)"


@dataclass(frozen=True)
class Recipe:
    """What a weight was drawn from.

    Attributes
    ----------
    name
        For a sentence: ``"He normal"``, ``"N(0, 0.01)"``.
    distribution
        Of the entries.
    gain
        Variance times the fan; 0 for a fixed size.
    over
        Which fan it divides by; empty for a fixed size.
    fan
        That fan; 0 for a fixed size.
    std
        As the recipe asks for; of a truncated one that was not corrected, before the cut.
    corrected
        False for a truncated normal whose std was not corrected for the cut.
    off
        How far the weight is from it, in standard errors; rare recipes count as farther.
    """

    name: str
    distribution: Distribution
    gain: float
    over: Over
    fan: float
    std: float
    corrected: bool = True
    off: float = 0.0

    @property
    def is_default(self) -> bool:
        """Tell whether it is what PyTorch gives a layer by itself."""
        return self.name == PYTORCH

    @property
    def is_fixed(self) -> bool:
        """Tell whether its size follows from no fan."""
        return self.fan == 0


# Gain squared, name, and how rare: a rare one has to fit by so many standard errors better.
_GAINS: tuple[tuple[float, Over, str, float], ...] = (
    (2.0, "fan_in", "He {}", 0.0),
    (1.0, "fan_in", "LeCun {}", 0.0),
    (1.0, "fan_avg", "Xavier {}", 0.0),
    (1 / 3, "fan_in", "kaiming_{}_(a=√5)", 0.0),
    (2.0, "fan_out", "He {}, fan_out", 0.5),
    (25 / 9, "fan_in", "He {} with the tanh gain 5/3", 1.0),
    (25 / 9, "fan_avg", "Xavier {} with the tanh gain 5/3", 1.0),
    (2.0, "fan_avg", "Xavier {} with the ReLU gain √2", 1.0),
    (9 / 16, "fan_in", "{}, SELU gain 3/4", 1.0),
    (2 / 1.04, "fan_in", "He {} with the leaky gain (slope 0.2)", 1.5),
    (2 / 1.01, "fan_in", "He {} with the leaky gain (slope 0.1)", 1.5),
    (1.0, "fan_out", "LeCun {}, fan_out", 1.0),
    (1 / 3, "fan_out", "{} within ±1/√fan_out", 1.0),
    (0.4, "fan_in", "small init, √(2/5d)", 1.5),
)
_FIXED = (0.001, 0.002, 0.005, 0.006, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
_BOUNDS = (0.001, 0.003, 0.005, 0.01, 0.02, 0.05, 0.08, 0.1, 0.2, 0.25, 0.5, 1.0)


def recognise(
    values: Tensor | Sample, fan_in: float, fan_out: float, loosest: float = LOOSEST
) -> Recipe | None:
    """Tell what entries were drawn from; None where nothing fits, or anything would.

    Parameters
    ----------
    values
        The entries, or what was measured of them.
    fan_in, fan_out
        As the recipe would have counted them; 0 for a fan that no recipe is to be found over.
    loosest
        Where the variance tells no better than this share, a match tells nothing.
    """
    sample = values if isinstance(values, Sample) else measured(values)
    shape = sample.distribution
    if shape == "constant" or sample.count < FEWEST or sample.tolerance > loosest:
        return None
    if not sample.is_centred:
        return _one_sided(sample)
    fits: list[Recipe] = []
    for recipe, rare in _recipes(shape, fan_in, fan_out):
        variance = (recipe.std * (1.0 if recipe.corrected else CUT_STD)) ** 2
        off = abs(sample.variance / variance - 1) / sample.tolerance
        if off < 1:
            fits.append(replace(recipe, off=off * ERRORS + rare))
    return min(fits, key=lambda fit: fit.off, default=None)


def over_fan(values: Tensor | Sample, fan: float) -> Recipe | None:
    """Tell which known gain a weight has over a fan: ``variance = gain / fan``; None for none."""
    found = recognise(values, fan, 0.0)
    return found if found is not None and not found.is_fixed else None


def recipe_of(layer: Layer, place: int = 0) -> Recipe | None:
    """Tell what a part of a layer's weight was drawn from, with the fans that PyTorch reports."""
    part = layer.parts[place]
    fan_in, fan_out = reported(layer, place)
    if len(layer.parts) == 1:
        return recognise(layer.sample, fan_in, fan_out)
    return recognise(layer.value[part.start : part.stop], fan_in, fan_out)


def reported(layer: Layer, place: int = 0) -> tuple[float, float]:
    """Return fan-in and fan-out as PyTorch counts them, from the shape alone."""
    part = layer.parts[place]
    shape = layer.fact.shape
    if len(shape) < 2:
        return part.fan_in, part.fan_out
    if len(shape) == 2 and layer.fact.input_first:
        return float(shape[0]), float(shape[1])
    kernel = math.prod(shape[2:])
    return float(shape[1] * kernel), float((part.stop - part.start) * kernel)


def _recipes(shape: Distribution, fan_in: float, fan_out: float) -> Iterator[tuple[Recipe, float]]:
    """Yield what there is for a distribution, with how rare it is, in standard errors."""
    average = (fan_in + fan_out) / 2 if fan_in > 0 and fan_out > 0 else 0.0
    fans: dict[Over, float] = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": average}
    word = shape if shape in {"normal", "uniform", "truncated normal"} else "weights"
    for gain, over, name, rare in _GAINS:
        fan = fans[over]
        if fan <= 0:
            continue
        called = PYTORCH if (gain, over, word) == (1 / 3, "fan_in", "uniform") else name
        std = math.sqrt(gain / fan)
        yield from _cut(Recipe(called.format(word), shape, gain, over, fan, std), rare)
    if shape == "uniform":
        for bound in _BOUNDS:
            std = bound / math.sqrt(3)
            yield Recipe(f"U(-{bound:g}, {bound:g})", shape, 0.0, "", 0.0, std), 0.5
    else:
        for std in _FIXED:
            name = f"N(0, {std:g})" + (", truncated" if shape == "truncated normal" else "")
            yield from _cut(Recipe(name, shape, 0.0, "", 0.0, std), 0.5)


def _cut(recipe: Recipe, rare: float) -> Iterator[tuple[Recipe, float]]:
    """Yield a recipe, and if it is truncated, how it comes out if nobody corrects it."""
    yield recipe, rare
    if recipe.distribution == "truncated normal":
        name = f"{recipe.name}, not corrected for the cut"
        yield replace(recipe, name=name, corrected=False), rare


def _one_sided(sample: Sample) -> Recipe | None:
    """Recognise ``torch.rand``: positive entries, with mean 1/2 and E[w²] = 1/3."""
    if sample.smallest < 0 or abs(sample.std**2 * 3 - 1) > sample.tolerance:
        return None
    uniform = sample.largest <= 1 and abs(sample.mean - 0.5) < 0.1
    return Recipe("U(0, 1)", "uniform", 0.0, "", 0.0, sample.std) if uniform else None


def is_orthogonal(matrix: Tensor, most: int = 16) -> bool:
    """Tell whether a matrix has orthogonal rows, or columns, of one length; from a few of them.

    Rows of independent entries are orthogonal only by about 1 / √n.
    """
    if matrix.dim() != 2 or min(matrix.shape) < 2:
        return False
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    few = matrix[: max(most, 2)]
    few = few.double() if few.numel() < _MOST else few.float()
    product = few @ few.T
    length = product.diagonal().mean()
    if not bool(length > 0):
        return False
    off = (product / length - torch.eye(len(few), dtype=few.dtype, device=few.device)).abs().max()
    exact = 1e-4 if matrix.dtype in {torch.float32, torch.float64} else 0.03
    return bool(off < exact)
