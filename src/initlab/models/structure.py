"""What a parameter is by the module that holds it, and by the operations that use it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from initlab._base import fans as read
from initlab._base.fans import Fans
from initlab.models import computed
from initlab.models.facts import Attention, Kind, ModelFacts, ParameterFact, Part
from initlab.models.gaussian import NODES, grid
from initlab.models.graph import Node

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no public base
    nn.modules.instancenorm._InstanceNorm,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the same
)

_GATES: dict[str, tuple[str, ...]] = {
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "new"),
    "rnn": ("",),
}


def read_model(model: nn.Module) -> ModelFacts:
    """Return what the registered modules tell about each parameter, tied ones once.

    A tensor that a module computes from parameters, such as the weight under weight normalisation,
    stands for them under its own name.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    held: dict[int, Tensor] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        shown = computed.shown(name, modules)
        if shown is not None:
            sources[shown] = (*sources.get(shown, ()), name)
            if len(sources[shown]) > 1:
                continue
            held_by, tensor = shown, computed.value(shown, modules)
        else:
            held_by, tensor = name, value
        names.setdefault(id(tensor), []).append(held_by)
        held[id(tensor)] = tensor
    parameters: dict[str, ParameterFact] = {}
    for key, own in names.items():
        facts = [_of_name(name, held[key], modules) for name in own]
        # Of a tied parameter, the embedding tells most: its other uses read the same table.
        main = next((fact for fact in facts if fact.kind == "embedding"), facts[0])
        parameters[own[0]] = replace(
            main, name=own[0], tied=tuple(own[1:]), sources=sources.get(own[0], ())
        )
    return ModelFacts(parameters)


def _of_name(name: str, value: Tensor, modules: Mapping[str, nn.Module]) -> ParameterFact:
    holder, _, own = name.rpartition(".")
    module = modules[holder]
    shape = () if is_lazy(value) else tuple(value.shape)
    fact = ParameterFact(
        name,
        module=holder,
        module_type=type(module).__name__,
        kind="unknown",
        shape=shape,
        dtype=str(value.dtype).removeprefix("torch."),
        parts=(Part("", 0, shape[0] if shape else 1),),
    )
    if isinstance(module, RECURRENT):
        return _recurrent(fact, own, module)
    return _plain(fact, own, module)


def _plain(fact: ParameterFact, own: str, module: nn.Module) -> ParameterFact:
    shape = fact.shape
    bias_of = f"{fact.module}.weight".lstrip(".")
    if isinstance(module, NORMS) or type(module).__name__.endswith(("RMSNorm", "LayerNorm")):
        kind: Kind = "norm_scale" if own in {"weight", "scale", "gamma"} else "norm_shift"
        return replace(fact, kind=kind) if len(shape) == 1 else fact
    if own == "bias" and isinstance(module, (nn.Linear, nn.Bilinear, *CONVOLUTIONS, *TRANSPOSED)):
        return replace(fact, kind="bias", bias_of=bias_of)
    if isinstance(module, nn.PReLU):
        return replace(fact, kind="slope")
    if isinstance(module, nn.MultiheadAttention):
        return _multihead(fact, own, module)
    return _weight(fact, module) if own == "weight" and len(shape) > 1 else fact


def _weight(fact: ParameterFact, module: nn.Module) -> ParameterFact:
    """Read the weight of one of PyTorch's own layers."""
    shape = fact.shape
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return replace(
            _whole(fact, read.embedding(shape)), kind="embedding", padding=module.padding_idx
        )
    if isinstance(module, nn.Linear):
        return replace(_whole(fact, read.fans(shape)), kind="linear")
    if isinstance(module, nn.Bilinear):
        return replace(_whole(fact, read.bilinear(shape)), kind="bilinear")
    if isinstance(module, CONVOLUTIONS):
        fans = read.convolution(shape, groups=module.groups, stride=module.stride)
        return replace(_whole(fact, fans), kind="convolution", groups=module.groups)
    if isinstance(module, TRANSPOSED):
        fans = read.transposed_convolution(shape, groups=module.groups, stride=module.stride)
        return replace(_whole(fact, fans), kind="transposed_convolution", groups=module.groups)
    return fact


def _whole(fact: ParameterFact, fans: Fans) -> ParameterFact:
    return replace(fact, parts=(Part("", 0, fact.shape[0], fans),))


def _multihead(fact: ParameterFact, own: str, module: nn.MultiheadAttention) -> ParameterFact:
    """Read PyTorch's attention module: its projections may be packed into one matrix."""
    if own == "in_proj_weight":
        parts = read.packed(fact.shape, [fact.shape[0] // 3] * 3)
        rows = fact.shape[0] // 3
        cut = tuple(
            Part(label, rows * place, rows * (place + 1), one)
            for place, (label, one) in enumerate(zip(("query", "key", "value"), parts, strict=True))
        )
        attention = Attention(fact.module, ("query", "key", "value"), module.num_heads)
        return replace(fact, kind="linear", parts=cut, attention=attention)
    if own == "in_proj_bias":
        return replace(fact, kind="bias", bias_of=f"{fact.module}.in_proj_weight".lstrip("."))
    if own in {"q_proj_weight", "k_proj_weight", "v_proj_weight"}:
        return replace(_whole(fact, read.fans(fact.shape)), kind="linear")
    return fact  # bias_k and bias_v: learned tokens


def _recurrent(fact: ParameterFact, own: str, module: nn.Module) -> ParameterFact:
    """Read a recurrent module: each gate is a matrix of its own."""
    gates = "rnn"
    if isinstance(module, (nn.LSTM, nn.LSTMCell)):
        gates = "lstm"
    elif isinstance(module, (nn.GRU, nn.GRUCell)):
        gates = "gru"
    hidden = "_hh" in own
    if own.startswith("bias"):
        parts = _cut(fact.shape, _GATES[gates])
        weight = own.replace("bias", "weight", 1)
        return replace(
            fact,
            kind="bias",
            gates=gates,
            parts=parts,
            hidden_to_hidden=hidden,
            bias_of=f"{fact.module}.{weight}".lstrip("."),
        )
    if own.startswith("weight_hr"):  # the projection of an LSTM's output
        return replace(_whole(fact, read.fans(fact.shape)), kind="linear")
    parts = _cut(fact.shape, _GATES[gates])
    return replace(fact, kind="recurrent", gates=gates, parts=parts, hidden_to_hidden=hidden)


def _cut(shape: tuple[int, ...], labels: Sequence[str]) -> tuple[Part, ...]:
    rows = shape[0] // len(labels)
    fans: Sequence[Fans | None] = [None] * len(labels)
    if len(shape) == 2:
        fans = read.packed(shape, [rows] * len(labels))
    return tuple(
        Part(label, rows * place, rows * (place + 1), one)
        for place, (label, one) in enumerate(zip(labels, fans, strict=True))
    )


def seen(fact: ParameterFact, nodes: Sequence[Node], canonical: Mapping[str, str]) -> ParameterFact:
    """Add what the operations tell that use a parameter: its kind, where unknown, and its fans."""
    layers = [node for node in nodes if _is(node.weight, fact.name, canonical)]
    layer = next((node for node in layers if node.kind == "layer"), None)
    if layer is not None and fact.kind not in {"embedding", "recurrent"}:
        return _seen_layer(fact, layer)
    if fact.kind != "unknown":
        return fact
    return replace(fact, kind=_kind(fact, nodes[0], canonical))


def _kind(fact: ParameterFact, node: Node, canonical: Mapping[str, str]) -> Kind:
    """Return what a parameter is, of which only an operation tells."""
    wide = sum(size > 1 for size in fact.shape) > 1
    kinds: dict[str, Kind] = {}
    if _is(node.weight, fact.name, canonical):
        kinds = {"embedding": "embedding", "norm": "norm_scale", "input": "position"}
        return kinds.get(node.kind, "unknown")
    if _is(node.bias, fact.name, canonical):
        return "norm_shift" if node.kind == "norm" else "bias"
    kinds = {
        "cat": "position",
        "stack": "position",
        "add": "position" if wide else "bias",
        "sub": "position" if wide else "bias",
        "mul": "unknown" if wide else "scale",
        "div": "unknown" if wide else "scale",
        "_prelu_kernel": "slope",
    }
    return kinds.get(node.op, "unknown")


def _is(use: object, name: str, canonical: Mapping[str, str]) -> bool:
    return use is not None and canonical.get(getattr(use, "name", "")) == name


def _seen_layer(fact: ParameterFact, node: Node) -> ParameterFact:
    use = node.weight
    if use is not None and use.derived and not fact.sources:
        return replace(fact, kind="unknown")  # the model computes its weight from this
    if "transposed" in node.geometry:
        return _seen_convolution(fact, node)
    if fact.kind != "unknown" and fact.parts[0].fans is not None:
        return fact
    if node.op == "_trilinear":
        return replace(_whole(fact, read.bilinear(fact.shape)), kind="bilinear")
    if len(fact.shape) < 2:
        return fact
    terms = max(node.count, 1.0)
    fans = Fans(terms, node.geometry.get("outputs", math.prod(fact.shape) / terms))
    input_first = bool(use and use.input_first and len(fact.shape) == 2)
    return replace(_whole(fact, fans), kind="linear", input_first=input_first)


def _seen_convolution(fact: ParameterFact, node: Node) -> ParameterFact:
    if len(fact.shape) < 3:
        return fact
    kind: Kind = "transposed_convolution" if node.geometry["transposed"] else "convolution"
    groups = int(node.geometry["groups"])
    fans = convolution_fans(fact.shape, node)
    return replace(_whole(fact, fans), kind=kind, groups=groups)


def convolution_fans(shape: Sequence[int], node: Node) -> Fans:
    """Return the fans of a convolution as it ran, on a map of the size that it had."""
    geometry: dict[str, Any] = {
        name: list(node.geometry[name]) for name in ("size", "stride", "padding", "dilation")
    }
    groups = int(node.geometry["groups"])
    if not node.geometry["transposed"]:
        return read.convolution(shape, groups=groups, **geometry)
    more = list(node.geometry["output_padding"])
    return read.transposed_convolution(shape, groups=groups, output_padding=more, **geometry)


def packed(fact: ParameterFact, roles: Sequence[str], rows: Sequence[int]) -> ParameterFact:
    """Cut a packed projection into the parts of its attention.

    Parameters
    ----------
    fact
        The parameter, as one matrix.
    roles
        What each run of its outputs makes.
    rows
        How many outputs each run has; all the same if empty.
    """
    count = len(roles)
    if count < 2 or len(fact.parts) > 1 or len(fact.shape) != 2 or fact.fans is None:
        return fact
    outputs = fact.shape[1] if fact.input_first else fact.shape[0]
    if not rows and outputs % count:
        return fact
    rows = rows or [outputs // count] * count
    made = dict.fromkeys(roles, 0)
    for role, size in zip(roles, rows, strict=True):
        made[role] += size
    if fact.input_first:  # its parts lie side by side, along axis 1
        if len(set(made.values())) > 1:
            return fact
        fans = replace(fact.fans, fan_out=made[roles[0]])
        return replace(fact, parts=(Part("", 0, fact.shape[0], fans),))
    start, parts = 0, list[Part]()
    for role, size in zip(roles, rows, strict=True):
        parts.append(Part(role, start, start + size, Fans(fact.shape[1], made[role])))
        start += size
    return replace(fact, parts=tuple(parts))


def chained(model: nn.Module, facts: ModelFacts) -> ModelFacts:
    """Guess from registration order what each layer reads: the module before it."""
    second = 1.0
    told = dict(facts.parameters)
    place = 0
    by_module: dict[str, list[str]] = {}
    for name, fact in told.items():
        for alias in fact.names:
            by_module.setdefault(alias.rpartition(".")[0], []).append(name)
    for name, module in model.named_modules():
        own = [key for key in by_module.get(name, []) if told[key].order is None]
        for key in own:
            told[key] = replace(told[key], order=place, calls=1, input_second_moment=second)
            place += 1
        second = _after(module, second)
    return replace(facts, parameters=told)


def _after(module: nn.Module, second: float) -> float:
    """Return E[x²] after a module: 1 after a layer; an activation is run on a grid of z."""
    if isinstance(module, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED, *NORMS)):
        return 1.0
    if next(module.children(), None) is not None or next(module.parameters(), None) is not None:
        return second
    z, weights = grid(NODES)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = module(z * math.sqrt(second))
    except Exception:  # noqa: BLE001 - a module of another kind, which takes no such input
        return second
    if not isinstance(values, Tensor) or values.shape != z.shape:
        return second
    return float((weights * values.square()).sum())
