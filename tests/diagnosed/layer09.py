"""Normalisations and padding rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


def batch_norm() -> tuple[nn.Module, Tensor]:
    """Draw γ from U(0, 1), as PyTorch did once."""
    model = nn.Sequential(
        nn.Linear(16, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 5),
    )
    initlab.initialize(model, seed=0)
    nn.init.uniform_(model[1].weight)
    nn.init.uniform_(model[4].weight)
    return model, torch.randn(64, 16)


class Encoder(nn.Module):
    """Two pre-norm layers of a BERT."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(60, width, padding_idx=0)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.tokens(tokens))).mean(1))


def bert() -> tuple[nn.Module, Tensor]:
    """Draw γ of LayerNorm from N(0, 0.02) too: the BERT port, issue 143."""
    model = Encoder()
    initlab.initialize(model, seed=0)
    for module in model.layers.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.data.normal_(mean=0.0, std=0.02)
    return model, torch.randint(1, 60, (32, 12))


def padding() -> tuple[nn.Module, Tensor]:
    """Draw over the row of the padding: pytorch#6411."""
    model = Encoder()
    initlab.initialize(model, seed=0)
    nn.init.normal_(model.tokens.weight)
    return model, torch.randint(0, 60, (32, 12))


def gan() -> tuple[nn.Module, Tensor]:
    """Draw γ from DCGAN's N(1, 0.02)."""
    model = nn.Sequential(
        nn.ConvTranspose2d(8, 32, 4),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, stride=2, padding=1),
    )
    initlab.initialize(model, seed=0)
    nn.init.normal_(model[1].weight, 1.0, 0.02)
    return model, torch.randn(32, 8, 1, 1)


class Branch(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm1 = nn.BatchNorm1d(width)
        self.second = nn.Linear(width, width)
        self.norm2 = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.second(torch.relu(self.norm1(self.first(x)))))


def closed() -> tuple[nn.Module, Tensor]:
    """Close branches by γ = 0 of their last normalisation; give another γ one number."""
    model = nn.Sequential(nn.Linear(16, 32), Branch(32), Branch(32), nn.Linear(32, 5))
    initlab.initialize(model, seed=0)
    for branch in (model[1], model[2]):
        nn.init.zeros_(branch.norm2.weight)
    nn.init.constant_(model[1].norm1.weight, 0.9)
    return model, torch.randn(64, 16)


def padded() -> tuple[nn.Module, Tensor]:
    return (model := Encoder()), _drawn(model)


def _drawn(model: nn.Module) -> Tensor:
    initlab.initialize(model, seed=0)
    return torch.randint(0, 60, (32, 12))


_FOUND = frozenset({"LAYER09"})

CASES: list[Case] = [
    Case("LAYER09", "batch norm", batch_norm, _FOUND, ("1.weight", "4.weight")),
    Case(
        "LAYER09",
        "bert",
        bert,
        _FOUND,
        ("layers.layers.0.norm1.weight", "layers.layers.1.norm2.weight"),
    ),
    Case("LAYER09", "padding row", padding, _FOUND, ("tokens.weight",)),
    Case("LAYER09", "generator", gan),
    Case("LAYER09", "closed branches", closed),
    Case("LAYER09", "padding row is zero", padded),
]
