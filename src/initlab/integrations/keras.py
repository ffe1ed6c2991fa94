"""A ``keras.initializers.Initializer`` that draws from the catalogue, on any backend of Keras."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.optional import require
from initlab._base.streams import require_seed
from initlab.initializers import Initializer as Definition
from initlab.initializers import require_shape
from initlab.integrations import _weights, layouts
from initlab.integrations.layouts import KERNEL, WHOLE, Axes, Layout
from initlab.sampling import Key

require("keras", "the Keras adapter")

import keras  # noqa: E402 - after the error that says how to install it
from keras.src.backend.common import global_state  # noqa: E402 - nothing public tells the layer
from keras.src.utils import naming  # noqa: E402 - nor how Keras names it

_TRANSPOSED = tuple(getattr(keras.layers, f"Conv{rank}DTranspose") for rank in (1, 2, 3))
_GATES = {"LSTMCell": 4, "GRUCell": 3, "ConvLSTMCell": 4}


@keras.saving.register_keras_serializable(package="initlab")
class Initializer(keras.initializers.Initializer):
    """Draws the weights of Keras layers.

    Unlike Keras's own initialisers, one object may serve several layers: each call draws from a
    stream of its own. Call number n (from 0) in a layer draws from
    ``Key.derive(seed, layer, "keras").child(n)``, where ``layer`` is the name of the layer that is
    being built; empty outside of layers. So a model built twice from the same seed gets the same
    weights, whatever else was built before.

    From a name that Keras chose, ``dense_3``, the number is left out, as it counts the layers that
    the process has made so far. Layers of one class without names of their own are hence told apart
    by the calls of the object that they share: where each has an object of its own, give these
    different seeds, or none, or give the layers names, ``hidden_3``; else they get equal weights.
    Keras names a layer by its class, so a ``Dense`` called ``dense_3`` by hand is one of them.

    Weights are drawn in the order ``(out, in, *receptive)`` and turned. The layer that is being
    built tells which axis is which, also for transposed, depthwise, separable and grouped
    convolutions and ``EinsumDense``; and the gates of LSTM and GRU are drawn one by one. Anything
    else is read as ``(*receptive, in, out)``.

    Parameters
    ----------
    text
        Name of the initialiser, with arguments where it takes any, or the initialiser; none that
        looks at data (``lsuv``) or draws several weights together (``mimetic``).
    seed
        By default drawn when the object is made, as Keras does: ``keras.utils.set_random_seed``
        makes it repeat. Objects made from one configuration with a seed begin the same stream: give
        layers that are to be copied by their configuration no seed.
    in_axis, out_axis
        Take the place of what the layer tells.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the text cannot be read, the initialiser needs more than one weight, or the seed is
        none; on drawing, if shape or dtype does not fit, or a value is beyond the largest number of
        the dtype.

    Examples
    --------
    >>> Initializer("he_normal", seed=0).get_config()["text"]
    'he_normal'
    """

    def __init__(
        self,
        text: str | Definition,
        seed: int | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
    ) -> None:
        self._definition = _weights.single(text)
        self._given_seed = None if seed is None else require_seed(seed)
        # As Keras's own do, from the generator that keras.utils.set_random_seed seeds.
        given = self._given_seed
        self.seed = random.randrange(2**32) if given is None else given  # noqa: S311 - no secret
        self._axes = (in_axis, out_axis)
        self._calls = 0

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_: Any) -> Any:
        """Draw a weight.

        Parameters
        ----------
        shape
            In Keras's order.
        dtype
            A floating type; by default ``keras.config.floatx()``.

        Returns
        -------
        tensor
            Of the backend.
        """
        wanted, sizes = _floating(dtype or keras.config.floatx()), require_shape(shape)
        layer = _layer_being_built()
        layout = _layout(layer, sizes) if self._axes == (None, None) else self._given()
        key = Key.derive(self.seed, _stream_name(layer), "keras").child(self._calls)
        self._calls += 1
        values = layouts.draw(self._definition, key, sizes, layout)
        _weights.rounded(values, wanted)  # refuses what is beyond the type
        return keras.ops.convert_to_tensor(values, dtype=wanted.name)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the object, for Keras to save."""
        axes = [list(axis) if isinstance(axis, Sequence) else axis for axis in self._axes]
        return {
            "text": self._definition.spec,
            "seed": self._given_seed,
            "in_axis": axes[0],
            "out_axis": axes[1],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """Make an object from its configuration."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<Keras initializer {self._definition.spec}, seed={self.seed}>"

    def _given(self) -> Layout:
        inputs, outputs = self._axes
        return Layout(-2 if inputs is None else inputs, -1 if outputs is None else outputs)


def _floating(dtype: Any) -> np.dtype[Any]:
    name = keras.backend.standardize_dtype(dtype)
    try:
        wanted = np.dtype(name)  # Keras loads ml_dtypes, which tells NumPy of bfloat16
    except TypeError as error:
        raise InvalidValueError(f"dtype {name} is no floating type; weights need one") from error
    return _weights.require_floating(wanted)


def _stream_name(layer: Any) -> str:
    """Return a layer's name, without the number if Keras made the name from the class."""
    if layer is None:
        return ""
    chosen = naming.to_snake_case(type(layer).__name__)
    return chosen if re.fullmatch(rf"{re.escape(chosen)}_\d+", layer.name) else layer.name


def _layer_being_built() -> Any:
    """Return the layer whose weights Keras is making now, or None."""
    scopes = global_state.get_global_attribute("name_scope_stack") or []
    layer = getattr(scopes[-1], "caller", None) if scopes else None
    return layer if isinstance(layer, keras.Layer) else None


def _layout(layer: Any, shape: tuple[int, ...]) -> Layout:
    """Return which axis is which in a weight of this layer."""
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum(layer.equation, len(shape))
    if isinstance(layer, _TRANSPOSED):
        return Layout(in_axis=-1, out_axis=-2, strides=tuple(layer.strides), transposed=True)
    kernel = tuple(getattr(layer, "kernel_size", ()))
    if hasattr(layer, "depth_multiplier") and len(shape) == len(kernel) + 2:
        if shape[:-2] == kernel and shape[-1] == layer.depth_multiplier:
            return Layout((), (-2, -1), groups=shape[-2], strides=tuple(layer.strides))
        return KERNEL  # the pointwise kernel of a separable convolution
    if hasattr(layer, "groups") and len(shape) == len(kernel) + 2:
        return Layout(groups=layer.groups, strides=tuple(layer.strides))
    return Layout(parts=_GATES.get(type(layer).__name__, 1))


def _einsum(equation: str, axes: int) -> Layout:
    """Read the layout of the kernel from its equation, such as ``"abc,cde->abde"``."""
    operands, result = equation.replace(" ", "").split("->")
    given, kernel = operands.split(",")
    if len(kernel) != axes:
        return WHOLE  # the bias
    return Layout(
        in_axis=tuple(n for n, label in enumerate(kernel) if label not in result),
        out_axis=tuple(n for n, label in enumerate(kernel) if label not in given),
        batch_axis=tuple(n for n, label in enumerate(kernel) if label in given and label in result),
    )
