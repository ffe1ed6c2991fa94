"""Units that are the same: zeros, constants, copied rows, one seed for each row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


def well(model: nn.Module, batch: Any = None) -> None:
    """Initialise a model so that nothing is wrong with it."""
    initlab.initialize(model, "auto", seed=0, batch=batch)


def mlp(depth: int = 3, width: int = 32, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(20, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, 5))
    well(model)
    return model


def _batch() -> tuple[Tensor, Tensor]:
    return torch.randn(64, 20), torch.randint(0, 5, (64,))


def zeros() -> Any:
    model = mlp(activation=nn.Tanh)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model, *_batch()


def constants() -> Any:
    model = mlp()
    for layer in (model[2], model[4]):
        nn.init.constant_(layer.weight, 0.1)
    return model, *_batch()


class Residual(nn.Module):
    def __init__(self, width: int, last: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, last, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(last)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.blocks = nn.ModuleList(Residual(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def _images() -> tuple[Tensor, Tensor]:
    return torch.randn(16, 3, 8, 8), torch.randint(0, 10, (16,))


def one_seed_for_each_row() -> Any:
    """One initialiser object with a seed, used again for each filter (keras-hub#352)."""
    model = ResNet()
    well(model)
    weight = model.blocks[1].conv1.weight
    with torch.no_grad():
        for row in weight:
            row.normal_(0, 0.1, generator=torch.Generator().manual_seed(7))
    return model, *_images()


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.mix = nn.Linear(16, 24)
        self.tags = nn.Linear(24, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.tags(torch.relu(self.mix(self.lstm(self.words(tokens))[0])))


def some_rows_flipped_and_scaled() -> Any:
    """Make a third of the units copies of others, with another sign and size."""
    model = Tagger()
    well(model)
    with torch.no_grad():
        weight = model.mix.weight
        weight[16:20] = -0.5 * weight[:4]
        weight[20:] = 1.7 * weight[4:8]
    return model, torch.randint(0, 50, (16, 12)), torch.randint(0, 7, (16, 12))


class Generator(nn.Module):
    """Of a GAN: transposed convolutions, whose filters stand along axis 1."""

    def __init__(self) -> None:
        super().__init__()
        self.up1 = nn.ConvTranspose2d(8, 16, 4)
        self.up2 = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.up3 = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = torch.relu(self.up1(z[:, :, None, None]))
        return torch.tanh(self.up3(torch.relu(self.up2(x))))


def repeated_filters() -> Any:
    model, noise = Generator(), torch.randn(64, 8)
    well(model, noise)
    with torch.no_grad():
        model.up2.weight[:, 4:] = model.up2.weight[:, :4]
    return model, noise


def looks_linear() -> Any:
    """Mirrored units on purpose: relu(Wx) and relu(-Wx), read with V and -V."""
    model = mlp(2)

    def mirror(weight: Tensor, *, rows: bool, columns: bool) -> None:
        with torch.no_grad():
            if columns:
                half = weight[:, : weight.shape[1] // 2].clone()
                weight.copy_(torch.cat([half, -half], 1))
            if rows:
                half = weight[: weight.shape[0] // 2].clone()
                weight.copy_(torch.cat([half, -half]))

    mirror(model[0].weight, rows=True, columns=False)
    mirror(model[2].weight, rows=True, columns=True)
    mirror(model[4].weight, rows=False, columns=True)
    return model, *_batch()


def one_input() -> Any:
    """All weights of one input are collinear: a regression on the line."""
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    model.append(nn.Linear(64, 1))
    well(model)
    return model, torch.randn(64, 1), torch.randn(64, 1)


def identity_blocks() -> Any:
    """Identity, with rows of zeros where there are more outputs than inputs, and a zero readout."""
    model = nn.Sequential(nn.Linear(20, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU())
    model.append(nn.Linear(32, 5))
    well(model)
    nn.init.eye_(model[0].weight)
    nn.init.zeros_(model[4].weight)
    return model, *_batch()


def depthwise() -> Any:
    """Start the same filter on every channel: a blur that is learned further."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
        nn.Conv2d(16, 16, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    well(model)
    row = torch.tensor([1.0, 2.0, 1.0])
    with torch.no_grad():
        model[2].weight.copy_(torch.outer(row, row) / 6)
    return model, *_images()


CASES = [
    Case(
        "UNIT01",
        "everything zero",
        zeros,
        frozenset({"UNIT01"}),
        ("0.weight", "2.weight", "4.weight"),
    ),
    Case("UNIT01", "constants", constants, frozenset({"UNIT01"}), ("2.weight", "4.weight")),
    Case(
        "UNIT01",
        "one seed for each filter of a ResNet",
        one_seed_for_each_row,
        frozenset({"UNIT01"}),
        ("blocks.1.conv1.weight",),
    ),
    Case(
        "UNIT01",
        "flipped and scaled rows in a tagger",
        some_rows_flipped_and_scaled,
        frozenset({"UNIT01"}),
        ("mix.weight",),
    ),
    Case(
        "UNIT01",
        "repeated filters of a generator",
        repeated_filters,
        frozenset({"UNIT01"}),
        ("up2.weight",),
    ),
    Case("UNIT01", "looks linear", looks_linear, notes=frozenset({"UNIT01"})),
    Case("UNIT01", "one input", one_input),
    Case("UNIT01", "identity with rows of zeros", identity_blocks, notes=frozenset({"UNIT04"})),
    Case("UNIT01", "depthwise filters alike", depthwise),
]
