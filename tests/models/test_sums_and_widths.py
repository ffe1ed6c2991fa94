"""Sums of several values, parts of unequal width, and sums that are no residual additions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab.models import signals
from initlab.models.gaussian import Signal
from initlab.models.graph import Node
from initlab.models.walk import walk


class Written(nn.Module):
    """A model whose forward pass is the function it is given."""

    def __init__(self, run: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        for name, value in held.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def fed(model: nn.Module, batch: Tensor) -> Signal:
    """Return the signal that the last layer reads."""
    seen = walk(model, batch)
    assert seen.graph is not None
    last = [node for node in seen.graph.nodes if node.kind == "layer"][-1]
    return seen.signals[last.parents[0]]


def linears(*shapes: tuple[int, int]) -> dict[str, nn.Linear]:
    return {name: nn.Linear(*shape) for name, shape in zip("abcd", shapes, strict=False)}


def test_parts_count_by_their_width():
    def run(m: Any, x: Tensor) -> Tensor:
        return m.c(torch.cat([m.a(x) * 10, functional.relu(m.b(x))], -1))

    model = Written(run, **linears((8, 16), (8, 512), (528, 2)))
    expected = (16 * 100 + 512 * 0.5) / 528
    assert fed(model, torch.randn(4, 8)).second == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_a_bag_of_rows(mode: str):
    bag = nn.EmbeddingBag(1000, 256, mode=mode)
    model = nn.Sequential(bag, nn.Linear(256, 2))
    tokens = torch.randint(0, 1000, (200, 10), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    nn.init.normal_(bag.weight)
    with torch.no_grad():
        measured = float(bag(tokens).square().mean())
    assert fed(model, tokens).second == pytest.approx(measured, rel=0.05)


def scattered(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.b(torch.zeros(4, 256).index_add(0, m.place, h))


def scattered_entries(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.b(torch.zeros(4, 256).scatter_add_(0, m.place[:, None].expand(-1, 256), h))


def cumulated(m: Any, x: Tensor) -> Tensor:
    return m.b(torch.cumsum(m.a(x), 0))


@pytest.mark.parametrize(
    ("run", "function"),
    [
        (scattered, lambda h, place: torch.zeros(4, 256).index_add(0, place, h)),
        (scattered_entries, lambda h, place: torch.zeros(4, 256).index_add(0, place, h)),
        (cumulated, lambda h, _: torch.cumsum(h, 0)),
    ],
)
def test_sums_under_another_name(run: Any, function: Callable[[Tensor, Tensor], Tensor]):
    place = torch.arange(32) % 4
    model = Written(run, place=place, **linears((8, 256), (256, 2)))
    rows = torch.randn(50, 32, 256, generator=torch.Generator().manual_seed(1))
    measured = torch.stack([function(h, place).square().mean() for h in rows]).mean()
    assert fed(model, torch.randn(32, 8)).second == pytest.approx(float(measured), rel=0.03)


def test_a_product_with_constants_is_noted():
    layers = linears((8, 8), (8, 2))
    model = Written(lambda m, x: m.b(m.adjacency @ m.a(x)), adjacency=torch.ones(4, 4), **layers)
    assert any("is not followed" in note for note in walk(model, torch.randn(4, 8)).facts.notes)


@pytest.mark.parametrize(
    ("op", "module"),
    [
        ("LSTM", nn.LSTM),
        ("GRU", nn.GRU),
        ("RNN", nn.RNN),
        ("RNN_RELU", lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k)),
    ],
)
def test_what_a_recurrent_module_hands_on(op: str, module: Any):
    torch.manual_seed(0)
    net = module(64, 128, batch_first=True)
    for name, value in net.named_parameters():
        if "weight_ih" in name:
            nn.init.normal_(value, std=64**-0.5)
        elif "weight_hh" in name:
            for gate in value.split(128):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(value)
            if op == "LSTM" and "bias_ih" in name:
                nn.init.ones_(value[128:256])
    with torch.no_grad():
        y = net(torch.randn(64, 20, 64))[0]
    signal = signals._recurrent(Node(1, "recurrent", op, (0,), ()), {})
    assert signal.second == pytest.approx(float(y.square().mean()), rel=0.2)
    mean = signals._mean(Node(2, "mean", "mean", (1,), (), count=20), {1: signal})
    assert mean.second == pytest.approx(float(y.mean(1).square().mean()), rel=0.25)


def sampled(m: Any, x: Tensor) -> Tensor:
    h = functional.relu(m.a(x))
    mean, spread = m.b(h), m.c(functional.relu(m.d(h)))
    return m.e(mean + torch.randn_like(mean) * torch.exp(0.5 * spread))


def sampled_from_halves(m: Any, x: Tensor) -> Tensor:
    mean, spread = m.b(functional.relu(m.a(x))).chunk(2, -1)
    return m.f(mean + torch.tanh(spread) * 2)


def scored(m: Any, x: Tensor) -> Tensor:
    h = torch.tanh(m.a(x))
    return m.e(torch.tanh(m.b(h) + m.c(functional.relu(m.d(h)))))


@pytest.mark.parametrize("run", [sampled, sampled_from_halves, scored])
def test_sums_that_are_no_residual_additions(run: Any):
    layers = {name: nn.Linear(8, 8) for name in "abcde"}
    assert walk(Written(run, f=nn.Linear(4, 2), **layers), torch.randn(4, 8)).facts.branches == ()


def test_a_rectified_sum_of_a_projection_and_a_block_is_one():
    def run(m: Any, x: Tensor) -> Tensor:
        h = functional.relu(m.a(x))
        return m.e(functional.relu(m.b(h) + m.c(functional.relu(m.d(h)))))

    layers = {name: nn.Linear(8, 8) for name in "abcde"}
    found = walk(Written(run, **layers), torch.randn(4, 8)).facts.branches
    assert [one.weights for one in found] == [("d.weight", "c.weight")]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.relu6, "relu6"),
        (lambda x: x.clamp(0, 6), "relu6"),
        (functional.hardtanh, "hardtanh"),
        (functional.hardswish, "hardswish"),
        (lambda x: torch.where(x > 0, x, x**3), "its own formula"),
    ],
)
@pytest.mark.parametrize("wide", [1.0, 5.0])
def test_a_function_has_one_name_whatever_its_input_is(function: Any, name: str, wide: float):
    model = Written(lambda m, x: m.b(function(wide * m.a(x))), **linears((8, 8), (8, 2)))
    facts = walk(model, torch.randn(4, 8)).facts
    assert facts.parameters["a.weight"].activation == name
