"""Rectifiers that are off for every input, and those that are off by nature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


def _well(model: nn.Module) -> None:
    initlab.initialize(model, "auto", seed=0)


def _batch() -> tuple[Tensor, Tensor]:
    return torch.randn(64, 20), torch.randint(0, 5, (64,))


def _mlp(depth: int, width: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(20, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, 5))
    _well(model)
    return model


def negative_bias() -> Any:
    """Three quarters of the units sit six standard deviations below 0."""
    model = _mlp(3, 64)
    with torch.no_grad():
        model[2].bias[16:] = -9.0
    return model, *_batch()


class Block(nn.Module):
    """Of a transformer, before the normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.blocks = nn.ModuleList(Block(16) for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def feed_forward_off() -> Any:
    """Switch off the hidden layer of one feed-forward network."""
    model = Classifier()
    _well(model)
    nn.init.constant_(model.blocks[1].up.bias, -8.0)
    return model, torch.randint(0, 50, (32, 10)), torch.randint(0, 5, (32,))


def shifted_norm() -> Any:
    """Make the shift of a batch normalisation so negative that most maps are off."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    _well(model)
    with torch.no_grad():
        model[4].bias[4:] = -7.0
    return model, torch.randn(32, 3, 8, 8), torch.randint(0, 10, (32,))


def deep_and_plain() -> Any:
    """All inputs look alike behind thirty layers: half of the units are off by nature."""
    return _mlp(14, 64), *_batch()


def few_samples() -> Any:
    """Of four samples, many a unit sees none that switches it on."""
    return _mlp(3, 64), torch.randn(4, 20), torch.randint(0, 5, (4,))


def leaky() -> Any:
    """Take units that let the gradient through below 0."""
    model = _mlp(3, 64, nn.LeakyReLU)
    with torch.no_grad():
        model[2].bias[16:] = -0.5
    return model, *_batch()


CASES = [
    Case("UNIT02", "negative bias", negative_bias, frozenset({"UNIT02"}), ("2.bias",)),
    Case(
        "UNIT02",
        "feed-forward network of a transformer off",
        feed_forward_off,
        frozenset({"UNIT02"}),
        ("blocks.1.up.bias",),
    ),
    Case(
        "UNIT02",
        "shift of a batch normalisation",
        shifted_norm,
        frozenset({"UNIT02"}),
        ("4.bias",),
    ),
    Case("UNIT02", "deep and plain", deep_and_plain),
    Case("UNIT02", "few samples", few_samples),
    Case("UNIT02", "leaky", leaky),
]
