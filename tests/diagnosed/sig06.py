"""Inputs that the first layer pays for; inputs of any scale that it does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import mlp
from diagnosed.case import Case


def pixels(count: int = 64, size: int = 12) -> Tensor:
    """Return images of 0 to 255: smooth spots of all brightnesses."""
    coarse = torch.rand(count, 3, 4, 4) * 255
    return nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").round()


class Net(nn.Module):
    """Convolutions without a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, 10)
        initlab.initialize(self, "auto", seed=0)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).mean((-2, -1)))


def raw_pixels() -> tuple[nn.Module, Tensor, Tensor]:
    return Net(), pixels(), torch.randint(10, (64,))


def flat_pixels() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(nn.Flatten(), *mlp(2, inputs=432))
    initlab.initialize(model, "auto", seed=0)
    return model, pixels(), torch.randint(10, (64,))


def table(count: int = 64) -> Tensor:
    """Return an age, an income, shares: each on a scale of its own."""
    x = torch.randn(count, 12)
    x[:, 0] = 40 + 12 * x[:, 0]
    x[:, 1] = 45_000 + 15_000 * x[:, 1]
    x[:, 2:6] = 0.02 * x[:, 2:6].abs()
    return x


class Tabular(nn.Module):
    """Gated blocks over a table, the first layer without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(12, 64, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(3))
        self.head = nn.Linear(64, 2)
        initlab.initialize(self, "auto", seed=0)

    def forward(self, features: Tensor) -> Tensor:
        x = self.enter(features)
        for norm, block in zip(self.norms, self.blocks, strict=True):
            x = x + torch.relu(block(norm(x)))
        return self.head(x)


def raw_table() -> tuple[nn.Module, Tensor, Tensor]:
    return Tabular(), table(), torch.randint(2, (64,))


def off_centre() -> tuple[nn.Module, Tensor, Tensor]:
    """Temperatures in kelvin, over 100: a mean of 2.9, a std of 0.1. The start fits their size."""
    model, x = mlp(2), 2.9 + 0.1 * torch.randn(64, 20)
    initlab.initialize(model, "auto", seed=0, batch=x)
    return model, x, torch.randint(10, (64,))


class Tagger(nn.Module):
    """A recurrent network over measurements."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 32, batch_first=True)
        self.head = nn.Linear(32, 4)
        initlab.initialize(self, "auto", seed=0)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.lstm(series)[0])


def pressures() -> tuple[nn.Module, Tensor]:
    """Hectopascals."""
    return Tagger(), 1000 + 20 * torch.randn(16, 12, 8)


def unit_interval() -> tuple[nn.Module, Tensor, Tensor]:
    return Net(), pixels() / 255, torch.randint(10, (64,))


class Divides(nn.Module):
    """Takes pixels, and divides by 127.5 itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image / 127.5 - 1)


def divides() -> tuple[nn.Module, Tensor, Tensor]:
    return Divides(), pixels(), torch.randint(10, (64,))


def normalised_first() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(nn.BatchNorm1d(12), *mlp(2, inputs=12))
    initlab.initialize(model, "auto", seed=0)
    return model, table(), torch.randint(10, (64,))


def normalised_after() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a normalisation behind the first convolution: scale and mean do not matter."""
    model = Net()
    model.features.insert(1, nn.BatchNorm2d(16))
    initlab.initialize(model, "auto", seed=0)
    return model, pixels(), torch.randint(10, (64,))


def folded() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a first layer that standardises by its own weights and bias."""
    model, x = mlp(2, inputs=12), table()
    initlab.initialize(model, "auto", seed=0)
    with torch.no_grad():
        model[0].weight /= x.std(0)
        model[0].bias -= model[0].weight @ x.mean(0)
    return model, x, torch.randint(10, (64,))


FOUND = frozenset({"SIG06"})

CASES = [
    Case("SIG06", "raw pixels", raw_pixels, FOUND, ("image",)),
    Case("SIG06", "flat pixels", flat_pixels, FOUND, ("input",)),
    Case("SIG06", "raw table", raw_table, FOUND, ("features",)),
    Case("SIG06", "off centre", off_centre, FOUND, ("input",)),
    Case("SIG06", "pressures into a recurrent network", pressures, FOUND, ("series",)),
    Case("SIG06", "pixels in 0 to 1", unit_interval),
    Case("SIG06", "divides by itself", divides),
    Case("SIG06", "normalised first", normalised_first),
    Case("SIG06", "normalised after", normalised_after),
    Case("SIG06", "standardised by the first layer", folded),
]
