"""What auto gives a layer follows from the values of the layers before it that stay."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from initlab.models import initialize, preview


def outputs(model: nn.Sequential, x: torch.Tensor) -> list[float]:
    """Return the second moment of each linear layer's output."""
    moments: list[float] = []
    with torch.no_grad():
        for layer in model:
            x = layer(x)
            if isinstance(layer, nn.Linear):
                moments.append(float(x.square().mean()))
    return moments


def body() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64)
    )
    with torch.no_grad():
        model[0].weight.normal_(0, 5 / 16)  # variance 25 from white noise
        model[0].bias.zero_()
    return model


def freeze(model: nn.Sequential) -> None:
    model[0].requires_grad_(False)
    initialize(model)


@pytest.mark.parametrize(
    "start",
    [
        lambda model: initialize(model, keep="0"),
        lambda model: initialize(model, rules=[("0", "keep"), ("*", "auto")]),
        lambda model: initialize(model, rules=[("2", "auto"), ("4", "auto")]),
        freeze,
    ],
    ids=["keep", "a rule keeps it", "no rule", "frozen"],
)
def test_layers_behind_one_that_stays_give_variance_1(start: Callable[[nn.Sequential], object]):
    model = body()
    start(model)
    first, second, third = outputs(model, torch.randn(512, 256))
    assert first == pytest.approx(25, rel=0.1)
    # The variance over 256 units of a draw has a relative standard error of sqrt(5 / 256) = .14.
    assert second == pytest.approx(1, rel=0.5)
    assert third == pytest.approx(1, rel=0.5)


def test_a_convolution_that_stays():
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    with torch.no_grad():
        model[0].weight.normal_(0, 1.0)  # 72 terms
        model[0].bias.zero_()
    initialize(model, keep="0")
    assert model(torch.randn(4, 8, 16, 16)).var().item() == pytest.approx(1, rel=0.4)


def test_each_input_has_its_own_second_moment():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.a(x), self.b(y)

    model = Two()
    x, y = torch.randn(500, 64), 1000 * torch.randn(500, 64)
    initialize(model, batch=(x, y))
    for output in model(x, y):
        assert output.var().item() == pytest.approx(1, rel=0.3)


class Cached(nn.Module):
    """Keeps tensors of its own making in a dictionary and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.cache, self.log = nn.Linear(16, 16), {}, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.cache.setdefault(x.shape[1], torch.ones(x.shape[1]))
        self.log.append(x)
        return self.layer(x) * scale


def test_caches_of_a_module_are_as_before():
    model = Cached()
    preview(model)
    assert model.cache == {}
    assert model.log == []
    assert type(model(torch.randn(2, 16))) is torch.Tensor


def test_a_cache_outside_of_the_modules_is_told():
    @functools.lru_cache
    def mask(size: int) -> torch.Tensor:
        return torch.ones(size)

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) * mask(x.shape[1])

    assert any("cache" in note for note in preview(Masked()).facts.notes)
    assert not preview(nn.Linear(16, 16)).facts.notes


def test_a_model_of_two_arguments_is_tried_with_two_examples():
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower, self.head = nn.Linear(16, 32), nn.Linear(32, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.tower(x)) * torch.relu(self.tower(y)))

    facts = preview(Siamese()).facts
    assert facts.traced
    assert facts.parameters["tower.weight"].activation == "relu"
