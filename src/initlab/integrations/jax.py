"""Initialisers with the signature of ``jax.nn.initializers``, and weights as JAX arrays.

The numbers come from initlab's own generator, on the host: the same bits as in NumPy and PyTorch,
whatever the device and JAX's settings. While JAX traces (``jit``, ``vmap``) the draw is a
``jax.pure_callback``, made anew whenever the compiled function runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.optional import require
from initlab.initializers import Initializer, require_shape
from initlab.integrations import _weights, layouts, numpy
from initlab.integrations.layouts import Axes, Layout
from initlab.sampling import Key

require("jax", "the JAX adapter")

import jax  # noqa: E402 - after the error that says how to install it
import jax.numpy as jnp  # noqa: E402 - likewise
from jax.core import Tracer  # noqa: E402 - likewise


class Init(Protocol):
    """The signature of ``jax.nn.initializers.Initializer``."""

    def __call__(
        self, key: jax.Array, shape: Sequence[int], dtype: Any = ..., out_sharding: Any = ...
    ) -> jax.Array:
        """Draw a weight."""
        ...


def initializer(
    text: str | Initializer,
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    groups: int = 1,
) -> Init:
    """Return an initialiser for the layers of Flax, Haiku and others built on JAX.

    The weight is drawn in the order ``(out, in, *receptive)`` and turned, so that fans are right
    and rows, not columns, are orthogonal where a layer narrows. With fewer than two axes, and for
    the tables of ``embedding`` and ``tied_embedding``, nothing is turned.

    Parameters
    ----------
    text
        Name of the initialiser, with arguments where it takes any, or the initialiser; none that
        looks at data (``lsuv``) or draws several weights together (``mimetic``).
    in_axis, out_axis, batch_axis
        As in ``jax.nn.initializers.variance_scaling``: one axis or several; all others are the
        receptive field. Along the batch, each weight is drawn by itself. A depthwise kernel
        ``(*receptive, channels, multiplier)`` has ``in_axis=(), out_axis=(-2, -1)``.
    groups
        Of the convolution, where a fan-out is asked for.

    Returns
    -------
    init
        ``init(key, shape, dtype=float32, out_sharding=None)``. Keys are typed or raw; the stream
        follows from :func:`stream_key`. ``dtype`` is a floating type, None float32.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the text cannot be read, or the initialiser needs more than one weight; on drawing, if
        key, shape or dtype does not fit, or a value is beyond the largest number of the dtype.

    Examples
    --------
    >>> init = initializer("he_normal")
    >>> init(jax.random.key(0), (3, 3, 16, 32)).shape
    (3, 3, 16, 32)
    """
    drawn = _weights.single(text)
    layout = Layout(in_axis, out_axis, batch_axis, groups)

    def init(
        key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> jax.Array:
        wanted, sizes, words = _floating(dtype), require_shape(shape), _words(key)

        def draw_all(stacked: Any) -> NDArray[Any]:
            """Draw one weight for each key: ``vmap`` adds axes in front."""
            keys = np.asarray(stacked)
            out = np.empty((*keys.shape[:-1], *sizes), wanted)
            for place in np.ndindex(keys.shape[:-1]):
                one = layouts.draw(drawn, _derived(keys[place]), sizes, layout)
                out[place] = _weights.rounded(one, wanted)
            return out

        if not isinstance(words, Tracer):
            return _placed(jnp.asarray(draw_all(words)), out_sharding)
        result = jax.ShapeDtypeStruct(sizes, wanted)
        values = jax.pure_callback(draw_all, result, words, vmap_method="expand_dims")
        return _placed(values, out_sharding)

    return init


def stream_key(key: jax.Array) -> Key:
    """Return initlab's key for one of JAX's.

    The words of ``jax.random.key_data``, most significant first, are the seed of
    ``Key.derive(seed, "", "jax")``: ``jax.random.key(7)`` has the seed 7.

    Raises
    ------
    InvalidValueError
        If it is no single key.
    """
    return _derived(np.asarray(_words(key)))


def draw(
    text: str | Initializer,
    shape: Sequence[int],
    *,
    name: str,
    seed: int = 0,
    dtype: Any = jnp.float32,
    fans: Fans | None = None,
) -> jax.Array:
    """Draw the weight of a parameter from its name, in PyTorch's axis order.

    Which weight, arguments and errors as in :func:`initlab.integrations.numpy.draw`.

    Examples
    --------
    >>> draw("he_normal", (64, 32), name="layers.0.weight").shape
    (64, 32)
    """
    wanted = _floating(dtype)
    return jnp.asarray(numpy.draw(text, shape, name=name, seed=seed, dtype=wanted, fans=fans))


def _derived(words: NDArray[np.uint32]) -> Key:
    seed = 0
    for word in words.tolist():
        seed = seed << 32 | word
    return Key.derive(seed, "", "jax")


def _words(key: jax.Array) -> jax.Array:
    """Return the data of one key, typed or raw."""
    try:
        words = jax.random.key_data(key)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"key of type {type(key).__name__} is none of JAX's; give jax.random.key(seed)"
        ) from error
    if words.ndim != 1:
        raise InvalidValueError(
            f"{words.shape[:-1]} keys were given for one weight; give one, or use jax.vmap"
        )
    return words


def _floating(dtype: Any) -> np.dtype[Any]:
    """Return the type that JAX would give, or refuse what is no floating one."""
    try:
        wanted = np.dtype(jax.dtypes.canonicalize_dtype(jnp.float32 if dtype is None else dtype))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"dtype {dtype!r} is none of JAX's; give a floating one, such as 'float32'"
        ) from error
    return _weights.require_floating(wanted)


def _placed(values: jax.Array, sharding: Any) -> jax.Array:
    """Put values where they are wanted; a bare PartitionSpec is one of the mesh that is set."""
    if sharding is None:
        return values
    if isinstance(sharding, jax.sharding.Sharding) and not isinstance(values, Tracer):
        return jax.device_put(values, sharding)
    return jax.sharding.reshard(values, sharding)
