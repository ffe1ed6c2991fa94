"""The bias that targets suggest."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from initlab._base.errors import InvalidValueError
from initlab.models import initialize


def network(outputs: int):
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs))


def bias(targets: Any, outputs: int = 3, how: str = "auto", **kwargs: Any):
    model = network(outputs)
    report = initialize(model, how, targets=targets, **kwargs)
    assert not model[0].bias.any()
    return model[2].bias.detach(), report


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list])
def test_class_numbers_give_log_frequencies(kind: Any):
    found, report = bias(kind([0] * 6 + [1] * 3 + [2] * 0))
    # Counts 6, 3, 0, each with one more.
    torch.testing.assert_close(found.softmax(0), torch.tensor([7.0, 4.0, 1.0]) / 12)
    assert "log frequency of each class" in str(report)


def test_the_first_loss_is_then_the_entropy_of_the_classes():
    torch.manual_seed(0)
    targets = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    model = network(3)
    initialize(model, "auto", targets=targets)
    with torch.no_grad():
        model[2].weight.zero_()
    loss = functional.cross_entropy(model(torch.randn(1000, 6)), targets)
    shares = torch.tensor([0.9, 0.09, 0.01])
    assert loss.item() == pytest.approx(-(shares * shares.log()).sum().item(), abs=2e-3)


def test_class_numbers_of_any_shape_count_and_masked_ones_do_not():
    found, _ = bias(torch.tensor([[0, 0, -100], [1, 0, -100]]))
    torch.testing.assert_close(found.softmax(0), torch.tensor([4.0, 2.0, 1.0]) / 7)


def test_probabilities_and_one_hot_rows_give_log_frequencies():
    rows = functional.one_hot(torch.tensor([0, 0, 0, 1]), 3)
    for targets in (rows, rows.float(), rows.bool()):
        found, _ = bias(targets)
        torch.testing.assert_close(found.softmax(0), torch.tensor([4.0, 2.0, 1.0]) / 7)


def test_several_labels_at_once_give_log_odds():
    targets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]])
    found, report = bias(targets)
    torch.testing.assert_close(
        found.sigmoid(), torch.tensor([4.0, 4.0, 1.0]) / 6, atol=1e-5, rtol=0
    )
    assert "log odds" in str(report)


@pytest.mark.parametrize("shape", [(100,), (100, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_a_single_output_of_a_rare_class_starts_at_its_log_odds(
    shape: tuple[int, ...], dtype: torch.dtype
):
    targets = torch.zeros(100, dtype=dtype)
    targets[0] = 1
    found, _ = bias(targets.reshape(shape), outputs=1)
    assert found.item() == pytest.approx(math.log(2 / 100), abs=1e-4)


def test_other_numbers_give_their_mean():
    torch.manual_seed(0)
    targets = torch.randn(50, 3) + torch.tensor([5.0, -2.0, 0.0])
    found, report = bias(targets)
    torch.testing.assert_close(found, targets.mean(0), atol=1e-4, rtol=1e-4)
    assert "mean of the targets" in str(report)


def test_maps_have_their_channels_in_the_second_axis():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    targets = torch.rand(5, 3, 6, 6) + torch.tensor([0.0, 2.0, 4.0])[:, None, None]
    initialize(model, "auto", targets=targets)
    torch.testing.assert_close(
        model[2].bias.detach(), targets.mean((0, 2, 3)), atol=1e-4, rtol=1e-4
    )


def test_any_single_initialiser_takes_targets_but_a_rule_of_ones_own_wins():
    targets = torch.tensor([0, 0, 1, 2])
    assert bias(targets, how="he_normal")[0].any()
    model = network(3)
    initialize(model, rules=[("2.bias", "zeros"), ("*", "auto")], targets=targets)
    assert not model[2].bias.any()
    model = network(3)
    initialize(model, rules=[("0", "he_normal"), ("*", "auto")], targets=targets)
    assert model[2].bias.any()


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (torch.tensor([0, 5]), "class 5, but the output has 3 (2.bias)"),
        (torch.zeros(4, 2), "2.bias has (3,)"),
        (torch.tensor([-1, -1]), "2.bias has (3,)"),
    ],
)
def test_targets_that_do_not_fit_are_noted(targets: Any, said: str):
    found, report = bias(targets)
    assert not found.any()
    assert any(f"set no bias: {said}" in note for note in report.notes)


def test_a_head_without_bias_is_noted():
    model = nn.Sequential(nn.Linear(6, 3, bias=False))
    report = initialize(model, "auto", targets=torch.tensor([0, 1]))
    assert any("no output bias is to be drawn" in note for note in report.notes)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("cats", "of type str are no array of numbers"),
        ([], "empty"),
        (3, "a single number"),
        (torch.tensor(3.0), "a single number"),
        (torch.tensor([1.0, math.nan]), "nan or inf"),
        (torch.tensor([1j]), "complex"),
        ([[1], [1, 2]], "of type list are no array"),
    ],
)
def test_bad_targets_are_refused(targets: Any, said: str):
    model = network(3)
    before = model[2].weight.detach().clone()
    with pytest.raises(InvalidValueError, match=said):
        initialize(model, "auto", targets=targets)
    assert torch.equal(before, model[2].weight)
