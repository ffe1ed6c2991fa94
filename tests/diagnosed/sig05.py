"""Inputs that become alike, or come apart; nets where a likeness is no fault."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import drawn, mlp
from diagnosed.case import Case


def biases_take_over() -> nn.Module:
    return drawn(mlp(9, width=128), gain=1.0, bias=2.0)


class Detector(nn.Module):
    """Convolutions whose large random biases drown what tells images apart."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            nn.Conv2d(3 if i == 0 else 24, 24, 3, padding=1) for i in range(8)
        )
        self.boxes, self.scores = nn.Linear(24, 4), nn.Linear(24, 5)
        initlab.initialize(self, "auto", seed=0)
        for layer in self.features:
            nn.init.normal_(
                layer.get_parameter("weight"), std=(0.9 / layer.weight[0].numel()) ** 0.5
            )
            nn.init.normal_(layer.get_parameter("bias"), std=1.4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.features:
            x = torch.relu(layer(x))
        x = x.mean((-2, -1))
        return self.boxes(x), self.scores(x)


def deep_relu() -> nn.Module:
    """At He's rule inputs become alike only slowly, as 1 - c = 9π²/2 / depth²."""
    return drawn(mlp(40, width=128), gain=2.0)


def one_picture() -> tuple[nn.Module, Tensor]:
    """Return inputs that are alike to begin with: that is the data's doing."""
    model = drawn(mlp(6, width=128), gain=2.0)
    generator = torch.Generator().manual_seed(0)
    base, noise = (torch.randn(size, generator=generator) for size in ((1, 20), (64, 20)))
    return model, base + 0.01 * noise


CASES = [
    Case("SIG05", "biases take over", biases_take_over, frozenset({"SIG05"}), ("2.weight",)),
    Case(
        "SIG05",
        "a detector with large biases",
        Detector,
        frozenset({"SIG05"}),
        ("features.2.weight",),
    ),
    Case("SIG05", "forty layers at He's rule", deep_relu),
    Case("SIG05", "inputs that are alike", one_picture),
]
