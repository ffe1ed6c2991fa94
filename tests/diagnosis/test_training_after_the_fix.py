"""Three diagnosed networks learn the digits once treated, and did not before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from diagnosed.blocks import drawn, mlp
from initlab import data
from initlab.diagnosis import diagnose, treat


def digits() -> tuple[Tensor, Tensor]:
    found = data.load("digits")
    x = torch.as_tensor(found.train_x, dtype=torch.float32)
    return x, torch.as_tensor(found.train_y, dtype=torch.long)


def constants() -> nn.Module:
    model = mlp(2, inputs=64)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.dim() > 1 else 0.0)
    return model


def default() -> nn.Module:
    return mlp(10, inputs=64)


def exploding() -> nn.Module:
    return drawn(mlp(10, inputs=64), gain=6.0)


def accuracy_after(model: nn.Module, x: Tensor, y: Tensor) -> float:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).double().mean())


@pytest.mark.parametrize(
    ("factory", "code"), [(constants, "UNIT01"), (default, "LAYER02"), (exploding, "SIG02")]
)
def test_it_learns_once_treated(factory: Callable[[], nn.Module], code: str):
    x, y = digits()
    torch.manual_seed(0)
    before = accuracy_after(factory(), x, y)
    torch.manual_seed(0)
    model = factory()
    report = diagnose(model, x, y)
    assert report.codes == (code,), report.text()
    treat(model, report)
    assert diagnose(model, x, y).verdict == "healthy"
    assert accuracy_after(model, x, y) > 0.9
    assert before < 0.6
