"""Which rule a parameter goes by."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.models import initialize, preview


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(30, 16, padding_idx=0)
        self.position = nn.Parameter(torch.zeros(4, 16))
        self.block = nn.ModuleDict({"attn": nn.Linear(16, 16), "mlp": nn.Linear(16, 16)})
        self.norm = nn.LayerNorm(16)
        self.lm_head = nn.Linear(16, 30)

    def forward(self, tokens: torch.Tensor):
        x = self.wte(tokens) + self.position[: tokens.shape[1]]
        x = x + self.block["mlp"](torch.relu(self.block["attn"](x)))
        return self.lm_head(self.norm(x))


def drawn(rules: Any, **kwargs: Any):
    report = initialize(Model(), rules=rules, **kwargs)
    told = {change.name: change.initializer for change in report.changes}
    return {**told, **{one.name: f"kept: {one.reason}" for one in report.kept}}, report


def test_the_first_rule_that_matches_counts():
    told, _ = drawn([("*.attn", "orthogonal"), ("lm_head", "zeros"), ("*", "he_normal")])
    assert told["block.attn.weight"] == "orthogonal"
    assert told["lm_head.weight"] == "zeros"
    assert told["block.mlp.weight"] == "he_normal"
    told, report = drawn([("*", "he_normal"), ("lm_head", "zeros")])
    assert told["lm_head.weight"] == "he_normal"
    assert any("'lm_head' is never reached" in note for note in report.notes)


def test_keep_and_no_match_leave_a_parameter():
    told, _ = drawn([("block.mlp", "keep"), ("block", "he_normal")])
    assert told["block.mlp.weight"] == "kept: a rule keeps it"
    assert told["block.attn.weight"] == "he_normal"
    assert told["lm_head.weight"] == "kept: no rule matches"


def test_a_rule_for_a_module_gives_its_bias_the_neutral_start():
    told, _ = drawn([("lm_head", "normal(std=0.02)"), ("*", "keep")])
    assert told["lm_head.weight"] == "normal(std=0.02)"
    assert told["lm_head.bias"] == "zeros"


def test_a_rule_that_names_a_parameter_is_about_this_parameter():
    model = Model()
    rules = [
        ("lm_head.bias", "normal(std=3)"),
        ("norm.weight", "constant(0.5)"),
        ("position", "normal(std=0.02)"),
        ("wte", "normal(std=0.02)"),
        ("*.bias", "constant(0.25)"),
        ("*", "he_normal"),
    ]
    initialize(model, rules=rules)
    assert model.lm_head.bias.std() > 1
    assert (model.norm.weight == 0.5).all()
    # 64 and 464 entries: 5 standard errors of a std are 5 / sqrt(2 n).
    assert abs(model.position.std().item() / 0.02 - 1) < 5 / 128**0.5
    assert abs(model.wte.weight[1:].std().item() / 0.02 - 1) < 5 / 928**0.5
    assert not model.wte.weight[0].any()
    assert (model.block["mlp"].bias == 0.25).all()
    assert (model.norm.bias == 0.25).all()


def test_a_name_tied_to_another_is_matched_by_either():
    model = Model()
    model.lm_head.weight = model.wte.weight
    plan = preview(model, rules=[("lm_head", "normal(std=0.02)"), ("*", "auto")])
    assert plan.decisions["wte.weight"].pieces[-1].initializer.spec == "normal(std=0.02)"


def test_rules_at_odds_over_a_tied_parameter_are_noted():
    model = Model()
    model.lm_head.weight = model.wte.weight

    def notes(rules: Any) -> list[str]:
        found = preview(model, rules=rules).preview().notes
        return [note for note in found if "tied" in note]

    said = "lm_head.weight is tied to wte.weight: the rule for one holds for both"
    assert notes([("lm_head", "zeros"), ("*", "auto")]) == [said]
    assert notes([("lm_head", "zeros")]) == [said]
    assert notes([("lm_head", "zeros"), ("wte", "zeros"), ("*", "auto")]) == []
    assert notes([("*", "auto")]) == []


def test_slips_are_refused_with_what_would_do():
    model = Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        InvalidValueError, match="rules: 'head' matches no parameter; the model has"
    ):
        initialize(model, rules=[("head", "zeros")])
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        initialize(model, "he_norml")
    with pytest.raises(UnknownNameError, match="did you mean orthogonal"):
        initialize(model, rules=[("*", "orthogonl")])
    with pytest.raises(InvalidValueError, match="both 'zeros' and rules are given"):
        initialize(model, "zeros", rules=[("*", "auto")])
    for rules in (["*"], [("*",)], {"*": "auto"}, [("*", "auto", 1)], [(1, "auto")]):
        with pytest.raises(InvalidValueError, match="is no pair of a pattern and a name"):
            initialize(model, rules=rules)
    with pytest.raises(InvalidValueError, match="None is no name of an initialiser"):
        initialize(model, None)
    with pytest.raises(InvalidValueError, match=r"no torch\.nn\.Module"):
        initialize("model", "auto")
    for seed in (-1, True, 0.5, "0"):
        with pytest.raises(InvalidValueError, match="is not a whole number"):
            initialize(model, "auto", seed=seed)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_data_driven_initialisers_need_data():
    for name in ("lsuv", "krahenbuhl", "metainit", "gradinit"):
        with pytest.raises(InvalidValueError, match=f"{name} looks at data; give some"):
            initialize(Model(), rules=[("block", name)])


@pytest.mark.parametrize("how", ["metainit", "gradinit"])
def test_a_loss_without_targets_is_refused(how: str):
    model, tokens = Model(), torch.randint(30, (4, 4))
    with pytest.raises(InvalidValueError, match=f"{how} calls loss= .* give targets="):
        preview(model, how, batch=tokens, loss=nn.functional.cross_entropy)


def test_a_seed_may_be_a_number_of_numpy():
    first, second = Model(), Model()
    assert type(initialize(first, "he_normal", seed=np.int64(3)).seed) is int
    initialize(second, "he_normal", seed=3)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_lsuv_changes_only_what_its_rule_matches():
    model = Model()
    tokens = torch.randint(30, (16, 4))
    alone, mixed = Model(), model
    initialize(alone, rules=[("block", "orthogonal"), ("*", "normal(std=0.02)")])
    initialize(mixed, rules=[("block", "lsuv"), ("*", "normal(std=0.02)")], batch=tokens)
    assert torch.equal(alone.lm_head.weight, mixed.lm_head.weight)
    ratio = mixed.block["mlp"].weight / alone.block["mlp"].weight
    assert ratio.std() < 1e-4 * ratio.mean()
    assert abs(ratio.mean() - 1) > 0.01
