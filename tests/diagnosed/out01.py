"""Heads that start sure of random answers; heads that look like it and are not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import LanguageModel, mlp
from diagnosed.case import Case


def classes(count: int, *shape: int) -> Tensor:
    return torch.randint(count, shape)


def plain() -> tuple[nn.Module, Tensor, Tensor]:
    model = mlp(2)
    initlab.initialize(model, "auto", seed=0)
    nn.init.normal_(model[-1].weight)
    return model, torch.randn(128, 20), classes(10, 128)


class UNet(nn.Module):
    """One step down and up, a normalisation behind every convolution but the last."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.down = nn.Sequential(
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.join = nn.Sequential(nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.classify = nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.enter(x)
        joined = self.join(torch.cat((self.up(self.down(high)), high), 1))
        return self.classify(joined)


def segmentation() -> tuple[nn.Module, Tensor, Tensor]:
    model = UNet()
    initlab.initialize(model, "auto", seed=0)
    nn.init.normal_(model.classify.weight, std=2.0)
    return model, torch.randn(8, 3, 16, 16), classes(5, 8, 16, 16)


def opinionated_bias() -> tuple[nn.Module, Tensor, Tensor]:
    model = mlp(2)
    initlab.initialize(model, "auto", seed=0)
    nn.init.normal_(model[-1].bias, std=6.0)
    return model, torch.randn(128, 20), classes(10, 128)


def half_a_nat() -> tuple[nn.Module, Tensor, Tensor]:
    """Logits of variance 1 cost ln C + 1/2."""
    model = mlp(2, width=32)
    initlab.initialize(model, "auto", seed=0)
    return model, torch.randn(64, 20), classes(10, 64)


class Ntk(nn.Module):
    """Weights of std 1 in the head, and the factor 1/√fan_in in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(2, outputs=64)
        self.head = nn.Linear(64, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)) / 8


def ntk() -> tuple[nn.Module, Tensor, Tensor]:
    model = Ntk()
    initlab.initialize(model.body, "auto", seed=0)
    nn.init.normal_(model.head.weight)
    return model, torch.randn(64, 20), classes(10, 64)


def summed_loss() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model whose loss, a sum over the batch, is large without large logits."""
    return half_a_nat()


def rare_class() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a bias that knows how rare three classes are: spread logits, and a small loss."""
    model = mlp(2, outputs=4)
    initlab.initialize(model, "auto", seed=0)
    shares = torch.tensor([0.985, 0.005, 0.005, 0.005])
    model[-1].bias.data = torch.log(shares)
    return model, torch.randn(400, 20), torch.multinomial(shares, 400, replacement=True)


def small_std() -> tuple[nn.Module, Tensor, Tensor]:
    tokens = torch.randint(100, (4, 32))
    return LanguageModel(), tokens, tokens.roll(-1, 1)


CASES = [
    Case("OUT01", "head of std 1", plain, frozenset({"OUT01"}), ("4.weight",)),
    Case("OUT01", "segmentation", segmentation, frozenset({"OUT01"}), ("classify.weight",)),
    Case("OUT01", "bias of std 6", opinionated_bias, frozenset({"OUT01"}), ("4.bias",)),
    Case("OUT01", "logits of variance 1", half_a_nat),
    Case("OUT01", "ntk head", ntk),
    Case(
        "OUT01",
        "summed loss",
        summed_loss,
        arguments={"loss": nn.CrossEntropyLoss(reduction="sum")},
    ),
    Case("OUT01", "bias that knows the prior", rare_class),
    Case("OUT01", "language model of std 0.02", small_std),
]
