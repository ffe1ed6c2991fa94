"""How many inputs and outputs a weight connects: the only place that reads a fan from a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from initlab._base.errors import InvalidValueError


@dataclass(frozen=True)
class Fans:
    """Fan-in and fan-out of a weight.

    Attributes
    ----------
    fan_in
        Number of terms summed into one output value.
    fan_out
        Number of output values that one input value reaches.
    receptive
        Positions of the kernel; 1 for a dense layer.
    """

    fan_in: int
    fan_out: int
    receptive: int = 1

    @property
    def average(self) -> float:
        """Mean of fan-in and fan-out, as in Glorot & Bengio (2010)."""
        return (self.fan_in + self.fan_out) / 2


def fans(shape: Sequence[int], *, groups: int = 1) -> Fans:
    """Read the fans of a dense weight or a convolution kernel.

    Parameters
    ----------
    shape
        ``(fan_out, fan_in)`` for a dense layer, ``(out, in / groups, *receptive)`` for a
        convolution: PyTorch's and the course's order.
    groups
        Groups of the convolution. An input channel reaches the outputs of its own group only, so
        ``fan_out`` is divided by it; ``fan_in`` already is, by the shape.

    Raises
    ------
    InvalidValueError
        If the shape has fewer than two axes or a negative one, or if ``groups`` does not divide
        the number of outputs.
    """
    if len(shape) < 2 or any(size < 0 for size in shape):
        raise InvalidValueError(
            f"cannot read fans from shape {tuple(shape)}; expected (fan_out, fan_in) or "
            "(out, in / groups, *receptive)"
        )
    if groups < 1 or shape[0] % groups:
        raise InvalidValueError(
            f"groups={groups} does not divide the {shape[0]} outputs of shape {tuple(shape)}"
        )
    receptive = math.prod(shape[2:])
    return Fans(shape[1] * receptive, shape[0] // groups * receptive, receptive)
