"""Adapting changes the parameters it is to change, and nothing else of the model or of PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.initializers import get
from initlab.models.data_driven import adapt, is_data_driven

RULES = ["lsuv", "krahenbuhl(rounds=2)", "metainit(steps=2)", "gradinit(steps=2)"]


class Model(nn.Module):
    """Has everything that running it can disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(8, 3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("cache", torch.zeros(1), persistent=False)
        self.calls = 0
        self.broken = False

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.cache = torch.full((self.calls,), float(self.calls))
        x = self.drop(torch.relu(self.norm(self.first(x)))) + torch.rand(1)
        x = self.second(x)
        if self.broken and self.calls > 2:
            raise RuntimeError("broken on purpose")
        return self.frozen(x)


def make() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model()
    model.first.weight.grad = torch.ones(8, 6)
    model.drop.eval()
    return model


def batch() -> Tensor:
    return 5 + torch.randn(16, 6, generator=torch.Generator().manual_seed(1))


def state(model: Model) -> dict[str, Any]:
    assert model.first.weight.grad is not None
    return {
        "buffers": {name: buffer.clone() for name, buffer in model.named_buffers()},
        "same buffers": [id(buffer) for buffer in model.buffers()],
        "same parameters": [value.data_ptr() for value in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "flags": [value.requires_grad for value in model.parameters()],
        "grads": [value.grad is None for value in model.parameters()],
        "grad": model.first.weight.grad.clone(),
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "calls": model.calls,
        "random": torch.get_rng_state(),
        "seed": torch.initial_seed(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "grad mode": torch.is_grad_enabled(),
        "cudnn": torch.backends.cudnn.enabled,
        "versions": [value.is_leaf for value in model.parameters()],
        "frozen": model.frozen.weight.detach().clone(),
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("training", [True, False])
def test_everything_else_is_as_before(rule: str, *, training: bool):
    model = make().train(training)
    model.first.register_forward_hook(lambda *_: None)
    before = state(model)
    done = adapt(model, get(rule), batch(), seed=3)
    after = state(model)
    for key, value in before.items():
        assert same(value, after[key]), key
    assert done.factors


@pytest.mark.parametrize("rule", RULES)
def test_everything_is_as_before_when_the_model_fails(rule: str):
    model = make()
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    model.broken = True
    before = state(model)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        adapt(model, get(rule), batch())
    after = state(model)
    for key, value in before.items():
        assert same(value, after[key]), key
    assert same(start, {name: value.detach() for name, value in model.named_parameters()})


@pytest.mark.parametrize("rule", RULES)
def test_the_result_follows_from_the_seed_alone(rule: str):
    results = []
    for ambient in (1, 2):
        model = make()
        with torch.random.fork_rng():
            torch.manual_seed(ambient)
            adapt(model, get(rule), batch(), seed=5)
        results.append({name: value.detach() for name, value in model.named_parameters()})
    assert same(*results)


@pytest.mark.parametrize("rule", RULES)
def test_it_works_where_gradients_are_switched_off(rule: str):
    expected, model = make(), make()
    adapt(expected, get(rule), batch())
    with torch.no_grad():
        adapt(model, get(rule), batch())
    assert same(expected.state_dict(), model.state_dict())


@pytest.mark.parametrize("rule", RULES)
def test_recurrent_modules_pass_through(rule: str):
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.GRU(4, 6, batch_first=True)
            self.head = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(x)[0][:, -1])

    model = Recurrent()
    before = model.cells._flat_weights
    adapt(model, get(rule), torch.randn(8, 5, 4))
    assert all(a is b for a, b in zip(before, model.cells._flat_weights, strict=True))
    model(torch.randn(8, 5, 4)).sum().backward()


@pytest.mark.parametrize("rule", RULES)
def test_models_with_nothing_to_adapt(rule: str):
    for model in (nn.Identity(), nn.Sequential(), nn.Sequential(nn.ReLU())):
        done = adapt(model, get(rule), torch.randn(4, 3))
        assert done.factors == {}


@pytest.mark.parametrize(
    ("make_model", "given", "names", "error", "says"),
    [
        (make, torch.zeros(0, 6), None, InvalidValueError, "no samples"),
        (make, [1, 2], None, InvalidValueError, "holds no tensor"),
        (make, torch.zeros(4, 6), ["firts.weight"], UnknownNameError, "did you mean"),
        (lambda: nn.LazyLinear(3), torch.zeros(4, 6), None, InvalidValueError, "lazy"),
        (
            lambda: nn.Linear(6, 3, device="meta"),
            torch.zeros(4, 6),
            None,
            InvalidValueError,
            "meta device",
        ),
    ],
)
def test_refusals(
    make_model: Callable[[], nn.Module], given: Any, names: Any, error: Any, says: str
):
    with pytest.raises(error, match=says):
        adapt(make_model(), get("lsuv"), given, names=names)


def test_an_initializer_that_needs_no_data_is_refused():
    with pytest.raises(InvalidValueError, match="he_normal needs no data"):
        adapt(make(), get("he_normal"), batch())
    assert not is_data_driven(get("he_normal"))
    assert is_data_driven(get("lsuv(steps=3)"))


def test_targets_that_do_not_fit_are_refused():
    for targets in (torch.zeros(16, dtype=torch.long).reshape(4, 4), torch.zeros(16, 2)):
        with pytest.raises(InvalidValueError, match="accepted"):
            adapt(make(), get("metainit"), batch(), targets=targets)


def test_complex_integer_and_empty_parameters_are_left_alone():
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_parameter("phase", nn.Parameter(torch.ones(2, 2, dtype=torch.complex64)))
    model.register_parameter(
        "index", nn.Parameter(torch.ones(2, 2, dtype=torch.long), requires_grad=False)
    )
    model.register_parameter("empty", nn.Parameter(torch.ones(0, 2)))
    for rule in RULES:
        twin = copy.deepcopy(model)
        done = adapt(twin, get(rule), torch.randn(8, 4))
        assert {name for name in done.factors if not name.startswith("0.")} <= {"empty"}
        assert torch.equal(twin.get_parameter("phase"), model.get_parameter("phase"))
