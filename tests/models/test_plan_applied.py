"""A preview touches nothing; an error on the way leaves the model as it was."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from initlab._base.errors import InvalidValueError
from initlab.models import data_driven, draw, initialize, preview, write


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    )


def values(model: nn.Module):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_unchanged(before: dict[str, torch.Tensor], model: nn.Module):
    assert all(torch.equal(v, model.state_dict()[n]) for n, v in before.items())


@pytest.mark.parametrize("how", ["auto", "he_normal", "orthogonal", "lsuv", "krahenbuhl"])
def test_a_preview_shows_what_apply_does_and_touches_nothing(how: str):
    model, batch = network(), torch.randn(16, 1, 8, 8)
    before, state = values(model), torch.get_rng_state()
    versions = [parameter._version for parameter in model.parameters()]
    with preview(model, how, batch=batch, seed=5) as plan:
        text = str(plan)
        planned = plan.preview()
    assert "would become" in text
    assert "would be drawn from seed 5" in text
    assert_unchanged(before, model)
    assert versions == [parameter._version for parameter in model.parameters()]
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    done = plan.apply()
    assert "became" in str(done)
    assert [one.name for one in planned.changes] == [one.name for one in done.changes]
    for first, second in zip(planned.changes, done.changes, strict=True):
        assert first.before == second.before
        assert first.after == pytest.approx(second.after, rel=1e-4, abs=1e-6)


def test_a_plan_applied_twice_gives_the_same_and_equals_initialize():
    first, second = network(), network()
    plan = preview(first, "auto", seed=3)
    plan.apply()
    once = values(first)
    plan.apply()
    assert_unchanged(once, first)
    initialize(second, "auto", seed=3)
    assert_unchanged(once, second)


def test_the_report_tells_what_was_and_what_is():
    model = network()
    std, mean = model[4].weight.std(correction=0).item(), model[4].weight.mean().item()
    change = initialize(model, "he_normal").changes[4]
    assert change.name == "4.weight"
    assert change.before == pytest.approx((mean, std))
    weight = model[4].weight.detach()
    assert change.after == pytest.approx(
        (weight.mean().item(), weight.std(correction=0).item()), rel=1e-4
    )


@pytest.mark.parametrize("how", ["orthogonal", "lsuv", "metainit"])
def test_an_error_on_the_way_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch, how: str):
    model = network()
    before = values(model)
    calls, real = [], write.write

    def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 5:
            raise RuntimeError("the machine is on fire")
        return real(*args)

    monkeypatch.setattr(write, "write", failing)
    plan = preview(model, how, batch=torch.randn(8, 1, 8, 8))
    if how == "orthogonal":  # of 6 parameters, the 2 rotations come first: only these are saved
        calls += [()] * 3
    with pytest.raises(RuntimeError, match="on fire"):
        plan.apply()
    assert_unchanged(before, model)


def test_an_error_of_the_search_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch):
    model = network()
    before = values(model)

    def failing(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("diverged")

    monkeypatch.setattr(data_driven, "adapt", failing)
    with pytest.raises(RuntimeError, match="diverged"):
        initialize(model, "lsuv", batch=torch.randn(8, 1, 8, 8))
    assert_unchanged(before, model)


def test_what_cannot_be_drawn_is_found_before_anything_is_written(monkeypatch: pytest.MonkeyPatch):
    model = network()
    before = values(model)
    written = []
    monkeypatch.setattr(draw, "fill", lambda *args: written.append(args))
    with pytest.raises(InvalidValueError, match=r"'4.bias', he_normal: cannot read fans"):
        initialize(model, rules=[("4.bias", "he_normal"), ("*", "normal")])
    assert written == []
    assert_unchanged(before, model)


def test_a_parametrisation_that_fails_late_undoes_what_came_before():
    class Late(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return x.square()

    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 4)
    )
    nn.utils.parametrize.register_parametrization(model[2], "weight", Late(), unsafe=True)
    before = values(model)
    with pytest.raises(InvalidValueError, match="cannot be inverted"):
        initialize(model, "orthogonal")
    assert_unchanged(before, model)


def test_a_preview_that_needs_a_copy_of_what_cannot_be_copied_says_so():
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("one of a kind")

    model = nn.Sequential(Stubborn(4, 4))
    plan = preview(model, "lsuv", batch=torch.randn(8, 4))
    with pytest.raises(InvalidValueError, match=r"TypeError: one of a kind; accepted: plan.apply"):
        str(plan)
    plan.apply()


def test_what_a_forward_pass_leaves_in_a_module_is_taken_back():
    class Caching(nn.Linear):
        def forward(self, x: torch.Tensor) -> Any:
            self.cache = super().forward(x)
            return self.cache

    model = nn.Sequential(Caching(4, 4))
    initialize(model, "auto")
    assert not hasattr(model[0], "cache")


def test_a_plan_of_a_model_that_has_changed_since_is_refused():
    model = network()
    plan = preview(model, "he_normal")
    model[4] = nn.Linear(288, 7)
    before = values(model)
    with pytest.raises(InvalidValueError, match=r"has changed since .* \(7, 288\), and had \(10, "):
        plan.apply()
    model[4] = nn.Identity()
    with pytest.raises(InvalidValueError, match=r"has changed since .* '4.weight' is gone"):
        plan.preview()
    del before["4.weight"], before["4.bias"]
    assert_unchanged(before, model)
