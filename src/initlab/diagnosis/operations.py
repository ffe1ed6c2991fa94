"""The table of a diagnosis: one row an operation, in the order in which they ran."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from initlab.diagnosis.evidence import Evidence
from initlab.models.graph import Node
from initlab.models.residual import is_norm

# Operations that only move values, or are steps of one that has a row.
_SHOWN = frozenset(
    {"layer", "embedding", "recurrent", "norm", "attention", "softmax", "max", "mean", "unknown"}
)
_AFFINE = frozenset({"add", "sub", "mul", "div", "rsub", "neg"})


@dataclass(frozen=True)
class Operation:
    """One executed operation.

    Attributes
    ----------
    name
        Qualified name of the module that ran it.
    type
        Class of that module, or the operation of PyTorch where it is called on its own.
    op
        The operation of PyTorch.
    shape
        Of its output.
    parameter
        The weight that it uses; empty if none.
    fan_in, fan_out, std, wanted_std
        Of that weight; None where they have no meaning.
    mean, second_moment
        Measured, of the output.
    predicted_second_moment
        From the weights as they are.
    dead
        Share of units that are 0 on the whole batch, behind a rectifier.
    saturated
        Share of entries that saturate.
    correlation
        Mean cosine between the signals of two inputs.
    gradient_norm
        Of the loss by the output.
    """

    name: str
    type: str
    op: str
    shape: tuple[int, ...]
    parameter: str = ""
    fan_in: float | None = None
    fan_out: float | None = None
    std: float | None = None
    wanted_std: float | None = None
    mean: float | None = None
    second_moment: float | None = None
    predicted_second_moment: float | None = None
    dead: float | None = None
    saturated: float | None = None
    correlation: float | None = None
    gradient_norm: float | None = None


RECTIFIERS = frozenset(
    {"relu", "threshold", "relu6", "hardtanh", "clamp", "clamp_min", "hardswish", "_prelu_kernel"}
)


def operations(evidence: Evidence) -> tuple[Operation, ...]:
    """Return a row for every operation that is more than a step of another or a move of values."""
    types = {name: type(module).__name__ for name, module in evidence.model.named_modules()}
    return tuple(_row(evidence, node, types) for node in _shown(evidence))


def _shown(evidence: Evidence) -> Iterator[Node]:
    sums = {one.node for one in evidence.additions}
    for node in evidence.graph.nodes:
        pointwise = node.kind == "pointwise" and (
            node.op not in _AFFINE or node.index in sums or is_norm(evidence.graph, node)
        )
        if (node.kind in _SHOWN or pointwise) and node.index in evidence.run.numbers:
            yield node


def _row(evidence: Evidence, node: Node, types: dict[str, str]) -> Operation:
    numbers = evidence.run.numbers[node.index]
    layer = evidence.layer_of.get(node.index)
    weight = evidence.canonical.get(node.weight.name, "") if node.weight is not None else ""
    own = types.get(node.module, "")
    sums = {one.node for one in evidence.additions}
    activation = node.kind in {"pointwise", "softmax"} and node.op not in own.lower()
    kind = "residual add" if node.index in sums else node.op.strip("_") if activation else own
    part = layer.parts[0] if layer is not None and layer.parts else None
    rectifies = node.op in RECTIFIERS
    saturated = numbers.saturated
    if node.index in evidence.run.scores:
        saturated = evidence.run.scores[node.index].saturated
    return Operation(
        name=node.module,
        type=kind or node.op.strip("_"),
        op=node.op,
        shape=node.shape,
        parameter=weight,
        fan_in=part.fan_in if part is not None else None,
        fan_out=part.fan_out if part is not None else None,
        std=layer.std if layer is not None else _std(evidence, weight),
        wanted_std=_known(part.wanted) if part is not None else None,
        mean=numbers.mean,
        second_moment=numbers.second,
        predicted_second_moment=_finite(evidence.predicted(node.index)),
        dead=numbers.dead if rectifies else None,
        saturated=saturated,
        correlation=numbers.alike,
        gradient_norm=_finite(evidence.gradient_norm(node.index)),
    )


def _std(evidence: Evidence, name: str) -> float | None:
    value = evidence.values.get(name)
    if value is None or not value.is_floating_point() or not value.numel():
        return None
    # A norm makes no copy; the largest tables have hundreds of megabytes.
    return float(torch.linalg.vector_norm(value, dtype=torch.float64)) / math.sqrt(value.numel())


def _known(value: float) -> float | None:
    return value if value > 0 else None


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
