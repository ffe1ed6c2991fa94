"""A signal that shrinks with depth; nets whose signal shrinks for a good reason."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import drawn, mlp
from diagnosed.case import Case


def deep_and_small() -> nn.Module:
    return drawn(mlp(16), gain=1.2)


class Segmenter(nn.Module):
    """An encoder of convolutions whose author multiplies each output by a factor of his own."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 16, 16, 32, 32, 32, 32)
        self.encoder = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(sizes)
        )
        self.head = nn.Conv2d(32, 4, 1)
        initlab.initialize(self, "he_normal", seed=0)
        with torch.no_grad():
            for layer in self.encoder[1:]:
                layer.get_parameter("weight").mul_(0.37)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.encoder:
            x = nn.functional.relu(layer(x))
        return self.head(x)


def critical() -> nn.Module:
    """He's rule keeps the signal however deep the network is."""
    return drawn(mlp(40, width=128), gain=2.0)


class SmallWithNorm(nn.Module):
    """The same small weights, each behind a normalisation: their scale does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(12))
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(12))
        drawn(self, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.relu(norm(layer(x)))
        return x


def pooled() -> nn.Module:
    """Averages shrink a signal: that is what they are for, and no weight is at fault."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.AvgPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    initlab.initialize(model, "he_normal", seed=0)
    return model


CASES = [
    Case(
        "SIG01",
        "too small by a factor of its own",
        deep_and_small,
        frozenset({"SIG01"}),
        ("2.weight", "30.weight"),
    ),
    Case(
        "SIG01",
        "convolutions scaled by hand",
        Segmenter,
        frozenset({"SIG01"}),
        ("encoder.1.weight", "encoder.5.weight"),
    ),
    Case("SIG01", "critical at any depth", critical),
    Case("SIG01", "small but normalised", SmallWithNorm),
    Case("SIG01", "average pools", pooled),
]
