"""All that the checks look at: one record, with the questions that several of them ask."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from initlab.diagnosis.layers import Layer, layers_of
from initlab.diagnosis.making import Making
from initlab.diagnosis.reductions import Numbers
from initlab.diagnosis.run import Run
from initlab.diagnosis.subject import arguments
from initlab.diagnosis.widths import Coordinates
from initlab.models import computed, pretrained
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.gaussian import Signal
from initlab.models.graph import Graph, Node
from initlab.models.inputs import Inputs
from initlab.models.residual import Addition
from initlab.models.walk import Walk, read, walk


@dataclass(frozen=True)
class Evidence:
    """A model, what one run of it showed, and what was to be expected.

    Attributes
    ----------
    model
        As it was written.
    inputs
        What it ran on; None if it did not.
    run
        What one forward and one backward pass showed.
    ideal
        The model read as if every layer gave what its place asks for: wanted scales.
    actual
        The model read with the values that its parameters have: predicted moments.
    values
        Each parameter as the model uses it, by canonical name, detached.
    making
        What the factory was seen to do, where it was watched.
    optimizer
        How the first step would be taken, where that is known.
    coordinates
        How activations go with the width, where that was asked for.
    """

    model: nn.Module
    inputs: Inputs | None
    run: Run
    ideal: Walk
    actual: Walk
    values: Mapping[str, Tensor]
    making: Making | None = None
    optimizer: Any = None
    pretrained: Mapping[str, str] = field(default_factory=dict[str, str])
    coordinates: Coordinates | None = None

    @property
    def facts(self) -> ModelFacts:
        """What each parameter is, and what its place asks for."""
        return self.ideal.facts

    @property
    def graph(self) -> Graph:
        """The operations that ran, in order."""
        return self.run.graph

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Predicted moments of every node, with the values that the parameters have."""
        return self.actual.signals

    @property
    def additions(self) -> tuple[Addition, ...]:
        """The residual additions."""
        return self.ideal.additions

    @cached_property
    def children(self) -> list[list[int]]:
        """For each node, those that read it."""
        return self.graph.children()

    @cached_property
    def ancestors(self) -> list[int]:
        """For each node, itself and all that it was computed from, as the bits of a number."""
        return self.graph.ancestors()

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The model's parameters by every name; a computed weight is none."""
        return dict(self.model.named_parameters(remove_duplicate=False))

    @cached_property
    def canonical(self) -> dict[str, str]:
        """The one name of each parameter, by every name that it goes by."""
        return {
            alias: name
            for name, fact in self.facts.parameters.items()
            for alias in (*fact.names, *fact.sources)
        }

    @cached_property
    def uses(self) -> dict[str, list[int]]:
        """Nodes that use a parameter as weight, bias or factor, by its canonical name."""
        found: dict[str, list[int]] = {}
        for node in self.graph.nodes:
            for use in (node.weight, node.bias, node.factor):
                name = self.canonical.get(use.name) if use is not None else None
                if name is not None:
                    found.setdefault(name, []).append(node.index)
            if node.kind == "recurrent":
                for name, fact in self.facts.parameters.items():
                    if fact.module == node.module:
                        found.setdefault(name, []).append(node.index)
        return found

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The weights that sum over their inputs, in execution order."""
        return layers_of(self.facts.parameters, self.values, self.graph, self.uses)

    @cached_property
    def layer_of(self) -> dict[int, Layer]:
        """The layer whose weight a node multiplies by."""
        return {node: layer for layer in self.layers for node in layer.nodes}

    def numbers(self, node: int) -> Numbers | None:
        """Return what was measured at a node; at one that only moves values, at the one before."""
        while node not in self.run.numbers:
            one = self.graph.nodes[node]
            if one.kind not in {"shape", "pad"} or not one.parents:
                return None
            node = one.parents[0]
        return self.run.numbers[node]

    def second(self, node: int) -> float:
        """Return the measured E[x²] of a node; nan where it was not measured."""
        found = self.numbers(node)
        return found.second if found is not None else math.nan

    def predicted(self, node: int) -> float:
        """Return the predicted E[x²] of a node; nan where nothing was."""
        return self.signals[node].second if node < len(self.signals) else math.nan

    def gradient_norm(self, node: int) -> float:
        """Return the norm of the loss's gradient by a node's output; nan where not measured."""
        square = self.run.squares.get(node)
        return math.sqrt(square) if square is not None else math.nan

    def has_gradients(self) -> bool:
        """Tell whether the backward pass ran."""
        return bool(self.run.gradients)

    def gradient(self, name: str) -> Tensor | None:
        """Return a parameter's gradient; None where the loss does not depend on it."""
        fact = self.facts.parameters[name]
        found = [self.run.gradients.get(alias) for alias in (*fact.names, *fact.sources)]
        return next((each for each in found if each is not None), None)

    def node(self, index: int) -> Node:
        """Return a node."""
        return self.graph.nodes[index]

    def after(self, name: str) -> set[int]:
        """Return the nodes that depend on a parameter or on what a module computes."""
        own = self.places([name])
        return {
            node.index
            for node in self.graph.nodes
            if any(self.ancestors[node.index] >> each & 1 for each in own)
        }

    @cached_property
    def input_nodes(self) -> dict[str, int]:
        """The nodes of the floating-point inputs, by the names of their arguments."""
        if self.inputs is None:
            return {}
        nodes = [
            node.index for node in self.graph.nodes if node.kind == "input" and node.weight is None
        ]
        leaves = tree_leaves((self.inputs.args, dict(self.inputs.kwargs)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        at = {id(leaf): node for leaf, node in zip(tensors, nodes, strict=False)}
        named_ = arguments(self.model, self.inputs)
        return {name: at[id(leaf)] for name, leaf in named_.items() if id(leaf) in at}

    def places(self, names: Iterable[str]) -> set[int]:
        """Return the nodes of parameters or modules, by name."""
        found: set[int] = set()
        for name in names:
            canonical = self.canonical.get(name)
            if name in self.input_nodes:
                found.add(self.input_nodes[name])
            elif canonical is not None:
                found.update(self.uses.get(canonical, ()))
            else:
                found.update(
                    node.index
                    for node in self.graph.nodes
                    if node.module == name or node.module.startswith(f"{name}.")
                )
        return found

    def of_kind(self, *kinds: str) -> list[ParameterFact]:
        """Return the parameters of these kinds, in registration order."""
        return [fact for fact in self.facts.parameters.values() if fact.kind in kinds]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the model besides findings: weights that a checkpoint may have lacked."""
        trained = self.pretrained
        fresh = [
            layer.name
            for layer in self.layers
            if layer.name not in trained and pretrained.tells(layer.value)
        ]
        if not trained or not fresh:
            return self.facts.notes
        note = (
            f"most weights look trained, {named(fresh)} {'does' if len(fresh) == 1 else 'do'} not: "
            "missing from the checkpoint, or new on purpose?"
        )
        return (*self.facts.notes, note)


def gather(
    model: nn.Module,
    inputs: Inputs | None,
    run: Run,
    making: Making | None = None,
    optimizer: Any = None,
) -> Evidence:
    """Read the model beside its run."""
    if run.graph.nodes:
        ideal = read(model, run.graph)
        actual = read(model, _measured(run), set(ideal.facts.parameters))
    else:
        ideal = actual = walk(model)
    values = _values(model, ideal.facts)
    looks = _pretrained(model, ideal.facts, values)
    return Evidence(model, inputs, run, ideal, actual, values, making, optimizer, looks)


def _measured(run: Run) -> Graph:
    """Return the graph with what was measured of its attentions: how many keys queries look at."""
    nodes = list(run.graph.nodes)
    for node in run.graph.nodes:
        found: float | None = None
        if node.index in run.scores:
            found = run.scores[node.index].concentration
        elif node.kind == "matmul":
            found = next((c for p in node.parents if (c := _concentration(run, p))), None)
        if found:
            geometry = {**node.geometry, "concentration": found}
            nodes[node.index] = replace(node, geometry=geometry)
    return replace(run.graph, nodes=tuple(nodes))


def _concentration(run: Run, index: int) -> float | None:
    """Return the mean of Σ p² of the softmax that a signal is; None if it is none."""
    node = run.graph.nodes[index]
    while node.kind == "shape" and node.parents:
        node = run.graph.nodes[node.parents[0]]
    numbers = run.numbers.get(node.index)
    if node.kind != "softmax" or "log" in node.op or numbers is None:
        return None
    return numbers.second * node.shape[-1]


def _values(model: nn.Module, facts: ModelFacts) -> dict[str, Tensor]:
    held = dict(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        name: (held[name] if name in held else computed.value(name, modules)).detach()
        for name in facts.parameters
    }


def _pretrained(
    model: nn.Module, facts: ModelFacts, values: Mapping[str, Tensor]
) -> dict[str, str]:
    """Return the parameters that look trained, if most weights do."""
    told = {name: values[name] for name in facts.parameters}
    found, _ = pretrained.signs(model, facts, told, {})
    weights = [name for name, fact in facts.parameters.items() if len(fact.shape) > 1]
    most = sum(name in found for name in weights) > 0.5 * len(weights)
    return dict(found) if most else {}


def named(names: Sequence[str], most: int = 3) -> str:
    """Return names for a sentence: the first few, and how many more there are."""
    shown = ", ".join(names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
