"""Layers that start as copies of one another."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import initlab
from diagnosed.case import Case


def _well(model: nn.Module) -> None:
    initlab.initialize(model, "auto", seed=0)


def _batch() -> tuple[Tensor, Tensor]:
    return torch.randn(64, 20), torch.randint(0, 5, (64,))


def one_seed() -> Any:
    """Set one seed again for each layer (keras-hub#352, ktrain#510, lczero-training#218)."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    model.extend([nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)])
    _well(model)
    for layer in (model[2], model[4]):
        generator = torch.Generator().manual_seed(3)
        nn.init.normal_(layer.weight, std=0.25, generator=generator)
    return model, *_batch()


class Tagger(nn.Module):
    def __init__(self, encoder: nn.TransformerEncoder) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.encoder = encoder
        self.norm = nn.LayerNorm(16)
        self.tags = nn.Linear(16, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.tags(self.norm(self.encoder(self.words(tokens))))


def _encoder() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 3)


def _sentences() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 50, (16, 12)), torch.randint(0, 7, (16, 12))


def transformer_encoder() -> Any:
    """As nn.TransformerEncoder leaves it (pytorch#86274, #72253, #120396)."""
    model = Tagger(_encoder())
    _well(model.words)
    _well(model.tags)
    return model, *_sentences()


def cloned_encoder() -> Any:
    """One layer is initialised well, then copied."""
    model = Tagger(_encoder())
    _well(model)
    layers = model.encoder.layers
    model.encoder.layers = nn.ModuleList(copy.deepcopy(layers[0]) for _ in layers)
    return model, *_sentences()


class Critics(nn.Module):
    """Two critics of a reinforcement learner; the second was copied from the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
        _well(self.first)
        self.second = copy.deepcopy(self.first)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], 1)


def twin_critics() -> Any:
    return Critics(), torch.randn(64, 20), torch.randn(64, 2)


class Momentum(nn.Module):
    """A frozen copy follows the encoder: it is to start equal."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))
        _well(self.encoder)
        self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        self.predict = nn.Linear(16, 16)
        _well(self.predict)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(self.encoder(x)) - self.target(x)


def momentum_encoder() -> Any:
    return Momentum(), torch.randn(64, 20)


class Shared(nn.Module):
    """One layer that is used four times has one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 32)
        step = nn.Linear(32, 32)
        self.steps = nn.ModuleList(step for _ in range(4))
        self.last = nn.Linear(32, 5)
        _well(self)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        for step in self.steps:
            x = torch.relu(step(x))
        return self.last(x)


def shared() -> Any:
    return Shared(), *_batch()


def identities() -> Any:
    """Every hidden layer is the identity: a pattern, which no one drew."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    model.extend([nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)])
    _well(model)
    for layer in (model[2], model[4]):
        nn.init.eye_(layer.weight)
    return model, *_batch()


CASES = [
    Case("LAYER01", "one seed for each layer", one_seed, frozenset({"LAYER01"}), ("2", "4")),
    Case(
        "LAYER01",
        "nn.TransformerEncoder",
        transformer_encoder,
        frozenset({"LAYER01", "LAYER05"}),
        ("encoder.layers.0", "encoder.layers.1", "encoder.layers.2"),
    ),
    Case(
        "LAYER01",
        "a good layer copied",
        cloned_encoder,
        frozenset({"LAYER01"}),
        ("encoder.layers.0", "encoder.layers.1", "encoder.layers.2"),
    ),
    Case("LAYER01", "twin critics", twin_critics, frozenset({"LAYER01"}), ("first", "second")),
    Case("LAYER01", "momentum encoder", momentum_encoder),
    Case("LAYER01", "shared layer", shared),
    Case("LAYER01", "identities", identities),
]
