"""A signal that grows with depth; nets where large weights are fine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import drawn, mlp
from diagnosed.case import Case


def deep_and_large() -> nn.Module:
    return drawn(mlp(14), gain=4.6)


class Autoencoder(nn.Module):
    """Its encoder is fine; its decoder was drawn 1.9 times too large."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp(3, width=48, inputs=32, outputs=8)
        self.decoder = mlp(7, width=48, inputs=8, outputs=32)
        initlab.initialize(self, "auto", seed=0)
        with torch.no_grad():
            for layer in self.decoder[:-1]:
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(1.9)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class LargeWithNorm(nn.Module):
    """The same large weights, each behind a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(10))
        self.norms = nn.ModuleList(nn.BatchNorm1d(64) for _ in range(10))
        drawn(self, gain=50.0)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.relu(norm(layer(x)))
        return x


def narrow() -> nn.Module:
    """Eight units a layer: their second moment strays by chance, and He's rule is no fault."""
    return drawn(mlp(12, width=8, inputs=8, outputs=2), gain=2.0)


CASES = [
    Case(
        "SIG02",
        "too large by a factor of its own",
        deep_and_large,
        frozenset({"SIG02"}),
        ("0.weight", "26.weight"),
    ),
    Case(
        "SIG02",
        "one half of an autoencoder",
        Autoencoder,
        frozenset({"SIG02"}),
        ("decoder.2.weight", "decoder.12.weight"),
    ),
    Case("SIG02", "large but normalised", LargeWithNorm),
    Case("SIG02", "narrow layers stray", narrow),
]
