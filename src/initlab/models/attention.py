"""Finds the projections of an attention: which layer makes queries, keys, values and output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from initlab.models.facts import Attention
from initlab.models.graph import Graph, Node

Role = Literal["query", "key", "value", "output"]


@dataclass(frozen=True)
class Projection:
    """A layer's part in an attention.

    Attributes
    ----------
    attention
        Its roles, one for each run of its outputs.
    rows
        How many outputs each run has; empty if the layer has one role, or how it is cut is unknown.
    """

    attention: Attention
    rows: tuple[int, ...] = ()


def attentions(graph: Graph, children: list[list[int]]) -> dict[int, Projection]:
    """Return, for each layer that takes part in an attention, its roles; packed ones have more."""
    found: dict[int, Projection] = {}
    for place, heads, sources in _cores(graph, children):
        roles: dict[int, dict[Role, int]] = {}
        for role, source in sources.items():
            layer = _layer_before(graph, source)
            if layer is not None:
                roles.setdefault(layer, {})[role] = source
        output = _layer_after(graph, place, children)
        if output is not None:
            roles.setdefault(output, {})["output"] = output
        module = _common([graph.nodes[layer].module for layer in roles])
        for layer, parts in roles.items():
            runs = _runs(graph, layer, parts) if len(parts) > 1 else None
            names, rows = runs or (tuple(parts), ())
            found[layer] = Projection(Attention(module, names, heads), rows)
    return found


def _runs(
    graph: Graph, layer: int, sources: dict[Role, int]
) -> tuple[tuple[Role, ...], tuple[int, ...]] | None:
    """Return the roles of a packed layer's outputs, run by run, and how many outputs each run has.

    None if an output has no role or several: the layer then makes other things too, or shares them.
    """
    outputs = graph.nodes[layer].shape[-1]
    owner: list[Role | None] = [None] * outputs
    for role, source in sources.items():
        rows = _rows(graph, layer, source)
        if rows is None or any(owner[row] is not None for row in rows):
            return None
        for row in rows:
            owner[row] = role
    roles: list[Role] = []
    rows_of: list[int] = []
    for row, role in enumerate(owner):
        if role is None:
            return None
        if not row or role != owner[row - 1]:
            roles.append(role)
            rows_of.append(0)
        rows_of[-1] += 1
    return tuple(roles), tuple(rows_of)


def _rows(graph: Graph, layer: int, source: int) -> list[int] | None:
    """Return which of a layer's outputs reach a node: their numbers move as the values did."""
    moved: dict[int, Tensor] = {}

    def at(index: int) -> Tensor:
        node = graph.nodes[index]
        if index == layer:
            return torch.arange(node.shape[-1]).expand(node.shape)
        if index not in moved:
            if node.kind in {"shape", "concat"} and node.replay is not None:
                parents = {parent: at(parent) for parent in node.parents}
                result = node.replay.run(parents, lambda _: torch.arange(0))  # an empty cache
                moved[index] = result[node.part] if isinstance(result, (tuple, list)) else result
            else:
                moved[index] = at(node.parents[0])
        return moved[index]

    try:
        reached = torch.zeros(graph.nodes[layer].shape[-1], dtype=torch.bool)
        reached[at(source)] = True  # faster than sorting
        return [int(row) for row in reached.nonzero()]
    except Exception:  # noqa: BLE001 - values moved in a way that needs more than their numbers
        return None


def _cores(
    graph: Graph, children: list[list[int]]
) -> Iterator[tuple[int, int | None, dict[Role, int]]]:
    """Yield the node that weighs the values, its heads, and where its three inputs come from."""
    for node in graph.nodes:
        if node.kind == "attention":
            query, key, value = node.parents if len(node.parents) == 3 else (node.parents * 3)[:3]
            heads = node.geometry.get("query")
            yield node.index, heads, {"query": query, "key": key, "value": value}
        elif node.kind == "softmax":
            weighing = _next(graph, node.index, children, "matmul")
            logits = _before(graph, node, "matmul")
            if weighing is None or logits is None:
                continue
            values = [
                parent
                for parent in graph.nodes[weighing].parents
                if not _comes_from(graph, parent, node.index)
            ]
            if len(logits.parents) == 2 and values:
                query, key = logits.parents
                heads = node.shape[1] if len(node.shape) == 4 else None
                yield weighing, heads, {"query": query, "key": key, "value": values[0]}


def _before(graph: Graph, node: Node, kind: str) -> Node | None:
    """Follow the first parent back to a node of this kind, through scaling and masks."""
    while node.parents:
        node = graph.nodes[node.parents[0]]
        if node.kind == kind:
            return node
        if node.kind not in {"pointwise", "shape", "pad"}:
            return None
    return None


def _next(graph: Graph, index: int, children: list[list[int]], kind: str) -> int | None:
    """Follow readers forward to a node of this kind."""
    todo = list(children[index])
    while todo:
        current = todo.pop(0)
        node = graph.nodes[current]
        if node.kind == kind:
            return current
        if node.kind in {"pointwise", "shape"}:
            todo.extend(children[current])
    return None


def _comes_from(graph: Graph, index: int, ancestor: int) -> bool:
    while index > ancestor and graph.nodes[index].parents:
        if graph.nodes[index].kind not in {"pointwise", "shape"}:
            return False
        index = graph.nodes[index].parents[0]
    return index == ancestor


def _layer_before(graph: Graph, index: int) -> int | None:
    """Return the layer whose output this is, reshaped, rotated or normalised."""
    node = graph.nodes[index]
    while node.kind in {"shape", "pointwise", "norm", "concat", "pad"} and node.parents:
        node = graph.nodes[node.parents[0]]
    return node.index if node.kind == "layer" else None


def _layer_after(graph: Graph, index: int, children: list[list[int]]) -> int | None:
    """Return the layer that reads the weighed values, if nothing but shapes comes between."""
    todo = list(children[index])
    while todo:
        current = todo.pop(0)
        node = graph.nodes[current]
        if node.kind == "layer":
            return current
        if node.kind == "shape" or (node.kind == "pointwise" and len(node.parents) == 1):
            todo.extend(children[current])
    return None


def _common(modules: list[str]) -> str:
    """Return the innermost module that holds all of these."""
    parts = [name.split(".") for name in modules]
    common: list[str] = []
    for pieces in zip(*parts, strict=False):
        if len(set(pieces)) > 1:
            break
        common.append(pieces[0])
    return ".".join(common)
