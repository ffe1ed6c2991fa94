"""The coordinate check: what it measures, and what it refuses."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnosed.blocks import drawn, mlp
from initlab._base.errors import InvalidValueError
from initlab.diagnosis import diagnose
from initlab.diagnosis.widths import WidthSweep, coordinate_check, read_sweep

WIDTHS = (16, 32, 64, 128)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 20, generator=generator)
    return x, torch.randint(10, (32,), generator=generator)


def standard(width: int) -> nn.Module:
    return drawn(mlp(2, width=width), gain=2)


def one_std(width: int) -> nn.Module:
    return drawn(mlp(2, width=width), std=0.2)


def test_sizes_grow_with_the_root_of_the_width_under_one_std():
    found = coordinate_check(WidthSweep(one_std, WIDTHS, steps=1), *data())
    slopes = {one.module: one.slope for one in found.start if one.weights}
    assert slopes["0"] == pytest.approx(0, abs=0.1)
    assert slopes["2"] == pytest.approx(0.5, abs=0.1)
    assert slopes["4"] == pytest.approx(1, abs=0.2)


def test_adam_changes_the_output_in_proportion_to_the_width():
    found = coordinate_check(WidthSweep(standard, WIDTHS), *data())
    slopes = {one.module: one.slope for one in found.change if one.weights}
    assert slopes["0"] == pytest.approx(0, abs=0.15)
    assert slopes["4"] == pytest.approx(1, abs=0.3)


def test_nothing_of_it_is_left_behind():
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 - what factories use
    coordinate_check(WidthSweep(standard, (8, 16), seeds=1, steps=1), *data())
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all()  # noqa: NPY002 - the same


def test_it_is_the_same_each_time():
    sweep = WidthSweep(standard, (8, 16), seeds=2, steps=1)
    assert coordinate_check(sweep, *data()) == coordinate_check(sweep, *data())


def test_a_pair_takes_the_optimizer_of_the_diagnosis():
    sweep = read_sweep((standard, [64, 16, 32]), "sgd(lr=0.1)")
    assert sweep is not None
    assert (sweep.widths, sweep.optimizer) == ((16, 32, 64), "sgd(lr=0.1)")


def test_the_check_is_made_on_request():
    x, targets = data()
    torch.manual_seed(0)
    model = standard(16)
    assert "WIDTH01" in diagnose(model, x, targets).not_applicable
    report = diagnose(model, x, targets, widths=(standard, WIDTHS))
    (one,) = (one for one in report.findings if one.code == "WIDTH01")
    assert one.where == ("2", "4")
    assert one.evidence["widths"] == list(WIDTHS)


def test_a_model_that_diverges_grows():
    found = coordinate_check(WidthSweep(standard, (8, 16), "sgd(lr=1e30)"), *data())
    assert all(one.slope == one.slope for one in found.change)


@pytest.mark.parametrize(
    "given",
    [
        (standard, (64,)),
        (standard, (64, 64)),
        (standard, (64, 0)),
        (standard, (64, 1.5)),
        standard,
        WidthSweep(standard, (8, 16), steps=0),
    ],
)
def test_what_is_no_sweep_is_refused(given: Any):
    with pytest.raises(InvalidValueError, match="accepted"):
        read_sweep(given)


def test_a_factory_that_fails_is_told():
    def build(width: int) -> nn.Module:
        return nn.Linear(20 if width < 10 else 21, 10)

    with pytest.raises(InvalidValueError, match="width 16"):
        coordinate_check(WidthSweep(build, (8, 16), steps=1), *data())
