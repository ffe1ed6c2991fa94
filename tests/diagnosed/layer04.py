"""Grouped convolutions: a fan that knows nothing of the groups."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


def depthwise() -> tuple[nn.Module, Tensor]:
    """Report fans (9, 576) for 64 groups: pytorch#23854, timm#84, mlx#4536, keras#11773."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.ReLU(),
        nn.Conv2d(64, 8, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[2].weight, mode="fan_out", nonlinearity="relu")
    return model, torch.randn(8, 3, 12, 12)


class Block(nn.Module):
    """ResNeXt's, without normalisation."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, width, 1)
        self.grouped = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.expand = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(torch.relu(self.grouped(torch.relu(self.reduce(x)))))


def resnext() -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        *(Block(64, 8) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    initlab.initialize(model, seed=0)
    for module in model.modules():
        if isinstance(module, Block):
            nn.init.xavier_normal_(module.grouped.weight)
    return model, torch.randn(16, 3, 8, 8)


def mobile() -> tuple[nn.Module, Tensor]:
    """Go by fan-out as MobileNet does: a batch normalisation takes the scale out."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU6(),
        nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU6(),
        nn.Conv2d(32, 16, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[3].weight, mode="fan_out")
    return model, torch.randn(16, 3, 8, 8)


def fan_in() -> tuple[nn.Module, Tensor]:
    """Take He's rule over fan-in, which the shape tells right."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, groups=8),
        nn.ReLU(),
        nn.Conv2d(64, 8, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[2].weight, nonlinearity="relu")
    return model, torch.randn(8, 3, 12, 12)


def divided() -> tuple[nn.Module, Tensor]:
    """Take timm's rule: √(2 / fan_out), with fan_out divided by the groups."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, groups=64),
        nn.ReLU(),
        nn.Conv2d(64, 8, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.normal_(model[2].weight, std=(2 / 9) ** 0.5)
    return model, torch.randn(8, 3, 12, 12)


_FOUND = frozenset({"LAYER04"})

CASES: list[Case] = [
    Case("LAYER04", "depthwise", depthwise, _FOUND, ("2.weight",)),
    Case("LAYER04", "resnext", resnext, _FOUND, ("1.grouped.weight", "3.grouped.weight")),
    Case("LAYER04", "mobilenet with batch norm", mobile, notes=_FOUND),
    Case("LAYER04", "fan_in", fan_in),
    Case("LAYER04", "divided fan_out", divided),
]
