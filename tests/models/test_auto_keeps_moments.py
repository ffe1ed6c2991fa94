"""What ``"auto"`` promises: from layer to layer, signal and gradient keep their size.

The ratio of two consecutive layers is itself random: a layer of 300 units gives a second moment
with a relative error of about sqrt(8 / 300), which no rule for the variance can change. So its
geometric mean over some seeds is held to [0.8, 1.25].
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from initlab.models.plan import make

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def ratios(
    build: Callable[[], nn.Module], batch: Tensor, seeds: int
) -> tuple[list[float], list[float]]:
    """Return the ratios of E[x²] an element, and of the gradient's square norm over a layer."""
    logs: list[Tensor] = []
    for seed in range(seeds):
        torch.manual_seed(1000 + seed)
        model = build().eval()
        make(model, "auto", seed=seed, batch=batch).apply()
        outputs: list[Tensor] = []

        def keep(_: nn.Module, __: object, output: Tensor, into: list[Tensor] = outputs) -> None:
            output.retain_grad()
            into.append(output)

        for module in model.modules():
            if isinstance(module, LAYERS):
                module.register_forward_hook(keep)
        y = model(torch.randn_like(batch))
        (y * torch.randn_like(y)).sum().backward()
        forward = torch.stack([x.detach().square().mean() for x in outputs])
        backward = torch.stack([x.grad.square().sum() for x in outputs if x.grad is not None])
        logs.append(torch.stack([forward, backward]).log().diff(dim=1))
    forward, backward = torch.stack(logs).mean(0).exp().tolist()
    return forward, backward


def assert_kept(found: list[float]) -> None:
    assert found
    assert min(found) > 0.8
    assert max(found) < 1.25


def mlp(widths: list[int], activation: Callable[[], nn.Module]) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def test_a_relu_network_of_50_layers():
    forward, backward = ratios(lambda: mlp([300] * 51, nn.ReLU), torch.randn(32, 300), 4)
    assert len(forward) == 49
    assert_kept(forward)
    assert_kept(backward)


def test_a_gelu_network_of_30_layers_of_changing_widths():
    widths = [300, 200, 400, 250, 350] * 6 + [300]
    forward, backward = ratios(lambda: mlp(widths, nn.GELU), torch.randn(32, 300), 6)
    assert len(forward) == 29
    assert_kept(forward)
    assert_kept(backward)


def convolutions() -> nn.Module:
    layers: list[nn.Module] = []
    channels = [3] + [48] * 5 + [64] * 5 + [96] * 5 + [128] * 5
    for place, (inputs, outputs) in enumerate(pairwise(channels)):
        stride = 2 if place in {5, 10, 15} else 1
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def test_a_plain_convolution_network_of_20_layers_with_strides():
    forward, backward = ratios(convolutions, torch.randn(4, 3, 48, 48), 6)
    assert len(forward) == 20
    assert_kept(forward)
    # The mean over all positions before the head divides the gradient's square norm by their
    # number, whatever the weights are: the last ratio is that of the pool.
    assert_kept(backward[:-1])


def generator() -> nn.Module:
    layers: list[nn.Module] = [nn.ConvTranspose2d(100, 256, 4, 1, 0), nn.ReLU()]
    for inputs, outputs in pairwise([256, 128, 64, 32, 3]):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def test_a_generator_of_transposed_convolutions():
    forward, backward = ratios(generator, torch.randn(8, 100, 1, 1), 4)
    assert len(forward) == 4
    assert_kept(forward)
    assert_kept(backward)


def mobile(blocks: list[tuple[int, int]]) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6()]
    channels = 32
    for outputs, stride in blocks:
        layers += [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels), nn.ReLU6()]
        layers += [nn.Conv2d(channels, outputs, 1), nn.ReLU6()]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def test_a_network_of_depthwise_and_pointwise_convolutions():
    blocks = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
    ]
    forward, backward = ratios(lambda: mobile(blocks), torch.randn(6, 3, 64, 64), 10)
    assert len(forward) == 19
    assert_kept(forward)
    assert_kept(backward[:-1])  # again without the pool


@pytest.mark.parametrize("activation", [nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.Tanh])
def test_other_activations(activation: Callable[[], nn.Module]):
    forward, backward = ratios(lambda: mlp([300] * 16, activation), torch.randn(32, 300), 6)
    assert_kept(forward)
    assert_kept(backward)
