"""Says where numbers stop being finite, if they do at the start."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from initlab.diagnosis.run import Run
from initlab.models.graph import Node

# What these put at masked places is meant, and of no effect behind a softmax.
_MASKS = frozenset({"masked_fill", "where", "scalar_tensor", "tril", "triu"})


def not_finite(model: nn.Module, run: Run, targets: Any) -> str:
    """Return where a run has values that are nan or infinite; empty if they do not matter.

    Only what goes on to the outputs, to the loss or to a gradient counts: a mask of -inf is meant.
    The first such operation is named, with the parameter that it has them from.
    """
    ends = [index for index in run.graph.outputs if _word(run, index)]
    if ends:
        return _forward(model, run, min(_origin(run, index) for index in ends))
    if run.loss is not None and not bool(torch.isfinite(run.loss.value.detach())):
        word = "nan" if bool(torch.isnan(run.loss.value.detach())) else "inf"
        tensors = [x for x in tree_leaves(targets) if isinstance(x, Tensor)]
        held = next((name for name in map(_held, tensors) if name), "")
        why = f"the targets hold {held}" if held else "the outputs are finite; look at the loss"
        return f"the loss is {word} from the start: {why}"
    return _backward(run)


def _word(run: Run, index: int) -> str:
    """Return "nan" or "inf" if a node has such values, as far as it was measured."""
    numbers = run.numbers.get(index)
    if numbers is None:
        parents = run.graph.nodes[index].parents
        return next((word for word in (_word(run, each) for each in parents) if word), "")
    if math.isfinite(numbers.second) and math.isfinite(numbers.mean):
        return ""
    return "nan" if math.isnan(numbers.second) else "inf"


def _origin(run: Run, index: int) -> int:
    """Return the first node that the values of a node are from."""
    while True:
        node = run.graph.nodes[index]
        before = [each for each in node.parents if _word(run, each)]
        unmasked = [each for each in before if run.graph.nodes[each].op not in _MASKS]
        if not unmasked:
            return index
        index = min(unmasked)


def _forward(model: nn.Module, run: Run, index: int) -> str:
    node = run.graph.nodes[index]
    word = _word(run, index)
    if node.kind == "input" and node.weight is None:
        return f"the inputs hold {word}: {_counted(run, index)}"
    values = dict((*model.named_parameters(), *model.named_buffers()))
    used = [use.name for use in (node.weight, node.bias, node.factor) if use is not None]
    own = [name for name in values if node.module and name.startswith(f"{node.module}.")]
    found = ((name, _held(values[name])) for name in (*used, *own) if name in values)
    why = next((f": {name} holds {held}" for name, held in found if held), "")
    return f"the output of {_place(model, node)} is {word} from the start{why}"


def _backward(run: Run) -> str:
    odd = [index for index, square in run.squares.items() if not math.isfinite(square)]
    if odd:
        node = run.graph.nodes[max(odd)]
        where = f"{node.module} ({node.op})" if node.module else node.op
        word = "nan" if math.isnan(run.squares[node.index]) else "inf"
        return f"the gradient of the loss by the output of {where} is {word} from the start"
    held = ((name, _held(gradient)) for name, gradient in run.gradients.items())
    return next(
        (f"the gradient of {name} holds {word} from the start" for name, word in held if word), ""
    )


def _place(model: nn.Module, node: Node) -> str:
    if not node.module:
        return f"{type(model).__name__} ({node.op})"
    kind = type(model.get_submodule(node.module)).__name__
    return f"{node.module} ({kind})"


def _counted(run: Run, index: int) -> str:
    numbers = run.numbers[index]
    odd = int((~torch.isfinite(numbers.unit_mean)).sum())
    return f"in {odd} of {numbers.unit_mean.numel()} features"


def _held(value: Tensor) -> str:
    """Return "nan" or "inf" if a tensor holds such."""
    if not value.is_floating_point() or value.layout != torch.strided or not value.numel():
        return ""
    low, high = torch.aminmax(value.detach())  # nan where there is one; makes no copy
    if bool(torch.isnan(low)):
        return "nan"
    return "inf" if bool(torch.isinf(low) | torch.isinf(high)) else ""
