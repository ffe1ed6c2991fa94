"""What a watched factory is seen to draw."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from diagnosed.layer08 import old_trunc_normal
from initlab.diagnosis.making import Draw, Making, watched


def last(model: nn.Module, name: str, making: Making) -> Draw:
    assert name in dict(model.named_parameters(remove_duplicate=False))
    found = making.last(name)
    assert found is not None
    return found


class Drawn(nn.Module):
    """One tensor, made as a test says."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(20, 10))
        with torch.no_grad():
            made = make(self.w)
        if isinstance(made, Tensor) and made is not self.w:
            self.w = nn.Parameter(made)


def made(make: Callable[[Tensor], Any]) -> Making:
    with watched() as watch:
        model = Drawn(make)
    return watch.making(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda w: nn.init.normal_(w, std=0.1),
        lambda w: w.data.normal_(0, 0.1),
        lambda w: w.normal_().mul_(0.1),
        lambda w: w.copy_(torch.randn(20, 10) * 0.1),
        lambda _: torch.randn(20, 10) / 10,
        lambda _: torch.normal(0.0, 0.1, (20, 10)),
        lambda w: torch.randn_like(w) * torch.tensor(0.1),
        lambda _: (torch.randn(20, 10) * 0.1).T.contiguous(),
        lambda _: (torch.randn(20, 10) * 0.1).to(torch.float16),
    ],
)
def test_a_normal_draw_is_seen_however_it_is_made(make: Callable[[Tensor], Any]):
    draw = made(make).last("w")
    assert draw is not None
    assert draw.distribution == "normal"
    assert draw.mean == 0
    assert draw.std == pytest.approx(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda w: nn.init.uniform_(w, -0.5, 0.5),
        lambda _: torch.rand(20, 10) - 0.5,
        lambda _: (torch.rand(20, 10) * 2 - 1) * -0.5,
    ],
)
def test_a_uniform_draw_is_seen_with_its_bounds(make: Callable[[Tensor], Any]):
    draw = made(make).last("w")
    assert draw is not None
    assert (draw.distribution, draw.low, draw.high) == ("uniform", -0.5, 0.5)
    assert draw.std == pytest.approx(1 / math.sqrt(12))


@pytest.mark.parametrize("function", [trunc_normal_, old_trunc_normal])
@pytest.mark.parametrize("bounds", [(-2.0, 2.0), (-0.04, 0.04), (-0.01, 2.0)])
def test_a_truncated_normal_is_seen_with_its_bounds(
    function: Callable[..., Tensor], bounds: tuple[float, float]
):
    draw = made(lambda w: function(w, 0.0, 0.02, *bounds)).last("w")
    assert draw is not None
    assert draw.distribution == "truncated_normal"
    assert draw.std == pytest.approx(0.02)
    assert (draw.low, draw.high) == pytest.approx(bounds)


def test_one_that_is_scaled_afterwards_is_cut_in_its_own_std():
    def make(w: Tensor) -> None:
        old_trunc_normal(w, 0.0, 1.0, -2.0, 2.0)
        w.mul_(0.02).add_(0.0)

    draw = made(make).last("w")
    assert draw is not None
    assert (draw.low, draw.high) == pytest.approx((-0.04, 0.04))


def test_what_was_drawn_first_stays_in_the_history():
    def make(w: Tensor) -> None:
        nn.init.normal_(w, std=0.0041)
        nn.init.normal_(w, std=0.02)

    stds = [draw.std for draw in made(make).draws["w"]]
    assert stds == [0.0041, 0.02]


def test_a_row_that_is_set_leaves_the_draw_and_half_a_matrix_does_not():
    def row(w: Tensor) -> None:
        w.normal_()
        w[3] = 0

    def half(w: Tensor) -> None:
        w.normal_()
        w[:10].normal_(0, 0.1)

    found = made(row)
    assert found.last("w") == Draw("normal", 0.0, 1.0)
    assert found.draws["w"][-1] == Draw("constant", low=0.0, high=0.0, share=0.05)
    assert made(half).last("w") is None


def test_values_from_elsewhere_are_not_known():
    assert made(nn.init.orthogonal_).last("w") is None
    assert made(lambda w: w.normal_().pow_(3)).last("w") is None
    assert made(lambda w: w.copy_(torch.arange(200.0).view(20, 10))).last("w") is None
    assert "w" not in made(lambda _: torch.linspace(0, 1, 200).view(20, 10)).draws


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (copy.deepcopy, "weight"),
        (lambda layer: layer.double(), "weight"),
        (nn.utils.parametrizations.weight_norm, "parametrizations.weight.original1"),
    ],
)
def test_copies_and_moved_parameters_keep_their_history(
    change: Callable[[Any], nn.Module], name: str
):
    def factory() -> nn.Module:
        layer = nn.Linear(8, 8)
        nn.init.normal_(layer.weight, std=0.3)
        return change(layer)

    with watched() as watch:
        model = factory()
    assert last(model, name, watch.making(model)).std == pytest.approx(0.3)


def test_watching_changes_no_number():
    def factory() -> nn.Module:
        torch.manual_seed(3)
        model = nn.TransformerEncoderLayer(16, 2, 32)
        trunc_normal_(model.linear1.weight, std=0.02)
        return model

    plain = factory()
    after = torch.rand(3)
    with watched():
        seen = factory()
    assert torch.equal(torch.rand(3), after)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), seen.parameters(), strict=True)
    )


def test_the_function_of_pytorch_is_put_back():
    before = nn.init._no_grad_trunc_normal_
    with pytest.raises(ZeroDivisionError), watched():
        _ = 1 / 0
    assert nn.init._no_grad_trunc_normal_ is before


def test_what_is_gone_is_forgotten():
    with watched() as watch:
        for _ in range(9000):
            torch.zeros(1)
        model = nn.Linear(2, 2)
    assert len(watch._histories) < 9000
    assert set(watch.making(model).draws) == {"weight", "bias"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile's own
def test_a_compiled_model_has_the_names_that_it_was_written_with():
    with watched() as watch:
        model = torch.compile(nn.Linear(2, 2))
    assert set(watch.making(model).draws) == {"weight", "bias"}
