"""Bad input: one line that says what is wrong and at which layer, and what could be measured."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initlab import diagnose
from initlab._base.errors import InvalidValueError
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.factory import build


def batch(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


class Calls(nn.Module):
    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


def rows(report: Diagnosis) -> list[str]:
    """Return the names that have rows; a report with a problem is still a whole one."""
    assert "\n" not in report.problem
    assert report.verdict == "findings"
    assert json.loads(report.to_json())["problem"] == report.problem
    assert report.problem in report.text()
    return [row.name for row in report.layers]


# Factories.


def _raising() -> Any:
    raise ValueError("no data\nat all")


def _leaving() -> Any:
    raise SystemExit(3)


FACTORIES: dict[str, tuple[Any, str]] = {
    "raises": (_raising, r"_raising\(\) raises ValueError: no data$"),
    "leaves": (_leaving, r"_leaving\(\) raises SystemExit: 3"),
    "returns nothing": (lambda: None, "returns nothing; accepted: a model"),
    "returns a number": (lambda: 3, "returns int; accepted"),
    "returns inputs alone": (lambda: (batch(2, 3),), "returns a tuple of Tensor; accepted"),
    "returns too much": (lambda: (mlp(), 1, 2, 3), "returns a tuple of Sequential, int, int, int"),
    "is no function": ("mlp", "of type str; accepted: a function"),
    "needs arguments": (lambda width: nn.Linear(width, 1), "raises TypeError: .*width"),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_factory_that_makes_no_model(name: str):
    factory, told = FACTORIES[name]
    with pytest.raises(InvalidValueError, match=told) as caught:
        build(factory)
    assert "\n" not in str(caught.value)


def test_a_factory_may_return_inputs_and_targets():
    x = batch(8, 6)
    assert build(mlp).inputs is None
    assert build(lambda: (mlp(), x)).inputs is x
    assert build(lambda: (mlp(), x, 3)).targets == 3
    net = mlp()
    assert build(net).model is net
    assert isinstance(build(nn.Linear, {"in_features": 3, "out_features": 4}).model, nn.Linear)


# Models that cannot be looked at.


def _lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.LazyLinear(4)


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.jit.script(mlp()))


REFUSED: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "no module": (lambda: mlp, batch(8, 6), "of type function is no torch.nn.Module"),
    "no parameters": (nn.ReLU, batch(8, 6), "ReLU has no parameters"),
    "lazy": (_lazy, batch(8, 6), "lazy"),
    "meta": (lambda: nn.Linear(6, 4, device="meta"), batch(8, 6), "meta"),
    "scripted": (_scripted, batch(8, 6), "0 is compiled by torch.jit"),
    "an empty batch": (mlp, torch.zeros(0, 6), r"empty tensor, of shape \(0, 6\)"),
    "no tensor": (mlp, "digits", "type str holds no tensor"),
    "no tensor in it": (mlp, {"x": 3}, "type dict holds no tensor"),
    "no inputs at all": (mlp, (), "holds no tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_looked_at_is_refused(name: str):
    make, inputs, told = REFUSED[name]
    with pytest.raises(InvalidValueError, match=told) as caught:
        diagnose(make(), inputs)
    assert "\n" not in str(caught.value)


# Models that do not run.


def test_inputs_of_the_wrong_shape():
    report = diagnose(mlp(), batch(8, 5))
    assert rows(report) == []
    assert "at 0 (Linear): RuntimeError: mat1 and mat2 shapes" in report.problem
    assert "inputs: float32 of shape (8, 5)" in report.problem
    assert report.layers == ()


def test_a_shape_that_stops_fitting_later():
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Sequential(nn.Linear(15, 4)))
    report = diagnose(net, batch(8, 6))
    assert "at 2.0 (Linear)" in report.problem
    assert rows(report) == ["0", "1"]
    assert report.layers[0].second_moment is not None
    assert report.layers[0].std is not None


def test_whole_numbers_for_a_layer_that_takes_others():
    report = diagnose(mlp(), torch.ones(8, 6, dtype=torch.long))
    assert "at 0 (Linear)" in report.problem
    assert "int64 of shape (8, 6)" in report.problem
    rows(report)


def test_other_numbers_for_tokens():
    report = diagnose(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)), batch(8, 6))
    assert "at 0 (Embedding)" in report.problem
    rows(report)


def test_a_token_that_the_table_does_not_have():
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    report = diagnose(net, torch.full((8, 6), 9))
    assert "at 0 (Embedding)" in report.problem
    rows(report)


def test_arguments_that_forward_does_not_take():
    report = diagnose(mlp(), {"pixels": batch(8, 6)})
    assert "TypeError" in report.problem
    report = diagnose(mlp(), (batch(8, 6), batch(8, 6)))
    assert "TypeError" in report.problem
    rows(report)


def test_an_error_of_the_models_own():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.net(x)
        raise KeyError("mask")

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert "at Calls: KeyError: 'mask'" in report.problem
    assert rows(report) == ["net.0", "net.1", "net.2"]


def test_an_error_without_words():
    def forward(self: Any, x: Tensor) -> Tensor:
        raise NotImplementedError

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert "NotImplementedError" in report.problem
    rows(report)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_in_the_forward_pass(error: type[Exception], monkeypatch: Any):
    net, calls = mlp(), []

    def forward(x: Tensor) -> Tensor:
        calls.append(x)
        raise error("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(net[2], "forward", forward)
    report = diagnose(net, batch(8, 6))
    assert "at 2 (Linear): out of memory; give a smaller batch" in report.problem
    assert rows(report) == ["0", "1"]
    assert len(calls) == 1


def test_out_of_memory_of_the_cpus_own_kind():
    def forward(self: Any, x: Tensor) -> Tensor:
        del self, x
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ... bytes")

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert "out of memory" in report.problem
    rows(report)


class Fails(torch.autograd.Function):
    """Goes forth, not back."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x * 2

    @staticmethod
    def backward(_ctx: Any, g: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise torch.OutOfMemoryError(f"for {tuple(g.shape)}")


def test_out_of_memory_in_the_backward_pass():
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.net[2](self.net[1](Fails.apply(self.net[0](x))))

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert "the backward pass fails" in report.problem
    assert "out of memory" in report.problem
    assert rows(report)[0] == "net.0"
    assert report.layers[-1].gradient_norm is not None
    assert report.layers[0].gradient_norm is None


def test_a_write_in_place_that_breaks_autograd():
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x).sigmoid()
            y.add_(1)
            return y

    net = nn.Sequential(nn.Linear(6, 16), Shifts(), nn.Linear(16, 4))
    report = diagnose(net, batch(8, 6))
    assert "the backward pass fails at 1 (add_, which writes in place)" in report.problem
    assert {"0", "1.layer", "2"} <= set(rows(report))
    assert all(row.second_moment is not None for row in report.layers)


def test_a_write_into_a_leaf_that_trains():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.layer.weight.mul_(2)
        return self.layer(x)

    report = diagnose(Calls(forward, layer=nn.Linear(6, 4)), batch(8, 6))
    assert "in-place operation" in report.problem
    rows(report)


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda y: y.argmax(-1), "a tensor of int64"),
        (lambda _y: None, "nothing"),
        (lambda y: {"classes": y.argmax(-1)}, "dict"),
        (lambda y: torch.view_as_complex(y.view(-1, 2, 2)), "a tensor of complex64"),
        (lambda _y: "cat", "str"),
    ],
)
def test_no_floating_point_output(wrap: Callable[[Tensor], Any], told: str):
    report = diagnose(Calls(lambda self, x: wrap(self.net(x)), net=mlp()), batch(8, 6))
    assert f"the model returns {told} without a floating-point tensor" in report.problem
    assert rows(report) == ["net.0", "net.1", "net.2"]


def test_nested_tensors_are_not_followed():
    def forward(self: Any, x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ragged = torch.nested.nested_tensor([*x.split([3, 5])], layout=torch.jagged)
        return self.net(ragged)

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert report.problem
    rows(report)


def test_sparse_outputs_are_not_followed():
    report = diagnose(Calls(lambda self, x: self.net(x).to_sparse(), net=mlp()), batch(8, 6))
    assert "sparse" in report.problem
    rows(report)


# What is not finite at the start.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_parameter_that_is_not_finite(value: float):
    net = mlp()
    with torch.no_grad():
        net[2].weight[1, 3] = value
        net[0].bias[3] = 9  # inf times 0 would be nan
    word = "nan" if value != value else "inf"  # noqa: PLR0124 - what nan is
    report = diagnose(net, batch(8, 6), torch.arange(8) % 4)
    told = f"the output of 2 (Linear) is {word} from the start: 2.weight holds {word}"
    assert report.problem.startswith(told)
    assert rows(report) == ["0", "1", "2"]
    assert "evaluation mode" not in " ".join(report.notes)


def test_an_operation_that_makes_nan():
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.net[2](torch.log(self.net[0](x)))

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert report.problem == "the output of Calls (log) is nan from the start"
    rows(report)


def test_a_running_variance_below_zero():
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, eps=0))
    net[1].running_var.fill_(-1)
    report = diagnose(net, batch(1, 6))
    assert report.problem.startswith("the output of 1 (BatchNorm1d) is nan from the start")
    rows(report)


def test_signals_that_grow_beyond_all_numbers():
    layers = [nn.Linear(64, 64, bias=False) for _ in range(60)]
    for layer in layers:
        nn.init.normal_(layer.weight)
    report = diagnose(nn.Sequential(*layers), batch(8, 64))
    assert "inf from the start" in report.problem
    assert len(rows(report)) == 60


def test_inputs_that_are_not_finite():
    x = batch(8, 6)
    x[3, 2] = float("nan")
    report = diagnose(mlp(), x)
    assert report.problem == "the inputs hold nan: in 1 of 6 features"
    rows(report)


def test_targets_that_are_not_finite():
    targets = batch(8, 4)
    targets[0, 0] = float("nan")
    report = diagnose(mlp(), batch(8, 6), targets)
    assert report.problem == "the loss is nan from the start: the targets hold nan"
    rows(report)


def test_a_loss_that_is_not_finite():
    report = diagnose(mlp(), batch(8, 6), loss=lambda y, _: y.sum() * float("inf"))
    assert report.problem.startswith("the loss is inf from the start")
    rows(report)


def test_a_gradient_that_is_not_finite():
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.net[2](torch.sqrt(self.net[0](x).abs() * 0))

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert "the gradient of the loss by the output of" in report.problem
    assert "is nan from the start" in report.problem or "is inf from the start" in report.problem
    rows(report)


def test_nan_that_goes_nowhere_does_not_matter():
    def forward(self: Any, x: Tensor) -> Tensor:
        torch.log(-x.abs())
        return self.net(x)

    report = diagnose(Calls(forward, net=mlp()), batch(8, 6))
    assert not report.problem
