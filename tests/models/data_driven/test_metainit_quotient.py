"""MetaInit on PyTorch modules: the gradient quotient is right, and falls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from initlab._base.errors import InvalidValueError
from initlab.initializers import get
from initlab.models.data_driven import adapt
from initlab.models.data_driven.metainit import gradient_quotient


def network(scale: float = 1.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(scale)
    return model


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    return x, torch.randint(2, (20,), generator=generator)


def explicit_quotient(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Form the whole Hessian and apply the definition entry by entry."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [value.shape for value in model.parameters()]
    flat = torch.cat([value.detach().reshape(-1) for value in model.parameters()])

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        by = {
            name: part.reshape(shape)
            for name, part, shape in zip(names, parts, shapes, strict=True)
        }
        return functional.cross_entropy(functional_call(model, by, (x,)), labels)

    gradient = torch.func.grad(loss)(flat).numpy()
    hessian = torch.autograd.functional.hessian(loss, flat).numpy()
    total = 0.0
    for g, hg in zip(gradient, hessian @ gradient, strict=True):
        total += abs((g - hg) / (g + math.copysign(1e-5, g)) - 1)
    return total / len(gradient)


def test_the_quotient_against_the_whole_hessian():
    model, (x, labels) = network(2.0), data()
    value = gradient_quotient(functional.cross_entropy(model(x), labels), list(model.parameters()))
    assert float(value.detach()) == pytest.approx(explicit_quotient(model, x, labels), rel=1e-9)


def test_what_is_reported_is_the_quotient_before_and_after_and_it_falls():
    model, (x, labels) = network(3.0), data()
    before = explicit_quotient(model, x, labels)
    done = adapt(model, get("metainit(steps=40)"), x, targets=labels)
    assert done.before == pytest.approx(before, rel=1e-9)
    assert done.after == pytest.approx(explicit_quotient(model, x, labels), rel=1e-9)
    assert done.after < 0.7 * done.before


def test_one_step_follows_the_sign_of_the_derivative_by_the_norm():
    """The derivative comes from differences of the explicit quotient."""
    model, (x, labels) = network(3.0), data()
    expected: dict[str, float] = {}
    for name in ("0.weight", "2.weight"):
        weight = model.get_parameter(name)
        start = weight.detach().clone()
        values: list[float] = []
        for factor in (1.001, 0.999):
            with torch.no_grad():
                weight.copy_(start * factor)
            values.append(explicit_quotient(model, x, labels))
        with torch.no_grad():
            weight.copy_(start)
        norm = float(start.norm())
        expected[name] = (norm - 0.1 * np.sign(values[0] - values[1])) / norm
    done = adapt(model, get("metainit(steps=1, rate=0.1)"), x, targets=labels)
    assert done.factors == pytest.approx(expected, rel=1e-9)


def test_only_norms_of_weights_change():
    model, (x, labels) = network(3.0), data()
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    done = adapt(model, get("metainit(steps=5)"), x, targets=labels)
    assert set(done.factors) == {"0.weight", "2.weight"}
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), start[name] * done.factors.get(name, 1.0))


def test_without_targets_they_are_random_and_follow_from_the_seed():
    runs = [adapt(network(3.0), get("metainit(steps=3)"), data()[0], seed=s) for s in (0, 0, 1)]
    assert runs[0].before == runs[1].before
    assert runs[0].factors == runs[1].factors
    assert runs[0].before != runs[2].before


def test_an_output_with_more_axes_is_compared_to_noise():
    model = nn.Conv1d(2, 3, 3)
    x = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0))
    done = adapt(model, get("metainit(steps=5)"), x)
    assert 0 < done.after <= done.before


def test_attention_and_convolution_have_the_derivatives_it_takes():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv1d(4, 8, 3, padding=1)
            self.norm = nn.BatchNorm1d(8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.gelu(self.norm(self.convolution(x))).transpose(1, 2)
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(dim=1))

    done = adapt(Model(), get("metainit(steps=3)"), torch.randn(6, 4, 10))
    assert done.after <= done.before
    assert {"convolution.weight", "attention.in_proj_weight"} <= done.factors.keys()


def test_a_layer_without_second_derivative_is_refused():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004 - PyTorch's protocol
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004 - as above
            return 2 * gradient

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(self.layer(x))

    model = Model()
    start = model.layer.weight.detach().clone()
    with pytest.raises(InvalidValueError, match=r"metainit needs second derivatives.*once_diff"):
        adapt(model, get("metainit"), torch.randn(5, 3))
    assert torch.equal(model.layer.weight, start)


def test_a_weight_of_zeros_is_left_alone():
    model = network(1.0)
    nn.init.zeros_(model.get_parameter("2.weight"))
    done = adapt(model, get("metainit(steps=2)"), data()[0])
    assert done.notes == ("2.weight: left as it is: its norm is 0",)
    assert set(done.factors) == {"0.weight"}
