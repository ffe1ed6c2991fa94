"""How large each layer's output is to be: variance 1, and less at the end of a residual branch.

A stream of N branches starts with second moment q. Each branch adds q / N, so that the stream ends
with 2 q, however many branches there are: a bound that neither depth nor normalisation changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from initlab.models.gaussian import NODES, Signal, grid
from initlab.models.graph import Graph, Known, Node
from initlab.models.residual import Addition, is_norm
from initlab.models.structure import convolution_fans

STREAM_GROWTH = 2.0
"""Second moment of a residual stream at its end, over that at its start."""


# Biases are random only where the gradient would otherwise change by more than this in all.
_GRADIENT_GROWTH = 2.0

# By so little, E[φ'²] and E[φ²] of a rectifier differ on the grid.
_FLAT = 1e-3

# Share of a depthwise convolution's variance that its bias gives behind a rectifier, and how much
# of what it reads is then exactly 0.
_DEPTHWISE_BIAS, _DEAD = 0.01, 0.1


def bias_shares(
    graph: Graph,
    children: Sequence[Sequence[int]],
    signals: Sequence[Signal],
    found: Sequence[Addition],
) -> dict[int, float]:
    """Return, by node, the variance that a layer's bias is to give; others are left out.

    It is 1 - E[φ²] / E[φ'²] where a layer reads φ of another layer and E[φ'²] > E[φ²], outside of
    residual branches and normalisations, which bound the gradient in their own way.

    A depthwise convolution sees one channel. Where a rectifier has made that 0, its output is 0 as
    well, and the next rectifier lets no gradient through: a quarter passes, not half. A small bias
    of random sign lets half of it through again, and leaves the signal what it is.
    """
    inside = {index for one in found for index in one.inside}
    shares: dict[int, float] = {}
    small: dict[int, float] = {}
    growth = 1.0
    for node in graph.nodes:
        if node.kind != "layer" or node.bias is None or not node.parents:
            continue
        signal = signals[node.parents[0]]
        if any(is_norm(graph, graph.nodes[index]) for index in children[node.index]):
            continue
        if node.geometry.get("depthwise") and _share_of_zeros(signal) > _DEAD:
            small[node.index] = _DEPTHWISE_BIAS * signals[node.index].second
        if node.index in inside or not _is_activated_layer(graph, signals, node.parents[0]):
            continue
        source = signals[signal.source or 0]
        slope = signal.slope / max(source.second, 1e-12)
        if signal.second > 0 and slope > signal.second * (1 + _FLAT):
            shares[node.index] = 1 - signal.second / slope
            growth *= slope / signal.second
    return small | (shares if growth > _GRADIENT_GROWTH else {})


def _share_of_zeros(signal: Signal) -> float:
    """Return the probability of an exact 0."""
    if signal.values is None:
        return 0.0
    _, weights = grid(NODES)
    return float(weights[signal.values == 0].sum())


def _is_activated_layer(graph: Graph, signals: Sequence[Signal], index: int) -> bool:
    """Tell whether a signal is a function of one layer's Gaussian output, never normalised."""
    source = signals[index].source
    return (
        source is not None
        and graph.nodes[source].kind == "layer"
        and signals[source].is_gaussian
        and not _before_norm(graph, index, source)
    )


def _before_norm(graph: Graph, index: int, source: int) -> bool:
    """Tell whether a normalisation stands between a layer and what reads it."""
    while index > source:
        node = graph.nodes[index]
        if node.kind == "norm" or not node.parents:
            return True
        index = node.parents[0]
    return False


# Activations that leave about half of a second moment of 1.
_HALVING = frozenset({"relu", "gelu", "silu"})


class Targets:
    """The variance of every layer's output, for :func:`initlab.models.signals.propagate`.

    Parameters
    ----------
    graph
        The traced model.
    found
        Its residual additions.
    known
        Looks up the value of a parameter or buffer.
    norm_scales
        Names of parameters that scale a normalisation.
    kept
        Values of the parameters that stay as they are, by name: what these layers give follows.
    """

    def __init__(
        self,
        graph: Graph,
        found: Sequence[Addition],
        known: Callable[[str], Tensor | None] = lambda _: None,
        norm_scales: Collection[str] = (),
        kept: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._graph = graph
        self._known = known
        self._norm_scales = norm_scales
        self._kept = kept or {}
        self._children = graph.children()
        self._ends = {one.end: one for one in found if one.end is not None}
        self._tied = _tied(graph)
        # Streams that an activation cuts after each sum.
        self._halved = {
            one.stream
            for one in found
            if {graph.nodes[child].op for child in self._children[one.node]} <= _HALVING
        }

    def variance(self, node: Node, signals: Sequence[Signal]) -> float:
        """Return the variance for a layer's or an embedding's output."""
        if node.weight is not None and node.weight.name in self._kept:
            return self._given(node, signals, self._kept[node.weight.name])
        if node.kind == "embedding":
            # Positions are added to tokens, and are to be no larger than these.
            added = any(
                self._graph.nodes[child].op == "add" for child in self._children[node.index]
            )
            tied = node.weight is not None and node.weight.name in self._tied
            tied |= bool(self._tied) and added
            return 1.0 / node.shape[-1] if tied else 1.0 / self._factor_after(node) ** 2
        return self._share(node, signals)

    def norm_scale(self, node: Node, signals: Sequence[Signal]) -> float:
        """Return the scale γ for a normalisation; 1 for a product with any other parameter."""
        if node.kind == "norm" and node.weight is not None and node.weight.name in self._kept:
            return math.sqrt(_second_moment(self._kept[node.weight.name]))
        scales = node.factor is not None and node.factor.name in self._norm_scales
        return math.sqrt(self._share(node, signals)) if scales or node.kind == "norm" else 1.0

    def _given(self, node: Node, signals: Sequence[Signal], weight: Tensor) -> float:
        """Return what a layer gives with the weight that it has: terms · E[w²] E[x²] + E[b²]."""
        second = _second_moment(weight)
        if node.kind == "embedding" or not node.parents:
            return second
        terms = node.count
        if "transposed" in node.geometry:
            terms = convolution_fans(tuple(weight.shape), node).fan_in
        bias = self._kept.get(node.bias.name) if node.bias is not None else None
        added = _second_moment(bias) if bias is not None else 0.0
        fed = math.prod(signals[parent].second for parent in node.parents)
        return terms * second * fed + added

    def _share(self, node: Node, signals: Sequence[Signal]) -> float:
        one = self._ends.get(node.index)
        if one is None:
            return 1.0
        # A projected shortcut may run after its branch; it gives variance 1.
        start = signals[one.start].second if one.start < len(signals) else 1.0
        if one.stream in self._halved and self._graph.nodes[one.start].op not in _HALVING:
            start *= 0.5
        after = self._passed(one, node)
        return max(start, 1e-12) * (STREAM_GROWTH - 1.0) / one.count / after

    def _passed(self, one: Addition, node: Node) -> float:
        """Return what an activation after the branch's last layer leaves of a variance of 1."""
        factor, index = 1.0, one.branch
        while index != node.index:
            step = self._graph.nodes[index]
            if step.op in _HALVING:
                factor *= 0.5
            index = step.parents[0]
        return factor

    def _factor_after(self, node: Node) -> float:
        """Return the number that an embedding's output is multiplied by right away; else 1."""
        readers = self._children[node.index]
        if len(readers) != 1:
            return 1.0
        reader = self._graph.nodes[readers[0]]
        if reader.op != "mul" or reader.replay is None:
            return 1.0
        for value in reader.replay.args:
            number = self._known(value.name) if isinstance(value, Known) else value
            if isinstance(number, Tensor) and number.numel() == 1:
                number = float(number)
            if isinstance(number, (int, float)) and number:
                return abs(float(number))
        return 1.0


def _second_moment(value: Tensor) -> float:
    if not value.numel():
        return 1.0
    # A norm makes no copy; the largest tables have hundreds of megabytes.
    norm = float(torch.linalg.vector_norm(value.detach(), dtype=torch.float64))
    return norm * norm / value.numel()


def _tied(graph: Graph) -> set[str]:
    """Return the embeddings whose table is a layer's weight as well."""
    tables = {n.weight.name for n in graph.nodes if n.kind == "embedding" and n.weight}
    weights = {n.weight.name for n in graph.nodes if n.kind == "layer" and n.weight}
    return tables & weights
