"""Skewed classes that the output's bias knows nothing of; skewed or rare ones where it need not.

A prior of 0.01 asks for a bias of -4.59: Yet-Another-EfficientDet-Pytorch#285.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import mlp
from diagnosed.case import Case
from diagnosed.out01 import UNet


def imbalanced(*, known: bool = False) -> tuple[nn.Module, Tensor, Tensor]:
    shares = torch.tensor([0.9, 0.07, 0.03])
    model = mlp(2, outputs=3)
    initlab.initialize(model, "auto", seed=0)
    if known:
        model[-1].bias.data = shares.log()
    return model, torch.randn(256, 20), torch.multinomial(shares, 256, replacement=True)


def known() -> tuple[nn.Module, Tensor, Tensor]:
    return imbalanced(known=True)


class Detector(nn.Module):
    """A header over anchors: nine in each place, each with a score for each class."""

    def __init__(self, classes: int = 4, anchors: int = 9) -> None:
        super().__init__()
        self.classes = classes
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.header = nn.Conv2d(32, anchors * classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.header(self.body(x)).permute(0, 2, 3, 1)
        return scores.reshape(len(x), -1, self.classes)


def detector() -> tuple[nn.Module, Tensor, Tensor]:
    model = Detector()
    initlab.initialize(model, "auto", seed=0)
    nn.init.normal_(model.header.weight, std=0.01)
    targets = (torch.rand(8, 16 * 9, 4) < 0.01).float()
    return model, torch.randn(8, 3, 16, 16), targets


def focal_prior() -> tuple[nn.Module, Tensor, Tensor]:
    model, x, targets = detector()
    nn.init.constant_(model.get_parameter("header.bias"), -4.595)
    return model, x, targets


def background() -> tuple[nn.Module, Tensor, Tensor]:
    """Segmentation: 95 % of the pixels are background."""
    model = UNet(classes=4)
    initlab.initialize(model, "auto", seed=0)
    shares = torch.tensor([0.95, 0.02, 0.02, 0.01])
    drawn = torch.multinomial(shares, 8 * 16 * 16, replacement=True)
    return model, torch.randn(8, 3, 16, 16), drawn.reshape(8, 16, 16)


class Words(nn.Module):
    """A language model's head with a bias over a large vocabulary."""

    def __init__(self, tokens: int = 2000, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.embed(tokens)))


def few_of_many_words() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a batch that holds a few hundred of 2000 tokens: most have not occurred, by chance."""
    model = Words()
    initlab.initialize(model, "auto", seed=0)
    tokens = torch.randint(2000, (8, 64))
    return model, tokens, tokens.roll(-1, 1)


def small_batch() -> tuple[nn.Module, Tensor, Tensor]:
    """Sixteen targets of ten classes: seven, two, none of some."""
    model = mlp(2)
    initlab.initialize(model, "auto", seed=0)
    return model, torch.randn(16, 20), torch.randint(10, (16,))


CASES = [
    Case("OUT02", "rare classes", imbalanced, frozenset({"OUT02"}), ("4.bias",)),
    Case("OUT02", "detector", detector, frozenset({"OUT02"}), ("header.bias",)),
    Case("OUT02", "background", background, frozenset({"OUT02"}), ("classify.bias",)),
    Case("OUT02", "bias that knows", known),
    Case("OUT02", "detector with a prior", focal_prior),
    Case("OUT02", "few of many words", few_of_many_words),
    Case("OUT02", "small batch", small_batch),
]
