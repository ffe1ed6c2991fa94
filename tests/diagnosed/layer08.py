"""Truncated normals."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

import initlab
from diagnosed.case import Case


def old_trunc_normal(w: Tensor, mean: float, std: float, a: float, b: float) -> Tensor:
    """Truncate the way that timm does it, and PyTorch did."""

    def cdf(x: float) -> float:
        return (1 + math.erf(x / math.sqrt(2))) / 2

    with torch.no_grad():
        w.uniform_(2 * cdf((a - mean) / std) - 1, 2 * cdf((b - mean) / std) - 1)
        w.erfinv_().mul_(std * math.sqrt(2)).add_(mean).clamp_(a, b)
    return w


class Patches(nn.Module):
    """A small vision transformer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.position = nn.Parameter(torch.zeros(1, 16, width))
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).flatten(2).transpose(1, 2) + self.position
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return self.head(self.norm(x).mean(1))


def vision() -> tuple[nn.Module, Tensor]:
    """Cut std 0.02 at -2 and 2: pytorch#155588, pytorch#145498, timm#1286."""
    model = Patches()
    initlab.initialize(model, seed=0)
    trunc_normal_(model.position, std=0.02)
    return model, torch.randn(16, 3, 16, 16)


def own_function() -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 10))
    initlab.initialize(model, seed=0)
    old_trunc_normal(model[1].weight, 0.0, 1 / math.sqrt(32), -2.0, 2.0)
    return model, torch.randint(100, (64,))


def uncorrected() -> tuple[nn.Module, Tensor]:
    """Leave 0.880 of the std: algorithmic-efficiency#819, flax#4091, tfjs#8594."""
    model = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    model.append(nn.Linear(96, 10))
    initlab.initialize(model, seed=0)
    for layer in (model[0], model[2]):
        std = math.sqrt((2 if layer is model[2] else 1) / layer.in_features)
        trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    return model, torch.randn(64, 32)


def inside_a_transformer() -> tuple[nn.Module, Tensor]:
    model = Patches(64)
    initlab.initialize(model, seed=0)
    std = math.sqrt(1 / 64)
    old_trunc_normal(model.up.weight, 0.0, std, -2 * std, 2 * std)
    return model, torch.randn(16, 3, 16, 16)


def corrected() -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
    model.append(nn.Linear(96, 10))
    initlab.initialize(model, seed=0)
    for layer in (model[0], model[2]):
        std = math.sqrt((2 if layer is model[2] else 1) / layer.in_features) / 0.87962566
        trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    return model, torch.randn(64, 32)


def cut() -> tuple[nn.Module, Tensor]:
    """Cut at ±2 std, as BERT is: its std of 0.02 is a number of choice, not a variance to keep."""
    model = Patches(64)
    initlab.initialize(model, seed=0)
    trunc_normal_(model.position, std=0.02, a=-0.04, b=0.04)
    trunc_normal_(model.attention.out_proj.weight, std=0.02, a=-0.04, b=0.04)
    return model, torch.randn(16, 3, 16, 16)


def drawn_over() -> tuple[nn.Module, Tensor]:
    """Draw anew what was not truncated."""
    model = Patches()
    trunc_normal_(model.up.weight, std=0.02)
    initlab.initialize(model, seed=0)
    return model, torch.randn(16, 3, 16, 16)


_FOUND = frozenset({"LAYER08"})

CASES: list[Case] = [
    Case("LAYER08", "vision transformer", vision, _FOUND, ("position",)),
    Case("LAYER08", "own function", own_function, _FOUND, ("1.weight",)),
    Case("LAYER08", "not corrected", uncorrected, _FOUND, ("0.weight", "2.weight")),
    Case("LAYER08", "in a transformer", inside_a_transformer, _FOUND, ("up.weight",)),
    Case("LAYER08", "corrected", corrected),
    Case("LAYER08", "cut at 2 std", cut),
    Case("LAYER08", "drawn over", drawn_over),
]
