"""Reads a model's facts: its parameters, and what a traced forward pass tells about each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from initlab._base.errors import InvalidValueError
from initlab.models import inputs as examples
from initlab.models import structure
from initlab.models.activation import following
from initlab.models.attention import Projection, attentions
from initlab.models.facts import Branch, ModelFacts, ParameterFact
from initlab.models.gaussian import Signal
from initlab.models.graph import Graph, Node
from initlab.models.inputs import Inputs
from initlab.models.residual import Addition, additions
from initlab.models.signals import propagate
from initlab.models.targets import Targets, bias_shares
from initlab.models.trace import trace


@dataclass(frozen=True)
class Walk:
    """A model read: its facts, and the trace that they come from, if it ran.

    Attributes
    ----------
    facts
        What is known of each parameter.
    graph, signals, additions
        The traced operations, their moments, and the residual additions among them.
    inputs
        What it ran on.
    """

    facts: ModelFacts
    graph: Graph | None = None
    signals: tuple[Signal, ...] = ()
    additions: tuple[Addition, ...] = ()
    inputs: Inputs | None = None


def walk(model: nn.Module, batch: Any = None, kept: Collection[str] = ()) -> Walk:
    """Read a model.

    Parameters
    ----------
    model
        Any module; it is run once, in evaluation mode, and is as before afterwards.
    batch
        What to run it on: a tensor, a tuple of positional arguments, or a dictionary of named ones.
        Without one, examples are made that fit the model's first layers; if it runs on none of
        them, the facts follow from its modules in registration order, and a note says so.
    kept
        Names of parameters that stay as they are: the signals behind them follow from their values.

    Raises
    ------
    InvalidValueError
        If a batch is given and the model does not run on it.
    """
    facts = structure.read_model(model)
    if not facts.parameters:
        return Walk(facts)
    ran = _run(model, batch)
    if isinstance(ran, str):
        return Walk(structure.chained(model, replace(facts, traced=False, notes=(ran,))))
    graph, inputs = ran
    return replace(_read(model, facts, graph, kept), inputs=inputs)


def read(model: nn.Module, graph: Graph, kept: Collection[str] = ()) -> Walk:
    """Read a model whose run was recorded; see :func:`walk`."""
    return _read(model, structure.read_model(model), graph, kept)


def _read(model: nn.Module, facts: ModelFacts, graph: Graph, kept: Collection[str]) -> Walk:
    found = additions(graph)
    known = _known(model, facts, kept)
    scales = {
        alias
        for fact in facts.parameters.values()
        if fact.kind == "norm_scale"
        for alias in fact.names
    }
    targets = Targets(graph, found, known, scales, _values(model, facts, kept))
    signals = propagate(
        graph,
        known,
        variance=targets.variance,
        norm_scale=targets.norm_scale,
    )
    told = _tell(facts, graph, signals, found, targets)
    return Walk(told, graph, signals, found)


def _values(model: nn.Module, facts: ModelFacts, kept: Collection[str]) -> dict[str, Tensor]:
    """Return the values of the parameters that stay, by each of their names."""
    held = dict(model.named_parameters())
    return {
        name: held[fact.name]
        for fact in facts.parameters.values()
        if fact.name in kept and fact.name in held and held[fact.name].is_floating_point()
        for name in fact.names
    }


def _known(
    model: nn.Module, facts: ModelFacts, kept: Collection[str]
) -> Callable[[str], Tensor | None]:
    """Return a function that looks up values; a normalisation's and a bias's are neutral."""
    values = dict((*model.named_parameters(), *model.named_buffers()))
    for fact in facts.parameters.values():
        for name in fact.names:
            held = values.get(name)
            stays = fact.name in kept
            if held is None or stays or not held.requires_grad or held.numel() == 0:
                continue
            if fact.kind == "norm_scale":
                values[name] = torch.ones(())
            elif fact.kind in {"norm_shift", "bias"}:
                values[name] = torch.zeros(())
    return values.get


def _run(model: nn.Module, batch: Any) -> tuple[Graph, Inputs] | str:
    if any(is_lazy(value) for value in model.parameters()):
        return "it has lazy parameters; their shapes follow from its first batch"
    if isinstance(model, torch.jit.ScriptModule):
        return "scripted modules run out of sight; initialise before scripting"
    if batch is not None:
        inputs = examples.given(batch)
        return trace(model, inputs), inputs
    problem = "no example input could be made from its layers"
    for inputs in examples.guesses(model):
        try:
            graph = trace(model, inputs)
        except InvalidValueError as error:
            problem = str(error)
            continue
        return _fitted(model, graph, inputs)
    return (
        f"the model was not seen to run ({problem}); its layers are taken in registration order: "
        "give a batch=, such as a tuple of its arguments"
    )


def _fitted(model: nn.Module, graph: Graph, inputs: Inputs) -> tuple[Graph, Inputs]:
    """Choose an image so large that the smallest map of the network is of ordinary size."""
    if not (inputs.args and isinstance(inputs.args[0], Tensor) and inputs.args[0].dim() > 2):
        return graph, inputs
    maps = [min(node.geometry["size"]) for node in graph.nodes if node.geometry.get("size")]
    if not maps or min(inputs.args[0].shape[2:]) < examples.SMALLEST_MAP:
        return graph, inputs
    larger = examples.resized(inputs, examples.SMALLEST_MAP / max(min(maps), 1))
    try:
        return trace(model, larger), larger
    except InvalidValueError:  # its head fits one size only
        return graph, inputs


def _tell(
    facts: ModelFacts,
    graph: Graph,
    signals: tuple[Signal, ...],
    found: tuple[Addition, ...],
    targets: Targets,
) -> ModelFacts:
    """Add to the facts what the trace shows."""
    canonical = {
        alias: name
        for name, fact in facts.parameters.items()
        for alias in (*fact.names, *fact.sources)
    }
    uses = _uses(facts, graph, canonical)
    children = graph.children()
    branches = _branches(graph, found, canonical)
    last = _last_layers(graph, children, {one.node for one in found})
    roles = attentions(graph, children)
    shares = bias_shares(graph, children, signals, found)
    order = {name: place for place, name in enumerate(uses)}
    parameters: dict[str, ParameterFact] = {}
    for name, fact in facts.parameters.items():
        nodes = uses.get(name, [])
        told = fact
        if nodes:
            told = structure.seen(fact, nodes, canonical)
            main = next((n for n in nodes if n.kind == "layer"), nodes[0])
            told = replace(
                told,
                order=order[name],
                calls=len(nodes),
                activation=following(graph, children, signals, main.index),
                input_second_moment=_fed(fact, nodes, signals),
                output_variance=_given(fact, nodes, targets, signals),
                bias_variance=shares.get(main.index, 0.0) if told.kind != "embedding" else 0.0,
                output=any(node.index in last for node in nodes),
                branch=branches.get(name),
                offset=_offset(nodes),
            )
            told = _projecting(told, [roles[n.index] for n in nodes if n.index in roles])
        parameters[name] = told
    return replace(
        facts,
        parameters=parameters,
        traced=True,
        notes=(*facts.notes, *graph.notes),
        depth=_depth(graph),
        branches=tuple(dict.fromkeys(branches.values())),
    )


def _offset(nodes: Iterable[Node]) -> float:
    """Return the number that a scale is kept as the distance from."""
    uses = (use for node in nodes for use in (node.factor, node.weight) if use is not None)
    return next((use.offset for use in uses if use.offset), 0.0)


def _uses(facts: ModelFacts, graph: Graph, canonical: Mapping[str, str]) -> dict[str, list[Node]]:
    """Return the operations that use each parameter, both in execution order."""
    uses: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for use in (node.weight, node.bias, node.factor):
            if use is not None and use.name in canonical:
                uses.setdefault(canonical[use.name], []).append(node)
        if node.kind == "recurrent":
            for name, fact in facts.parameters.items():
                if fact.module == node.module:
                    uses.setdefault(name, []).append(node)
    return uses


def _fed(fact: ParameterFact, nodes: Iterable[Node], signals: tuple[Signal, ...]) -> float:
    """Return E[x²] of what a layer reads, averaged over its calls."""
    moments: list[float] = []
    for node in nodes:
        if node.kind == "recurrent" and _reads_hidden(fact):
            moments.append(signals[node.index].second)
        elif node.kind in {"layer", "recurrent"}:
            product = 1.0
            for parent in node.parents:
                product *= signals[parent].second
            moments.append(product)
        elif node.kind in {"norm", "pointwise"} and node.parents:
            moments.append(signals[node.parents[0]].second)
    mean = sum(moments) / len(moments) if moments else 1.0
    return mean if mean > 0 else 1.0


def _reads_hidden(fact: ParameterFact) -> bool:
    """Tell whether a recurrent module's weight reads what a layer of it hands on, not the input."""
    own = fact.name.rpartition(".")[2]
    return own.startswith("weight_hr") or ("_l" in own and "_l0" not in own)


def _given(
    fact: ParameterFact, nodes: Iterable[Node], targets: Targets, signals: tuple[Signal, ...]
) -> float:
    """Return the variance that a parameter's output is to have, averaged over its calls."""
    nodes = list(nodes)
    tables = [node for node in nodes if node.kind == "embedding"]
    wanted = [
        targets.norm_scale(node, signals) ** 2
        if node.kind in {"norm", "pointwise"}
        else targets.variance(node, signals)
        for node in tables or nodes
        if node.kind in {"layer", "embedding", "norm", "pointwise"}
    ]
    if fact.kind == "linear":  # a recurrent module's projection of what it hands on
        wanted += [signals[node.index].second for node in nodes if node.kind == "recurrent"]
    return sum(wanted) / len(wanted) if wanted else 1.0


def _last_layers(graph: Graph, children: list[list[int]], sums: set[int]) -> set[int]:
    """Return the layers that no other layer, and no residual addition, comes after."""
    leads: list[bool] = [False] * len(graph.nodes)  # to a layer
    for node in reversed(graph.nodes):
        leads[node.index] = any(
            leads[child] or graph.nodes[child].kind == "layer" for child in children[node.index]
        )
    last: set[int] = set()
    todo, seen = list(graph.outputs), set[int]()
    while todo:
        index = todo.pop()
        if index in seen:
            continue
        seen.add(index)
        node = graph.nodes[index]
        if node.kind == "layer":
            if not leads[index]:
                last.add(index)
        elif index not in sums:
            todo.extend(node.parents)
    return last


def _depth(graph: Graph) -> int:
    depths: list[int] = []
    for node in graph.nodes:
        before = max((depths[parent] for parent in node.parents), default=0)
        depths.append(before + (node.kind in {"layer", "recurrent"}))
    return max(depths, default=0)


def _branches(
    graph: Graph, found: tuple[Addition, ...], canonical: Mapping[str, str]
) -> dict[str, Branch]:
    """Return the innermost residual branch of every parameter that stands in one."""
    result: dict[str, Branch] = {}
    for one in sorted(found, key=lambda addition: -len(addition.inside)):
        nodes = [graph.nodes[index] for index in one.inside]
        weights = _names((n.weight for n in nodes if n.kind == "layer"), canonical)
        scales = _names(
            (
                n.weight if n.kind == "norm" else n.factor
                for n in nodes
                if n.op == "mul" or n.kind == "norm"
            ),
            canonical,
        )
        branch = Branch(
            one.stream,
            one.index,
            one.count,
            weights,
            scales,
            _end_name(graph, one, canonical),
            one.normalised,
            one.post_norm,
        )
        for node in nodes:
            for name in _names((node.weight, node.bias, node.factor), canonical):
                result[name] = branch
    return result


def _end_name(graph: Graph, one: Addition, canonical: Mapping[str, str]) -> str | None:
    if one.end is None:
        return None
    node = graph.nodes[one.end]
    use = node.weight if node.kind != "pointwise" else node.factor
    return canonical.get(use.name) if use is not None else None


def _names(uses: Iterable[Any], canonical: Mapping[str, str]) -> tuple[str, ...]:
    names = (canonical.get(use.name) for use in uses if use is not None)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _projecting(fact: ParameterFact, found: list[Projection]) -> ParameterFact:
    """Note a weight's part in an attention; a packed one is cut into its projections."""
    if not found or fact.kind != "linear":
        return fact
    attention = found[0].attention
    if fact.attention is not None:  # its module has told the roles
        heads = fact.attention.heads or attention.heads
        return replace(fact, attention=replace(attention, roles=fact.attention.roles, heads=heads))
    fact = replace(fact, attention=attention)
    return structure.packed(fact, attention.roles, found[0].rows)
