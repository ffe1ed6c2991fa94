"""A gradient that grows on its way back though the signal does not; nets where it does not."""

from __future__ import annotations

from torch import Tensor, nn

import initlab
from diagnosed.blocks import drawn, mlp
from diagnosed.case import Case


def chaotic() -> nn.Module:
    return drawn(mlp(30, nn.Tanh, width=128), gain=4.0)


class Policy(nn.Module):
    """An actor and a critic on one body of tanh layers, drawn 2 times too large."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(28, nn.Tanh, width=96, outputs=32)
        self.actor, self.critic = nn.Linear(32, 4), nn.Linear(32, 1)
        initlab.initialize(self, "auto", seed=0)
        for layer in self.body[2:-1]:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=2.0 / 96**0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        return self.actor(x), self.critic(x)


def gain_five_thirds() -> nn.Module:
    """PyTorch's gain for tanh, 5/3, is in the chaotic phase: six layers bear it."""
    return drawn(mlp(6, nn.Tanh, width=128), gain=25 / 9)


def normalised() -> nn.Module:
    """Each batch normalisation makes the gradient grow a little; ten of them do no harm."""
    layers: list[nn.Module] = []
    for _ in range(10):
        layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


CASES = [
    Case("SIG04", "chaotic tanh", chaotic, frozenset({"SIG04"}), ("2.weight",)),
    Case(
        "SIG04", "the body of an actor and critic", Policy, frozenset({"SIG04"}), ("body.2.weight",)
    ),
    Case("SIG04", "six layers with gain 5/3", gain_five_thirds),
    Case("SIG04", "ten batch normalisations", normalised),
]
