"""What an initialiser is: a distribution times a scale rule."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.streams import Stream
from initlab.sampling import CounterStream, Key, require_fillable

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Shape = tuple[int, ...]

_MOST_ENTRIES = 2**60 - 1  # a float64 takes eight bytes, and addresses have 63 bits


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

    Two initialisers are equal when they have the same text, and so draw the same weights from the
    same stream. Biases are none of its business: they start at zero.

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
            If the shape is no shape, or has too few axes for this initialiser; if the scale or an
            entry is not finite.
        """
        shape = require_shape(shape)
        factor = self._factor(shape, fans)
        values = self.distribution.draw(shape, stream)
        try:
            with np.errstate(over="raise"):
                values = np.asarray(values * factor)
                return values + self.shift if self.shift else values
        except FloatingPointError as error:
            raise InvalidValueError(
                f"{self.spec} has entries beyond float64 for shape {shape}"
            ) from error

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
            If the array cannot be filled or the slice leaves the weight, if entries are beyond
            float32, or as :meth:`sample` does.
        """
        start = require_fillable(out, key, start)
        shape = require_shape(shape)
        size = math.prod(shape)
        if start + out.size > size:
            raise InvalidValueError(
                f"entries {start} to {start + out.size} are no slice of a weight of shape {shape}, "
                f"which has {size}"
            )
        if isinstance(self.distribution, Elementwise):
            self.distribution.write(out, key, start, self._factor(shape, fans), self.shift)
            return
        whole = self.sample(shape, CounterStream(key), fans=fans)
        with np.errstate(over="ignore"):  # refused below
            part = whole.reshape(-1)[start : start + out.size].astype(np.float32)
        if not np.isfinite(part).all():
            raise InvalidValueError(f"{self.spec} has entries beyond float32 for shape {shape}")
        out.reshape(-1)[...] = part

    def std(self, shape: Sequence[int], *, fans: Fans | None = None) -> float | None:
        """Return the exact standard deviation of an entry, over draws of a weight of this shape.

        ``None`` where there is no closed form. Arguments and errors as in :meth:`sample`.
        """
        shape = require_shape(shape)
        std = self.distribution.moments(shape).std
        return None if std is None else abs(self._factor(shape, fans)) * std

    def mean(self, shape: Sequence[int], *, fans: Fans | None = None) -> float:
        """Return the exact mean of an entry, likewise."""
        shape = require_shape(shape)
        return self._factor(shape, fans) * self.distribution.moments(shape).mean + self.shift

    def _factor(self, shape: Shape, fans: Fans | None) -> float:
        """Return what the draw is multiplied by, a finite number."""
        try:
            factor = self.scale.factor(shape, fans)
        except OverflowError:
            factor = math.inf
        if not math.isfinite(factor):
            raise InvalidValueError(f"{self.spec} has no finite scale for shape {shape}")
        return factor

    def __repr__(self) -> str:
        return f"<initializer {self.spec}>"


def require_shape(shape: Iterable[SupportsIndex]) -> Shape:
    """Return the shape of a weight as a tuple of Python's whole numbers.

    Raises
    ------
    InvalidValueError
        If it is no sequence of whole numbers of at least 0, or none that an array can have.

    Examples
    --------
    >>> require_shape(np.array([64, 32]))
    (64, 32)
    """
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError as error:
        raise InvalidValueError(f"shape {shape!r} is not a sequence of whole numbers") from error
    if any(size < 0 for size in sizes):
        raise InvalidValueError(f"shape {sizes} has a negative size; each must be 0 or more")
    if math.prod(size or 1 for size in sizes) > _MOST_ENTRIES:
        raise InvalidValueError(f"shape {sizes} has more entries than any array, 2^60 - 1 at most")
    return sizes


def plain(value: float | str) -> float | str:
    """Return a float that is a whole number as an ``int``, so that it prints as 10, not 10.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    return value
