"""Krähenbühl's initialisation on PyTorch modules: channels normalised, layers at one rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from initlab.engine.adaptive import Krahenbuhl
from initlab.initializers import get
from initlab.models.data_driven import adapt, krahenbuhl
from initlab.models.data_driven.state import adapted, chosen, prepared

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


def convolutions() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, groups=4),
            nn.ReLU(),
            nn.ConvTranspose2d(12, 6, 3, groups=3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 8 * 8, 10),
        )


def images() -> Tensor:
    return 3 + 2 * torch.randn(200, 3, 15, 15, generator=torch.Generator().manual_seed(1))


def channels(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Collect the outputs of weighted modules, ``(channel, everything else)``."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, out: Tensor) -> None:
            found[name] = out.detach().transpose(0, 1).flatten(1)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, WEIGHTED):
            module.register_forward_hook(keep(name))
    model(x)
    return found


def rates(model: nn.Module, x: Tensor, draws: int = 40) -> np.ndarray:
    """Estimate the rates of change by random losses of our own, sample by sample."""
    generator = torch.Generator().manual_seed(7)
    weights = [value for value in model.parameters() if value.dim() >= 2]
    total = np.zeros(len(weights))
    for _ in range(draws):
        out = model(x)
        noise = torch.randn(out.shape, generator=generator)
        gradients = torch.autograd.grad((out * noise).sum(), weights)
        total += [float(gradient.square().mean()) for gradient in gradients]
    sizes = [float(weight.detach().square().mean()) for weight in weights]
    return np.sqrt(total / draws / sizes)


def test_within_layers_each_channel_has_mean_0_and_variance_1():
    model, x = convolutions(), images()
    parameters = chosen(model, None)
    with adapted(model, parameters, 0):
        krahenbuhl.adapt(
            model, Krahenbuhl(rounds=0, tolerance=0.1), prepared(model, x), parameters, 0
        )
    for name, rows in channels(model, x).items():
        assert rows.mean(dim=1).abs().max() < 1e-4, name
        assert (rows.var(dim=1, correction=0) - 1).abs().max() < 1e-3, name


def test_between_layers_the_rates_come_together_and_means_stay_0():
    model, x = convolutions(), images()
    done = adapt(model, get("krahenbuhl(rounds=20, tolerance=0.01)"), x)
    after = rates(model, x)
    assert done.before > 2
    # Both are estimates, each good to about 5 %: the first layer's gradient has few directions.
    assert after.max() / after.min() < 1.2
    assert done.after < 1.03
    for name, rows in channels(model, x).items():
        spread = rows.std(dim=1)
        assert (rows.mean(dim=1).abs() / spread).max() < 1e-3, name
        # Channels of a layer stay alike.
        assert spread.max() / spread.min() == pytest.approx(1, abs=1e-3), name


def test_the_output_of_a_homogeneous_network_keeps_its_size():
    model, x = convolutions(), images()
    adapt(model, get("krahenbuhl(rounds=20, tolerance=0.01)"), x)
    assert float(model(x).detach().var()) == pytest.approx(1, rel=0.05)


def test_the_shifts_are_what_was_added_to_the_biases():
    model, x = convolutions(), images()
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    done = adapt(model, get("krahenbuhl"), x)
    assert set(done.shifts) == {"0.bias", "2.bias", "4.bias", "7.bias"}
    for name, shift in done.shifts.items():
        moved = model.get_parameter(name).detach() - start[name]
        np.testing.assert_allclose(shift, moved.numpy(), atol=1e-6)
    for name, factor in done.factors.items():
        ratio = model.get_parameter(name).detach().norm() / start[name].norm()
        assert factor == pytest.approx(float(ratio), rel=1e-5)


def test_biases_that_are_added_apart_are_set_too():
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 7, generator=torch.manual_seed(0)))
            self.shift = nn.Parameter(torch.zeros(7))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight + self.shift

    with torch.random.fork_rng():
        model = Apart()
    x = 3 + torch.randn(100, 5, generator=torch.Generator().manual_seed(1))
    adapt(model, get("krahenbuhl"), x)
    out = model(x).detach()
    assert out.mean(dim=0).abs().max() < 1e-5
    assert (out.var(dim=0, correction=0) - 1).abs().max() < 1e-4


def test_channels_that_do_not_vary_are_left_and_noted():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    start = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight[2] = 0
    done = adapt(model, get("krahenbuhl"), torch.randn(64, 4))
    assert done.notes == ("0.weight: 1 of 6 channels do not vary; left as they are",)
    assert not torch.equal(model[0].weight[1], start[1])
    assert all(value.isfinite().all() for value in model.parameters())
