"""Transposed convolutions: of two fans, the wrong one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


def widening() -> tuple[nn.Module, Tensor]:
    """Count 2304 and sum 144: pytorch#7865, pytorch#30079, tensorflow#31192."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 4, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[2].weight, nonlinearity="relu")
    return model, torch.randn(16, 3, 8, 8)


class UNet(nn.Module):
    """Two levels; the decoder joins what the encoder saw."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 16, 3, padding=1)
        self.down2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(32, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 64, 4, stride=2, padding=1)
        self.join = nn.Conv2d(80, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        wide = torch.relu(self.down1(image))
        low = torch.relu(self.middle(torch.relu(self.down2(wide))))
        high = torch.relu(self.up(low))
        return self.out(torch.relu(self.join(torch.cat([wide, high], 1))))


def unet() -> tuple[nn.Module, Tensor]:
    model = UNet()
    initlab.initialize(model, seed=0)
    nn.init.kaiming_uniform_(model.up.weight, nonlinearity="relu")
    return model, torch.randn(8, 3, 16, 16)


def generator() -> tuple[nn.Module, Tensor]:
    """Put a batch normalisation behind it, which takes the scale out again."""
    model = nn.Sequential(
        nn.ConvTranspose2d(8, 64, 4),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 3, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[0].weight)
    return model, torch.randn(32, 8, 1, 1)


def by_hand() -> tuple[nn.Module, Tensor]:
    """Take He's rule over the fan-in that it has, in · k² / stride²."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 128, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(128, 4, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.normal_(model[2].weight, std=(2 / (16 * 16 / 4)) ** 0.5)
    return model, torch.randn(16, 3, 8, 8)


def square() -> tuple[nn.Module, Tensor]:
    """Have as many channels out as in, and no stride: the two fans are the same."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 4, 1),
    )
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[2].weight)
    return model, torch.randn(16, 3, 8, 8)


_FOUND = frozenset({"LAYER03"})

CASES: list[Case] = [
    Case("LAYER03", "widening", widening, _FOUND, ("2.weight",)),
    Case("LAYER03", "unet", unet, _FOUND, ("up.weight",)),
    Case("LAYER03", "generator with batch norm", generator, notes=_FOUND),
    Case("LAYER03", "drawn by hand", by_hand),
    Case("LAYER03", "square", square),
]
