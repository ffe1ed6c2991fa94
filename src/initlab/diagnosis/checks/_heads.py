"""The layers that compute the output, and what their scores say at the start."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.losses import Loss
from initlab.models.facts import ParameterFact
from initlab.models.graph import Node

# Scores that are looked at: rows, evenly spaced, are left out beyond.
_MOST_SCORES = 2**22
_FEWEST_ROWS = 16

_MOVES = frozenset({"shape", "pad"})
_PASSES = _MOVES | {"pointwise", "mean", "max", "sum", "concat", "norm"}


@dataclass(frozen=True)
class Head:
    """A layer that computes the output, with no layer behind it.

    Attributes
    ----------
    node
        Where it runs.
    weight
        What it multiplies by: a weight, or an embedding's table.
    bias
        What it adds; None if nothing.
    end
        The output's node that it reaches.
    direct
        True if nothing but moves, and means over places, lies in between.
    """

    node: int
    weight: ParameterFact
    bias: ParameterFact | None
    end: int
    direct: bool


def heads(evidence: Evidence) -> tuple[Head, ...]:
    """Return the layers behind the output that the loss is taken of, in execution order."""
    found: dict[int, Head] = {}
    for end in _ends(evidence):
        todo, seen = [(end, True)], set[int]()
        while todo:
            index, direct = todo.pop()
            node = evidence.node(index)
            if index in seen:
                continue
            seen.add(index)
            if node.kind == "layer" and node.weight is not None:
                head = _head(evidence, index, end, direct=direct)
                if head is not None:
                    found[index] = head
            elif node.kind in _PASSES:
                mean = node.kind == "mean" and not node.over_features
                passed = direct and (node.kind in _MOVES or mean)
                todo += [(one, passed) for one in _largest(evidence, node)]
    return tuple(found[index] for index in sorted(found))


def _largest(evidence: Evidence, node: Node) -> list[int]:
    """Return what a node reads; of a sum, the terms that make most of it."""
    if node.op != "add" or len(node.parents) < 2:
        return list(node.parents)
    sizes = [evidence.second(one) for one in node.parents]
    most = max(sizes)
    return [one for one, size in zip(node.parents, sizes, strict=True) if not size < most / 4]


def sources(evidence: Evidence) -> tuple[str, ...]:
    """Return the parameters that the output is last computed with, where no layer makes it."""
    found: dict[str, None] = {}
    todo, seen = _ends(evidence), set[int]()
    while todo:
        node = evidence.node(todo.pop())
        if node.index in seen:
            continue
        seen.add(node.index)
        uses = (node.factor, node.weight)
        names = [evidence.canonical.get(use.name, "") for use in uses if use is not None]
        found |= dict.fromkeys(name for name in names if name)
        if not any(names):
            todo += _largest(evidence, node)
    return tuple(found)


def _ends(evidence: Evidence) -> list[int]:
    """Return the output that the loss reads, told by its shape; all of them if that is unknown."""
    outputs = list(evidence.graph.outputs)
    loss = evidence.run.loss
    shape = tuple(loss.output.shape) if loss is not None and loss.output is not None else None
    return [one for one in outputs if evidence.node(one).shape == shape][:1] or outputs


def _head(evidence: Evidence, index: int, end: int, *, direct: bool) -> Head | None:
    node = evidence.node(index)
    parameters = evidence.facts.parameters
    weight = parameters.get(evidence.canonical.get(node.weight.name, "") if node.weight else "")
    if weight is None:
        return None
    bias = parameters.get(evidence.canonical.get(node.bias.name, "") if node.bias else "")
    if bias is None:
        bias = next((p for p in parameters.values() if p.bias_of in weight.names), None)
    return Head(index, weight, bias, end, direct)


@dataclass(frozen=True)
class Scores:
    """What the scores of the classes say at the start.

    Attributes
    ----------
    classes
        How many there are; 2 where one score tells a class from the other.
    samples
        How many the loss is a mean over.
    std
        Root mean square over the samples of the std over the classes; of one score, its own.
    shared
        The same, of the scores' means over the samples.
    loss
        As it was taken.
    undecided
        The loss, were the targets drawn from all classes alike.
    error
        Standard error of the loss.
    """

    classes: int
    samples: int
    std: float
    shared: float
    loss: float
    undecided: float
    error: float

    @property
    def uniform(self) -> float:
        """Loss of a uniform guess."""
        return math.log(self.classes)

    @property
    def excess(self) -> float:
        """How much more the loss is than that, for sure.

        A sum in place of a mean, or a right bias for rare classes, is no excess.
        """
        return min(self.loss, self.undecided) - self.uniform


def scores(loss: Loss | None) -> Scores | None:
    """Look at the scores of the classes; None if the loss has none."""
    if loss is None or loss.output is None:
        return None
    value = float(loss.value.detach())
    if loss.kind == "binary":
        return _binary(loss.output.detach(), value)
    logits = loss.logits
    if logits is None or logits.shape[1] < 2:
        return None
    count, classes = logits.shape
    x = _some(logits)
    spread = x.var(dim=1, unbiased=False)
    return Scores(
        classes,
        count,
        math.sqrt(float(spread.mean())),
        float(x.mean(0).std(unbiased=False)),
        value,
        float((x.logsumexp(1) - x.mean(1)).mean()),
        math.sqrt(float(spread.mean()) / count),
    )


def _some(logits: Tensor) -> Tensor:
    rows = max(_MOST_SCORES // logits.shape[1], _FEWEST_ROWS)
    return logits[:: max(-(-len(logits) // rows), 1)].float()


def _binary(output: Tensor, value: float) -> Scores:
    x = output.flatten()
    x = x[:: max(-(-x.numel() // _MOST_SCORES), 1)].float()
    std = float(x.square().mean().sqrt())
    undecided = float((functional.softplus(x) - x / 2).mean())
    return Scores(
        2, output.numel(), std, abs(float(x.mean())), value, undecided, std / math.sqrt(x.numel())
    )


def spread_over_classes(value: Tensor) -> float:
    """Return the std over the classes of what one bias adds."""
    if value.numel() < 2:
        return float(value.detach().float().abs().mean()) if value.numel() else 0.0
    return float(value.detach().to(torch.float32).std(unbiased=False))
