"""GradInit on PyTorch modules: the loss after a first step falls, the gradient keeps its bound."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab._base import streams
from initlab.initializers import get
from initlab.models.data_driven import adapt


def network(scale: float) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)
        ).double()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(scale)
    return model


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def thirds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of the step and of the loss: A and B, A and C."""
    order = streams.stream(seed, "adaptation", "split").permutation(30)
    return order[:20], np.concatenate([order[:10], order[20:]])


def first_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor
) -> tuple[float, list[Tensor]]:
    """Take PyTorch's own step, and return the loss after it and the gradient before it."""
    here, there = thirds(0)
    functional.cross_entropy(model(x[here]), labels[here]).backward()
    gradients = [value.grad.clone() for value in model.parameters() if value.grad is not None]
    optimizer.step()
    loss = functional.cross_entropy(model(x[there]), labels[there])
    return float(loss.detach()), gradients


def after_sgd(model: nn.Module) -> tuple[float, float]:
    model = copy.deepcopy(model)
    loss, gradients = first_step(model, torch.optim.SGD(model.parameters(), lr=0.1), *data())
    return loss, float(torch.cat([each.reshape(-1) for each in gradients]).norm())


def after_adam(model: nn.Module) -> tuple[float, float]:
    """Adam's first step goes along the sign of the gradient, up to its epsilon."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, eps=1e-15)
    loss, gradients = first_step(model, optimizer, *data())
    return loss, float(sum(each.abs().sum() for each in gradients))


def test_sgd():
    model, (x, labels) = network(2.5), data()
    before, norm = after_sgd(model)
    assert norm > 1  # the start breaks the bound
    done = adapt(model, get("gradinit"), x, targets=labels)
    after, norm = after_sgd(model)
    assert done.before == pytest.approx(before, rel=1e-9)
    assert done.after == pytest.approx(after, rel=1e-9)
    assert after < 0.7 * before
    assert norm <= 1 + 1e-9
    assert done.notes == ()


def test_adam():
    model, (x, labels) = network(2.5), data()
    before, _ = after_adam(model)
    done = adapt(model, get("gradinit(optimizer='adam', gamma=10)"), x, targets=labels)
    after, norm = after_adam(model)
    assert done.before == pytest.approx(before, rel=1e-6)
    assert done.after == pytest.approx(after, rel=1e-6)
    assert after < 0.8 * before
    assert norm <= 10 + 1e-9


def test_a_bound_that_holds_already_lets_the_loss_fall():
    model, (x, labels) = network(1.0), data()
    before, norm = after_sgd(model)
    assert norm < 100
    done = adapt(model, get("gradinit(gamma=100, steps=30)"), x, targets=labels)
    assert done.after < before


@pytest.mark.parametrize(("gamma", "measured"), [(1e6, 0), (1e-6, 1)], ids=["loss", "norm"])
def test_the_first_factors_go_down_the_slope(gamma: float, measured: int):
    """Adam's first move is the rate against the sign of the derivative, here by differences."""
    (x, labels), names = data(), [f"{layer}.{part}" for layer in (0, 2, 4) for part in ("weight",)]
    expected: dict[str, float] = {}
    for name in names:
        values: list[float] = []
        for factor in (1.0001, 0.9999):
            model = network(2.5)
            with torch.no_grad():
                model.get_parameter(name).mul_(factor)
            values.append(after_sgd(model)[measured])
        expected[name] = 1 - 0.01 * float(np.sign(values[0] - values[1]))
    model = network(2.5)
    done = adapt(model, get(f"gradinit(steps=1, gamma={gamma})"), x, targets=labels, names=names)
    assert done.factors == pytest.approx(expected, abs=1e-6)


def test_a_bound_out_of_reach_is_noted():
    model, (x, labels) = network(2.5), data()
    done = adapt(model, get("gradinit(steps=3, gamma=1e-6)"), x, targets=labels)
    assert "above gamma=1e-06" in done.notes[0]


def test_a_loss_of_ones_own_and_a_dictionary():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 2).double()

        def forward(self, values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.layer(values)
            if labels is None:
                return {"logits": logits}
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    x, labels = data()
    labels = labels.clamp(max=1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Model()
    twins = [copy.deepcopy(model) for _ in range(3)]
    rule = get("gradinit(steps=5)")
    own = adapt(twins[0], rule, {"values": x, "labels": labels})
    given = adapt(twins[1], rule, {"values": x}, targets=labels)
    by_hand = adapt(
        twins[2],
        rule,
        {"values": x},
        targets=labels,
        loss=lambda out, target: functional.cross_entropy(out["logits"], target),
    )
    assert own.factors == given.factors == by_hand.factors
    assert own.before == given.before == by_hand.before


def test_half_precision_is_computed_in_float32():
    model, (x, labels) = network(2.5).half(), data()
    done = adapt(model, get("gradinit(steps=20)"), x.half(), targets=labels)
    assert done.after < done.before
    assert all(value.dtype == torch.float16 for value in model.parameters())
