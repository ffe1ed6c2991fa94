"""Which axis of a framework's weight is which, and drawing in that order.

initlab's own order is PyTorch's, ``(out, in, *receptive)``: a weight is drawn in it and then
turned, so that fans, orthogonal rows and the random stream are those of the same layer in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initlab._base import fans as read
from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab.initializers import Initializer, require_shape
from initlab.sampling import Key

Axes = int | Sequence[int]
Float32 = NDArray[np.float32]

TABLES = frozenset({"embedding", "tied_embedding"})
"""Initialisers of tables, ``(vocabulary, dimension)`` in every framework: never turned."""

_STACKED = frozenset({"gate_orthogonal"})
"""Initialisers that take stacked gates apart themselves."""


@dataclass(frozen=True)
class Layout:
    """The axes of a weight, and what else its layer says about its fans.

    Axes that are neither inputs, outputs nor batch are the receptive field. A weight without inputs
    and outputs, or with fewer than two axes beside the batch, is no matrix: it is drawn as it
    stands.

    Attributes
    ----------
    in_axis, out_axis
        One axis or several, negative ones from the end.
    batch_axis
        Along it stand weights of their own, each drawn by itself.
    groups
        Of a convolution; the input axis has the inputs of one group.
    strides
        Of a convolution; empty for 1.
    transposed
        Whether it is a transposed convolution.
    parts
        Matrices of equal size, such as gates, that are packed along the outputs; each is drawn by
        itself.
    """

    in_axis: Axes = -2
    out_axis: Axes = -1
    batch_axis: Axes = ()
    groups: int = 1
    strides: tuple[int, ...] = ()
    transposed: bool = False
    parts: int = 1

    def order(self, shape: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Return batch, output, input and receptive axes of a shape, counted from the start.

        Raises
        ------
        InvalidValueError
            If an axis is not in the shape, or named twice.
        """
        count = len(shape)
        batch = _from_start("batch_axis", self.batch_axis, shape)
        if count - len(batch) < 2 or not (_several(self.in_axis) or _several(self.out_axis)):
            return batch, (), (), tuple(axis for axis in range(count) if axis not in batch)
        outputs = _from_start("out_axis", self.out_axis, shape)
        inputs = _from_start("in_axis", self.in_axis, shape)
        named = (*batch, *outputs, *inputs)
        if len(set(named)) < len(named):
            raise InvalidValueError(
                f"in_axis={self.in_axis!r}, out_axis={self.out_axis!r} and "
                f"batch_axis={self.batch_axis!r} share an axis of shape {tuple(shape)}"
            )
        return batch, outputs, inputs, tuple(axis for axis in range(count) if axis not in named)

    def fans(self, weight: Sequence[int]) -> Fans:
        """Return the fans of a weight in initlab's order, ``(out, in / groups, *receptive)``."""
        strides = self.strides or 1
        if not self.transposed:
            return read.convolution(weight, groups=self.groups, stride=strides)
        outputs, inputs, *kernel = weight
        turned = (inputs * self.groups, outputs // self.groups, *kernel)
        return read.transposed_convolution(turned, groups=self.groups, stride=strides)


KERNEL = Layout()
"""``(*receptive, in, out)``: JAX, Flax and Keras."""
WHOLE = Layout(in_axis=(), out_axis=())
"""No matrix: drawn as it stands."""


def draw(
    initializer: Initializer, key: Key, shape: Sequence[int], layout: Layout = KERNEL
) -> Float32:
    """Draw a weight of a framework's shape.

    With a batch, weight number i is drawn from the key's child i; of several parts, the one that
    begins at row r from the child r, as :func:`initlab.initialize` does.

    Raises
    ------
    InvalidValueError
        If the shape does not fit the layout or the initialiser.
    """
    sizes = require_shape(shape)
    if initializer.name in TABLES:
        layout = Layout((), (), layout.batch_axis)
    batch, outputs, inputs, rest = layout.order(sizes)
    order = (*batch, *outputs, *inputs, *rest)
    kept = tuple(sizes[axis] for axis in rest)
    matrix = bool(outputs or inputs)
    weight = (_size(sizes, outputs), _size(sizes, inputs), *kept) if matrix else kept
    values = np.empty((_size(sizes, batch), *weight), np.float32)
    for number in range(len(values)):
        one = values[number : number + 1].reshape(weight)
        _fill(initializer, one, key.child(number) if batch else key, layout if matrix else None)
    turned = values.reshape(tuple(sizes[axis] for axis in order)).transpose(np.argsort(order))
    return np.ascontiguousarray(turned).reshape(sizes)  # a scalar keeps having no axes


def _fill(initializer: Initializer, out: Float32, key: Key, layout: Layout | None) -> None:
    """Draw one weight in initlab's order; without a layout, it is no matrix."""
    if layout is None:
        initializer.fill(out, key, shape=out.shape)
        return
    parts = 1 if initializer.name in _STACKED else layout.parts
    rows, left = divmod(out.shape[0], parts)
    if left:
        raise InvalidValueError(f"parts={parts} does not divide the {out.shape[0]} outputs")
    for first in range(0, rows * parts, rows or 1):
        part = out[first : first + rows]
        stream = key.child(first) if parts > 1 else key
        initializer.fill(part, stream, shape=part.shape, fans=layout.fans(part.shape))


def _several(axes: Axes) -> bool:
    return isinstance(axes, int) or len(axes) > 0


def _from_start(name: str, axes: Axes, shape: Sequence[int]) -> tuple[int, ...]:
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    count = len(shape)
    if not all(-count <= axis < count for axis in given):
        raise InvalidValueError(f"{name}={axes!r} is no axis of shape {tuple(shape)}")
    return tuple(axis % count for axis in given)


def _size(sizes: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(sizes[axis] for axis in axes)
