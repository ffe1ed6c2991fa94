"""Names the activation that follows a layer, from what it does to its input."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np
import torch
from torch import Tensor

from initlab import activations
from initlab.models.gaussian import Signal, grid
from initlab.models.graph import Graph, Node
from initlab.models.operators import COMPARISONS

# Two functions are the same if they differ by less than this where z has any weight.
_SAME, _INSIDE, _SCALED = 2e-3, 4.0, 10.0

# What says nothing of a function by its name.
_ARITHMETIC = COMPARISONS | frozenset(
    {"add", "sub", "mul", "div", "rsub", "pow", "where", "maximum", "minimum", "neg", "lerp"}
)


def following(
    graph: Graph, children: Sequence[Sequence[int]], signals: Sequence[Signal], index: int
) -> str:
    """Return the name of the activation after a layer; empty if none comes before the next one.

    What a model's author wrote out by hand is recognised by its values: ``x * torch.sigmoid(x)`` is
    ``silu``. One that is in no catalogue goes by the operations that it is made of.
    """
    steps: dict[str, None] = {}
    name = ""
    bases = [signals[index].values]
    todo, seen = list(children[index]), {index}
    while todo:
        current = heappop(todo)  # in execution order: the last one is the whole function
        node = graph.nodes[current]
        if current in seen or node.kind not in {"pointwise", "norm", "shape"}:
            continue
        seen.add(current)
        values = signals[current].values
        if node.kind == "norm":
            bases.append(values)
        elif node.kind == "pointwise":
            if values is None or signals[current].source != signals[node.parents[0]].source:
                continue  # it meets another signal: what follows belongs to both
            if not _is_affine(values, bases[-1]):
                steps[node.op.removeprefix("_").removesuffix("_kernel")] = None
                before = signals[node.parents[0]].values
                cut = _is_relu6(node) and any(_is_multiple(before, base) for base in bases)
                name = "relu6" if cut else _recognised(bases, values)
        for child in children[current]:
            heappush(todo, child)
    if name or not steps:
        return name
    return "its own formula" if _ARITHMETIC.issuperset(steps) else " ".join(steps)


def _is_relu6(node: Node) -> bool:
    """Tell whether the node cuts its input at 0 and 6: a narrow signal does not reach the latter.

    Its operation says so, whatever the input's size.
    """
    return (
        node.op in {"hardtanh", "clamp"}
        and node.replay is not None
        and tuple(node.replay.args[1:3]) == (0, 6)
    )


def _is_multiple(values: Tensor | None, base: Tensor | None) -> bool:
    if values is None or base is None:
        return False
    factor = float(values @ base) / max(float(base @ base), 1e-12)
    return factor > 0 and torch.allclose(values, factor * base, atol=1e-9)


def _recognised(bases: Sequence[Tensor | None], values: Tensor) -> str:
    """Return the activation of the catalogue that turns one of these into the values."""
    z, _ = grid(values.numel())
    inside = z.abs() <= _INSIDE
    seen = values[inside].numpy()
    for base in bases:
        if base is None:
            continue
        x = base[inside].numpy()
        for name in activations.catalogue:
            expected = np.asarray(activations.get(name)(x))
            factor = float(seen @ expected) / max(float(expected @ expected), 1e-12)
            if not 1 / _SCALED < factor < _SCALED:  # what comes after may scale it
                continue
            off = np.abs(seen - factor * expected), np.abs(seen - factor * x)
            if np.max(off[0]) < _SAME * factor and np.max(off[1]) > _SAME * factor:
                return name
    return ""


def _is_affine(values: Tensor, base: Tensor | None) -> bool:
    """Tell whether values are a multiple of the base's plus a number."""
    if base is None or float(base[-1]) == float(base[0]):
        return False
    slope = (values[-1] - values[0]) / (base[-1] - base[0])
    off = values - values[0] - slope * (base - base[0])
    return float(off.abs().max()) < 1e-9 * max(float(values.abs().max()), 1.0)
