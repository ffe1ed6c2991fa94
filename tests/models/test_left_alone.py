"""What is never written, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from initlab._base.errors import InvalidValueError
from initlab.models import initialize, preview
from initlab.models.report import Report


def network():
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def values(model: nn.Module):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: nn.Module):
    after = model.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def reasons(report: Report):
    return {one.name: one.reason for one in report.kept}


def test_frozen_parameters_are_left_alone():
    model = network()
    model[0].weight.requires_grad_(False)
    before = values(model)
    report = initialize(model, "he_normal")
    assert reasons(report) == {"0.weight": "frozen"}
    assert changed(before, model) == {"0.bias", "3.weight", "3.bias", "5.weight", "5.bias"}
    assert "frozen" in str(report)


def test_buffers_are_never_touched():
    model = network()
    model.register_buffer("table", torch.randn(4))
    model[1].running_mean.fill_(3)
    before = values(model)
    initialize(model, "auto", batch=torch.randn(32, 6))
    initialize(model, "lsuv", batch=torch.randn(32, 6))
    buffers = {name for name, _ in model.named_buffers()}
    assert not changed(before, model) & buffers


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("0.weight", {"0.weight"}),
        ("0", {"0.weight", "0.bias"}),
        ("0.*", {"0.weight", "0.bias"}),
        ("*.bias", {"0.bias", "1.bias", "3.bias", "5.bias"}),
        (["0", "5.weight"], {"0.weight", "0.bias", "5.weight"}),
        ("*", {f"{i}.{own}" for i in (0, 1, 3, 5) for own in ("weight", "bias")}),
    ],
)
def test_keep_takes_parameters_modules_and_wildcards(keep: Any, expected: set[str]):
    model = network()
    before = values(model)
    report = initialize(model, "normal(std=2)", keep=keep)
    assert set(reasons(report)) == expected
    assert all(reason.startswith("matches keep=") for reason in reasons(report).values())
    assert not changed(before, model) & expected


def test_a_pattern_of_keep_that_matches_nothing_is_a_slip():
    model = network()
    before = values(model)
    with pytest.raises(InvalidValueError, match=r"keep: 'lm_head' matches no parameter; the model"):
        initialize(model, "he_normal", keep="lm_head")
    assert not changed(before, model)


def test_a_tied_parameter_is_kept_by_any_of_its_names():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    assert set(reasons(initialize(model, "he_normal", keep="1"))) == {"0.weight"}


def test_other_numbers_and_empty_shapes_are_left_alone():
    model = nn.Module()
    model.phase = nn.Parameter(torch.randn(4, 4, dtype=torch.complex64))
    model.table = nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)
    model.nothing = nn.Parameter(torch.empty(0, 4))
    model.layer = nn.Linear(4, 4)
    report = initialize(model, "he_normal")
    assert reasons(report) == {
        "phase": "complex numbers: no rule draws them",
        "table": "int64 numbers: not trained",
        "nothing": "has no entries",
    }
    assert [one.name for one in report.changes] == ["layer.weight", "layer.bias"]


@pytest.mark.parametrize("how", ["auto", "he_normal"])
def test_a_lazy_module_is_refused(how: str):
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(3))
    before = model[0].weight.detach().clone()
    for batch in (None, torch.randn(2, 4)):
        with pytest.raises(InvalidValueError, match=r"'1.weight' is lazy and has no shape yet"):
            initialize(model, how, batch=batch)
    assert torch.equal(before, model[0].weight)
    assert isinstance(model[1], nn.LazyLinear)


def test_the_meta_device_is_refused_until_there_is_memory():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(InvalidValueError, match=r"'0.weight' is on the meta device"):
        initialize(model, "he_normal")
    model.to_empty(device="cpu")
    other = nn.Sequential(nn.Linear(4, 4))
    initialize(model, "he_normal")
    initialize(other, "he_normal")
    assert torch.equal(model[0].weight, other[0].weight)


def test_a_fake_tensor_is_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415

    with FakeTensorMode():
        model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(InvalidValueError, match="is a fake tensor"):
        initialize(model, "he_normal")


def test_expanded_memory_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(torch.zeros(1, 4).expand(4, 4))
    before = model[0].weight.detach().clone()
    with pytest.raises(InvalidValueError, match=r"'1.weight' is expanded"):
        initialize(model, "he_normal")
    assert torch.equal(before, model[0].weight)


def test_a_partition_of_another_process_is_refused():
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.ds_shape = torch.Size((4, 4))
    model[0].weight.data = torch.empty(0)
    with pytest.raises(InvalidValueError, match="partitioned by DeepSpeed"):
        initialize(model, "he_normal")


def test_what_is_kept_needs_no_values():
    model = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(3))
    report = preview(model, rules=[("0", "he_normal")], keep="1").preview()
    assert set(reasons(report)) == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (5, "keep of type int"),
        (b"0", "keep of type bytes"),
        (["0.*", 3], "keep holds an entry of type int"),
        ([b"0"], "keep holds an entry of type bytes"),
    ],
)
def test_what_is_no_pattern_of_names_is_refused(keep: Any, said: str):
    model = network()
    before = values(model)
    with pytest.raises(InvalidValueError, match=said):
        initialize(model, "he_normal", keep=keep)
    assert changed(before, model) == set()


def test_none_keeps_nothing():
    assert initialize(network(), "he_normal", keep=None).kept == ()
