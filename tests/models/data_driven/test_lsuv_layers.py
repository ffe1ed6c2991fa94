"""LSUV on PyTorch modules: every layer's measured output has the variance asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab.initializers import get
from initlab.models.data_driven import Adaptation, adapt

WEIGHTED = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build a module from PyTorch's defaults, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype)


def variances(model: nn.Module, *args: Any) -> dict[str, float]:
    """Measure the first output of each weighted module through PyTorch's own hooks."""
    found: dict[str, float] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, out: Tensor) -> None:
            found.setdefault(name, float(out.detach().float().var()))

        return hook

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
        if isinstance(module, WEIGHTED)
    ]
    # As when it trains, but for dropout.
    for module in model.modules():
        module.training = isinstance(module, nn.BatchNorm2d)
    with torch.no_grad():
        model(*args)
    for handle in handles:
        handle.remove()
    return found


def check(model: nn.Module, *args: Any, target: float = 1.0, tolerance: float = 0.1) -> Adaptation:
    before = variances(model, *args)
    assert max(abs(each - target) for each in before.values()) > tolerance  # there is work to do
    done = adapt(model, get(f"lsuv(target={target}, tolerance={tolerance})"), args)
    after = variances(model, *args)
    assert after.keys() == before.keys()
    for name, variance in after.items():
        # PyTorch's hook divides by n - 1.
        assert variance == pytest.approx(target, abs=1.01 * tolerance + 1e-2), name
    assert done.after < tolerance < done.before
    return done


def mlp() -> nn.Module:
    sizes = [10, 30, 40, 20, 5]
    return nn.Sequential(
        *[layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b, bias=False), nn.ReLU())]
    )


def test_a_deep_relu_network():
    check(seeded(mlp), normal(64, 10), target=1.0, tolerance=0.01)


def test_another_target():
    check(seeded(mlp), normal(64, 10), target=0.25, tolerance=0.01)


def test_convolutions_of_all_kinds():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="same", padding_mode="circular", groups=8),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.ConvTranspose2d(8, 6, 4, stride=2, groups=2),
        nn.SiLU(),
        nn.Conv2d(6, 4, 1, bias=False),
        nn.Unflatten(1, (4, 1)),
        nn.Conv3d(4, 2, (1, 3, 3)),
        nn.Flatten(2),
        nn.Conv1d(2, 5, 3, dilation=2),
    )
    x = normal(16, 3, 31, 31)
    check(model, x, tolerance=0.05)


class Backwards(nn.Module):
    """Registered from output to input."""

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Linear(20, 4)
        self.second = nn.Linear(20, 20)
        self.first = nn.Linear(8, 20)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(torch.relu(self.second(torch.relu(self.first(x)))))


def test_execution_order_not_registration_order():
    """In registration order, the standard deviation at the end is a third of what it should be."""
    check(seeded(Backwards), 5 * normal(64, 8), tolerance=0.01)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(12, 12) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(torch.relu(x))
        return x


def test_a_residual_network():
    check(seeded(Residual), normal(64, 12))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Bilinear(5, 7, 9)
        self.end = nn.Linear(9, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.end(torch.tanh(self.both(left, right)))


def test_a_bilinear_layer():
    model = seeded(Pair)
    nn.init.zeros_(model.get_parameter("both.bias"))
    check(model, normal(40, 5), normal(40, 7, seed=2))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(10, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(torch.relu(self.shared(x)))


def test_a_shared_module_is_scaled_once_by_its_first_call():
    model, x = seeded(Twice), normal(64, 10)
    start = model.get_parameter("shared.weight").detach().clone()
    done = check(model, x, tolerance=0.001)
    first = functional.linear(x, start)
    expected = 1 / float(first.std(correction=0))
    assert done.factors["shared.weight"] == pytest.approx(expected, rel=1e-5)
    assert done.notes == ("shared.weight: used 2 times; scaled by the first",)


class Functional(nn.Module):
    """Weights used through functions, in all the ways one writes a product."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"a": (6, 20), "b": (20, 20), "c": (20, 20), "d": (20, 20), "k": (4, 1, 3)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(0.05 * normal(*shape, seed=len(name))))
        self.shift = nn.Parameter(torch.zeros(20))
        self.outputs: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        out = self.outputs
        out["a"] = x @ self.a
        out["b"] = functional.linear(torch.tanh(out["a"]), self.b)
        out["c"] = torch.addmm(self.shift, torch.tanh(out["b"]), self.c)
        out["d"] = torch.einsum("bi,oi->bo", torch.tanh(out["c"]), self.d)
        out["k"] = functional.conv1d(torch.tanh(out["d"])[:, None], self.k)
        return out["k"]


def test_weights_of_functional_calls():
    model = Functional()
    done = adapt(model, get("lsuv"), normal(64, 6))
    assert set(done.factors) == set("abcdk")
    model(normal(64, 6))
    for name, out in model.outputs.items():
        assert float(out.detach().var()) == pytest.approx(1, abs=0.11), name
    assert done.notes == ()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.attention(x, y, y, need_weights=False)[0]


@pytest.mark.parametrize("crossed", [False, True], ids=["self", "cross"])
def test_attention_is_seen_inside(*, crossed: bool):
    model, x = seeded(Attention), normal(8, 10, 16)
    y = 3 * normal(8, 6, 16, seed=5) if crossed else x
    done = adapt(model, get("lsuv(tolerance=0.01)"), (x, y))
    packed = model.get_parameter("attention.in_proj_weight").detach()
    query, rest = functional.linear(x, packed[:16]), functional.linear(y, packed[16:])
    if crossed:
        assert float(query.var()) == pytest.approx(1, abs=0.02)
        assert float(rest.var()) == pytest.approx(1, abs=0.02)
    else:
        assert float(functional.linear(x, packed).var()) == pytest.approx(1, abs=0.02)
    assert set(done.factors) == {"attention.in_proj_weight", "attention.out_proj.weight"}
    assert float(model(x, y).detach().var()) == pytest.approx(1, abs=0.02)


def test_a_transformer_encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.5, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    x = normal(8, 10, 16)
    adapt(model, get("lsuv"), x)
    found = variances(model, x)
    assert {"layers.0.linear1", "layers.1.linear2"} <= found.keys()
    for name, variance in found.items():
        assert variance == pytest.approx(1, abs=0.12), name


def test_half_precision_is_measured_in_float32():
    model = seeded(mlp).to(torch.bfloat16)
    done = adapt(model, get("lsuv"), 300 * normal(64, 10, dtype=torch.bfloat16))
    found = variances(model, 300 * normal(64, 10, dtype=torch.bfloat16))
    assert all(abs(variance - 1) < 0.11 for variance in found.values())
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    assert done.after < 0.1


def test_a_named_selection_alone_changes():
    model = seeded(mlp)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    done = adapt(model, get("lsuv"), normal(64, 10), names=["2.weight"])
    assert set(done.factors) == {"2.weight"}
    for name, value in model.named_parameters():
        assert torch.equal(value, start[name]) == (name != "2.weight")


def test_a_frozen_parameter_stays_unless_it_is_named():
    model = seeded(mlp)
    frozen = model.get_parameter("0.weight").requires_grad_(False)
    start = frozen.detach().clone()
    assert "0.weight" not in adapt(model, get("lsuv"), normal(64, 10)).factors
    assert torch.equal(frozen, start)
    assert "0.weight" in adapt(model, get("lsuv"), normal(64, 10), names=["0.weight"]).factors
    assert not torch.equal(frozen, start)
    assert not frozen.requires_grad


class Dead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.never = nn.Linear(3, 3)
        nn.init.constant_(self.first.bias, -100.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def test_what_cannot_be_scaled_is_left_alone_and_noted():
    model = seeded(Dead)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    done = adapt(model, get("lsuv"), normal(32, 4))
    assert set(done.factors) == {"first.weight"}
    for name in ("second.weight", "never.weight"):
        assert torch.equal(model.get_parameter(name), start[name])
    assert done.notes == (
        "second.weight: left as it is: its output does not vary",
        "never.weight: left as it is: no product with it was seen",
    )


@pytest.mark.parametrize("batch", [torch.full((8, 4), 0.3), torch.zeros(8, 4)])
def test_a_constant_batch_gives_no_infinities(batch: Tensor):
    model = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 3, bias=False))
    adapt(model, get("lsuv"), batch)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_an_exploded_signal_is_left_alone():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    done = adapt(model, get("lsuv"), torch.full((8, 4), torch.inf))
    assert done.factors == {}
    assert "0.weight: left as it is: its output is not finite" in done.notes


def test_a_bias_counts_as_part_of_the_output():
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 50)))
    with torch.no_grad():
        model.get_parameter("0.bias").copy_(0.7 * normal(50, seed=3))
    check(model, 0.1 * normal(200, 8), tolerance=1e-3)


def test_a_bias_that_swamps_the_product_is_noted():
    model = seeded(lambda: nn.Sequential(nn.Linear(8, 50)))
    bias = model.get_parameter("0.bias")
    with torch.no_grad():
        bias.copy_(10 * normal(50, seed=3))
    x = 0.1 * normal(200, 8)
    done = adapt(model, get("lsuv(tolerance=0.01)"), x)
    assert "its bias alone has variance" in done.notes[0]
    product = (model(x) - bias).detach()
    assert float(product.var()) == pytest.approx(1, abs=0.02)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.middle(self.embedding(tokens)))


def test_an_embedding_tied_to_the_head_is_left_alone():
    model = seeded(Tied)
    start = model.embedding.weight.detach().clone()
    done = adapt(model, get("lsuv"), torch.arange(20).reshape(4, 5))
    assert set(done.factors) == {"middle.weight"}
    assert torch.equal(model.embedding.weight, start)
    assert any(note.startswith("embedding.weight: left as it is") for note in done.notes)


def test_recurrent_and_normalised_weights_are_not_scaled():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(6, 8, batch_first=True)
            self.normalised = nn.utils.parametrizations.weight_norm(nn.Linear(8, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.normalised(self.recurrent(x)[0])

    model = Mixed()
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    done = adapt(model, get("lsuv"), normal(4, 3, 6))
    assert done.factors == {}
    assert sum("normalised.parametrizations" in note for note in done.notes) == 2
    for name, value in model.named_parameters():
        assert torch.equal(value, start[name]), name
