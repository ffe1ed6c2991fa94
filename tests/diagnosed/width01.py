"""Models whose steps, or whose start, go with the width; the same ones under muP."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import Residual, drawn, mlp
from diagnosed.case import Case
from initlab.diagnosis.widths import WidthSweep
from initlab.models.schemes import mup_learning_rates
from initlab.models.walk import walk

WIDTHS = (32, 64, 128, 256)  # of three, a slope's error is larger
BASE = 32


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 20, generator=generator)
    return x, torch.randint(10, (64,), generator=generator)


def standard(width: int) -> nn.Module:
    """One learning rate for all, whatever the width."""
    return drawn(mlp(3, width=width), gain=2)


def mup(width: int) -> nn.Module:
    """Hidden weights by their fan-in, the output layer smaller, both with smaller steps."""
    model = drawn(mlp(3, width=width), gain=2)
    nn.init.normal_(model.get_parameter("6.weight"), std=math.sqrt(BASE) / width)
    return model


def zero_readout(width: int) -> nn.Module:
    """Return an output layer that starts at 0, as the muP paper advises."""
    model = mup(width)
    nn.init.zeros_(model.get_parameter("6.weight"))
    return model


def mup_adam(model: nn.Module) -> torch.optim.Optimizer:
    """Divide the learning rate of all that reads the width by the width over that of the base."""
    groups = [
        {
            "params": [weight],
            "lr": 1e-3 * (BASE / weight.shape[1] if weight.dim() > 1 and not first else 1.0),
        }
        for name, weight in model.named_parameters()
        for first in [name in {"0.weight", "enter.weight"}]
    ]
    return torch.optim.Adam(groups)


def library_adam(model: nn.Module) -> torch.optim.Optimizer:
    rates = mup_learning_rates(walk(model).facts, base_width=BASE, optimizer="adam")
    groups = [
        {"params": [model.get_parameter(name)], "lr": 1e-3 * rate} for name, rate in rates.items()
    ]
    return torch.optim.Adam(groups)


class Stream(nn.Module):
    """Pre-norm residual blocks with one std for all widths."""

    def __init__(self, width: int, std: float = 0.1) -> None:
        super().__init__()
        self.enter = nn.Linear(20, width)
        self.blocks = nn.Sequential(*(Residual(width, normalised=True) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)
        drawn(self)
        for block in self.blocks:
            nn.init.normal_(block.get_parameter("expand.weight"), std=std)
            nn.init.normal_(block.get_parameter("project.weight"), std=std)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.enter(x))))


def mup_stream(width: int) -> nn.Module:
    model = Stream(width)
    initlab.initialize(model, f"mup(base_width={BASE})", seed=int(torch.randint(10**6, ())))
    return model


def case(name: str, factory: object, optimizer: object = "adam(lr=0.001)", **found: object) -> Case:
    """Return a case whose model is the narrowest one."""
    sweep = WidthSweep(factory, WIDTHS, optimizer, seeds=2)
    return Case(
        "WIDTH01",
        name,
        lambda: (factory(BASE), *data()),
        arguments={"widths": sweep},
        treatable=False,
        **found,
    )


FOUND = frozenset({"WIDTH01"})

CASES = [
    case("standard", standard, found=FOUND, where=("2", "4", "6")),
    case(
        "one std for all widths", Stream, found=FOUND, where=("blocks.0.expand", "blocks.0.project")
    ),
    case("mup", mup, mup_adam),
    case("mup with a zero readout", zero_readout, mup_adam),
    case("mup with a stream", mup_stream, library_adam),
]
