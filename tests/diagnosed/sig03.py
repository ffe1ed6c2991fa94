"""A gradient that shrinks on its way back though the signal does not; nets where it does not."""

from __future__ import annotations

from torch import Tensor, nn

import initlab
from diagnosed.blocks import drawn, mlp
from diagnosed.case import Case


def sigmoids() -> nn.Module:
    return drawn(mlp(8, nn.Sigmoid, width=128), gain=1.0)


class Ranker(nn.Module):
    """Two towers of tanh, of which one has small weights and large biases: the ordered phase."""

    def __init__(self) -> None:
        super().__init__()
        self.query = mlp(12, nn.Tanh, outputs=16)
        self.item = mlp(3, nn.Tanh, outputs=16)
        initlab.initialize(self, "auto", seed=0)
        drawn(self.query, gain=0.7, bias=0.3)

    def forward(self, query: Tensor, item: Tensor) -> Tensor:
        return (self.query(query) * self.item(item)).sum(-1)


def critical_tanh() -> nn.Module:
    """Weights of variance 1 / fan_in: tanh's edge of chaos."""
    return drawn(mlp(20, nn.Tanh, width=128), gain=1.0)


def two_sigmoids() -> nn.Module:
    """Two layers of sigmoids lose little: the classic small network."""
    return drawn(mlp(2, nn.Sigmoid), gain=1.0)


CASES = [
    Case("SIG03", "eight layers of sigmoids", sigmoids, frozenset({"SIG03"}), ("2.weight",)),
    Case(
        "SIG03", "one tower in the ordered phase", Ranker, frozenset({"SIG03"}), ("query.2.weight",)
    ),
    Case("SIG03", "tanh at its edge of chaos", critical_tanh),
    Case("SIG03", "two sigmoids", two_sigmoids),
]
