"""Each weight of a model beside the scale that its place in the model asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from initlab.diagnosis.samples import Sample, measured
from initlab.models.facts import WEIGHT_KINDS, ParameterFact
from initlab.models.graph import Graph
from initlab.models.residual import is_norm


@dataclass(frozen=True)
class PartScale:
    """The entries of one of the matrices that a weight is made of.

    Attributes
    ----------
    label
        ``"query"``, ``"forget"``; empty for a weight that is one matrix.
    start, stop
        Its rows.
    mean, std
        Of its entries; the std about 0, as the root of their mean square.
    wanted
        The std with which its output has the variance that its place asks for; 0 if not known.
    fan_in, fan_out
        Of this matrix alone, as the layer computes it; 0 where it sums nothing.
    """

    label: str
    start: int
    stop: int
    mean: float
    std: float
    wanted: float
    fan_in: float
    fan_out: float

    @property
    def ratio(self) -> float:
        """Variance over the wanted one; nan where that is not known."""
        return (self.std / self.wanted) ** 2 if self.wanted > 0 else math.nan


@dataclass(frozen=True)
class Layer:
    """A weight that sums over its input, and how it is used.

    Attributes
    ----------
    fact
        What it is; its name, kind, activation, branch.
    value
        Its entries, as the model uses them; on whatever device, detached.
    parts
        One for each matrix in it.
    nodes
        Operations that use it, in execution order; empty if it was not seen to run.
    normalised
        True if all that reads its output is a normalisation, so that its scale does not matter.
    """

    fact: ParameterFact
    value: Tensor
    parts: tuple[PartScale, ...]
    nodes: tuple[int, ...]
    normalised: bool

    @property
    def name(self) -> str:
        """Qualified name of the parameter."""
        return self.fact.name

    @property
    def std(self) -> float:
        """Root of the mean square of all entries."""
        sizes = [part.stop - part.start for part in self.parts]
        total = sum(n * part.std**2 for n, part in zip(sizes, self.parts, strict=True))
        return math.sqrt(total / max(sum(sizes), 1))

    @cached_property
    def sample(self) -> Sample:
        """What its entries look like, all parts together."""
        return measured(self.value)

    @property
    def ratio(self) -> float:
        """Variance over the wanted one, the geometric mean over the parts."""
        ratios = [part.ratio for part in self.parts]
        if not all(0 < ratio < math.inf for ratio in ratios):
            return ratios[0] if len(ratios) == 1 else math.nan
        return math.exp(sum(map(math.log, ratios)) / len(ratios))

    @property
    def error(self) -> float:
        """Relative standard error of the variance of as many normal entries, √(2 / n)."""
        return math.sqrt(2 / max(self.value.numel(), 1))


def layers_of(
    facts: Mapping[str, ParameterFact],
    values: Mapping[str, Tensor],
    graph: Graph,
    uses: Mapping[str, Sequence[int]],
) -> tuple[Layer, ...]:
    """Return the weights in execution order; those that were not seen to run come last."""
    children = graph.children()
    found = [
        Layer(
            fact,
            values[name],
            tuple(_part(fact, place, values[name]) for place in range(len(fact.parts))),
            tuple(uses.get(name, ())),
            normalised=bool(uses.get(name))
            and all(_normalised(graph, children, node) for node in uses[name]),
        )
        for name, fact in facts.items()
        if fact.kind in WEIGHT_KINDS and values[name].numel()
    ]
    last = len(facts)
    return tuple(sorted(found, key=lambda one: last if one.fact.order is None else one.fact.order))


def _part(fact: ParameterFact, place: int, value: Tensor) -> PartScale:
    part = fact.parts[place]
    rows = value if len(fact.parts) == 1 else value[part.start : part.stop]
    rows = rows.float() if rows.dtype != torch.float64 else rows
    norm = float(torch.linalg.vector_norm(rows))
    std = norm / math.sqrt(max(rows.numel(), 1))
    fans = part.fans
    wanted = 0.0
    if fans is not None and fans.fan_in > 0:
        drawn = fact.output_variance - fact.bias_variance
        variance = drawn / (fans.fan_in * fact.input_second_moment)
        wanted = math.sqrt(variance) if 0 < variance < math.inf else 0.0
    return PartScale(
        part.label,
        part.start,
        part.stop,
        float(rows.mean()),
        std,
        wanted,
        float(fans.fan_in) if fans is not None else 0.0,
        float(fans.fan_out) if fans is not None else 0.0,
    )


def _normalised(graph: Graph, children: Sequence[Sequence[int]], index: int) -> bool:
    """Tell whether a normalisation comes before anything that is no move or shift of a signal."""
    readers = [graph.nodes[child] for child in children[index]]
    if not readers:
        return False
    for node in readers:
        if is_norm(graph, node):
            continue
        statistic = node.kind in {"mean", "sum"} or node.op in {"pow", "square", "sub"}
        passes = node.kind in {"shape", "pad", "max"} or (
            node.kind == "pointwise" and node.op == "add" and len(node.parents) == 1
        )
        if not (passes or statistic) or not _normalised(graph, children, node.index):
            return False
    return True
