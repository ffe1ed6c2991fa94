"""A ``keras.initializers.Initializer`` that draws from the catalogue, on any backend of Keras."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from initlab._base.errors import InvalidValueError
from initlab._base.optional import require
from initlab.initializers import Initializer as Definition
from initlab.initializers import get
from initlab.integrations import layouts
from initlab.integrations.layouts import KERNEL, WHOLE, Axes, Layout
from initlab.sampling import Key

require("keras", "the Keras adapter")

import keras  # noqa: E402 - after the error that says how to install it
from keras.src.backend.common import global_state  # noqa: E402 - nothing public tells the layer

_TRANSPOSED = tuple(getattr(keras.layers, f"Conv{rank}DTranspose") for rank in (1, 2, 3))
_GATES = {"LSTMCell": 4, "GRUCell": 3, "ConvLSTMCell": 4}


@keras.saving.register_keras_serializable(package="initlab")
class Initializer(keras.initializers.Initializer):
    """Draws the weights of Keras layers.

    Unlike Keras's own initialisers, one object may serve several layers: each call draws from a
    stream of its own. Call number n (from 0) in a layer draws from
    ``Key.derive(seed, layer, "keras").child(n)``, where ``layer`` is the name of the layer that is
    being built, without the number that Keras appends; empty outside of layers. So a model built
    twice from the same seed gets the same weights, whatever else was built before.

    Weights are drawn in the order ``(out, in, *receptive)`` and turned. The layer that is being
    built tells which axis is which, also for transposed, depthwise, separable and grouped
    convolutions and ``EinsumDense``; and the gates of LSTM and GRU are drawn one by one. Anything
    else is read as ``(*receptive, in, out)``.

    Parameters
    ----------
    text
        Name of the initialiser, with arguments where it takes any, or the initialiser.
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
        If the text cannot be read or the seed is none; on drawing, if shape or dtype does not fit.

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
        self._definition = get(text)
        self._given_seed = None if seed is None else layouts.require_seed(seed)
        # As Keras's own do, from the generator that keras.utils.set_random_seed seeds.
        self.seed = random.randrange(2**32) if seed is None else seed  # noqa: S311 - no secret
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
        wanted = keras.backend.standardize_dtype(dtype or keras.config.floatx())
        if "float" not in wanted:
            raise InvalidValueError(f"dtype {wanted} is no floating type; weights need one")
        layer = _layer_being_built()
        layout = _layout(layer, tuple(shape)) if self._axes == (None, None) else self._given()
        name = re.sub(r"_\d+$", "", layer.name) if layer is not None else ""
        key = Key.derive(self.seed, name, "keras").child(self._calls)
        self._calls += 1
        values = layouts.draw(self._definition, key, shape, layout)
        return keras.ops.convert_to_tensor(values, dtype=wanted)

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
