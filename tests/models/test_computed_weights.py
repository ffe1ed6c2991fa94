"""Weights that a module computes from others: right, or refused."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import spectral_norm as old_spectral_norm

from initlab._base.errors import InvalidValueError
from initlab.models import initialize, preview

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.nn.utils import weight_norm as old_weight_norm


def old_normed(layer: nn.Module, **kwargs: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return old_weight_norm(layer, **kwargs)


def plain_weight(seed: int = 0, how: str = "he_normal", shape: tuple[int, ...] = (12, 8)):
    model = nn.Sequential(nn.Linear(shape[1], shape[0]))
    initialize(model, how, seed=seed)
    return model[0].weight.detach()


def state(model: nn.Module):
    was_training = model.training
    shown = model.eval()[0].weight.detach().clone()  # in training, to look is to change
    model.train(was_training)
    values = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return {**values, "shown": shown}


def assert_unchanged(before: dict[str, torch.Tensor], model: nn.Module):
    after = state(model)
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor):
        return 2 * x

    def right_inverse(self, x: torch.Tensor):
        return x / 2


class Squared(nn.Module):
    def forward(self, x: torch.Tensor):
        return x.square()


class Broken(nn.Module):
    def forward(self, x: torch.Tensor):
        return x

    def right_inverse(self, x: torch.Tensor):
        if getattr(self, "registered", False):
            raise RuntimeError("not today")
        self.registered = True
        return x


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("make", [parametrizations.weight_norm, old_normed])
def test_under_weight_norm_the_weight_in_use_is_the_one_drawn(make: Any, dim: Any):
    model = nn.Sequential(make(nn.Linear(8, 12), dim=dim))
    report = initialize(model, "he_normal", seed=0)
    torch.testing.assert_close(model[0].weight.detach(), plain_weight())
    x = torch.randn(5, 8)
    torch.testing.assert_close(model(x), x @ plain_weight().T)
    assert [change.name for change in report.changes] == ["0.bias", "0.weight"]


@pytest.mark.parametrize("make", [parametrizations.weight_norm, old_normed])
def test_weight_norm_of_zeros_would_be_nan_and_is_refused(make: Any):
    model = nn.Sequential(make(nn.Linear(8, 12)))
    before = state(model)
    with pytest.raises(InvalidValueError, match="makes nan of these values"):
        initialize(model, "zeros")
    assert_unchanged(before, model)


@pytest.mark.parametrize("make", [parametrizations.spectral_norm, old_spectral_norm])
def test_under_spectral_norm_the_weight_in_use_has_norm_1_at_once(make: Any):
    torch.manual_seed(0)
    model = nn.Sequential(make(nn.Linear(8, 12))).eval()
    report = initialize(model, "normal(std=3)", seed=0)
    model(torch.randn(2, 8))
    drawn = plain_weight(how="normal(std=3)")
    expected = drawn / torch.linalg.matrix_norm(drawn, 2)
    torch.testing.assert_close(model[0].weight.detach(), expected, rtol=0.02, atol=0.02)
    assert "divided by its spectral norm" in str(report)


def test_under_an_orthogonal_parametrisation_an_orthogonal_draw_is_what_is_used():
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(8, 12)))
    report = initialize(model, "orthogonal", seed=0)
    torch.testing.assert_close(model[0].weight.detach(), plain_weight(how="orthogonal"))
    assert report.notes == ()
    # Anything else becomes orthogonal, and the report says who made it so.
    report = initialize(model, "normal", seed=0)
    weight = model[0].weight.detach()
    torch.testing.assert_close(weight.T @ weight, torch.eye(8), atol=1e-5, rtol=0)
    assert "_Orthogonal makes of it" in str(report)


def test_an_invertible_parametrisation_shows_the_drawn_weight():
    model = nn.Sequential(nn.Linear(8, 12))
    parametrize.register_parametrization(model[0], "weight", Doubled())
    memory = model[0].parametrizations.weight.original.data_ptr()
    initialize(model, "he_normal", seed=0)
    torch.testing.assert_close(model[0].weight.detach(), plain_weight())
    assert model[0].parametrizations.weight.original.data_ptr() == memory


@pytest.mark.parametrize("kind", [Squared, Broken])
def test_one_that_cannot_be_inverted_is_refused_and_nothing_changes(kind: Any):
    model = nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4))
    parametrize.register_parametrization(model[0], "weight", kind(), unsafe=True)
    before = state(model)
    with pytest.raises(InvalidValueError, match=rf"computed by {kind.__name__}, which cannot"):
        initialize(model, "he_normal")
    assert_unchanged(before, model)
    report = initialize(model, "he_normal", keep="0.weight")
    assert ("0.weight", "matches keep='0.weight'") in [(k.name, k.reason) for k in report.kept]


def test_pruned_entries_stay_zero_and_the_others_are_the_drawn_ones():
    model = nn.Sequential(nn.Linear(8, 12))
    prune.random_unstructured(model[0], "weight", amount=0.5)
    mask = model[0].weight_mask.clone()
    report = initialize(model, "he_normal", seed=0)
    torch.testing.assert_close(model[0].weight.detach(), plain_weight() * mask)
    assert torch.equal(model[0].weight_mask, mask)
    assert "pruned entries stay 0" in str(report)


def test_a_preview_does_not_touch_what_is_computed():
    for make in (
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        old_normed,
        old_spectral_norm,
    ):
        model = nn.Sequential(make(nn.Linear(8, 12)))
        before = state(model)
        str(preview(model, "he_normal"))
        assert_unchanged(before, model)
        assert model.training
        assert model[0].training


def test_a_recurrent_weight_under_weight_norm_runs_with_the_drawn_one():
    model = nn.LSTM(4, 6)
    parametrizations.weight_norm(model, "weight_hh_l0")
    plain = nn.LSTM(4, 6)
    initialize(model, "orthogonal")
    initialize(plain, "orthogonal")
    x = torch.randn(3, 2, 4)
    torch.testing.assert_close(model(x)[0], plain(x)[0])
