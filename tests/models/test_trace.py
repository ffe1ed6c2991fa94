"""What a trace records, and that it leaves the model alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab._base.errors import InvalidValueError
from initlab.models.facts import ModelFacts
from initlab.models.walk import walk


class Written(nn.Module):
    """A model whose forward pass is the function it is given."""

    def __init__(self, run: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        for name, value in held.items():
            setattr(self, name, value)
        self.run = run

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def facts_of(model: nn.Module, batch: Any = None) -> ModelFacts:
    return walk(model, batch).facts


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (functional.relu, "relu"),
        (lambda x: x.relu_(), "relu"),
        (lambda x: x.clamp(min=0), "relu"),
        (lambda x: torch.sigmoid(x) * x, "silu"),
        (lambda x: x * torch.tanh(functional.softplus(x)), "mish"),
        (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), "gelu"),
        (lambda x: 2 * torch.tanh(x), "tanh"),
        (lambda x: x / (1 + x.abs()), "softsign"),
        (lambda x: x - torch.tanh(x), "tanh sub"),
        (lambda x: x, ""),
    ],
)
def test_the_activation_after_a_layer(activation: Callable[[Tensor], Tensor], name: str):
    model = Written(lambda m, x: m.b(activation(m.a(x))), a=nn.Linear(4, 8), b=nn.Linear(8, 2))
    facts = facts_of(model).parameters
    assert set(facts["a.weight"].activation.split()) == set(name.split())
    assert facts["b.weight"].output
    assert not facts["a.weight"].output
    assert facts["b.weight"].activation == ""


def test_a_module_used_twice_and_tied_weights():
    layer = nn.Linear(4, 4)
    facts = facts_of(nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 2))).parameters
    assert list(facts) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    assert (facts["0.weight"].calls, facts["0.weight"].tied) == (2, ("2.weight",))
    # It reads the input, of second moment 1, and a rectified signal, of 1/2.
    assert facts["0.weight"].input_second_moment == pytest.approx(0.75, abs=1e-4)

    table = nn.Embedding(10, 8)
    head = nn.Linear(8, 10, bias=False)
    head.weight = table.weight
    facts = facts_of(nn.Sequential(table, nn.Tanh(), head)).parameters
    assert list(facts) == ["0.weight"]
    assert facts["0.weight"].kind == "embedding"
    assert facts["0.weight"].output


@pytest.mark.parametrize(
    ("run", "shape", "fan_in", "fan_out", "input_first"),
    [
        (lambda m, x: x @ m.w, (4, 8), 4, 8, True),
        (lambda m, x: x @ m.w.T, (8, 4), 4, 8, False),
        (lambda m, x: functional.linear(x, m.w.t()), (4, 8), 4, 8, True),
        (lambda m, x: m.w @ x.T, (8, 4), 4, 8, False),
        (lambda m, x: torch.einsum("bi,oi->bo", x, m.w), (8, 4), 4, 8, False),
        (lambda m, x: torch.einsum("bi,io->bo", x, m.w), (4, 8), 4, 8, True),
        (lambda m, x: torch.einsum("bi,ihd->bhd", x, m.w), (4, 2, 8), 4, 16, False),
        (lambda m, x: torch.addmm(torch.zeros(8), x, m.w), (4, 8), 4, 8, True),
        (lambda m, x: torch.bmm(x[None].expand(3, 5, 4), m.w), (3, 4, 8), 4, 8, False),
        (lambda m, x: x @ m.w, (4, 4), 4, 4, True),
        (lambda m, x: x @ m.w.transpose(0, 1), (4, 4), 4, 4, False),
    ],
)
def test_a_raw_parameter_is_read_by_what_is_summed(
    *, run: Any, shape: tuple[int, ...], fan_in: int, fan_out: int, input_first: bool
):
    model = Written(run, w=nn.Parameter(torch.randn(shape)))
    fact = facts_of(model, torch.randn(5, 4)).parameters["w"]
    assert fact.kind == "linear"
    assert fact.fans is not None
    assert (fact.fans.fan_in, fact.fans.fan_out) == (fan_in, fan_out)
    assert fact.input_first is input_first


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_modules_are_one_operation(kind: Any):
    model = kind(4, 8, num_layers=2, bidirectional=True)
    facts = facts_of(model)
    assert facts.traced
    assert facts.notes == ()
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]
    weight = facts.parameters["weight_ih_l1_reverse"]
    assert weight.kind == "recurrent"
    assert [(p.fans.fan_in, p.fans.fan_out) for p in weight.parts] == [(16, 8)] * gates
    assert all(fact.order is not None for fact in facts.parameters.values())


def test_recurrent_cells_and_a_projected_output():
    model = Written(
        lambda m, x: m.b(m.g(m.a(x)[0])),
        a=nn.LSTMCell(4, 8),
        g=nn.GRUCell(8, 6),
        b=nn.RNNCell(6, 5),
    )
    facts = facts_of(model).parameters
    assert [facts[f"{name}.weight_ih"].order for name in "agb"] == [0, 4, 8]
    assert facts["g.weight_ih"].input_second_moment < 0.2
    projected = facts_of(nn.LSTM(4, 8, proj_size=3)).parameters["weight_hr_l0"]
    assert projected.kind == "linear"
    assert projected.output_variance == projected.input_second_moment < 0.2


@dataclasses.dataclass
class Output:
    logits: Tensor
    other: object = None


@pytest.mark.parametrize("wrap", [Output, lambda y: {"o": [Output(y)]}, lambda y: (y, None)])
def test_nested_inputs_and_outputs(wrap: Any):
    model = Written(lambda m, x: wrap(m.b(x["p"][0] + x["p"][1])), b=nn.Linear(4, 2))
    batch = {"x": {"p": (torch.randn(200, 4), torch.randn(200, 4))}}
    facts = facts_of(model, batch).parameters
    assert facts["b.weight"].output
    # Two independent inputs: within 5 standard errors of 2, of 1600 numbers in all.
    assert facts["b.weight"].input_second_moment == pytest.approx(2, rel=5 * (2 / 1600) ** 0.5)


def test_values_written_into_a_buffer_are_followed():
    def run(m: Any, x: Tensor) -> Tensor:
        y = torch.relu(m.a(x))
        out = torch.zeros(y.shape)
        out[:, :4] = y[:, :4]
        out[:, 4:] = y[:, 4:]
        return m.b(out)

    facts = facts_of(Written(run, a=nn.Linear(4, 8), b=nn.Linear(8, 2))).parameters
    assert facts["b.weight"].order == 2
    assert facts["b.weight"].input_second_moment == pytest.approx(0.5, abs=1e-3)
    circular = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    )
    facts = facts_of(circular).parameters
    assert facts["2.weight"].fans.fan_in == 36  # no tap falls on zeros
    assert facts["2.weight"].input_second_moment == pytest.approx(0.5, abs=1e-3)


def test_the_path_that_real_values_take_is_followed():
    def run(m: Any, x: Tensor) -> Tensor:
        return m.b(torch.relu(m.a(x))) if x.sum() > 0 else m.b(torch.tanh(m.a(x)))

    model = Written(run, a=nn.Linear(4, 8), b=nn.Linear(8, 2))
    assert facts_of(model, torch.ones(2, 4)).parameters["a.weight"].activation == "relu"
    assert facts_of(model, -torch.ones(2, 4)).parameters["a.weight"].activation == "tanh"


def test_a_model_that_cannot_run_is_read_in_registration_order():
    def run(_: Any, __: Tensor) -> Tensor:
        raise ZeroDivisionError

    model = Written(run, a=nn.Linear(4, 8), b=nn.ReLU(), c=nn.Linear(8, 2))
    facts = facts_of(model)
    assert not facts.traced
    assert "registration order" in facts.notes[0]
    assert "ZeroDivisionError" in facts.notes[0]
    assert [facts.parameters[name].order for name in facts.parameters] == [0, 1, 2, 3]
    assert facts.parameters["c.weight"].input_second_moment == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(InvalidValueError, match="ZeroDivisionError"):
        facts_of(model, torch.randn(2, 4))


def test_a_batch_that_does_not_fit_is_refused_with_the_models_words():
    with pytest.raises(InvalidValueError, match=r"batch given.*2x5 and 4x8"):
        facts_of(nn.Linear(4, 8), torch.randn(2, 5))
    with pytest.raises(InvalidValueError, match="holds no tensor"):
        facts_of(nn.Linear(4, 8), "text")


class Noisy(nn.Module):
    """Changes itself and draws random numbers while it runs; may fail at the end."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.b = nn.Linear(8, 2)
        self.register_buffer("seen", torch.zeros(()))
        self.fails = fails
        self.a.weight.requires_grad_(requires_grad=False)
        self.b.weight.grad = torch.ones_like(self.b.weight)
        self.drop.eval()
        self.norm.register_forward_hook(lambda *_: None)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        x = self.b(self.drop(self.norm(self.a(x) + torch.randn(8))))
        if self.fails:
            raise RuntimeError("at the end")
        return x


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_it_was(*, fails: bool, looks: bool):
    model = Noisy(fails=fails)
    if looks:  # at values: it then runs on real ones
        model.norm.register_forward_pre_hook(lambda _, args: [None][bool(args[0].sum() > 0) * 0])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    held = {name: id(value) for name, value in model.named_parameters()}
    drawn = torch.get_rng_state()
    facts = facts_of(model)
    assert facts.traced is not fails
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert flags == [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    assert held == {name: id(value) for name, value in model.named_parameters()}
    assert not model.a.weight.requires_grad
    assert model.b.weight.requires_grad
    assert torch.equal(model.b.weight.grad, torch.ones(2, 8))
    assert model.a.weight.grad is None
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_models(wrap: Any):
    inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    facts = facts_of(wrap(inner))
    assert facts.traced
    (name,) = (name for name in facts.parameters if name.endswith(".2.weight"))
    assert facts.parameters[name].output
    assert facts.parameters[name].input_second_moment == pytest.approx(0.5, abs=1e-3)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_traced_says_so():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    assert "scripted" in facts_of(scripted, torch.randn(2, 4)).notes[0]
    lazy = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    assert "lazy" in facts_of(lazy, torch.randn(2, 3)).notes[0]


def test_odd_models():
    assert facts_of(nn.Sequential()).parameters == {}
    assert facts_of(nn.ReLU()).parameters == {}
    assert facts_of(nn.Sequential(nn.Linear(4, 4, dtype=torch.complex64))).traced
    model = Written(
        lambda m, x: (m.a(x).to(torch.complex64) * m.c).abs() + m.i,
        a=nn.Linear(4, 8),
        c=nn.Parameter(torch.randn(8, dtype=torch.complex64)),
        i=nn.Parameter(torch.ones(8, dtype=torch.long), requires_grad=False),
    )
    facts = facts_of(model)
    assert facts.traced
    assert facts.parameters["c"].kind == "scale"


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_zero_sized_layers():
    assert facts_of(nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 2))).traced
    assert facts_of(nn.Sequential(nn.Linear(0, 3), nn.ReLU(), nn.Linear(3, 2))).traced


def test_containers_of_parameters():
    model = Written(
        lambda m, x: m.d["b"](m.d["a"](x)) @ m.p[0],
        d=nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Tanh()}),
        p=nn.ParameterList([nn.Parameter(torch.randn(4, 3))]),
    )
    facts = facts_of(model).parameters
    assert facts["d.a.weight"].activation == "tanh"
    assert facts["p.0"].kind == "linear"
    assert facts["p.0"].output


def test_a_learned_token_is_seen():
    model = Written(
        lambda m, x: m.b(torch.cat([m.token.expand(len(x), 1, 4), m.a(x)], 1)),
        a=nn.Linear(4, 4),
        b=nn.Linear(4, 2),
        token=nn.Parameter(torch.zeros(1, 1, 4)),
    )
    fact = facts_of(model, torch.randn(2, 3, 4)).parameters["token"]
    assert (fact.kind, fact.order is not None) == ("position", True)


def test_a_scale_kept_as_its_distance_from_one():
    class DistanceRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8))

        def forward(self, x: Tensor) -> Tensor:
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
            return x * (1.0 + self.weight)

    model = nn.Sequential(nn.Linear(4, 8), DistanceRMSNorm(), nn.Linear(8, 2))
    fact = facts_of(model).parameters["1.weight"]
    assert (fact.kind, fact.offset) == ("norm_scale", 1.0)
