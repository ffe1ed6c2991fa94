"""Layers one after the other with no normalisation or residual sum in between, and their gains.

What a normalisation or a skip connection does not take care of, the scales of the layers must: only
along such chains do factors of single layers multiply up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from initlab import activations
from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.layers import Layer
from initlab.models.graph import Node
from initlab.models.residual import is_norm


@dataclass(frozen=True)
class Step:
    """A layer of a chain with what follows it, up to the next one.

    Attributes
    ----------
    node
        The layer.
    gain
        Measured E[x²] after the layer and its activation, over E[x²] of what it reads.
    predicted
        The same from the values of the weights, by theory.
    """

    node: int
    gain: float
    predicted: float


@dataclass(frozen=True)
class Chain:
    """Layers in execution order, the first one reading an input, a table or a normalisation.

    Attributes
    ----------
    steps
        The hidden layers.
    start
        What the first one reads.
    """

    steps: tuple[Step, ...]
    start: int

    @property
    def gain(self) -> float:
        """Product of the gains."""
        return math.exp(min(sum(_log(step.gain) for step in self.steps), 700.0))

    @property
    def predicted(self) -> float:
        """Product of the predicted gains."""
        return math.exp(min(sum(_log(step.predicted) for step in self.steps), 700.0))

    @property
    def per_layer(self) -> float:
        """Geometric mean of the gains."""
        return self.gain ** (1 / len(self.steps)) if self.steps else 1.0


def _log(gain: float) -> float:
    return math.log(gain) if gain > 0 else -700.0


@dataclass
class _State:
    """Where a signal stands in its chain: behind which layer, and how it has changed since."""

    start: int
    last: int | None = None
    factor: float = 1.0
    predicted: float = 1.0
    steps: tuple[Step, ...] = field(default=())


def chains(evidence: Evidence) -> tuple[Chain, ...]:
    """Return the longest chains: each layer is in one, but those of residual branches."""
    graph = evidence.graph
    skips = {one.node: one.skip for one in evidence.additions}
    states: dict[int, _State] = {}
    ends: dict[int, _State] = {}
    for node in graph.nodes:
        state = _next(evidence, node, states, skips)
        states[node.index] = state
        if state.last == node.index and state.steps:
            ends.pop(state.steps[-1].node, None)
        if state.last is not None and state.last != node.index and not _is_output(evidence, state):
            ends[state.last] = state
    found = [
        Chain((*state.steps, _step(evidence, state)), state.start)
        for state in ends.values()
        if state.last is not None
    ]
    found += _before_outputs(evidence, states, {chain.steps[-1].node for chain in found})
    return tuple(one for one in found if one.steps)


def _before_outputs(
    evidence: Evidence, states: Mapping[int, _State], have: set[int]
) -> Iterable[Chain]:
    """Yield the chains that end at an output layer, without it."""
    for index, state in states.items():
        ends = state.last == index and state.steps and _is_output(evidence, state)
        if ends and state.steps[-1].node not in have:
            have.add(state.steps[-1].node)
            yield Chain(state.steps, state.start)


def _is_output(evidence: Evidence, state: _State) -> bool:
    layer = evidence.layer_of.get(state.last if state.last is not None else -1)
    return layer is not None and layer.fact.output


def _next(
    evidence: Evidence, node: Node, states: Mapping[int, _State], skips: Mapping[int, int]
) -> _State:
    resets = node.kind in {"softmax", "recurrent"} or is_norm(evidence.graph, node)
    if not node.parents or resets:
        return _State(node.index)
    if node.index in skips:
        before = states[skips[node.index]]
        return _State(node.index) if before.last is not None else before
    parent = max(node.parents, key=lambda each: len(states[each].steps))
    before = states[parent]
    layer = evidence.layer_of.get(node.index)
    if layer is not None:
        return _behind_layer(evidence, node, before, layer)
    if node.kind not in {"pointwise", "max"} or before.last is None:
        return before
    return _State(
        before.start,
        before.last,
        before.factor * _ratio(evidence.second(node.index), evidence.second(parent)),
        before.predicted * _ratio(evidence.predicted(node.index), evidence.predicted(parent)),
        before.steps,
    )


def _behind_layer(evidence: Evidence, node: Node, before: _State, layer: Layer) -> _State:
    if layer.fact.branch is not None or _is_way_back(evidence, node, before):
        return _State(node.index)
    ended = () if before.last is None else (_step(evidence, before),)
    return _State(before.start, node.index, steps=(*before.steps, *ended))


def _is_way_back(evidence: Evidence, node: Node, before: _State) -> bool:
    """Tell whether a layer on the chain is run the other way round: a derivative in the model."""
    nodes = [step.node for step in before.steps]
    if before.last is not None:
        nodes.append(before.last)
    uses = [evidence.node(index).weight for index in nodes]
    own = node.weight
    return own is not None and any(
        use is not None and use.name == own.name and use.input_first != own.input_first
        for use in uses
    )


def _step(evidence: Evidence, state: _State) -> Step:
    """Return the step of the layer that a signal stands behind."""
    index = state.last if state.last is not None else 0
    parent = evidence.node(index).parents[0]
    after, before = evidence.second(index), evidence.second(parent)
    expected, read = evidence.predicted(index), evidence.predicted(parent)
    if _is_input(evidence, parent):  # whatever its size, the first layer may make up for it
        before, read = _nearest(before, after), _nearest(read, expected)
    gain = _ratio(after, before) * state.factor
    return Step(index, gain, _ratio(expected, read) * state.predicted)


def _is_input(evidence: Evidence, index: int) -> bool:
    node = evidence.node(index)
    while node.kind in {"shape", "pad"} and node.parents:
        node = evidence.node(node.parents[0])
    return node.kind == "input"


def _nearest(before: float, after: float) -> float:
    """Return the size of an input, or 1 if that lies between it and what the first layer gives."""
    return min(max(before, min(after, 1.0)), max(after, 1.0))


def _ratio(after: float, before: float) -> float:
    if math.isnan(after) or math.isnan(before) or before == 0:
        return 1.0
    return 1.0 if math.isinf(before) else after / before  # what has overflown stays so


@dataclass(frozen=True)
class Mark:
    """A place on the way of the gradient back through the model: a layer or a residual sum.

    Attributes
    ----------
    node
        Which.
    ratio
        Σ g² here over Σ g² at the mark behind it; 1 for the last one, and across an average, which
        divides the gradient whatever the weights are.
    """

    node: int
    ratio: float


def gradient_path(evidence: Evidence) -> tuple[Mark, ...]:
    """Return the longest way through layers and residual sums, in execution order.

    Normalisations are on the way, residual branches are not; so neither is the output layer, whose
    gradient is that of the loss.
    """
    marks = _marked(evidence)
    if not marks:
        return ()
    ends = [marks[index] for index in evidence.graph.outputs if marks[index]]
    path = max(ends or marks.values(), key=len)
    found: list[Mark] = []
    for place, (node, _) in enumerate(path):
        ratio = 1.0
        if place + 1 < len(path) and not path[place + 1][1]:
            here, behind = evidence.run.squares[node], evidence.run.squares[path[place + 1][0]]
            ratio = _ratio(here, behind) if here > 0 else 1.0  # exact zeros: a closed way, no decay
        found.append(Mark(node, ratio))
    return tuple(found)


def _marked(evidence: Evidence) -> dict[int, tuple[tuple[int, bool], ...]]:
    """Return the marks on the way to each node, and whether an average precedes each mark."""
    skips = {one.node: one.skip for one in evidence.additions}
    ways: dict[int, tuple[tuple[int, bool], ...]] = {}
    averaged: dict[int, bool] = {}
    for node in evidence.graph.nodes:
        index = node.index
        parents: Sequence[int] = (skips[index],) if index in skips else node.parents
        parent = max(parents, key=lambda each: _pull(evidence, each, ways[each]), default=None)
        way = ways[parent] if parent is not None else ()
        mean = node.kind in {"mean", "sum", "attention", "recurrent", "concat", "matmul"}
        average = mean or (parent is not None and averaged[parent])
        layer = evidence.layer_of.get(index)
        own = layer is not None and layer.fact.branch is None and not layer.fact.output
        if (own or index in skips) and index in evidence.run.squares:
            way, average = (*way, (index, average)), False
        ways[index], averaged[index] = way, average
    return ways


def _pull(evidence: Evidence, index: int, way: Sequence[object]) -> tuple[float, int]:
    """Return how much of the gradient goes back through a node: gates and queries get little."""
    node = evidence.node(index)
    while index not in evidence.run.squares and node.kind in {"shape", "pad"} and node.parents:
        index = node.parents[0]
        node = evidence.node(index)
    return evidence.run.squares.get(index, 0.0), len(way)


def is_critical(layer: Layer) -> bool:
    """Tell whether a layer with an odd, bounded activation keeps a small signal.

    With Var(w) = 1 / (fan_in φ'(0)²), such as Xavier's rule gives tanh, the signal shrinks as
    1 / depth only, and the gradient hardly: the edge of chaos without biases (Schoenholz et al.
    2017).
    """
    name = layer.fact.activation
    if name not in activations.catalogue:
        return False
    function = activations.get(name)
    x = np.array([-30.0, -1.0, 1.0, 30.0])
    low, left, right, high = np.asarray(function(x))
    slope = float(np.asarray(function.slope(np.zeros(1)))[0])
    odd = abs(low + high) + abs(left + right) < 1e-9
    bounded = abs(high) < 10 * abs(right)
    part = layer.parts[0]
    chi = part.fan_in * part.std**2 * slope**2
    return odd and bounded and chi > 1 - max(_CRITICAL, 4 * layer.error)


def has_norm_of_its_own(evidence: Evidence, layer: Layer) -> bool:
    """Tell whether the weight is divided by its spectral norm: no draw changes its scale."""
    if not layer.fact.sources:
        return False
    module = evidence.model.get_submodule(layer.fact.module)
    # The older form keeps its vectors beside the weight.
    older = any(name.endswith("_u") for name, _ in module.named_buffers(recurse=False))
    return older or any("SpectralNorm" in type(part).__name__ for part in module.modules())


# By how much less than 1 a layer may multiply the variance of a small signal.
_CRITICAL = 0.1


def at_fault(
    evidence: Evidence, chain: Chain, *, larger: bool, least: float = 1.5
) -> list[tuple[Layer, Step]]:
    """Return the layers of a chain whose variance is off by this factor, towards one side."""
    found: list[tuple[Layer, Step]] = []
    for step in chain.steps:
        layer = evidence.layer_of[step.node]
        ratio = layer.ratio
        if math.isnan(ratio) or ratio <= 0 or has_norm_of_its_own(evidence, layer):
            continue
        if not larger and is_critical(layer):
            continue
        limit = math.log(least) + 4 * layer.error
        off = math.log(ratio) if larger else -math.log(ratio)
        if off > limit and not layer.normalised:
            found.append((layer, step))
    return found
