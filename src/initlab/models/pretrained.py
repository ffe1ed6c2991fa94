"""Signs that a weight was trained: what a random draw does not show."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from initlab.models.facts import WEIGHT_KINDS, Kind, ModelFacts
from initlab.models.shards import is_sharded

# Below these sizes a random matrix strays too far from its limit to tell.
_ENTRIES, _SIDE = 1024, 12
# At most so many rows and columns are looked at, spread over the weight.
_LOOK = 512
# Over the edge of the spectrum of a random matrix, by this factor. The largest singular value of a
# random one exceeds it by a fraction of n^(-2/3): in 180 draws of a size, by 0.03 at most.
_SPIKE = 1.1
# The normal distribution has 3, and no distribution that weights are drawn from has more.
_KURTOSIS = 4.5
# A matrix with fewer different entries, or more zeros, follows a pattern; it was not trained.
_DIFFERENT, _ZEROS = 128, 0.3
_STEPS = 16
_TINY = float(np.finfo(np.float32).tiny)

Float32 = NDArray[np.float32]

_TOLD: frozenset[Kind] = frozenset({*WEIGHT_KINDS, "embedding"})


def signs(
    model: nn.Module, facts: ModelFacts, values: Mapping[str, Tensor], kept: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the parameters that look pretrained, each with a sign of it, and a note if only some.

    A bias follows its weight. The other parameters that are too small to tell follow the most of
    the model's weights.
    """
    open_ = {name: fact for name, fact in facts.parameters.items() if name not in kept}
    told = {
        name: sign(values[name])
        for name, fact in open_.items()
        if fact.kind in _TOLD and not fact.sources and _matrix(values[name]) is not None
    }
    found = {name: f"looks pretrained: {text}" for name, text in told.items() if text}
    most = len(found) > 0.5 * len(told)
    moved = _trained_norms(model)
    for name, fact in open_.items():
        if name in told:
            continue
        if fact.module in moved:
            found[name] = "looks pretrained: its running statistics have moved, and so has it"
        elif fact.bias_of in found:
            found[name] = "looks pretrained: its weight does"
        elif most and fact.bias_of not in told:
            found[name] = "looks pretrained: most weights of the model do"
    return found, _notes(told)


def _notes(told: Mapping[str, str]) -> list[str]:
    count = sum(bool(text) for text in told.values())
    if count in {0, len(told)}:
        return []
    return [
        (
            f"{count} of {len(told)} weights look pretrained and are kept, the others are drawn; "
            "keep= keeps more, overwrite_pretrained=True draws all"
        )
    ]


def tells(value: Tensor) -> bool:
    """Tell whether a weight is large enough for :func:`sign` to see anything in it."""
    return _matrix(value) is not None


def sign(value: Tensor) -> str:
    """Return a sign that the weight was trained, with its number; empty if there is none.

    Two are looked for: singular values beyond the edge of a random matrix's spectrum, std (√rows +
    √columns) (Martin & Mahoney 2021), and heavy tails. Weights that follow a pattern (alike, mostly
    zero, orthogonal) show neither.
    """
    looked_at = _matrix(value)
    if looked_at is None:
        return ""
    matrix: Float32 = looked_at.numpy()
    matrix = matrix[matrix.any(axis=1)]  # without a padding row
    if len(matrix) < _SIDE or not np.isfinite(matrix).all() or (matrix == 0).mean() > _ZEROS:
        return ""
    matrix = _evened(matrix)
    if len(np.unique(matrix[: _SIDE * 4])) < _DIFFERENT:
        return ""
    spike = _spike(matrix)
    if spike > _SPIKE:
        return f"its largest singular value is {spike:.2f} times that of random weights"
    kurtosis = float(((matrix / matrix.std()) ** 4).mean())
    if kurtosis > _KURTOSIS:
        return f"the kurtosis of its entries is {kurtosis:.1f}, of random weights at most 3"
    return ""


def _evened(matrix: Float32) -> Float32:
    """Bring rows and columns to one size: parts and taps may be drawn from different ones."""
    for axis in (1, 0):
        size = np.sqrt(np.square(matrix).mean(axis=axis, keepdims=True))
        matrix = matrix / np.maximum(size, _TINY)
    return matrix - matrix.mean()


def _spike(matrix: Float32) -> float:
    """Return the largest singular value over that of independent entries of the same std.

    It is a lower bound that a few steps of the power method, from a fixed start, bring close.
    """
    vector = np.cos(np.arange(matrix.shape[1], dtype=np.float32))
    for _ in range(_STEPS):
        vector = matrix.T @ (matrix @ vector)
        vector /= max(float(np.linalg.norm(vector)), _TINY)
    edge = float(matrix.std()) * (math.sqrt(matrix.shape[0]) + math.sqrt(matrix.shape[1]))
    return float(np.linalg.norm(matrix @ vector)) / max(edge, _TINY)


def _trained_norms(model: nn.Module) -> set[str]:
    """Return the normalisation modules that have seen data and whose parameters have changed.

    Either alone may be otherwise: a forward pass moves the statistics, and some networks start with
    random scales.
    """
    moved: set[str] = set()
    for name, module in model.named_modules():
        statistics = [getattr(module, each, None) for each in ("running_mean", "running_var")]
        parameters = list(module.parameters(recurse=False))
        if not parameters or not all(isinstance(each, Tensor) for each in statistics):
            continue
        tensors = [each for each in (*statistics, *parameters) if isinstance(each, Tensor)]
        if any(each.is_meta or is_sharded(each) or each.numel() == 0 for each in tensors):
            continue
        if all(bool((each != each.reshape(-1)[0]).any()) for each in tensors):
            moved.add(name)
    return moved


def _matrix(value: Tensor) -> Tensor | None:
    """Return rows and columns to look at, as float32; None if there are too few."""
    if value.is_meta or value.dim() < 2 or not value.is_floating_point() or is_sharded(value):
        return None  # of a sharded one, no single process sees the whole
    matrix = value.detach().flatten(1)
    if matrix.numel() < _ENTRIES or min(matrix.shape) < _SIDE:
        return None
    step = [-(-size // _LOOK) for size in matrix.shape]
    return matrix[:: step[0], :: step[1]].contiguous().float().cpu()
