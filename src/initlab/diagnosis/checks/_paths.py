"""Where a signal comes from, and where it goes: walks over the recorded operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from initlab.diagnosis.evidence import Evidence
from initlab.models.facts import ParameterFact
from initlab.models.graph import Known, Node, Slot

SUMS = frozenset({"layer", "recurrent", "embedding"})
"""Kinds of nodes whose weights make a signal anew."""

_ACTIVE = frozenset({"add", "sub", "mul", "div", "rsub", "neg"})


def makers(evidence: Evidence, node: int) -> list[int]:
    """Return the layers that a node's values were computed from, without further ones between."""
    found: set[int] = set()
    todo, seen = [node], set[int]()
    while todo:
        index = todo.pop()
        if index in seen:
            continue
        seen.add(index)
        if evidence.node(index).kind in SUMS:
            found.add(index)
        else:
            todo.extend(evidence.node(index).parents)
    return sorted(found)


def weights_of(evidence: Evidence, nodes: Sequence[int]) -> list[str]:
    """Return the weights of layers, by name, in execution order."""
    names: list[str] = []
    for index in sorted(nodes):
        node = evidence.node(index)
        if node.kind == "recurrent":
            names += [
                name
                for name, fact in evidence.facts.parameters.items()
                if fact.module == node.module and fact.kind == "recurrent"
            ]
        elif node.weight is not None and node.weight.name in evidence.canonical:
            names.append(evidence.canonical[node.weight.name])
    return list(dict.fromkeys(names))


def onward(evidence: Evidence, start: int) -> Iterator[Node]:
    """Yield what runs behind a node, up to and with the next layers."""
    todo, seen = list(evidence.children[start]), {start}
    while todo:
        index = todo.pop()
        if index in seen:
            continue
        seen.add(index)
        node = evidence.node(index)
        yield node
        if node.kind not in SUMS:
            todo.extend(evidence.children[index])


def joins(evidence: Evidence, start: int) -> bool:
    """Tell whether a node's output meets another signal before the next layer.

    It is then added to one (a residual branch, an adapter), multiplies one (a modulation), or
    picks from one (a grid, an attention): where it is 0, the other signal still passes. What was
    computed from the output alone is no other signal.
    """
    ancestors = evidence.ancestors
    for node in onward(evidence, start):
        if node.kind in SUMS:
            continue
        others = [parent for parent in node.parents if not ancestors[parent] >> start & 1]
        if any(_is_signal(evidence, parent) for parent in others):
            return True
    return False


def _is_signal(evidence: Evidence, index: int) -> bool:
    """Tell whether a node depends on the input or on a table, and is no constant."""
    ancestors = evidence.ancestors[index]
    return any(
        ancestors >> node.index & 1 and node.kind in {"input", *SUMS}
        for node in evidence.graph.nodes[: index + 1]
    )


def is_rectifier(node: Node) -> bool:
    """Tell whether an operation gives 0, with derivative 0, for all inputs below some number."""
    if node.op in {"relu", "relu6", "hardswish"}:
        return True
    if node.op in {"threshold", "clamp_min", "clamp", "hardtanh"}:
        bounds = constants(node)
        low, gives = bounds[:1], bounds[1:2] if node.op == "threshold" else bounds[:1]
        return bool(low) and gives == [0.0]
    return False


def constants(node: Node) -> list[float]:
    """Return the numbers among an operation's arguments, in order."""
    if node.replay is None:
        return []
    values = [*node.replay.args, *node.replay.kwargs.values()]
    return [
        float(value)
        for value in values
        if isinstance(value, (int, float)) and not isinstance(value, (bool, Slot, Known))
    ]


def is_move(node: Node) -> bool:
    """Tell whether an operation moves, scales or shifts one signal."""
    return node.kind in {"shape", "pad"} or (
        node.kind == "pointwise" and len(node.parents) == 1 and node.op in _ACTIVE
    )


def trains(evidence: Evidence, fact: ParameterFact) -> bool:
    """Tell whether a parameter, or one that it is computed from, is trained."""
    held = evidence.parameters
    return any(held[name].requires_grad for name in (*fact.names, *fact.sources) if name in held)


def all_zero(value: Tensor) -> bool:
    """Tell whether all entries are 0; of most tensors, the first row tells."""
    if value.dim() and bool(value[0].any()):
        return False
    return not bool(value.any())
