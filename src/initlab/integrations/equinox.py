"""New weights for Equinox modules, by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from initlab._base.optional import require
from initlab.integrations.layouts import Layout

require("equinox", "the Equinox adapter")

import equinox as eqx  # noqa: E402 - after the error that says how to install it
import jax  # noqa: E402 - likewise

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

_GATES: dict[type, int] = {eqx.nn.LSTMCell: 4, eqx.nn.GRUCell: 3}
_NORMS = (eqx.nn.LayerNorm, eqx.nn.RMSNorm, eqx.nn.GroupNorm, eqx.nn.BatchNorm)
_KINDS: tuple[tuple[Any, Kind], ...] = (
    (_NORMS, "norm_scale"),
    (eqx.nn.PReLU, "slope"),
    (eqx.nn.Embedding, "embedding"),
)


def initialize(
    tree: Tree, how: How | Rules, *, seed: int = 0, keep: str | Sequence[str] = ()
) -> Tree:
    """Return a copy of a module with new weights; the module given stays as it is.

    A parameter's stream follows from (seed, its path joined by dots, ``"layers.0.weight"``): not
    from the order of layers, or what else there is; a layer gets the weights that
    ``initlab.initialize`` gives to the PyTorch layer of that name. Weights are drawn from the
    initialiser, with the fans of their axes, ``(out, in, *receptive)``, the gates of recurrent
    cells one by one; biases become 0, scales of normalisation 1, slopes of PReLU 0.25; embeddings
    are drawn as ``embedding``. Layers that were stacked by ``filter_vmap`` are drawn one by one.
    The state of normalisation layers, and what is no array of floats, stays.

    Parameters
    ----------
    tree
        A module, or any tree of modules. Leaves may be shapes, from ``eqx.filter_eval_shape``.
    how, seed, keep
        As in :func:`initlab.integrations.flax.initialize`.

    Raises
    ------
    UnknownNameError, InvalidValueError
        As there.

    Examples
    --------
    >>> import jax
    >>> mlp = eqx.nn.MLP(2, 1, width_size=8, depth=2, key=jax.random.key(0))
    >>> new = initialize(mlp, [("layers.2", "zeros"), ("*", "he_normal")], seed=1)
    >>> float(abs(new.layers[2].weight).max())
    0.0
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [dotted(path) for path, _ in paths]
    leaves: list[Leaf] = []
    for name, (path, value) in zip(names, paths, strict=True):
        holders = _holders(tree, path)
        if is_parameter(value) and not any(isinstance(one, eqx.nn.StateIndex) for one in holders):
            kind = _kind(name.rpartition(".")[2], holders[-1], value.ndim)
            leaves.append(Leaf(name, kind, value, _layout(holders[-1], value.ndim)))
    values = drawn(leaves, how, seed=seed, keep=keep)
    new = [values.get(name, value) for name, (_, value) in zip(names, paths, strict=True)]
    return cast("Tree", jax.tree_util.tree_unflatten(structure, new))


def _holders(tree: Any, path: Sequence[Any]) -> list[Any]:
    """Return the nodes on the way to a leaf, as far as they can be followed."""
    holders = [tree]
    for key in path[:-1]:
        node = holders[-1]
        if isinstance(key, jax.tree_util.GetAttrKey):
            holders.append(getattr(node, key.name))
        elif isinstance(key, jax.tree_util.SequenceKey):
            holders.append(node[key.idx])
        elif isinstance(key, jax.tree_util.DictKey):
            holders.append(node[key.key])
        else:
            holders.append(None)
            break
    return holders


def _kind(own: str, module: Any, axes: int) -> Kind:
    """Tell what a parameter does by its name and the module that holds it."""
    if own.startswith("bias"):
        return "bias"
    for types, kind in _KINDS:
        if isinstance(module, types):
            return kind
    return "weight" if own.startswith("weight") and axes >= 2 else "unknown"


def _layout(module: Any, axes: int) -> Layout:
    """Read ``(*stack, out, in, *receptive)`` or ``(*stack, vocabulary, dimension)``."""
    convolution = isinstance(module, (eqx.nn.Conv, eqx.nn.ConvTranspose))
    own = module.num_spatial_dims + 2 if convolution else axes
    if isinstance(module, (eqx.nn.Linear, eqx.nn.Embedding, *_GATES)):
        own = min(2, axes)
    stack = tuple(range(axes - own))
    if isinstance(module, eqx.nn.Embedding):
        return Layout((), (), stack)
    return Layout(
        in_axis=1 - own,
        out_axis=-own,
        batch_axis=stack,
        groups=module.groups if convolution else 1,
        strides=tuple(module.stride) if convolution else (),
        transposed=isinstance(module, eqx.nn.ConvTranspose),
        parts=_GATES.get(type(module), 1),
    )
