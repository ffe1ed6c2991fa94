"""Residual branches without the scaling that is meant; branches that need none.

Scaling meant but not applied, or on the wrong matrix: transformers#47458, llama2.c#579.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import LanguageModel, Residual, drawn
from diagnosed.case import Case


def unscaled() -> nn.Module:
    layers = [Residual(48) for _ in range(14)]
    return drawn(nn.Sequential(nn.Linear(20, 48), *layers, nn.Linear(48, 10)), gain=2.0)


class Denoiser(nn.Module):
    """A residual network of convolutions, written as functional calls, with He's rule inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(10))
        self.second = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(10))
        self.out = nn.Conv2d(16, 1, 3, padding=1)
        initlab.initialize(self, "he_normal", seed=0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(torch.relu(first(torch.relu(x))))
        return self.out(x)


def half_scaled() -> nn.Module:
    """Scale the attention's projections, not those of the feed-forward parts."""
    model = LanguageModel()
    for block in model.h:
        nn.init.normal_(block.get_parameter("c_proj.weight"), std=0.02)
    return model


def wrong_matrix() -> nn.Module:
    model = LanguageModel()
    for block in model.h:
        nn.init.normal_(block.get_parameter("c_proj.weight"), std=0.02)
        nn.init.normal_(block.get_parameter("attn.c_proj.weight"), std=0.02)
        nn.init.normal_(block.get_parameter("c_fc.weight"), std=0.02 / math.sqrt(8))
    return model


def lost() -> nn.Module:
    """Draw the scaled projections again, in a later pass over all modules."""
    model = LanguageModel()
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
    return model


def normalised() -> nn.Module:
    """Return normalised branches of size 1: the stream grows linearly, which is absorbed."""
    layers = [Residual(48, normalised=True) for _ in range(14)]
    return drawn(nn.Sequential(*layers, nn.LayerNorm(48), nn.Linear(48, 10)), gain=2.0)


def fixup() -> nn.Module:
    """Branches that end in zeros: Fixup's start."""
    model = unscaled()
    for layer in model[1:-1]:
        nn.init.zeros_(layer.get_parameter("project.weight"))
    return model


_FOUND = frozenset({"LAYER06"})

CASES = [
    Case("LAYER06", "branches at He's rule", unscaled, _FOUND, ("1.project.weight",)),
    Case("LAYER06", "a denoiser", Denoiser, _FOUND, ("second.0.weight", "second.9.weight")),
    Case("LAYER06", "half of the projections", half_scaled, _FOUND, ("h.0.c_proj.weight",)),
    Case("LAYER06", "the wrong matrix", wrong_matrix, _FOUND, ("h.3.c_proj.weight",)),
    Case("LAYER06", "scaled, then drawn again", lost, _FOUND, ("h.0.attn.c_proj.weight",)),
    Case("LAYER06", "normalised branches", normalised),
    Case("LAYER06", "all projections scaled", LanguageModel),
    Case("LAYER06", "Fixup", fixup),
]
