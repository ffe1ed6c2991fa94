"""What each operation of PyTorch does to a signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from initlab.models import operators
from initlab.models.graph import Node, NodeKind, Use


@dataclass(frozen=True)
class View:
    """An operation and its arguments, with what is known of them."""

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    signal: Callable[[Any], int | None]
    use: Callable[[Any], Use | None]
    nodes: Sequence[Node]
    held: Mapping[str, Tensor]

    def at(self, index: int) -> Any:
        """Return a positional argument, None where there is none."""
        return self.args[index] if index < len(self.args) else None


Description = tuple[NodeKind, dict[str, Any]]


def describe(name: str, seen: View, output: Tensor) -> Description:
    """Say what an operation does to its signals.

    Returns the kind and the fields of the node besides those that every node has.
    """
    for matches, answer in _RULES:
        if name in matches:
            return answer(seen, output)
    if name in operators.POINTWISE or torch.Tag.pointwise in getattr(seen.func, "tags", ()):
        return _pointwise(seen, output)
    return "unknown", {}


def _layer(seen: View, parent: Any, weight: Use, bias: Any, **more: Any) -> Description:
    node = seen.signal(parent)
    return "layer", {
        "parents": (node,) if node is not None else None,
        "weight": weight,
        "bias": seen.use(bias),
        **more,
    }


def _product(x: Any, y: Any, bias: Any, seen: View) -> Description:
    """Describe a matrix product; the one factor that is a parameter makes it a layer."""
    first, second = seen.use(x), seen.use(y)
    terms = float(x.shape[-1])
    if seen.signal(x) is not None and second is not None:  # x @ W sums over the rows of W
        axis = max(y.dim() - 2, 0)
        weight = replace(second, input_first=_sums_over_first(seen, y, axis, second))
        return _layer(seen, x, weight, bias, count=terms, geometry=_outputs(y, terms))
    if seen.signal(y) is not None and first is not None:  # W @ x sums over the columns of W
        weight = replace(first, input_first=_sums_over_first(seen, x, -1, first))
        return _layer(seen, y, weight, bias, count=terms, geometry=_outputs(x, terms))
    both = [node for node in (seen.signal(x), seen.signal(y)) if node is not None]
    if len(both) == 2:
        return "matmul", {"parents": tuple(both), "count": terms}
    return "unknown", {}  # times a constant, whose values are not there to be summed


def _outputs(weight: Tensor, terms: float) -> dict[str, Any]:
    """Return how many outputs each input of a matrix reaches; leading axes count matrices."""
    return {"outputs": math.prod(weight.shape[-2:]) / max(terms, 1.0)}


def _sums_over_first(seen: View, value: Tensor, axis: int, use: Use) -> bool:
    """Tell whether the axis that is summed over is the first one of the parameter itself.

    A view keeps the strides of the parameter; a copy does not, and the transposes on the way count.
    """
    held = seen.held[use.name]
    if held.dim() == 2 and value.shape[axis] > 1 and storage_of(value) == storage_of(held):
        first, second = held.stride()
        if first != second and value.stride(axis) in {first, second}:
            return value.stride(axis) == first
    return use.input_first == (axis == -1)


def storage_of(value: Tensor) -> int | None:
    """Return a number that stands for the memory of a tensor; None if it has none of its own."""
    try:
        # What a view shares with its base has no public name: a tensor without data has no address.
        return value.untyped_storage()._cdata  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    except (NotImplementedError, RuntimeError):
        return None


def _mm(seen: View, _output: Tensor) -> Description:
    return _product(seen.at(0), seen.at(1), None, seen)


def _addmm(seen: View, _output: Tensor) -> Description:
    return _product(seen.at(1), seen.at(2), seen.at(0), seen)


def _grouped(seen: View, _output: Tensor) -> Description:
    """Describe a product with one matrix of several for each sample: a mixture of experts."""
    x, weight = seen.at(0), seen.use(seen.at(1))
    if weight is None or seen.signal(x) is None:
        return "unknown", {}
    terms = float(x.shape[-1])
    return _layer(seen, x, weight, None, count=terms, geometry=_outputs(seen.at(1), terms))


def _linear(seen: View, _output: Tensor) -> Description:
    weight = seen.use(seen.at(1))
    if weight is None or seen.signal(seen.at(0)) is None:
        return "unknown", {}
    terms = float(seen.at(0).shape[-1])
    return _layer(
        seen, seen.at(0), weight, seen.at(2), count=terms, geometry=_outputs(seen.at(1), terms)
    )


def _convolution(seen: View, _output: Tensor) -> Description:
    x, weight = seen.at(0), seen.use(seen.at(1))
    if weight is None or seen.signal(x) is None:
        return "unknown", {}
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    geometry: dict[str, Any] = dict(zip(names, seen.args[3:9], strict=True))
    geometry["size"] = tuple(int(size) for size in x.shape[2:])
    geometry["kernel"] = tuple(int(size) for size in seen.at(1).shape[2:])
    geometry["depthwise"] = 1 < int(geometry["groups"]) == int(x.shape[1])
    return _layer(seen, x, weight, seen.at(2), geometry=geometry)


def _trilinear(seen: View, _output: Tensor) -> Description:
    weight = seen.use(seen.at(1))
    if weight is None or seen.signal(seen.at(0)) is None:
        return "unknown", {}
    parents = tuple(
        node for node in (seen.signal(seen.at(0)), seen.signal(seen.at(2))) if node is not None
    )
    outputs, in1, in2 = seen.at(1).shape[-3:]
    return "layer", {
        "parents": parents,
        "weight": weight,
        "count": float(in1 * in2),
        "geometry": {"outputs": float(outputs)},
    }


def _embedding(seen: View, output: Tensor) -> Description:
    """Note by how much a bag changes the variance of its rows: their sum, mean or maximum."""
    weight = seen.use(seen.at(0))
    if weight is None:
        return "shape", {}
    count = 1.0
    if "bag" in operators.name_of(seen.func):
        bag = max(seen.at(1).numel() / max(output.shape[0], 1), 1.0)
        count = {0: bag, 1: 1 / bag}.get(seen.at(4) or 0, 1.0)
    return "embedding", {"weight": weight, "count": count}


def _norm(seen: View, _output: Tensor) -> Description:
    start = operators.WHERE_SCALE_STANDS.get(operators.name_of(seen.func), 1)
    node = seen.signal(seen.at(0))
    return "norm", {
        "parents": (node,) if node is not None else None,
        "weight": seen.use(seen.at(start)),
        "bias": seen.use(seen.at(start + 1)),
    }


def _reduced(seen: View, output: Tensor) -> float:
    """Return how many values go into one."""
    x = seen.at(0)
    return x.numel() / max(output.numel(), 1)


def _mean(seen: View, output: Tensor) -> Description:
    return "mean", {"count": _reduced(seen, output), "over_features": _over_features(seen)}


def _over_features(seen: View) -> bool:
    """Tell whether a reduction runs over the features of each place, and over nothing else."""
    x, axes = seen.at(0), seen.at(1)
    axes = [axes] if isinstance(axes, int) else axes
    node = seen.signal(x)
    if node is None or not isinstance(axes, (list, tuple)) or len(axes) != 1:
        return False
    return int(axes[0]) % x.dim() == _feature_axis(seen, seen.nodes[node], x.dim())


def _feature_axis(seen: View, node: Node, axes: int) -> int:
    """Return the axis along which the layer before wrote its features.

    A convolution writes them along axis 1, a product along the last; a transpose on the way swaps
    the two, but where a product's features are cut into heads, of which each keeps its own last.
    """
    swapped = False
    while node.kind not in {"layer", "embedding", "input", "recurrent"} and node.parents:
        swapped ^= node.op in operators.TRANSPOSES
        node = seen.nodes[node.parents[0]]
    images = "kernel" in node.geometry or (node.kind == "input" and axes == 4)
    if images:
        return axes - 1 if swapped else min(1, axes - 1)
    return 1 if swapped and axes == 3 else axes - 1


def _resized(seen: View, output: Tensor) -> Description:
    """Interpolation takes weighted means; 1 / count is the mean sum of squared weights."""
    name, corners = (
        operators.name_of(seen.func),
        [value for value in seen.args if isinstance(value, bool)],
    )
    count = 1.0
    for before, after in zip(seen.at(0).shape[2:], output.shape[2:], strict=True):
        unit = torch.eye(int(before), dtype=torch.float64)
        weights = nn.functional.interpolate(
            unit[None, :, :, None],
            (int(after), 1),
            mode="bicubic" if "cubic" in name else "bilinear",
            align_corners=bool(corners and corners[0]),
        )
        count *= int(after) / float(weights.square().sum())
    return "mean", {"count": count}


def _average_pool(seen: View, _output: Tensor) -> Description:
    return "mean", {"count": float(math.prod(_sizes(seen.at(1))))}


def _maximum(seen: View, output: Tensor) -> Description:
    if "pool" in operators.name_of(seen.func) and "adaptive" not in operators.name_of(seen.func):
        return "max", {"count": float(math.prod(_pool_sizes(seen)))}
    if isinstance(seen.at(1), Tensor):
        return _pointwise(seen, output)
    return "max", {"count": _reduced(seen, output)}


def _pool_sizes(seen: View) -> Sequence[int]:
    sizes = _sizes(seen.at(1))
    axes = (
        3
        if "3d" in operators.name_of(seen.func)
        else 2
        if "2d" in operators.name_of(seen.func)
        else 1
    )
    return list(sizes) * axes if len(sizes) == 1 else sizes


def _sizes(value: Any) -> Sequence[int]:
    return [value] if isinstance(value, int) else list(value or [1])


def _sum(seen: View, output: Tensor) -> Description:
    return "sum", {"count": _reduced(seen, output), "over_features": _over_features(seen)}


def _cumulative(seen: View, _output: Tensor) -> Description:
    """Describe sums of 1 to n values: (n + 1) / 2 on average."""
    x, axis = seen.at(0), seen.at(1)
    n = int(x.shape[axis]) if x.dim() else 1
    return "sum", {"count": (n + 1) / 2, "over_features": _over_features(seen)}


def _scattered_sum(seen: View, output: Tensor) -> Description:
    """Describe values that are added up where an index says, onto zeros."""
    source = seen.signal(seen.at(3))
    if source is None or seen.signal(seen.at(0)) is not None:
        return "shape", {}
    one = seen.at(2) if operators.name_of(seen.func) == "scatter_add" else seen.at(3)
    return "sum", {"parents": (source,), "count": one.numel() / max(output.numel(), 1)}


def _softmax(seen: View, _output: Tensor) -> Description:
    axis = seen.at(1)
    shape = seen.at(0).shape
    return "softmax", {"count": float(shape[axis] if isinstance(axis, int) and shape else 1)}


def _attention(seen: View, _output: Tensor) -> Description:
    nodes = [seen.signal(seen.at(index)) for index in range(3)]
    if any(node is None for node in nodes):
        return "unknown", {}
    heads = {
        name: int(seen.at(index).shape[1]) for index, name in enumerate(("query", "key", "value"))
    }
    return "attention", {"parents": tuple(nodes), "geometry": heads}


def _shape(_seen: View, _output: Tensor) -> Description:
    return "shape", {}


def _pad(seen: View, output: Tensor) -> Description:
    """Describe padding with zeros: the values stay, their share falls."""
    return "pad", {"count": max(output.numel() / max(seen.at(0).numel(), 1), 1.0)}


def _concat(seen: View, _output: Tensor) -> Description:
    """Note the parts' sizes, and a parameter that is joined to them: a learned token."""
    uses = [seen.use(value) for value in seen.at(0)]
    shares: dict[int, float] = {}
    for value in seen.at(0):
        node = seen.signal(value)
        if node is not None:
            shares[node] = shares.get(node, 0.0) + float(value.numel())
    return "concat", {
        "factor": next((use for use in uses if use is not None), None),
        "geometry": {"shares": shares},
    }


def _pointwise(seen: View, _output: Tensor) -> Description:
    uses = [seen.use(value) for value in seen.args if isinstance(value, Tensor)]
    found = [use for use in uses if use is not None]
    return "pointwise", {"factor": found[0] if found else None}


_RULES: tuple[tuple[frozenset[str], Callable[[View, Tensor], Description]], ...] = (
    (operators.PRODUCTS, _mm),
    (operators.SUMMED_PRODUCTS, _addmm),
    (frozenset({"linear"}), _linear),
    (frozenset({"_grouped_mm"}), _grouped),
    (frozenset({"convolution", "_convolution"}), _convolution),
    (frozenset({"_trilinear"}), _trilinear),
    (operators.EMBEDDINGS, _embedding),
    (operators.NORMS, _norm),
    (operators.MEANS, _mean),
    (operators.INTERPOLATIONS, _resized),
    (operators.AVERAGE_POOLS, _average_pool),
    (operators.MAXIMA, _maximum),
    (frozenset({"sum", "col2im"}), _sum),
    (frozenset({"cumsum"}), _cumulative),
    (operators.SCATTERED_SUMS, _scattered_sum),
    (operators.SOFTMAXES, _softmax),
    (operators.ATTENTIONS, _attention),
    (frozenset({"constant_pad_nd"}), _pad),
    (frozenset({"cat", "stack"}), _concat),
    (operators.SHAPES, _shape),
)
