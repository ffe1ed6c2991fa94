"""What a plan says of one parameter: what it gets, or why it is left alone."""

from __future__ import annotations

from dataclasses import dataclass

from initlab._base.fans import Fans
from initlab.initializers import Initializer


@dataclass(frozen=True)
class Piece:
    """Rows of a parameter and what they are drawn from.

    Attributes
    ----------
    initializer
        Draws the rows as one weight.
    start, stop
        Which rows, along axis 0; a parameter without axes has the one row 0.
    fans
        Of these rows as one weight; None reads them from the shape.
    swapped
        Draw with the first two axes swapped: a transposed convolution keeps ``(in, out, ...)``.
    stream
        Name that the random numbers follow from, where it is not the parameter's own: parameters
        that are drawn together share the name of their module.
    """

    initializer: Initializer
    start: int
    stop: int
    fans: Fans | None = None
    swapped: bool = False
    stream: str | None = None


@dataclass(frozen=True)
class Assignment:
    """New values for one parameter.

    Attributes
    ----------
    name
        The parameter.
    pieces
        Cover all its rows, in order.
    reason
        Why these, in one clause: "followed by relu, reads E[x²] = 0.5".
    drawn_as
        Name that the random numbers follow from, if it is not the parameter's: of a tied one, the
        same whatever the order of registration.
    """

    name: str
    pieces: tuple[Piece, ...]
    reason: str
    drawn_as: str = ""

    @property
    def stream(self) -> str:
        """Name that the random numbers follow from."""
        return self.drawn_as or self.name


@dataclass(frozen=True)
class Kept:
    """A parameter that is left as it is.

    Attributes
    ----------
    name
        The parameter.
    reason
        Why, in one clause: "frozen", "no rule matches".
    """

    name: str
    reason: str


Decision = Assignment | Kept
