"""New weights for Flax models, by path: Linen's variables, NNX states and modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, TypeVar, cast

from initlab._base.errors import InvalidValueError
from initlab._base.optional import require
from initlab._base.patterns import matches
from initlab.integrations.layouts import KERNEL, WHOLE, Layout

require("flax", "the Flax adapter")

import jax  # noqa: E402 - after the error that says how to install it
from flax import nnx  # noqa: E402 - likewise
from flax.core import meta  # noqa: E402 - likewise

from initlab.integrations._pytrees import (  # noqa: E402 - it imports JAX
    How,
    Kind,
    Leaf,
    Rules,
    dotted,
    drawn,
    is_parameter,
)

Tree = TypeVar("Tree")

_KINDS: Mapping[str, Kind] = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "norm_scale",
    "embedding": "embedding",
    "negative_slope": "slope",
}
_ATTENTION = frozenset({"query", "key", "value", "out"})
_UNREAD = (
    "its axes cannot be told from its shape; say which are which, "
    "layouts=[('...', Layout(in_axis=-2, out_axis=-1, batch_axis=0))]"
)
_SPREAD = (
    "its layer spreads its input; say what it does, "
    "layouts=[('...', Layout(strides=(2, 2), transposed=True))]"
)


def initialize(
    tree: Tree,
    how: How | Rules,
    *,
    seed: int = 0,
    keep: str | Sequence[str] = (),
    layouts: Sequence[tuple[str, Layout]] = (),
) -> Tree:
    """Return a copy of a model's parameters with new weights; the tree given stays as it is.

    A parameter's stream follows from (seed, its path joined by dots, ``"layers.0.kernel"``): not
    from the order of layers, or what else there is. Kernels are drawn from the initialiser, with
    the fans of their axes; biases become 0, scales of normalisation 1, slopes of PReLU 0.25;
    embeddings are drawn as ``embedding``. What is not trained (batch statistics, random keys,
    integers) stays.

    Flax's attention and the packed gates of NNX cells are recognised by the names of their parts;
    other kernels of ``DenseGeneral`` and stacks of layers (``nn.scan``) by the shape of their bias.
    A kernel with more than two axes and no bias is read as a convolution,
    ``(*receptive, in, out)``; tell those that are none (``Einsum``) by ``layouts``.

    A tree of arrays does not tell strides and groups, nor what is a transposed convolution: in
    Linen's variables and in an ``nnx.State``, every convolution has the fans of a plain one of
    stride 1. Tell others by ``layouts``: ``Layout(groups=64)``, with ``strides=(2, 2)`` or
    ``transposed=True``. Of an ``nnx.Module``, ``nnx.Conv`` and ``nnx.ConvTranspose`` are asked.

    Parameters
    ----------
    tree
        Linen's variables ``{"params": ...}``, of which the parameters alone are changed, or its
        parameters; an ``nnx.State``; or an ``nnx.Module``, of which a new one is made. Leaves may
        be shapes, from ``jax.eval_shape``.
    how
        Name of an initialiser with arguments where it takes any, an initialiser, or rules
        ``[(pattern, how), ...]``, of which the first that matches counts. In a pattern, ``*``
        stands for any text; it names parameters, or modules that they stand in. ``"keep"`` leaves
        them alone. Where the last part of the pattern is the parameter's own name, such as
        ``"*.bias"``, the parameter is drawn from the initialiser whatever it is.
    seed
        Of the whole model.
    keep
        Patterns of parameters that are left alone.
    layouts
        ``[(pattern, layout), ...]`` for kernels whose axes or fans cannot be told.

    Raises
    ------
    UnknownNameError
        If no initialiser carries a name.
    InvalidValueError
        If ``how`` cannot be read, looks at how a model runs (``"auto"``, ``"lsuv"``) or draws
        several weights together (``"mimetic"``), or a pattern matches nothing; if it is not known
        what a parameter is for; if a value is beyond the largest number of a parameter's type; or
        if the tree is none of those.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"layers_0": {"kernel": np.zeros((3, 4), np.float32)}}
    >>> initialize(params, "ones")["layers_0"]["kernel"].sum().item()
    12.0
    """
    if isinstance(tree, nnx.Module):
        graph, params, rest = nnx.split(tree, nnx.Param, ...)
        leaves = _leaves(_boxes(params), layouts, _convolutions(tree))
        new = _with(params, drawn(leaves, how, seed=seed, keep=keep))
        return cast("Tree", nnx.merge(graph, new, rest))
    if _is_variables(tree):
        params = initialize(tree["params"], how, seed=seed, keep=keep, layouts=layouts)
        return type(tree)({**tree, "params": params})
    if not isinstance(tree, (Mapping, nnx.State)):
        raise InvalidValueError(
            f"a tree of type {type(tree).__name__} is none of Flax's; give parameters, an "
            "nnx.State or an nnx.Module"
        )
    return _with(tree, drawn(_leaves(_boxes(tree), layouts), how, seed=seed, keep=keep))


def _boxes(tree: Any) -> dict[str, Any]:
    """Return what a tree holds, by name."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_box)
    return {dotted(path): box for path, box in paths}


def _with(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """Return a copy of a tree that holds these values."""
    new = [
        _filled(box, values[name]) if name in values else box for name, box in _boxes(tree).items()
    ]
    structure = jax.tree_util.tree_structure(tree, is_leaf=_is_box)
    return cast("Tree", jax.tree_util.tree_unflatten(structure, new))


def _is_variables(tree: Any) -> TypeGuard[Any]:
    """Tell whether a tree is all of Linen's collections, the parameters being one."""
    mapping = isinstance(tree, Mapping) and not isinstance(tree, nnx.State)
    return mapping and isinstance(tree.get("params"), Mapping)


def _is_box(value: object) -> bool:
    """Tell whether a node of the tree holds one parameter and what is known of it."""
    return isinstance(value, (nnx.Variable, meta.AxisMetadata))


def _held(box: Any) -> Any:
    if isinstance(box, nnx.Variable):
        return box.get_value() if isinstance(box, nnx.Param) else None
    return box.unbox() if isinstance(box, meta.AxisMetadata) else box


def _filled(box: Any, value: Any) -> Any:
    if isinstance(box, nnx.Variable):
        return box.copy(value)
    return box.replace_boxed(value) if isinstance(box, meta.AxisMetadata) else value


def _convolutions(model: nnx.Module) -> dict[str, Layout | str]:
    """Return the layouts of the kernels of a model's convolutions, as their layers tell them."""
    return {
        dotted((*path, "kernel")): _convolution(layer)
        for path, layer in nnx.iter_graph(model)
        if isinstance(layer, (nnx.Conv, nnx.ConvTranspose))
    }


def _convolution(layer: nnx.Conv | nnx.ConvTranspose) -> Layout | str:
    axes, shape = len(layer.kernel_size), tuple(_held(layer.kernel).shape)
    stack = tuple(range(len(shape) - axes - 2))
    if shape[len(stack) :] != tuple(layer.kernel_shape):
        return _UNREAD
    strides = _each(layer.strides, axes)
    if isinstance(layer, nnx.Conv):
        if set(_each(layer.input_dilation, axes)) != {1}:
            return _SPREAD
        return Layout(batch_axis=stack, groups=layer.feature_group_count, strides=strides)
    inputs, outputs = (-1, -2) if layer.transpose_kernel else (-2, -1)
    return Layout(inputs, outputs, stack, strides=strides, transposed=True)


def _each(given: int | Sequence[int] | None, axes: int) -> tuple[int, ...]:
    """Return one number for each axis."""
    return (given or 1,) * axes if given is None or isinstance(given, int) else tuple(given)


def _leaves(
    boxes: Mapping[str, Any],
    layouts: Sequence[tuple[str, Layout]],
    known: Mapping[str, Layout | str] | None = None,
) -> list[Leaf]:
    """List the parameters; their layouts are first those given, then those known, then read."""
    values = {name: _held(box) for name, box in boxes.items()}
    found = {name: value for name, value in values.items() if is_parameter(value)}
    for pattern, _ in layouts:
        if not any(matches(pattern, name) for name in found):
            raise InvalidValueError(f"layouts: {pattern!r} matches no parameter")
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    leaves: list[Leaf] = []
    for name, value in found.items():
        kind = _KINDS.get(name.rpartition(".")[2], "unknown")
        told = next((one for pattern, one in layouts if matches(pattern, name)), None)
        read = WHOLE if kind == "embedding" else _layout(name, shapes)
        leaves.append(Leaf(name, kind, value, told or (known or {}).get(name, read)))
    return leaves


def _layout(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Layout | str:
    """Read the axes of a kernel from its name, its shape, and what stands beside it."""
    shape, (module, _, own) = shapes[name], name.rpartition(".")
    holder, _, role = module.rpartition(".")
    beside = {
        part: shapes[path]
        for part in (*_ATTENTION, "dense_h", "dense_i")
        if (path := f"{holder}.{part}.{own}".lstrip(".")) in shapes
    }
    if beside.keys() >= _ATTENTION and role in _ATTENTION and len(shape) > 2:
        layers = tuple(range(len(shape) - 3))  # of a stack
        return Layout((-3, -2), -1, layers) if role == "out" else Layout(-3, (-2, -1), layers)
    if {"dense_h", "dense_i"} <= beside.keys() and role in {"dense_h", "dense_i"}:
        hidden, packed = beside["dense_h"][-2:]
        return Layout(parts=packed // hidden) if packed % hidden == 0 else _UNREAD
    bias = shapes.get(f"{module}.bias".lstrip("."), ())
    if len(bias) < 2:
        return KERNEL
    first, layers = len(shape) - len(bias), len(bias) - 1
    general = first > 0 and shape[first:] == bias
    stacked = first > 0 and (*shape[:layers], *shape[-1:]) == bias
    if general == stacked:
        return _UNREAD
    if stacked:
        return Layout(batch_axis=tuple(range(layers)))
    return Layout(tuple(range(first)), tuple(range(first, len(shape))))
