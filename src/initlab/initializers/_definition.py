"""What an initialiser is: a distribution times a scale rule, and the record that documents it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.streams import Stream

Array = NDArray[np.float64]
Shape = tuple[int, ...]


class Moments(NamedTuple):
    """Exact mean and standard deviation of an entry; the latter ``None`` without a closed form."""

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


@dataclass(frozen=True)
class Entry:
    """A catalogue entry: how to make the initialiser, and what a person should know about it.

    Attributes
    ----------
    make
        Makes the initialiser from its arguments.
    formula
        The definition as plain text; w is an entry of the weight.
    std
        Standard deviation of an entry as plain text.
    reference
        Authors, year, title, venue; where in it.
    when, when_not
        What it is good for, and where it fails.
    differs
        How the functions of that name in PyTorch, Keras and JAX differ from this one.
    """

    make: Callable[..., Initializer]
    formula: str
    std: str
    reference: str
    when: str
    when_not: str
    differs: str

    @property
    def name(self) -> str:
        """The catalogue name."""
        return self.make.__name__

    @property
    def signature(self) -> str:
        """Every argument with its default, ``"normal(std=1, mean=0)"``; named ones follow a *."""
        arguments: list[str] = []
        for p in inspect.signature(self.make).parameters.values():
            if p.kind is p.KEYWORD_ONLY and "*" not in arguments:
                arguments.append("*")
            arguments.append(p.name if p.default is p.empty else f"{p.name}={plain(p.default)!r}")
        return f"{self.name}({', '.join(arguments)})"


def plain(value: float | str) -> float | str:
    """Return a float that is a whole number as an ``int``, so that it prints as 10, not 10.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return int(value)
    return value
