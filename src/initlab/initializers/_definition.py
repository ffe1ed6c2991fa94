"""What an initialiser is: a distribution times a scale rule."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.streams import Stream
from initlab.sampling import CounterStream, Key

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Shape = tuple[int, ...]


class Moments(NamedTuple):
    """Exact mean and standard deviation of an entry; the latter ``None`` without a closed form.

    The entry is picked at random from the weight: of the 2x2 identity, mean and std are 1/2.
    """

    mean: float
    std: float | None


class Distribution(Protocol):
    """How the entries of a weight are drawn, before they are scaled."""

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw a weight of this shape."""
        ...

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean and standard deviation of an entry, over draws of a weight of this shape."""
        ...


@runtime_checkable
class Elementwise(Protocol):
    """A distribution whose entries are independent: each can be drawn without the others."""

    def write(self, out: Float32, key: Key, start: int, scale: float, shift: float, /) -> None:
        """Write ``shift + scale · entry`` for the entries from ``start`` on, in place."""
        ...


class Scale(Protocol):
    """What the draw is multiplied by."""

    def factor(self, shape: Shape, fans: Fans | None, /) -> float:
        """Return the factor for a weight of this shape; ``None`` reads the fans from the shape."""
        ...


@dataclass(frozen=True, repr=False)
class Initializer:
    """Draws the starting weights of a layer: ``shift + scale · distribution``.

    Two initialisers are equal when they draw the same weights from the same stream. Biases are
    none of its business: they start at zero.

    Attributes
    ----------
    spec
        The text that :func:`initlab.initializers.get` reads back to this initialiser; arguments at
        their defaults are left out: ``"he_normal"``, ``"normal(std=10)"``.
    distribution
        Draws the entries.
    scale
        Gives their factor.
    shift
        Added to every entry.

    Examples
    --------
    >>> from initlab._base.streams import legacy
    >>> from initlab.initializers import get
    >>> he = get("he_normal")
    >>> he.std((64, 32, 3, 3)) == (2 / (32 * 9)) ** 0.5
    True
    >>> he.sample((4, 2), legacy(3))[0]
    array([1.78862847, 0.43650985])
    """

    spec: str
    distribution: Distribution
    scale: Scale
    shift: float = 0.0

    @property
    def name(self) -> str:
        """The catalogue name, without arguments."""
        return self.spec.partition("(")[0]

    def sample(self, shape: Sequence[int], stream: Stream, *, fans: Fans | None = None) -> Array:
        """Draw a weight.

        Parameters
        ----------
        shape
            ``(fan_out, fan_in)`` or ``(out, in / groups, *receptive)``.
        stream
            Where the random numbers come from, see :mod:`initlab._base.streams`.
        fans
            The layer's true fans, where the shape alone does not tell them (groups, packed or
            transposed weights).

        Returns
        -------
        array
            A new float64 array of this shape.

        Raises
        ------
        InvalidValueError
            If the shape is no shape, or has too few axes for this initialiser.
        """
        shape = _checked(shape)
        factor = self.scale.factor(shape, fans)
        values = np.asarray(self.distribution.draw(shape, stream) * factor)
        return values + self.shift if self.shift else values

    def fill(
        self,
        out: Float32,
        key: Key,
        *,
        shape: Sequence[int],
        start: int = 0,
        fans: Fans | None = None,
    ) -> None:
        """Draw a slice of a weight in place, from counter-based random numbers.

        An entry follows from the key and its place in the weight: a slice drawn alone equals that
        slice of the whole. Where entries depend on each other (orthogonal, sparse), the whole
        weight is drawn and the rest thrown away.

        Parameters
        ----------
        out
            C-contiguous float32 array; its entries are those of the flattened weight from ``start``
            on.
        key
            Of the weight, see :mod:`initlab.sampling`.
        shape
            Of the whole weight.
        start
            Index of the first entry in the flattened weight.
        fans
            As in :meth:`sample`.

        Raises
        ------
        InvalidValueError
            If the slice leaves the weight, or as :meth:`sample` does.
        """
        shape = _checked(shape)
        size = math.prod(shape)
        if not 0 <= start <= start + out.size <= size:
            raise InvalidValueError(
                f"entries {start} to {start + out.size} are no slice of a weight of shape {shape}, "
                f"which has {size}"
            )
        if isinstance(self.distribution, Elementwise):
            factor = self.scale.factor(shape, fans)
            self.distribution.write(out, key, start, factor, self.shift)
            return
        whole = self.sample(shape, CounterStream(key), fans=fans)
        out.reshape(-1)[...] = whole.reshape(-1)[start : start + out.size]

    def std(self, shape: Sequence[int], *, fans: Fans | None = None) -> float | None:
        """Return the exact standard deviation of an entry, over draws of a weight of this shape.

        ``None`` where there is no closed form. Arguments and errors as in :meth:`sample`.
        """
        shape = _checked(shape)
        std = self.distribution.moments(shape).std
        return None if std is None else abs(self.scale.factor(shape, fans)) * std

    def mean(self, shape: Sequence[int], *, fans: Fans | None = None) -> float:
        """Return the exact mean of an entry, likewise."""
        shape = _checked(shape)
        return self.scale.factor(shape, fans) * self.distribution.moments(shape).mean + self.shift

    def __repr__(self) -> str:
        return f"<initializer {self.spec}>"


def _checked(shape: Sequence[int]) -> Shape:
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError as error:
        raise InvalidValueError(f"shape {shape!r} is not a sequence of whole numbers") from error
    if any(size < 0 for size in sizes):
        raise InvalidValueError(f"shape {sizes} has a negative size; each must be 0 or more")
    return sizes


def plain(value: float | str) -> float | str:
    """Return a float that is a whole number as an ``int``, so that it prints as 10, not 10.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    return value
