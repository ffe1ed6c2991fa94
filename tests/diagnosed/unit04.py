"""Zeros that block the gradient, and zeros that are meant."""

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


def _mlp() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    model.extend([nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)])
    _well(model)
    return model


def zero_layer() -> Any:
    model = _mlp()
    nn.init.zeros_(model[2].weight)
    return model, *_batch()


class Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


def zero_scale_without_a_skip() -> Any:
    """Set a γ to 0, as ends a residual branch, in a network that has none."""
    model = nn.Sequential(Down(3, 8), Down(8, 16), Down(16, 16), nn.Flatten(), nn.Linear(64, 10))
    _well(model)
    nn.init.zeros_(model[1].norm.weight)
    return model, torch.randn(16, 3, 16, 16), torch.randint(0, 10, (16,))


class ReZero(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * torch.relu(self.inner(x))


def twice_zero() -> Any:
    """α = 0 around a branch that is zero as well: neither gets a gradient."""
    model = nn.Sequential(nn.Linear(20, 32), ReZero(32), nn.Linear(32, 5))
    _well(model)
    nn.init.zeros_(model[1].inner.weight)
    return model, *_batch()


def rezero() -> Any:
    model = nn.Sequential(nn.Linear(20, 32), ReZero(32), ReZero(32), nn.Linear(32, 5))
    _well(model)
    return model, *_batch()


class Residual(nn.Module):
    """Its last γ is 0, so that the block starts as the identity (tensorpack#420)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def zero_gamma() -> Any:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    model.extend([Residual(16), Residual(16), nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    model.append(nn.Linear(16, 10))
    _well(model)
    for block in (model[3], model[4]):
        nn.init.zeros_(block.bn2.weight)
    return model, torch.randn(16, 3, 8, 8), torch.randint(0, 10, (16,))


def zero_readout() -> Any:
    """As muP has it (mup#13)."""
    model = _mlp()
    nn.init.zeros_(model[6].weight)
    return model, *_batch()


class LoRA(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs)
        self.lora_a = nn.Linear(inputs, 4, bias=False)
        self.lora_b = nn.Linear(4, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2.0 * self.lora_b(self.lora_a(x))


def lora() -> Any:
    model = nn.Sequential(LoRA(20, 32), nn.ReLU(), LoRA(32, 32), nn.ReLU(), nn.Linear(32, 5))
    _well(model)
    for layer in (model[0], model[2]):
        nn.init.zeros_(layer.lora_b.weight)
    return model, *_batch()


class Modulated(nn.Module):
    """A block of a diffusion transformer: shift, scale and gate of the condition start at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.condition = nn.Linear(width, 3 * width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale, gate = self.condition(nn.functional.silu(c)).chunk(3, -1)
        y = self.norm(x) * (1 + scale) + shift
        return x + gate * self.down(nn.functional.gelu(self.up(y)))


class Diffusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(20, 16)
        self.time = nn.Linear(4, 16)
        self.blocks = nn.ModuleList(Modulated(16) for _ in range(2))
        self.norm = nn.LayerNorm(16)
        self.out = nn.Linear(16, 20)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x, c = self.embed(x), self.time(t)
        for block in self.blocks:
            x = block(x, c)
        return self.out(self.norm(x))


def adaptive_norm_zero() -> Any:
    model = Diffusion()
    _well(model)
    for block in model.blocks:
        nn.init.zeros_(block.condition.weight)
    nn.init.zeros_(model.out.weight)
    return model, (torch.randn(32, 20), torch.randn(32, 4)), torch.randn(32, 20)


NOTE = frozenset({"UNIT04"})
CASES = [
    Case("UNIT04", "zero layer", zero_layer, frozenset({"UNIT04"}), ("2.weight",)),
    Case(
        "UNIT04",
        "zero scale without a skip",
        zero_scale_without_a_skip,
        frozenset({"UNIT04"}),
        ("1.norm.weight",),
    ),
    Case(
        "UNIT04",
        "factor and branch both zero",
        twice_zero,
        frozenset({"UNIT04"}),
        ("1.alpha", "1.inner.weight"),
    ),
    Case("UNIT04", "ReZero", rezero, notes=NOTE),
    Case("UNIT04", "zero last scale of a branch", zero_gamma, notes=NOTE),
    Case("UNIT04", "zero readout", zero_readout, notes=NOTE),
    Case("UNIT04", "LoRA", lora, notes=NOTE),
    Case("UNIT04", "adaLN-zero", adaptive_norm_zero, notes=NOTE),
]
