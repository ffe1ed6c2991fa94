"""Where inputs enter a model: the layers that read them before any other layer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from initlab.diagnosis.subject import arguments
from initlab.models.graph import Graph
from initlab.models.inputs import Inputs
from initlab.models.residual import is_norm


@dataclass(frozen=True)
class Entrance:
    """A layer that reads an input.

    Attributes
    ----------
    argument
        Name of the input.
    signal
        The node that the layer reads: the input, or what was computed from it without a layer.
        Where it is joined to others, the node before that.
    reader
        The layer's node.
    moved
        True if the values are those of the input, moved at most.
    """

    argument: str
    signal: int
    reader: int
    moved: bool


def entrances(model: nn.Module, inputs: Inputs, graph: Graph) -> Iterator[Entrance]:
    """Yield the layers that read a floating-point input with no normalisation in between."""
    children = graph.children()
    for argument, place in _places(model, inputs).items():
        todo: list[tuple[int, int | None, bool]] = [(place, None, True)]
        seen = set[int]()
        while todo:
            index, joined, moved = todo.pop()
            if index in seen or index >= len(graph.nodes):
                continue
            seen.add(index)
            for child in children[index]:
                node = graph.nodes[child]
                if node.kind in {"layer", "recurrent"}:
                    if node.parents and node.parents[0] == index:
                        signal = index if joined is None else joined
                        yield Entrance(argument, signal, child, moved)
                elif node.kind in {"shape", "pad"}:
                    todo.append((child, joined, moved))
                elif node.kind == "concat":
                    todo.append((child, index if joined is None else joined, False))
                elif node.kind == "pointwise" and not is_norm(graph, node):
                    todo.append((child, joined, False))


def _places(model: nn.Module, inputs: Inputs) -> Mapping[str, int]:
    """Return the node of each floating-point input: the first nodes are the inputs, in order."""
    leaves = [x for x in tree_leaves((inputs.args, dict(inputs.kwargs))) if isinstance(x, Tensor)]
    found: dict[str, int] = {}
    for name, value in arguments(model, inputs).items():
        place = next((at for at, leaf in enumerate(leaves) if leaf is value), None)
        if place is not None:
            found[name] = place
    return found
