"""Values follow from seed and name alone, however a parameter is kept."""

import pytest
import torch
from torch import nn

from initlab.models import gaussian, initialize, preview


class Tied(nn.Module):
    """A small language model whose head shares the embedding's weight."""

    def __init__(self, *, head_first: bool = False) -> None:
        super().__init__()
        parts = {"embedding": nn.Embedding(40, 16), "middle": nn.Linear(16, 16)}
        parts["head"] = nn.Linear(16, 40, bias=False)
        for name in reversed(parts) if head_first else parts:
            setattr(self, name, parts[name])
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor):
        return self.head(self.middle(self.embedding(tokens)).relu())


class Layers(nn.Module):
    """Layers in a given order of registration; always run in the same."""

    def __init__(
        self, order: tuple[str, ...] = ("a", "b", "c"), more: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        for name in (*order, *more):
            setattr(self, name, nn.Linear(24, 24))

    def forward(self, x: torch.Tensor):
        for name in ("a", "b", "c"):
            x = torch.relu(getattr(self, name)(x))
        return x


def values(model: nn.Module):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same(first: nn.Module, second: nn.Module):
    assert set(first) <= set(second)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("how", ["normal(std=0.02)", "he_normal", "orthogonal", "auto"])
def test_values_follow_from_seed_and_name_not_from_registration(how: str):
    first, second = Layers(), Layers(order=("c", "a", "b"))
    initialize(first, how, seed=7)
    initialize(second, how, seed=7)
    assert_same(values(first), values(second))


@pytest.mark.parametrize("how", ["normal(std=0.02)", "he_normal", "truncated_normal(0.02)"])
def test_layers_elsewhere_change_nothing(how: str):
    first, second = Layers(), Layers(more=("d", "e"))
    initialize(first, how, seed=7)
    initialize(second, how, seed=7)
    assert_same(values(first), values(second))


def test_another_seed_gives_other_values_and_every_layer_its_own():
    model = Layers()
    initialize(model, "he_normal", seed=0)
    first = values(model)
    initialize(model, "he_normal", seed=1)
    assert not torch.equal(first["a.weight"], model.a.weight)
    assert not torch.equal(model.a.weight, model.b.weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", ["normal(std=0.02)", "orthogonal", "truncated_normal(0.02)"])
def test_other_dtypes_get_the_float32_values_rounded(how: str, dtype: torch.dtype):
    single, other = Layers(), Layers().to(dtype)
    initialize(single, how, seed=3)
    initialize(other, how, seed=3)
    assert_same({name: v.to(dtype) for name, v in values(single).items()}, values(other))
    assert all(parameter.dtype == dtype for parameter in other.parameters())


def test_the_number_of_threads_changes_nothing():
    first, second = nn.Linear(1500, 1500), nn.Linear(1500, 1500)
    before = torch.get_num_threads()
    initialize(first, "normal(std=0.02)")
    try:
        torch.set_num_threads(1)
        initialize(second, "normal(std=0.02)")
    finally:
        torch.set_num_threads(before)
    assert_same(values(first), values(second))


def test_memory_layout_changes_nothing():
    plain = nn.Conv2d(3, 8, 3)
    last = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    assert not last.weight.is_contiguous()
    initialize(plain, "he_normal")
    initialize(last, "he_normal")
    assert_same(values(plain), values(last))
    assert last.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_transposed_view_is_written_by_its_own_axes():
    first, second = nn.Linear(5, 3), nn.Linear(5, 3)
    second.weight = nn.Parameter(torch.zeros(5, 3).T)
    initialize(first, "he_normal")
    initialize(second, "he_normal")
    assert torch.equal(first.weight, second.weight)
    assert second.weight.stride() == (1, 3)


def test_a_tied_parameter_is_written_once_whatever_the_order():
    first, second = Tied(), Tied(head_first=True)
    report = initialize(first, "auto", seed=2)
    initialize(second, "auto", seed=2)
    assert [change.name for change in report.changes] == [
        "embedding.weight",
        "middle.weight",
        "middle.bias",
    ]
    assert report.changes[0].tied == ("head.weight",)
    assert first.head.weight is first.embedding.weight
    assert torch.equal(first.embedding.weight, second.embedding.weight)


def test_a_compiled_model_gets_the_values_of_the_model_within():
    first = Layers()
    wrapped = nn.Module()
    wrapped._orig_mod = Layers()
    initialize(first, "he_normal")
    initialize(wrapped, "he_normal")
    assert_same(values(first), values(wrapped._orig_mod))


def test_parameters_stay_the_same_objects_in_the_same_memory():
    model = Layers()
    objects = [(p, p.data_ptr()) for p in model.parameters()]
    initialize(model, "he_normal")
    assert all(p is q for (p, _), q in zip(objects, model.parameters(), strict=True))
    assert all(p.data_ptr() == pointer for p, pointer in objects)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_autograd_notices_that_a_weight_was_changed():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    loss = model(torch.ones(2, 3, requires_grad=True)).sum()
    initialize(model, "he_normal")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_pytorchs_own_random_numbers_are_not_touched():
    model = Layers()
    before = torch.get_rng_state()
    initialize(model, "auto")
    str(preview(model, "auto"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "model",
    [
        nn.Module(),
        nn.Sequential(nn.ReLU()),
        nn.Sequential(nn.BatchNorm1d(3, affine=False)),
        nn.ModuleList(),
    ],
)
def test_a_model_without_parameters_is_no_error(model: nn.Module):
    report = initialize(model, "he_normal")
    assert report.changes == report.kept == ()
    assert "0 parameters" in str(report)
    assert str(preview(model, "auto"))


def test_the_default_device_does_not_matter():
    gaussian.grid.cache_clear()
    first, second = Layers(), Layers()
    with torch.device("meta"):
        initialize(first, "auto", seed=2)
    initialize(second, "auto", seed=2)
    assert_same(values(first), values(second))
