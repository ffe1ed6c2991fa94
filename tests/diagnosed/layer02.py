"""Recipes that do not fit the activation; places where the same recipes do no harm.

PyTorch's default: pytorch#15314 #57109 #18182 #6950. SELU with gain 3/4: pytorch#54055 #53694
#50664. A network without an initialisation of its own: vision#232 #368.
"""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

import initlab
from diagnosed.blocks import drawn, mlp
from diagnosed.case import Case


def default_relu() -> nn.Module:
    return mlp(8)


def default_tanh() -> nn.Module:
    return mlp(12, nn.Tanh, width=128)


def xavier_relu() -> nn.Module:
    model = mlp(20, width=128)
    initlab.initialize(model, "glorot_normal", seed=0)
    return model


def hundredth() -> nn.Module:
    return drawn(mlp(4), std=0.01)


def selu() -> nn.Module:
    return drawn(mlp(30, nn.SELU, width=128), gain=9 / 16)


class Vgg(nn.Module):
    """Convolutions and a classifier, with PyTorch's default throughout and no normalisation."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 16, 16, 32, 32, 48, 48)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((-2, -1)))


class DenseNet(nn.Module):
    """Every layer reads all before it, through a normalisation: vision#232 #368."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(16 + 8 * i) for i in range(6))
        self.layers = nn.ModuleList(nn.Conv2d(16 + 8 * i, 8, 3, padding=1) for i in range(6))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = nn.functional.pad(x, (0, 0, 0, 0, 0, 8)) + nn.functional.pad(
                layer(nn.functional.relu(norm(x))), (0, 0, 0, 0, x.shape[1], 0)
            )
        return self.head(x.mean((-2, -1)))


def pyramid() -> nn.Module:
    """Orthogonal weights scaled by √(out / in) as if they were kept as (in, out): 1/4 a layer."""
    sizes = (16, 32, 64, 128, 256, 512)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layer = nn.Linear(a, b)
        nn.init.orthogonal_(layer.weight, gain=math.sqrt(2) * math.sqrt(a / b))
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(512, 10))


def shallow_default() -> nn.Module:
    """Two hidden layers with PyTorch's default lose a factor of 30: training makes up for it."""
    return mlp(2)


def normalised_default() -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def lecun_selu() -> nn.Module:
    """SELU with variance 1 / fan_in: the self-normalising network as published."""
    return drawn(mlp(30, nn.SELU, width=128), gain=1.0)


_FOUND = frozenset({"LAYER02"})

CASES = [
    Case(
        "LAYER02", "PyTorch's default under ReLU", default_relu, _FOUND, ("0.weight", "14.weight")
    ),
    Case("LAYER02", "PyTorch's default under tanh", default_tanh, _FOUND, ("2.weight",)),
    Case("LAYER02", "Xavier under ReLU", xavier_relu, _FOUND, ("2.weight", "38.weight")),
    Case("LAYER02", "a hundredth", hundredth, _FOUND, ("2.weight",)),
    Case("LAYER02", "SELU with gain 3/4", selu, _FOUND, ("2.weight", "58.weight")),
    Case("LAYER02", "a plain VGG", Vgg, _FOUND, ("features.2.weight",)),
    Case("LAYER02", "orthogonal that reads (in, out)", pyramid, _FOUND, ("2.weight", "8.weight")),
    Case("LAYER02", "two layers of PyTorch's default", shallow_default, notes=_FOUND),
    Case("LAYER02", "PyTorch's default, normalised", normalised_default),
    Case("LAYER02", "SELU as published", lecun_selu),
    Case("LAYER02", "a DenseNet with PyTorch's default", DenseNet),
]
