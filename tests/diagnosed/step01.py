"""Learning rates that rewrite the weights or leave them; weights that start small on purpose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import LanguageModel, mlp
from diagnosed.case import Case


def classifier() -> tuple[nn.Module, Tensor, Tensor]:
    model = mlp(2, width=32)
    initlab.initialize(model, "auto", seed=0)
    return model, torch.randn(64, 20), torch.randint(10, (64,))


def language_model() -> tuple[nn.Module, Tensor, Tensor]:
    tokens = torch.randint(100, (4, 32))
    return LanguageModel(blocks=2), tokens, tokens.roll(-1, 1)


def sgd(lr: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def adam(lr: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: torch.optim.Adam(model.parameters(), lr=lr)


def warming_up(model: nn.Module) -> torch.optim.Optimizer:
    """Return a schedule that starts at a millionth of the learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) * 1e-6)
    return optimizer


class Lora(nn.Module):
    """A frozen layer, and a low-rank change that starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, width)
        self.lora_A = nn.Linear(width, 4, bias=False)
        self.lora_B = nn.Linear(4, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_B(self.lora_A(x))


def adapters() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), Lora(32), nn.ReLU(), nn.Linear(32, 10))
    initlab.initialize(model, "auto", seed=0)
    nn.init.zeros_(model[2].lora_B.weight)
    model[2].base.requires_grad_(requires_grad=False)
    return model, torch.randn(64, 20), torch.randint(10, (64,))


def policy() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a policy whose last layer has gain 0.01: all actions are as likely at first."""
    model = mlp(2, nn.Tanh, outputs=4)
    initlab.initialize(model, "auto", seed=0)
    nn.init.orthogonal_(model[-1].weight, gain=0.01)
    return model, torch.randn(64, 20), torch.randint(4, (64,))


class LayerScale(nn.Module):
    """A branch that starts nearly closed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(width), mlp(1, inputs=width, outputs=width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.branch(self.norm(x))


def nearly_closed() -> tuple[nn.Module, Tensor, Tensor]:
    ends = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))
    model = nn.Sequential(nn.Linear(20, 32), LayerScale(32), nn.Linear(32, 32), *ends)
    initlab.initialize(model, "auto", seed=0, keep="*.gamma")
    return model, torch.randn(64, 20), torch.randint(10, (64,))


FOUND = frozenset({"STEP01"})

CASES = [
    Case("STEP01", "sgd too fast", classifier, FOUND, ("2.weight",), optimizer=sgd(50.0)),
    Case("STEP01", "sgd too slow", classifier, FOUND, ("2.weight",), optimizer=sgd(1e-5)),
    Case(
        "STEP01",
        "adam too fast for a transformer",
        language_model,
        FOUND,
        ("h.0.attn.qkv.weight",),
        optimizer=adam(0.1),
    ),
    Case("STEP01", "sgd of 0.1", classifier, optimizer=sgd(0.1)),
    Case("STEP01", "adam of 0.0003", language_model, optimizer=adam(3e-4)),
    Case("STEP01", "warm-up", classifier, optimizer=warming_up),
    Case("STEP01", "adapters that start at 0", adapters, optimizer=adam(1e-3)),
    Case("STEP01", "policy with a small last layer", policy, optimizer=adam(1e-3)),
    Case("STEP01", "layer scale", nearly_closed, optimizer=adam(1e-3)),
    Case("STEP01", "text", classifier, arguments={"optimizer": "adam(lr=0.001)"}),
]
