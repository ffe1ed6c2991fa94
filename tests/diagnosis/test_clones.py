"""Copies among layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import initlab
from initlab.diagnosis import diagnose, treat
from initlab.diagnosis.finding import Finding


def found_in(model: nn.Module, *arguments: Any) -> list[Finding]:
    return [one for one in diagnose(model, *arguments).findings if one.code == "LAYER01"]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


def stack(*blocks: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 16), nn.Sequential(*blocks), nn.Linear(16, 5))


def test_copies_are_named_where_they_differ():
    block = Block()
    (found,) = found_in(stack(block, copy.deepcopy(block), Block()), torch.randn(32, 20))
    assert found.where == ("1.0", "1.1")
    assert found.evidence["identical_weights"] == 4
    assert {name for name, _ in found.fix.rules} == {"1.1.up.weight", "1.1.down.weight"}


def test_the_first_copy_is_kept():
    block = Block()
    model, x = stack(block, copy.deepcopy(block)), torch.randn(32, 20)
    before = block.up.weight.clone()
    treat(model, diagnose(model, x))
    assert torch.equal(model[1][0].up.weight, before)
    assert not torch.equal(model[1][1].up.weight, before)
    assert not found_in(model, x)


def test_projections_of_one_layer_are_told_apart():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(16, 16), nn.Linear(16, 16)
            self.out = nn.Linear(16, 4)
            self.key.load_state_dict(self.query.state_dict())

        def forward(self, x: Tensor) -> Tensor:
            scores = self.query(x) @ self.key(x).transpose(1, 2) / 4
            return self.out(scores.softmax(-1) @ x)

    (found,) = found_in(Attention(), torch.randn(8, 6, 16))
    assert found.where == ("query", "key")


def test_a_single_different_entry_makes_them_different():
    first, second = Block(), Block()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        second.up.weight[3, 3] += 1e-3
        second.down.weight[-1, -1] += 1e-3
    assert not found_in(stack(first, second), torch.randn(32, 20))


def test_zeros_and_constants_are_no_copies():
    model = stack(Block(), Block())
    for block in model[1]:
        nn.init.constant_(block.up.weight, 0.1)
        nn.init.zeros_(block.down.weight)
    assert not found_in(model, torch.randn(32, 20))


def test_what_gets_no_gradient_is_no_sibling():
    class Target(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = nn.Linear(20, 8)
            self.target = copy.deepcopy(self.online)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                goal = self.target(x)
            return self.online(x) - goal

    assert not found_in(Target(), torch.randn(16, 20))


def test_half_precision_weights_are_compared():
    block = Block().bfloat16()
    model = stack(block, copy.deepcopy(block)).bfloat16()
    assert found_in(model, torch.randn(8, 20, dtype=torch.bfloat16))


def test_two_seeds_that_differ_are_fine():
    model = stack(Block(), Block())
    initlab.initialize(model, "auto", seed=0)
    assert not found_in(model, torch.randn(32, 20))
