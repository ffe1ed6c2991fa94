"""Predicted moments against the real modules, run on random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab import activations
from initlab.activations import moments
from initlab.models import signals
from initlab.models.gaussian import Signal, gaussian, of_values
from initlab.models.graph import Node
from initlab.models.walk import walk


class Between(nn.Module):
    """A function between two layers."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], first: nn.Module, last: nn.Module
    ) -> None:
        super().__init__()
        self.first, self.last, self.function = first, last, function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def fed(model: nn.Module, batch: Any = None) -> Signal:
    """Return the signal that the last layer reads."""
    seen = walk(model, batch)
    assert seen.graph is not None
    last = [node for node in seen.graph.nodes if node.kind == "layer"][-1]
    return seen.signals[last.parents[0]]


def close(measured: Tensor, expected: float) -> bool:
    """Tell whether the mean of independent numbers is within 5 standard errors."""
    error = float(measured.std()) / math.sqrt(measured.numel())
    return abs(float(measured.mean()) - expected) < 5 * error + 1e-4


WIDTH = 64


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def glu_by_hand(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, -1)
    return value * functional.silu(gate)


def sliced(x: Tensor) -> Tensor:
    return torch.sigmoid(x[..., : WIDTH // 2]) * x[..., WIDTH // 2 :]


def rms_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def layer_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize(
    "function",
    [
        functional.relu,
        functional.gelu,
        lambda x: functional.gelu(x, approximate="tanh"),
        functional.silu,
        functional.mish,
        functional.elu,
        functional.selu,
        functional.celu,
        functional.softplus,
        functional.logsigmoid,
        functional.hardswish,
        functional.relu6,
        functional.softsign,
        functional.tanhshrink,
        functional.hardshrink,
        torch.sin,
        torch.abs,
        lambda x: functional.leaky_relu(x, 0.2),
        lambda x: functional.rrelu(x, 0.1, 0.3),
        lambda x: functional.threshold(x, 0.1, -1.0),
        lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: x * torch.tanh(functional.softplus(x)),
        lambda x: torch.relu(x).square(),
        lambda x: x + x**3 / 10,
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: torch.maximum(x, -2 * x),
        lambda x: torch.clamp(x, -0.5, 1.0),
        functional.glu,
        glu_by_hand,
        sliced,
        lambda x: torch.cat([functional.relu(x), functional.relu(-x)], -1),
        lambda x: torch.cat([functional.relu(x), torch.tanh(x)], -1),
    ],
)
def test_moments_behind_a_function(function: Callable[[Tensor], Tensor]):
    x = numbers(4000, WIDTH)
    y = function(x)
    if function is not functional.rrelu:
        model = Between(function, nn.Linear(8, WIDTH), nn.Linear(y.shape[-1], 2)).eval()
        signal = fed(model)
        # Rows are independent of each other, entries of a row need not be.
        assert close(y.mean(1), signal.mean)
        assert close(y.square().mean(1), signal.second)


@pytest.mark.parametrize("function", [layer_norm, rms_norm])
def test_a_normalisation_by_hand(function: Callable[[Tensor], Tensor]):
    def behind(x: Tensor) -> Tensor:
        return function(functional.relu(x))

    y = behind(numbers(2000, 512))
    signal = fed(Between(behind, nn.Linear(8, 512), nn.Linear(512, 2)))
    # The statistic of 512 features is not exactly its expectation: a relative error of 1 / 512.
    assert float(y.mean()) == pytest.approx(signal.mean, abs=5e-3)
    assert float(y.square().mean()) == pytest.approx(signal.second, rel=5e-3)


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "mish", "tanh", "selu", "softplus"])
@pytest.mark.parametrize("q", [0.3, 1.0, 4.0])
def test_the_grid_against_quadrature(name: str, q: float):
    activation = activations.get(name)
    z = gaussian(0.0, q, 0).values
    assert z is not None
    signal = of_values(torch.from_numpy(activation(z.numpy())), 0, 0.0)
    assert signal is not None
    assert signal.mean == pytest.approx(moments.mean(activation, q), abs=1e-5)
    assert signal.second == pytest.approx(moments.second_moment(activation, q), rel=1e-4)
    slope = moments.derivative_second_moment(activation, q)
    assert signal.slope == pytest.approx(q * slope, rel=1e-3)


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("function", [functional.relu, functional.gelu, torch.tanh, torch.abs])
def test_correlation_of_two_places(function: Callable[[Tensor], Tensor], alike: float):
    x, rest = numbers(400_000), numbers(2, 400_000)[1]
    y = alike * x + math.sqrt(1 - alike**2) * rest
    z = gaussian(0.0, 1.0, 0).values
    assert z is not None
    signal = of_values(function(z), 0, alike)
    assert signal is not None
    assert close(function(x) * function(y), signal.pair)


def test_correlation_through_convolutions():
    """Pixels become alike: what two places share against many draws of the weights."""
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(4):
        layers += [nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU()]
        channels = 64
    model = nn.Sequential(*layers, nn.Conv2d(64, 2, 1))
    torch.manual_seed(0)
    batch = torch.randn(8, 3, 12, 12)
    seen = walk(model, batch)
    assert seen.graph is not None
    predicted = [
        seen.signals[node.index].alike for node in seen.graph.nodes if node.kind == "layer"
    ][:4]
    measured = torch.zeros(4)
    for _ in range(6):
        x = torch.randn(8, 3, 12, 12)
        for place in range(4):
            layer = layers[2 * place]
            assert isinstance(layer, nn.Conv2d)
            scale = 1.0 if place == 0 else 2.0
            nn.init.normal_(layer.weight, std=math.sqrt(scale / layer.weight[0].numel()))
            with torch.no_grad():
                nn.init.zeros_(layer.bias)
                y = layer(x)
                x = functional.relu(y)
            # Of all pairs of places; far ones share less than near ones in a net this shallow.
            measured[place] += y.mean((2, 3)).square().mean() / y.square().mean() / 6
    assert predicted == sorted(predicted)
    assert predicted[0] < 0.01
    assert torch.allclose(torch.tensor(predicted), measured, atol=0.08)


def of_places(count: int, alike: float, places: int) -> Tensor:
    """Return Gaussian rows whose entries share a part."""
    return (
        math.sqrt(alike) * numbers(count, 1) + math.sqrt(1 - alike) * numbers(count + 1, places)[1:]
    )


@pytest.mark.parametrize("side", [2, 3])
def test_pooling_behind_a_layer_of_white_noise(side: int):
    x = functional.relu(numbers(40_000, side * side))
    for pool, values in (
        (nn.MaxPool2d(side), x.amax(1)),
        (nn.AvgPool2d(side), x.mean(1)),
        (nn.AdaptiveAvgPool2d(1), None),
    ):
        model = nn.Sequential(nn.Conv2d(64, 8, 1), nn.ReLU(), pool, nn.Conv2d(8, 2, 1))
        signal = fed(model, torch.randn(2, 64, 4 * side, 4 * side))
        if values is None:
            places = functional.relu(numbers(4000, 16 * side * side)).mean(1)
            assert close(places, signal.mean)
            assert float(places.square().mean()) == pytest.approx(signal.second, rel=0.02)
        else:
            assert close(values, signal.mean)
            assert close(values.square(), signal.second)


@pytest.mark.parametrize("alike", [0.5, 0.95])
def test_the_maximum_of_places_that_are_alike(alike: float):

    node = Node(1, "max", "max_pool2d_with_indices", (0,), (), count=4)
    signal = signals._maximum(node, {0: gaussian(0.0, 1.0, 0, alike)})
    values = of_places(200_000, alike, 4).amax(1)
    assert close(values, signal.mean)
    assert close(values.square(), signal.second)


def test_padding_and_interpolation():
    signal = fed(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ZeroPad2d(2), nn.Conv2d(8, 2, 1)),
        torch.randn(2, 3, 8, 8),
    )
    assert signal.second == pytest.approx(64 / 144)
    for mode in ("bilinear", "bicubic"):
        up = nn.Upsample(scale_factor=2, mode=mode)
        model = nn.Sequential(nn.Conv2d(3, 8, 1), up, nn.Conv2d(8, 2, 1))
        measured = up(numbers(300, 8, 8, 8)).square().mean((1, 2, 3))
        assert close(measured, fed(model, torch.randn(2, 3, 8, 8)).second)


def test_a_squeeze_and_excitation_gate():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 2, 1)
            self.down, self.up = nn.Conv2d(64, 16, 1), nn.Conv2d(16, 64, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.a(x))
            gate = self.up(functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1))))
            return self.b(x * torch.sigmoid(gate))

    gate = torch.sigmoid(numbers(200_000)).square()
    assert close(gate / 2, fed(Gated(), torch.randn(2, 3, 32, 32)).second)


def test_a_sum_with_a_rectified_stream_keeps_its_distribution():
    class Post(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.a(x))
            return self.c(functional.relu(x + self.b(x)))

    x = functional.relu(numbers(2, 400_000)[0])
    y = functional.relu(
        x + math.sqrt(0.5) * numbers(3, 400_000)[2]
    )  # the branch's share is all of q = 1/2
    signal = fed(Post())
    assert close(y, signal.mean)
    assert close(y.square(), signal.second)


def test_a_depthwise_convolution_sees_dead_channels():
    # All places of a channel are alike: where the channel is dead, so is its output.
    before = gaussian(0.0, 1.0, 0, 1.0)
    assert before.values is not None
    rectified = of_values(functional.relu(before.values), 0, 1.0)
    assert rectified is not None
    node = Node(2, "layer", "convolution", (1,), (), geometry={"depthwise": True})
    signal = signals._summed(node, {1: rectified}, 1.0)
    y = functional.relu(numbers(400_000)) * math.sqrt(2) * numbers(2, 400_000)[1]
    assert signal.values is not None
    for function in (functional.relu6, torch.tanh, torch.abs):
        told = of_values(function(signal.values), 2, 0.0)
        assert told is not None
        assert close(function(y), told.mean)
        assert float(function(y).square().mean()) == pytest.approx(told.second, rel=0.01)
