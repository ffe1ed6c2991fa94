"""What the scores of the output say at the start: edges of OUT01, OUT02, OUT03."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import initlab
from initlab.diagnosis import diagnose, treat
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.finding import Finding


def classifier(outputs: int = 10) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, outputs))
    initlab.initialize(model, "auto", seed=0)
    return model


def batch(rows: int = 64) -> Tensor:
    return torch.randn(rows, 20, generator=torch.Generator().manual_seed(0))


def classes(count: int, *shape: int) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(1))


def only(report: Diagnosis, code: str) -> Finding:
    (found,) = (one for one in report.findings if one.code == code)
    return found


def test_the_factor_is_the_std_of_the_logits():
    model = classifier()
    with torch.no_grad():
        model[2].weight *= 6
    one = only(diagnose(model, batch(), classes(10, 64)), "OUT01")
    logits = model(batch()).detach()
    std = float(logits.var(1, unbiased=False).mean().sqrt())
    assert one.evidence["logits_too_large_by"] == pytest.approx(std, rel=1e-3)
    assert one.evidence["uniform_guess"] == pytest.approx(math.log(10), rel=1e-3)


def test_large_features_are_made_up_for_in_the_head():
    # "auto" alone would keep the head's std, which is right for features of size 1.
    model = nn.Sequential(nn.Linear(20, 32), nn.LayerNorm(32), nn.Linear(32, 10))
    initlab.initialize(model, "auto", seed=0)
    nn.init.constant_(model[1].weight, 9.0)
    report = diagnose(model, batch(), classes(10, 64))
    if "OUT01" in report.codes:
        treat(model, report)
        assert "OUT01" not in diagnose(model, batch(), classes(10, 64)).codes


def test_one_score_against_the_other_class():
    model = classifier(1)
    with torch.no_grad():
        model[2].weight *= 30
    targets = classes(2, 64).float().reshape(-1, 1)
    one = only(diagnose(model, batch(), targets, "bce_with_logits"), "OUT01")
    assert one.evidence["uniform_guess"] == pytest.approx(math.log(2), rel=1e-3)


@pytest.mark.parametrize("targets", [None, torch.full((64, 10), 0.5)])
def test_without_classes_nothing_is_said_of_the_loss(targets: Tensor | None):
    report = diagnose(classifier(), batch(), targets)
    assert {"OUT01", "OUT02"} <= set(report.not_applicable)


def test_a_frozen_head_is_a_note():
    model = classifier()
    nn.init.normal_(model[2].weight, std=3)
    model[2].requires_grad_(requires_grad=False)
    assert only(diagnose(model, batch(), classes(10, 64)), "OUT01").severity == "note"


def test_a_diverged_model_is_no_crash():
    model = classifier()
    nn.init.constant_(model[2].weight, float("nan"))
    diagnose(model, batch(), classes(10, 64))


@pytest.mark.parametrize(
    ("share", "found"), [(0.01, True), (0.1, True), (0.3, False), (0.5, False)]
)
def test_a_prior_of_one_score(share: float, *, found: bool):
    model = classifier(1)
    targets = (torch.rand(2000, 1, generator=torch.Generator().manual_seed(0)) < share).float()
    report = diagnose(model, batch(2000), targets, "bce_with_logits")
    assert ("OUT02" in report.codes) == found
    if found:
        treat(model, report)
        told = float(targets.mean())
        assert model[2].bias.item() == pytest.approx(math.log(told / (1 - told)), abs=0.2)


def test_columns_with_priors_of_their_own():
    model = classifier(3)
    shares = torch.tensor([0.01, 0.02, 0.5])
    targets = (torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) < shares).float()
    report = diagnose(model, batch(2000), targets, "bce_with_logits")
    assert "OUT02" in report.codes
    treat(model, report)
    bias = model[2].bias.detach()
    assert float(bias[2]) == pytest.approx(0, abs=0.2)
    assert float(bias[0]) == pytest.approx(-4.6, abs=0.6)


def test_no_bias_no_prior():
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3, bias=False))
    initlab.initialize(model, "auto", seed=0)
    targets = torch.zeros(64, dtype=torch.long)
    assert "OUT02" in diagnose(model, batch(), targets).not_applicable


@pytest.mark.parametrize("rows", [4, 16, 64])
@pytest.mark.parametrize("count", [2, 10, 1000])
def test_balanced_classes_are_never_skewed(rows: int, count: int):
    report = diagnose(classifier(count), batch(rows), classes(count, rows))
    assert "OUT02" not in report.codes


def test_a_head_of_no_table_is_none_of_out03():
    assert "OUT03" in diagnose(classifier(), batch(), classes(10, 64)).not_applicable
