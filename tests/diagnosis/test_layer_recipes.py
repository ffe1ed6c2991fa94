"""What weights were drawn from, told from their numbers; edge cases of the checks that ask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import initlab
from diagnosed.layer07 import Last
from initlab.diagnosis import diagnose
from initlab.diagnosis.checks._recipes import PYTORCH, is_orthogonal, measured, recognise


def drawn(
    function: Callable[..., Tensor], shape: tuple[int, ...] = (128, 64), **arguments: Any
) -> Tensor:
    torch.manual_seed(0)
    return function(torch.empty(shape), **arguments)


def cut(w: Tensor, std: float) -> Tensor:
    return nn.init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std)


@pytest.mark.parametrize(
    ("weight", "name"),
    [
        (drawn(nn.init.kaiming_uniform_, a=math.sqrt(5)), PYTORCH),
        (drawn(nn.init.kaiming_uniform_), "He uniform"),
        (drawn(nn.init.kaiming_uniform_, a=0.2), "He uniform with the leaky gain (slope 0.2)"),
        (drawn(nn.init.kaiming_normal_), "He normal"),
        (drawn(nn.init.kaiming_normal_, nonlinearity="linear"), "LeCun normal"),
        (drawn(nn.init.kaiming_normal_, nonlinearity="selu"), "normal, SELU gain 3/4"),
        (drawn(nn.init.xavier_normal_), "Xavier normal"),
        (drawn(nn.init.xavier_uniform_, gain=5 / 3), "Xavier uniform with the tanh gain 5/3"),
        (drawn(nn.init.normal_, std=0.01), "N(0, 0.01)"),
        (drawn(nn.init.uniform_, a=-0.05, b=0.05), "U(-0.05, 0.05)"),
        (drawn(nn.init.uniform_), "U(0, 1)"),
        (drawn(cut, std=0.02), "N(0, 0.02), truncated, not corrected for the cut"),
        (drawn(cut, std=0.02 / 0.87963), "N(0, 0.02), truncated"),
        (drawn(nn.init.kaiming_uniform_, a=math.sqrt(5)).bfloat16(), PYTORCH),
        (drawn(nn.init.kaiming_uniform_, (12, 8), a=math.sqrt(5)), PYTORCH),
    ],
)
def test_known_recipes_are_recognised(weight: Tensor, name: str):
    found = recognise(weight, weight.shape[1], weight.shape[0])
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "weight",
    [
        drawn(nn.init.normal_, std=0.0137),  # no recipe
        drawn(nn.init.normal_, mean=0.5, std=0.1),
        drawn(nn.init.kaiming_normal_, (6, 5)),  # too few to tell
        drawn(nn.init.ones_),
        torch.zeros(8, 8),
        torch.zeros(0, 8),
        torch.randn(64, 64).sign() * 0.1,
        torch.full((64, 64), math.nan),
    ],
)
def test_what_is_none_is_not_recognised(weight: Tensor):
    assert recognise(weight, 64, 128) is None


def test_the_shape_of_a_large_weight_is_told_from_some_of_it():
    assert measured(torch.randn(1100, 1000)).distribution == "normal"
    assert measured(torch.rand(1100, 1000) - 0.5).distribution == "uniform"


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (32, 96)])
def test_orthogonal_matrices_are_told_from_random_ones(shape: tuple[int, int]):
    matrix = drawn(nn.init.orthogonal_, shape)
    assert is_orthogonal(matrix)
    assert is_orthogonal(3 * matrix.bfloat16())
    assert not is_orthogonal(torch.randn(shape))
    assert not is_orthogonal(torch.zeros(shape))


def test_nothing_runs_and_the_weights_are_judged_all_the_same():
    class Needs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 16)

        def forward(self, x: Tensor, _more: Tensor) -> Tensor:
            return self.lstm(x)[0]

    assert "LAYER07" in diagnose(Needs()).codes


def test_a_cell_and_a_projected_lstm_are_read():
    for model in (nn.LSTMCell(8, 16), nn.LSTM(8, 16, proj_size=4)):
        assert "LAYER07" in diagnose(model).codes
        initlab.treat(model, diagnose(model))
        assert "LAYER07" not in diagnose(model).codes


def test_an_lstm_without_biases_has_none_to_open():
    assert "LAYER07" not in diagnose(nn.LSTM(8, 16, bias=False)).codes


@pytest.mark.parametrize(
    ("std", "found"), [(1.0, {"LAYER07"}), (0.02, {"LAYER07"}), (0.18, set[str]())]
)
def test_the_radius_of_a_plain_recurrence(std: float, found: set[str]):
    model = Last(nn.RNN(8, 32, batch_first=True), 32, 3)
    initlab.initialize(model, seed=0)
    nn.init.normal_(model.recurrence.weight_hh_l0, std=std)
    codes = {one.code for one in diagnose(model, torch.randn(16, 8, 8)).findings}
    assert codes & {"LAYER07"} == found


def test_a_grouped_convolution_of_few_entries():
    model = nn.Sequential(nn.Conv2d(3, 24, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, groups=24))
    initlab.initialize(model, seed=0)
    nn.init.kaiming_normal_(model[2].weight, mode="fan_out")
    assert "LAYER04" in diagnose(model, torch.randn(8, 3, 8, 8)).codes


def test_a_scale_kept_as_its_distance_from_one():
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.zeros(32))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.layer_norm(x, (32,)) * (1 + self.gamma)

    def build() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(8, 32), Norm(), nn.Linear(32, 3))
        initlab.initialize(model, seed=0)
        return model

    model = build()
    assert not diagnose(model, torch.randn(32, 8)).findings
    nn.init.normal_(model[1].gamma, std=0.02)
    assert "LAYER09" not in diagnose(model, torch.randn(32, 8)).codes
    nn.init.normal_(model[1].gamma)
    report = diagnose(model, torch.randn(32, 8))
    assert "LAYER09" in report.codes
    initlab.treat(model, report)
    assert not model[1].gamma.any()


def test_a_padding_row_is_set_to_zero_and_the_others_stay_as_large():
    model = nn.Sequential(nn.Embedding(200, 32, padding_idx=3), nn.Linear(32, 4))
    initlab.initialize(model, seed=0)
    nn.init.uniform_(model[0].weight, -1.2, 1.2)
    report = diagnose(model, torch.randint(200, (64,)))
    assert "LAYER09" in report.codes
    initlab.treat(model, report)
    assert not model[0].weight[3].any()
    assert model[0].weight.abs().max().item() == pytest.approx(1.2, rel=0.01)


def test_random_shifts_are_found_and_constant_ones_are_not():
    model = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.Linear(32, 3))
    initlab.initialize(model, seed=0)
    nn.init.constant_(model[1].bias, 0.5)
    assert "LAYER09" not in diagnose(model, torch.randn(32, 8)).codes
    nn.init.normal_(model[1].bias)
    found = [one for one in diagnose(model, torch.randn(32, 8)).findings if one.code == "LAYER09"]
    assert found[0].where == ("1.bias",)
