"""What one run measures, beside hooks written by hand and beside what the theory predicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from initlab import diagnose
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.measure import measure
from initlab.diagnosis.operations import Operation
from initlab.diagnosis.subject import choose


def batch(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)
    )


class Calls(nn.Module):
    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


class Block(nn.Module):
    """A transformer block as it is usually written."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).view(*x.shape[:2], 3, 4, 4).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    more = (nn.Conv2d(8, 8, 3, stride=2), nn.Sigmoid(), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(*layers, *more)


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]] = {
    "mlp": lambda: (mlp(), batch(32, 6), torch.arange(32) % 4),
    "convolutions": lambda: (convolutions(), batch(8, 3, 6, 6), torch.arange(8) % 5),
    "block": lambda: (Block(), batch(4, 7, 16), batch(4, 7, 16, seed=8)),
}


@dataclass
class Seen:
    mean: float
    second: float
    gradient: float


def by_hand(net: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[dict[str, Seen], float]:
    """Measure the outputs of all modules with hooks, in float64."""
    seen: dict[str, Seen] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
            output.retain_grad()
            outputs[name] = output

        return hook

    handles = [
        module.register_forward_hook(keep(name)) for name, module in net.named_modules() if name
    ]
    result = net(inputs)
    if targets.is_floating_point():
        loss = (result - targets).square().mean()
    else:
        loss = functional.cross_entropy(result, targets)
    loss.backward()
    for handle in handles:
        handle.remove()
    for name, output in outputs.items():
        values = output.detach().double()
        assert output.grad is not None
        norm = float(output.grad.double().norm())
        seen[name] = Seen(float(values.mean()), float(values.square().mean()), norm)
    return seen, float(loss.detach())


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_hooks_written_by_hand(name: str):
    net, inputs, targets = CASES[name]()
    report = diagnose(net, inputs, targets)
    wanted, loss = by_hand(net, inputs, targets)
    assert report.loss == pytest.approx(loss, rel=1e-5)
    met: set[str] = set()
    for row in report.layers:
        if row.name in wanted and row.name not in met:
            met.add(row.name)
            want = wanted[row.name]
            assert row.mean == pytest.approx(want.mean, rel=1e-4, abs=1e-6), row.name
            assert row.second_moment == pytest.approx(want.second, rel=1e-5), row.name
            assert row.gradient_norm == pytest.approx(want.gradient, rel=1e-4), row.name
    moved = {key for key, m in net.named_modules() if isinstance(m, nn.Flatten)}
    assert met == set(wanted) - moved


def test_a_weights_gradient_is_that_of_the_model():
    net, inputs, targets = CASES["mlp"]()
    chosen = choose(net, inputs, 0).inputs
    assert chosen is not None
    run = measure(net, chosen, targets=targets)
    functional.cross_entropy(net(inputs), targets).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(run.gradients[name], parameter.grad)


def test_a_wide_networks_moments_are_those_predicted():
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(5):
        layer = nn.Linear(1000, 1000)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    report = diagnose(nn.Sequential(*layers), batch(64, 1000))
    for row in report.layers:
        # Of ReLU's output E[x²] = 1, of what goes in 2; 1000 units give some 10 % after 5 layers.
        assert row.predicted_second_moment == pytest.approx(1 if row.type == "ReLU" else 2, rel=0.1)
        assert row.second_moment == pytest.approx(row.predicted_second_moment, rel=0.15)
        if row.type == "ReLU":
            assert row.mean == pytest.approx(math.sqrt(1 / math.pi), rel=0.1)


def rows(report: Diagnosis) -> list[tuple[str, str]]:
    assert not report.problem
    return [(row.name, row.type) for row in report.layers]


def find(report: Diagnosis, name: str) -> Operation:
    return next(row for row in report.layers if row.name == name)


def test_the_forms_of_inputs_all_give_the_same():
    net, x = mlp(), batch(16, 6)
    wanted = diagnose(net, x).layers
    assert diagnose(net, (x,)).layers == wanted
    assert diagnose(net, [x]).layers == wanted
    assert diagnose(net, {"input": x}).layers == wanted

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, batch: dict[str, Any]) -> Tensor:
            return self.net(batch["x"])

    def keywords(self: Any, *, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.net(x * scale)

    for other in (
        diagnose(Reads(), {"x": x, "name": "digits"}),
        diagnose(Calls(keywords, net=mlp()), {"x": x, "scale": 1.0}),
    ):
        found = [row for row in other.layers if row.name.startswith("net.")]
        assert [row.second_moment for row in found] == [row.second_moment for row in wanted]


@dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...] = ()
    loss: Tensor | None = None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y,
        lambda y: (y, torch.arange(3)),
        lambda y: [torch.arange(3), y],
        lambda y: {"ids": torch.arange(3), "scores": y},
        lambda y: Output(y, (y * 2,)),
        lambda y: {"nested": (Output(y),)},
    ],
    ids=["tensor", "tuple", "list", "dict", "dataclass", "nested"],
)
def test_the_forms_of_outputs_all_give_the_same(wrap: Callable[[Tensor], Any]):
    x, targets = batch(16, 6), torch.arange(16) % 4
    wanted = diagnose(mlp(), x, targets)
    report = diagnose(Calls(lambda self, x: wrap(self.net(x)), net=mlp()), x, targets)
    assert report.loss == wanted.loss
    assert report.loss_kind == "cross_entropy"
    assert [row.gradient_norm for row in report.layers] == [
        row.gradient_norm for row in wanted.layers
    ]


def test_functions_have_rows_of_their_own():
    def forward(self: Any, x: Tensor) -> Tensor:
        x = functional.relu(functional.linear(x, self.a))
        x = torch.einsum("bi,io->bo", x, self.b)
        return x @ self.c

    a, b, c = (nn.Parameter(batch(*shape) / 3) for shape in ((8, 6), (8, 9), (9, 4)))
    report = diagnose(Calls(forward, a=a, b=b, c=c), batch(16, 6))
    assert not report.problem
    assert [row.parameter for row in report.layers] == ["a", "", "b", "c"]
    assert [(row.fan_in, row.fan_out) for row in report.layers if row.parameter] == [
        (6, 8),
        (8, 9),
        (9, 4),
    ]


def test_what_is_called_several_times_has_a_row_a_call():
    def forward(self: Any, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.tanh(self.layer(x))
        return x

    report = diagnose(Calls(forward, layer=nn.Linear(6, 6)), batch(16, 6))
    assert [name for name, _ in rows(report)].count("layer") == 3
    assert len({row.second_moment for row in report.layers}) == 6


def test_a_shared_module_is_one():
    layer = nn.Linear(6, 6)
    report = diagnose(nn.Sequential(layer, nn.Tanh(), layer), batch(16, 6))
    assert [row.parameter for row in report.layers] == ["0.weight", "", "0.weight"]


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_layers_are_measured_as_one(kind: type[nn.RNNBase], layers: int):
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])

    torch.manual_seed(0)
    net = Calls(forward, rnn=kind(6, 8, num_layers=layers, batch_first=True), head=nn.Linear(8, 3))
    x = batch(8, 5, 6)
    report = diagnose(net, x, torch.arange(8) % 3)
    found = find(report, "rnn")
    output = net.rnn(x)[0].detach()
    assert found.second_moment == pytest.approx(float(output.square().mean()), rel=1e-5)
    assert found.shape == (8, 5, 8)
    assert rows(report) == [("rnn", kind.__name__), ("head", "Linear")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_give_the_same_numbers(dtype: torch.dtype):
    x, targets = batch(32, 6), torch.arange(32) % 4
    wanted = diagnose(mlp(), x, targets)
    report = diagnose(mlp().to(dtype), x.to(dtype), targets)
    assert rows(report) == rows(wanted)
    for row, want in zip(report.layers, wanted.layers, strict=True):
        assert row.second_moment == pytest.approx(want.second_moment, rel=0.05)
        assert row.gradient_norm == pytest.approx(want.gradient_norm, rel=0.05)
    assert report.loss == pytest.approx(wanted.loss, rel=0.01)


def test_half_precision_does_not_overflow_in_our_own_sums():
    net = nn.Linear(64, 64).to(torch.float16)
    with torch.no_grad():
        net.weight.fill_(4.0)
    report = diagnose(net, torch.full((64, 64), 64.0, dtype=torch.float16))
    assert not report.problem
    assert report.layers[0].second_moment == pytest.approx(16384.0**2, rel=0.01)


def test_autocast_runs_as_it_is_written():
    def forward(self: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x)

    wanted = diagnose(mlp(), batch(32, 6))
    report = diagnose(Calls(forward, net=mlp()), batch(32, 6))
    assert [row.parameter for row in report.layers] == [
        row.parameter and f"net.{row.parameter}" for row in wanted.layers
    ]
    for row, want in zip(report.layers, wanted.layers, strict=True):
        assert row.second_moment == pytest.approx(want.second_moment, rel=0.05)


def test_batch_norm_sees_the_batch_and_nothing_is_dropped():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.9), nn.Linear(16, 2))
    net.eval()
    report = diagnose(net, batch(64, 6) * 5)
    assert find(report, "1").second_moment == pytest.approx(1, rel=1e-3)
    assert find(report, "3").second_moment is not None
    assert [name for name, _ in rows(report)] == ["0", "1", "3"]


def test_one_sample_runs_in_evaluation_mode():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    report = diagnose(net, batch(1, 6))
    assert not report.problem
    assert any("evaluation mode" in note for note in report.notes)


def test_a_loss_in_training_only_is_measured_there():
    def forward(self: Any, x: Tensor, labels: Tensor) -> Any:
        if self.training:
            return {
                "loss_class": functional.cross_entropy(self.net(x), labels),
                "loss_box": self.net(x).square().mean(),
            }
        raise RuntimeError("no loss in evaluation mode")

    net = Calls(forward, net=mlp())
    report = diagnose(net, {"x": batch(16, 6), "labels": torch.arange(16) % 4})
    assert not report.problem
    assert any("training mode" in note for note in report.notes)
    parts = net(batch(16, 6), torch.arange(16) % 4).values()
    assert report.loss == pytest.approx(sum(float(part.detach()) for part in parts))


def test_frozen_layers_have_signals_and_no_gradients():
    net = mlp()
    net[0].requires_grad_(requires_grad=False)
    report = diagnose(net, batch(16, 6))
    assert not report.problem
    assert find(report, "0").gradient_norm is None
    assert find(report, "2").gradient_norm is not None
    net.requires_grad_(requires_grad=False)
    report = diagnose(net, batch(16, 6))
    assert not report.problem
    assert all(row.second_moment is not None for row in report.layers)
    assert any("nothing can be differentiated" in note for note in report.notes)


def test_a_checkpointed_part_has_its_gradients_once():
    wanted = diagnose(mlp(), batch(16, 6))
    for reentrant in (False, True):

        def forward(self: Any, x: Tensor, *, reentrant: bool = reentrant) -> Tensor:
            x = self.net[0](x)
            for part in self.net[1:]:
                x = checkpoint(part, x, use_reentrant=reentrant)
            return x

        report = diagnose(Calls(forward, net=mlp()), batch(16, 6))
        assert not report.problem
        assert [row.gradient_norm for row in report.layers] == pytest.approx(
            [row.gradient_norm for row in wanted.layers], rel=1e-5
        )


def test_a_signal_read_twice_has_the_gradient_of_both():
    def forward(self: Any, x: Tensor) -> Tensor:
        h = self.first(x)
        return h + self.second(torch.tanh(h))

    torch.manual_seed(0)
    net = Calls(forward, first=nn.Linear(6, 6), second=nn.Linear(6, 6))
    x, targets = batch(16, 6), batch(16, 6, seed=8)
    wanted, _ = by_hand(net, x, targets)
    report = diagnose(net, x, targets)
    assert find(report, "first").gradient_norm == pytest.approx(wanted["first"].gradient, rel=1e-5)


def test_attention_in_one_step_is_scored():
    with torch.no_grad():
        net = Block()
        net.qkv.weight[:32] *= 20
    report = diagnose(net, batch(4, 32, 16))
    row = next(row for row in report.layers if "scaled_dot_product" in row.op)
    assert row.saturated is not None
    assert row.saturated > 0.3
    assert next(
        row for row in diagnose(Block(), batch(4, 32, 16)).layers if "scaled_dot" in row.op
    ).saturated == pytest.approx(0, abs=0.05)


def test_a_mask_of_minus_infinity_is_no_fault():
    def forward(self: Any, x: Tensor) -> Tensor:
        q, k = self.q(x), self.k(x)
        scores = (q @ k.transpose(1, 2)).masked_fill(self.mask, float("-inf"))
        return scores.softmax(-1) @ self.v(x)

    parts = {name: nn.Linear(6, 6) for name in "qkv"}
    net = Calls(forward, **parts, mask=torch.ones(5, 5, dtype=torch.bool).triu(1))
    report = diagnose(net, batch(8, 5, 6))
    assert not report.problem
