"""Units: alike, dead, saturated, blocked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab.diagnosis import diagnose
from initlab.diagnosis.finding import Finding


def findings(model: nn.Module, code: str, *arguments: Any) -> list[Finding]:
    return [one for one in diagnose(model, *arguments).findings if one.code == code]


def mlp(width: int = 32, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(20, width), activation(), nn.Linear(width, width), activation())
    model.append(nn.Linear(width, 5))
    initlab.initialize(model, "auto", seed=0)
    return model


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(64, 20, generator=generator),
        torch.randint(0, 5, (64,), generator=generator),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rows_that_are_copies_are_counted_in_every_precision(dtype: torch.dtype):
    model = mlp().to(dtype)
    with torch.no_grad():
        model[2].weight[8:16] = -2 * model[2].weight[:8]  # a power of 2 rounds nothing
    (found,) = findings(model, "UNIT01", torch.randn(32, 20, dtype=dtype))
    assert found.evidence["alike"] == {"2.weight": 16}
    assert found.evidence["distinct"] == {"2.weight": 24}


@pytest.mark.parametrize("width", [2, 3, 5])
def test_few_inputs_are_no_reason_to_be_alike(width: int):
    model = nn.Sequential(nn.Linear(width, 1024), nn.ReLU(), nn.Linear(1024, 3))
    assert not findings(model, "UNIT01", torch.randn(32, width))


def test_signs_that_repeat_by_chance_are_fine():
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(64, 4).sign() * 0.7)
    assert not findings(model, "UNIT01", torch.randn(32, 4))


def test_copies_that_get_the_same_gradient_are_an_error(batch: tuple[Tensor, Tensor]):
    model = mlp()
    with torch.no_grad():
        model[2].weight[16:] = model[2].weight[:16]
    (found,) = findings(model, "UNIT01", *batch)
    assert found.severity == "warning"
    with torch.no_grad():
        model[4].weight[:, 16:] = model[4].weight[:, :16]
    (found,) = findings(model, "UNIT01", *batch)
    assert found.severity == "error"
    assert found.evidence["same_gradient"] == {"2.weight": True}


def test_frozen_and_single_units_are_left_alone(batch: tuple[Tensor, Tensor]):
    model = mlp()
    nn.init.constant_(model[0].weight, 0.1)
    model[0].weight.requires_grad_(False)
    assert not findings(model, "UNIT01", *batch)
    narrow = nn.Sequential(nn.Linear(20, 1), nn.Tanh(), nn.Linear(1, 5))
    nn.init.constant_(narrow[0].weight, 0.1)
    assert not findings(narrow, "UNIT01", *batch)


def test_a_table_of_equal_rows_is_found_and_its_padding_is_not_counted():
    model = nn.Sequential(nn.Embedding(30, 8, padding_idx=0), nn.Linear(8, 5))
    with torch.no_grad():
        model[0].weight[1:] = torch.arange(8.0)
    (found,) = findings(model, "UNIT01", torch.randint(0, 30, (16, 6)))
    assert found.where == ("0.weight",)
    assert found.evidence["alike"] == {"0.weight": 29}


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 8)
        self.places = nn.Embedding(6, 8)
        self.head = nn.Linear(8, 5)
        nn.init.zeros_(self.places.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        places = self.places(torch.arange(tokens.shape[1]))
        return self.head(torch.relu(self.words(tokens) + places))


def test_a_table_of_zeros_that_is_added_is_fine():
    assert not findings(Positions(), "UNIT01", torch.randint(0, 30, (16, 6)))


def test_a_model_that_does_not_run_is_judged_by_its_weights():
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(20, 16), nn.Linear(16, 16)
            for layer in (self.first, self.second):
                nn.init.constant_(layer.weight, 0.1)

        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError(str(x.shape))

    (found,) = findings(Broken(), "UNIT01", torch.randn(4, 20))
    assert found.where == ("first.weight", "second.weight")


def test_the_model_and_its_gradients_stay_as_they_are(batch: tuple[Tensor, Tensor]):
    model = mlp()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagnose(model, *batch)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("bias", "count"), [(-20.0, 1), (-0.5, 0), (20.0, 0)])
def test_units_are_dead_only_far_below_zero(bias: float, count: int, batch: tuple[Tensor, Tensor]):
    model = mlp()
    with torch.no_grad():
        model[2].bias[8:] = bias
    assert len(findings(model, "UNIT02", *batch)) == count


def test_weights_that_are_negative_are_told_from_a_bias(batch: tuple[Tensor, Tensor]):
    model = mlp(64)
    with torch.no_grad():
        model[2].weight[20:] -= 1.0
    (found,) = findings(model, "UNIT02", *batch)
    assert found.where == ("2.weight",)
    assert "negative on average" in found.cause


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.ELU, nn.Tanh])
def test_other_activations_do_not_die(activation: type[nn.Module], batch: tuple[Tensor, Tensor]):
    report = diagnose(mlp(activation=activation), *batch)
    assert "UNIT02" in report.not_applicable


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Softsign])
def test_saturation_is_told_for_each_bounded_activation(
    activation: type[nn.Module], batch: tuple[Tensor, Tensor]
):
    model = mlp(64, activation)
    assert not findings(model, "UNIT03", *batch)
    nn.init.normal_(model[2].weight, std=4.0)
    (found,) = findings(model, "UNIT03", *batch)
    assert found.where == ("2.weight",)


def test_attention_in_one_step_is_looked_at():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(16, 16), nn.Linear(16, 16)
            self.out = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            q, k = self.query(x)[:, None], self.key(x)[:, None]
            return self.out(nn.functional.scaled_dot_product_attention(q, k, x[:, None])[:, 0])

    model, x = Attention(), torch.randn(8, 12, 16)
    initlab.initialize(model, "auto", seed=0, batch=x)
    assert not findings(model, "UNIT03", x)
    for layer in (model.query, model.key):
        nn.init.normal_(layer.weight, std=2.0)
    (found,) = findings(model, "UNIT03", x)
    assert found.where == ("query.weight", "key.weight")
    assert found.evidence["score_std"] > 10


def test_a_zero_layer_with_a_path_around_is_no_alarm(batch: tuple[Tensor, Tensor]):
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.side = nn.Linear(20, 16), nn.Linear(20, 16)
            self.head = nn.Linear(32, 5)
            nn.init.zeros_(self.side.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat([self.first(x), self.side(x)], 1).tanh())

    assert all(one.severity == "note" for one in findings(Wide(), "UNIT04", *batch))


def test_a_branch_that_is_zero_twice_never_starts(batch: tuple[Tensor, Tensor]):
    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(20, 5)
            self.a, self.b = nn.Linear(20, 4, bias=False), nn.Linear(4, 5, bias=False)
            nn.init.zeros_(self.a.weight)
            nn.init.zeros_(self.b.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.b(self.a(x))

    report = diagnose(Adapter(), *batch)
    (found,) = [one for one in report.alarms if one.code in {"UNIT01", "UNIT04"}]
    assert "a.weight" in found.where  # with it drawn, b gets a gradient


def test_a_zero_readout_is_no_reason_for_an_alarm(batch: tuple[Tensor, Tensor]):
    model = mlp()
    nn.init.zeros_(model[4].weight)
    (found,) = findings(model, "UNIT04", *batch)
    assert found.severity == "note"
    assert found.title.startswith("zero readout")
