"""Whatever a model does when it runs: a diagnosis leaves it and all random states bit for bit."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from initlab import diagnose

# PyTorch's own, as its compiler loads.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

MODELS: dict[str, Callable[[], Any]] = {}


def model(make: Callable[[], Any]) -> Callable[[], Any]:
    """Add a function that returns a model and what it runs on."""
    MODELS[make.__name__] = make
    return make


class Calls(nn.Module):
    """Runs a function of itself and of its inputs."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def batch(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def mlp(*, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16, bias=bias), nn.ReLU(), nn.Linear(16, 4))


@model
def plain():
    return mlp(), batch(16, 6)


@model
def named_inputs():
    def forward(self: Any, *, x: Tensor, mask: Tensor) -> Tensor:
        return self.net(x * mask)

    return Calls(forward, net=mlp()), {"x": batch(16, 6), "mask": torch.ones(16, 6)}


@model
def a_dictionary_as_one_argument():
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.net(batch["x"] + batch["y"])

    return Reads(), {"x": batch(16, 6), "y": batch(16, 6)}


@model
def only_functions():
    def forward(self: Any, x: Tensor) -> Tensor:
        return functional.relu(functional.linear(x, self.a)) @ self.b

    a, b = nn.Parameter(batch(32, 6) / 2), nn.Parameter(batch(32, 5) / 4)
    return Calls(forward, a=a, b=b), batch(16, 6)


@model
def one_module_twice():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer), batch(16, 6)


@model
def called_in_a_loop():
    def forward(self: Any, x: Tensor) -> Tensor:
        for _ in range(4):
            x = torch.tanh(self.layer(x))
        return x

    return Calls(forward, layer=nn.Linear(6, 6)), batch(16, 6)


@model
def recurrent():
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])

    lstm = nn.LSTM(6, 8, num_layers=2, dropout=0.5, batch_first=True)
    return Calls(forward, rnn=lstm, head=nn.Linear(8, 3)), batch(8, 5, 6)


@model
def recurrent_cells():
    def forward(self: Any, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 8)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return h

    return Calls(forward, cell=nn.GRUCell(6, 8)), batch(8, 5, 6)


@model
def attention():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 2), batch(8, 5, 16)


@model
def convolutions_and_batch_norm():
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.5))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 36, 4)), batch(8, 3, 6, 6)


@model
def half_of_it_in_evaluation_mode():
    net = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.3))
    net[0].eval()
    return net, batch(16, 6)


@model
def bfloat16():
    return mlp().to(torch.bfloat16), batch(16, 6).to(torch.bfloat16)


@model
def float16():
    return mlp().to(torch.float16), batch(16, 6).to(torch.float16)


@model
def float64():
    return mlp().double(), batch(16, 6).double()


@model
def autocast():
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def compiled():
    return torch.compile(mlp()), batch(16, 6)


@model
def compiled_in_place():
    net = mlp()
    net.compile()
    return net, batch(16, 6)


@model
def a_compiled_part():
    return nn.Sequential(torch.compile(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 4)), batch(16, 6)


@model
def data_parallel():
    return nn.DataParallel(mlp()), batch(16, 6)


@model
def spectral_norm_of_old():
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 16)), nn.ReLU()), batch(16, 6)


@model
def weight_norm_of_old():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 16)), nn.ReLU()), batch(16, 6)


@model
def parametrized():
    first = parametrizations.spectral_norm(nn.Linear(6, 16))
    second = parametrizations.weight_norm(nn.Linear(16, 16))
    third = parametrizations.orthogonal(nn.Linear(16, 16))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third), batch(16, 6)


@model
def writes_into_its_parameters():
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.layer.weight.mul_(0.5)
            self.layer.weight.data.add_(1.0)
            self.layer.bias[:2].zero_()
        return self.layer(x)

    return Calls(forward, layer=nn.Linear(6, 4)), batch(16, 6)


@model
def writes_into_the_data_of_its_parameters():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.layer.weight.data = self.layer.weight.data / self.layer.weight.data.norm()
        return self.layer(x)

    return Calls(forward, layer=nn.Linear(6, 4)), batch(16, 6)


@model
def writes_into_its_buffers():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.total += x.sum().detach()
        self.seen = self.seen + 1
        self.last = x
        self.lines.append(x.shape)
        return self.layer(x)

    net = Calls(forward, layer=nn.Linear(6, 4), total=torch.zeros(1), seen=torch.zeros(1))
    net.last, net.lines = None, []
    return net, batch(16, 6)


@model
def swaps_its_parameter():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.layer.weight = nn.Parameter(self.layer.weight.detach() * 2)
        return self.layer(x)

    return Calls(forward, layer=nn.Linear(6, 4)), batch(16, 6)


@model
def turns_off_its_own_gradients():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.frozen.requires_grad_(requires_grad=False)
        return self.head(self.frozen(x))

    return Calls(forward, frozen=nn.Linear(6, 8), head=nn.Linear(8, 4)), batch(16, 6)


@model
def writes_into_its_inputs():
    def forward(self: Any, x: Tensor) -> Tensor:
        x.mul_(2)
        x[:, 0] = 0
        return self.net(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def takes_from_a_dictionary():
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            mask = batch.pop("mask")
            if self.training or self.net.training:
                raise RuntimeError("not this way")
            return self.net(batch.pop("x") * mask)

    return Takes(), {"x": batch(16, 6), "mask": torch.ones(16, 6)}


@model
def goes_on_behind_an_error():
    def forward(self: Any, x: Tensor) -> Tensor:
        try:
            x = self.net(x[:, :3])
        except RuntimeError:
            x = self.net(x)
        return torch.tanh(self.last(x))

    return Calls(forward, net=mlp(), last=nn.Linear(4, 4)), batch(16, 6)


@model
def draws_numbers():
    def forward(self: Any, x: Tensor) -> Tensor:
        noise = random.random() + np.random.rand()  # noqa: NPY002, S311 - what users write
        return self.net(x + torch.randn_like(x) * noise)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def seeds_itself():
    def forward(self: Any, x: Tensor) -> Tensor:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002 - what users write
        random.seed(1)
        return self.net(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def hooks_of_its_own():
    net = mlp()
    net[0].register_forward_hook(lambda _module, _args, output: output * 2)
    net[0].register_forward_pre_hook(lambda _module, args: (args[0] + 1,))
    net[0].register_full_backward_hook(lambda _module, gradient, _out: gradient)
    net[2].weight.register_hook(lambda gradient: gradient * 2)
    net[2].weight.register_post_accumulate_grad_hook(_step)
    return net, batch(16, 6)


def _step(parameter: Tensor) -> None:
    raise AssertionError(f"a step of an optimizer, {tuple(parameter.shape)}")


@model
def a_step_in_a_gradients_hook():
    net = mlp()

    def step(gradient: Tensor) -> None:
        with torch.no_grad():
            net[2].weight -= 0.1 * gradient

    net[2].weight.register_hook(step)
    return net, batch(16, 6)


@model
def keeps_gradients_of_a_signal():
    def forward(self: Any, x: Tensor) -> Tensor:
        h = self.net[0](x)
        h.retain_grad()
        return self.net[2](self.net[1](h))

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def goes_back_by_itself():
    def forward(self: Any, x: Tensor) -> Tensor:
        self.net(x).square().mean().backward()
        return self.net(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def penalises_its_gradients():
    def forward(self: Any, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        y = self.net(x).sum()
        return torch.autograd.grad(y, x, create_graph=True)[0].square().sum()

    return Calls(forward, net=mlp()), batch(16, 6)


def _checkpointed(*, reentrant: bool) -> tuple[nn.Module, Tensor]:
    def forward(self: Any, x: Tensor) -> Tensor:
        h = self.first(x)
        h = checkpoint(self.second, h, use_reentrant=reentrant)
        return self.third(h)

    second = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8))
    return Calls(forward, first=nn.Linear(6, 8), second=second, third=nn.Linear(8, 4)), batch(16, 6)


@model
def checkpointed():
    return _checkpointed(reentrant=False)


@model
def checkpointed_as_of_old():
    return _checkpointed(reentrant=True)


@model
def frozen():
    return mlp().requires_grad_(requires_grad=False), batch(16, 6)


@model
def frozen_in_part():
    net = mlp()
    net[0].requires_grad_(requires_grad=False)
    return net, batch(16, 6)


@model
def already_with_gradients():
    net = mlp()
    net(batch(16, 6)).sum().backward()
    return net, batch(16, 6)


@model
def only_a_loss_in_training():
    def forward(self: Any, x: Tensor, labels: Tensor) -> Any:
        if not self.training:
            raise RuntimeError("no loss in evaluation mode")
        return {"loss": functional.cross_entropy(self.net(x), labels)}

    return Calls(forward, net=mlp()), {"x": batch(16, 6), "labels": torch.arange(16) % 4}


class Sign(torch.autograd.Function):
    """A gradient of its own: straight through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return g * (x.abs() < 1)


@model
def a_function_of_its_own():
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.net[2](Sign.apply(self.net[0](x)))

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def vmapped():
    def forward(self: Any, x: Tensor) -> Tensor:
        return torch.vmap(lambda row: torch.tanh(self.net[0](row)))(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def without_gradients():
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.net(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def in_inference_mode():
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.net(x)

    return Calls(forward, net=mlp()), batch(16, 6)


@model
def one_sample_for_batch_norm():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()), batch(1, 6)


@model
def raises_behind_a_write():
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.layer.weight.zero_()
        self.layer.eval()
        self.more = 1
        raise RuntimeError(f"no more {x.shape}")

    return Calls(forward, layer=nn.Linear(6, 4)), batch(16, 6)


@dataclass
class State:
    """All that a diagnosis has to leave alone."""

    tensors: dict[str, tuple[int, torch.dtype, bytes]]
    gradients: dict[str, tuple[int, bytes] | None]
    flags: dict[str, bool]
    modules: dict[str, dict[str, Any]]
    lists: dict[str, Any]
    randomness: tuple[Any, ...]
    settings: tuple[Any, ...]
    inputs: list[bytes]


def bits(value: Tensor) -> bytes:
    return value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def state(net: nn.Module, inputs: Any) -> State:
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    parameters = dict(net.named_parameters())
    leaves = torch.utils._pytree.tree_leaves(inputs)
    return State(
        {name: (id(x), x.dtype, bits(x)) for name, x in tensors.items()},
        {
            name: None if x.grad is None else (id(x.grad), bits(x.grad))
            for name, x in parameters.items()
        },
        {name: x.requires_grad for name, x in parameters.items()},
        {name: {key: id(x) for key, x in vars(m).items()} for name, m in net.named_modules()},
        {
            f"{name}.{key}": list(x)
            for name, m in net.named_modules()
            for key, x in vars(m).items()
            if isinstance(x, (list, dict, set)) and key not in {"_parameters", "_buffers"}
        }
        | {f"{name} trains": m.training for name, m in net.named_modules()},
        (torch.get_rng_state().numpy().tobytes(), str(np.random.get_state()), random.getstate()),  # noqa: NPY002 - the state that others use
        (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
        ),
        [bits(x) for x in leaves if isinstance(x, Tensor)],
    )


# What cannot be measured, and what is said about it.
STOPPED = {"raises_behind_a_write": "no more"}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_all_is_as_it_was(name: str, *, training: bool):
    torch.manual_seed(0)
    net, inputs = MODELS[name]()
    if name != "half_of_it_in_evaluation_mode":
        net.train(training)
    before = state(net, inputs)
    report = diagnose(net, inputs)
    assert state(net, inputs) == before
    assert STOPPED.get(name, "") in report.problem
    assert bool(report.problem) == (name in STOPPED), report.problem
    if name != "raises_behind_a_write":
        assert report.layers
        rows = [row for row in report.layers if row.second_moment is not None]
        assert rows


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_settles_all_numbers(name: str):
    torch.manual_seed(0)
    net, inputs = MODELS[name]()
    first = diagnose(net, inputs)
    torch.rand(3)
    assert diagnose(net, inputs).layers == first.layers


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_callers_modes_do_not_matter(context: Callable[[], Any]):
    net, inputs = plain()
    wanted = diagnose(net, inputs).layers
    with context():
        assert diagnose(net, inputs).layers == wanted
        assert not torch.is_grad_enabled()


def test_names_are_those_of_the_model_as_written():
    net, inputs = compiled()
    assert [row.name for row in diagnose(net, inputs).layers] == ["0", "1", "2"]
