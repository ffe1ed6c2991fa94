"""Saturated units and sharp attention, and activations that are flat on purpose."""

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


def _mlp(activation: type[nn.Module], width: int = 64) -> nn.Sequential:
    model = nn.Sequential(
        nn.Linear(20, width), activation(), nn.Linear(width, width), activation()
    ).append(nn.Linear(width, 5))
    _well(model)
    return model


def wide_tanh() -> Any:
    model = _mlp(nn.Tanh)
    nn.init.uniform_(model[2].weight, -1, 1)
    return model, *_batch()


class Attention(nn.Module):
    """Of one head, by hand, in a residual block."""

    def __init__(self, width: int, *, scaled: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.scaled = scaled

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        scores = self.q(y) @ self.k(y).transpose(-1, -2)
        if self.scaled:
            scores = scores / y.shape[-1] ** 0.5
        return x + self.out(scores.softmax(-1) @ self.v(y))


class Encoder(nn.Module):
    def __init__(self, *, scaled: bool, width: int = 96) -> None:
        super().__init__()
        self.words = nn.Embedding(50, width)
        self.blocks = nn.ModuleList(Attention(width, scaled=scaled) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def _tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 50, (16, 10)), torch.randint(0, 5, (16,))


def unscaled_attention() -> Any:
    model = Encoder(scaled=False)
    _well(model)
    return model, *_tokens()


def scaled_attention() -> Any:
    model = Encoder(scaled=True)
    _well(model)
    return model, *_tokens()


class Gated(nn.Module):
    """A unit with a gate, in a convolutional network on signals."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 16, 3, padding=1)
        self.value = nn.Conv1d(16, 16, 3, padding=1)
        self.gate = nn.Conv1d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)
        _well(self)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = x + torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))
        return self.head(x.mean(2))


def wide_gate() -> Any:
    model = Gated(0.0)
    nn.init.normal_(model.gate.weight, std=2.0)
    return model, torch.randn(32, 1, 20), torch.randint(0, 5, (32,))


def closed_gate() -> Any:
    """Start a highway's gate shut: nearly all of its sigmoids are flat, and that is meant."""
    return Gated(-5.5), torch.randn(32, 1, 20), torch.randint(0, 5, (32,))


class HandMade(nn.Module):
    """GELU by tanh and SiLU by sigmoid: flat far out, where they are the identity."""

    def forward(self, x: Tensor) -> Tensor:
        x = 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))
        return x * torch.sigmoid(x)


def hand_made_gelu() -> Any:
    model = nn.Sequential(nn.Linear(20, 64), HandMade(), nn.Linear(64, 5))
    _well(model)
    return model, *_batch()


def relu6() -> Any:
    """At one of its bounds half of the time, as every rectifier is."""
    return _mlp(nn.ReLU6), *_batch()


CASES = [
    Case("UNIT03", "wide weights under tanh", wide_tanh, frozenset({"UNIT03"}), ("2.weight",)),
    Case(
        "UNIT03",
        "attention without the root of the width",
        unscaled_attention,
        frozenset({"UNIT03"}),
        ("blocks.0.q.weight", "blocks.0.k.weight"),
    ),
    Case("UNIT03", "wide gate", wide_gate, frozenset({"UNIT03"}), ("gate.weight",)),
    Case("UNIT03", "scaled attention", scaled_attention),
    Case("UNIT03", "closed gate", closed_gate),
    Case("UNIT03", "hand-made GELU", hand_made_gelu),
    Case("UNIT03", "ReLU6", relu6),
]
