"""A forward pass as a graph: the operations that ran, in order, and which parameters they used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch.utils._pytree import tree_map

NodeKind = Literal[
    "input",
    "layer",  # sums over its input with a weight
    "embedding",
    "recurrent",
    "pointwise",
    "norm",
    "shape",  # moves values, or picks some of them
    "pad",  # the same, with zeros added
    "concat",
    "mean",
    "max",
    "sum",
    "softmax",
    "matmul",  # of two signals
    "attention",
    "unknown",
]


@dataclass(frozen=True)
class Use:
    """How an operation uses a parameter.

    Attributes
    ----------
    name
        The parameter, or the first of those that the tensor was computed from.
    input_first
        True if the operation reads the parameter as ``(in, out)``, the other way round.
    derived
        True if the tensor was computed from the parameter, not merely a view of it.
    offset
        The number that was added to it, and nothing else: 1 for a scale kept as its distance
        from 1.
    """

    name: str
    input_first: bool = False
    derived: bool = False
    offset: float = 0.0


@dataclass(frozen=True)
class Slot:
    """Stands for a parent in the arguments of an operation."""

    parent: int


@dataclass(frozen=True)
class Known:
    """Stands for a parameter or a buffer in the arguments of an operation; empty for any other."""

    name: str


@dataclass(frozen=True)
class Node:
    """One operation on signals.

    Attributes
    ----------
    index
        Place in execution order.
    kind
        What it does to a signal.
    op
        Its name in PyTorch, ``"relu"``.
    parents
        Nodes whose values it reads.
    shape
        Of its output.
    module
        Innermost module that ran it.
    weight, bias
        Parameters of a layer, or scale and shift of a normalisation.
    factor
        Parameter that a pointwise operation multiplies by or adds.
    replay
        For an operation that is pointwise, moves values or joins them: the same operation with its
        arguments, parents as :class:`Slot`; what a caller puts in their place is run through it.
    count
        How many values a mean, maximum or sum runs over; the number of terms summed by a layer
        that is no convolution.
    over_features
        True if a mean or sum runs over the features of one place, not over places.
    geometry
        Of a concatenation: shares, how many values each parent has. Of an input: its E[x²]. Of a
        convolution: stride, padding, dilation, transposed, output_padding, groups, and size
        of map and kernel. Of another layer: outputs, the number of values that an input reaches.
        Of an attention: the heads of query, key and value. Of its product with the values:
        concentration, the mean of Σ p² over a query's probabilities, where it was measured.
    part, parts
        For a slice: which one of how many equal ones.
    """

    index: int
    kind: NodeKind
    op: str
    parents: tuple[int, ...]
    shape: tuple[int, ...]
    module: str = ""
    weight: Use | None = None
    bias: Use | None = None
    factor: Use | None = None
    replay: Replay | None = None
    count: float = 1.0
    over_features: bool = False
    geometry: Mapping[str, Any] = field(default_factory=dict[str, Any])
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Replay:
    """An operation that can be run again on other values."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def run(self, parents: Mapping[int, Any], known: Callable[[str], Any]) -> Any:
        """Run it with these values for its parents, parameters and buffers."""

        def put(value: Any) -> Any:
            if isinstance(value, Slot):
                return parents[value.parent]
            if isinstance(value, Known):
                return known(value.name)
            return value

        args, kwargs = tree_map(put, (self.args, dict(self.kwargs)))
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Graph:
    """A traced forward pass.

    Attributes
    ----------
    nodes
        In execution order; a node's parents stand before it.
    outputs
        Nodes that the model returned.
    notes
        What the trace could not follow, each one line.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def ancestors(self) -> list[int]:
        """For each node, itself and all that it was computed from, as the bits of a number."""
        sets: list[int] = []
        for node in self.nodes:
            mine = 1 << node.index
            for parent in node.parents:
                mine |= sets[parent]
            sets.append(mine)
        return sets

    def children(self) -> list[list[int]]:
        """For each node, those that read it."""
        lists: list[list[int]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for parent in node.parents:
                lists[parent].append(node.index)
        return lists
