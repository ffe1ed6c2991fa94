"""Badly scaled inputs, and first layers that standardise them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab.diagnosis import diagnose, treat


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def dense(inputs: int = 20, *, bias: bool = True) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(inputs, 64, bias=bias), nn.ReLU(), nn.Linear(64, 10))
    initlab.initialize(model, "auto", seed=0)
    return model


@pytest.mark.parametrize(
    ("scale", "shift", "severity"),
    [
        (1.0, 0.0, None),
        (5.0, 0.0, None),
        (0.1, 0.0, None),
        (15.0, 0.0, "warning"),
        (100.0, 0.0, "error"),
        (1e-4, 0.0, "error"),
        (1.0, 2.0, None),
        (0.1, 0.9, "warning"),
    ],
)
def test_scale_and_mean(scale: float, shift: float, severity: str | None):
    report = diagnose(dense(), scale * normal(64, 20) + shift)
    found = [one.severity for one in report.findings if one.code == "SIG06"]
    assert found == ([severity] if severity is not None else [])


def test_folding_is_exact():
    model, x = dense(), 3000 + 50 * normal(64, 20)
    expected = model((x - x.mean()) / x.std(correction=0))
    treat(model, diagnose(model, x))
    assert torch.allclose(model(x), expected, atol=1e-3)


def test_folding_is_exact_for_a_convolution_without_padding():
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3))
    initlab.initialize(model, "auto", seed=0)
    x = 500 + 20 * normal(8, 3, 10, 10)
    expected = model((x - x.mean()) / x.std(correction=0))
    treat(model, diagnose(model, x))
    assert torch.allclose(model(x), expected, atol=1e-3)


def test_features_get_scales_of_their_own():
    model, x = dense(), normal(64, 20)
    x[:, 3] = 1e6 * x[:, 3] + 3e6
    x[:, 4] = 7.0  # constant
    (one,) = (one for one in diagnose(model, x).findings if one.code == "SIG06")
    assert "features" in one.title
    std = x.std(0, correction=0)
    std[4] = 1
    expected = model((x - x.mean(0)) / std)
    treat(model, diagnose(model, x))
    assert torch.allclose(model(x), expected, atol=1e-2)


def test_weights_drawn_for_these_inputs_keep_the_size_of_their_output():
    model, x = dense(), 1000 + 10 * normal(64, 20)
    initlab.initialize(model, "auto", seed=0, batch=x)
    treat(model, diagnose(model, x))
    assert float(model[0](x).detach().square().mean()) == pytest.approx(1, rel=0.3)
    assert "SIG06" not in diagnose(model, x).codes


def test_weights_without_a_bias_stop_seeing_the_mean():
    model, x = dense(bias=False), 1000 + 10 * normal(64, 20)
    treat(model, diagnose(model, x))
    assert float(model[0](x).detach().square().mean()) == pytest.approx(1, rel=0.3)


class Two(nn.Module):
    """Two inputs, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.more = nn.Linear(12, 32), nn.Linear(4, 32)
        self.head = nn.Linear(64, 3)

    def forward(self, image: Tensor, extra: Tensor) -> Tensor:
        joined = torch.cat((self.image(image), self.more(extra)), 1)
        return self.head(torch.relu(joined))


def test_the_argument_at_fault_is_named_and_its_layer_alone_changed():
    model = Two()
    initlab.initialize(model, "auto", seed=0)
    before = model.image.weight.detach().clone()
    batch = (normal(64, 12), 200 * normal(64, 4))
    report = diagnose(model, batch)
    assert [one.where for one in report.alarms] == [("extra",)]
    treat(model, report)
    assert torch.equal(before, model.image.weight)
    assert "SIG06" not in diagnose(model, batch).codes


def test_token_numbers_are_no_badly_scaled_input():
    model = nn.Sequential(nn.Embedding(500, 16), nn.Linear(16, 4))
    assert "SIG06" in diagnose(model, torch.randint(500, (4, 8))).not_applicable


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_batch_is_told(value: float):
    found = diagnose(dense(), torch.full((16, 20), value)).findings
    (one,) = (one for one in found if one.code == "SIG06")
    assert (one.severity, one.fix.standardise) == ("warning", False)
