"""Weights that were loaded, and those that a checkpoint lacked."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from initlab.diagnosis import diagnose


def trained(*sizes: int) -> nn.Sequential:
    """Return layers with the heavy tails and the large directions that training leaves."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layer = nn.Linear(a, b)
        with torch.no_grad():
            layer.weight += 0.2 * torch.randn(b, 1) @ torch.randn(1, a)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers)


def test_a_weight_that_was_not_loaded_is_noted():
    model = nn.Sequential(trained(64, 64, 64, 64, 64), nn.Linear(64, 32))
    report = diagnose(model)
    (note,) = (note for note in report.notes if "look trained" in note)
    assert "1.weight does not" in note
    assert not report.errors


def test_a_fresh_model_has_no_such_note():
    report = diagnose(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)))
    assert not any("look trained" in note for note in report.notes)
