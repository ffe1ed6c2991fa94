"""Scale rules: how large the entries of a weight are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from initlab._base.fans import Fans
from initlab._base.fans import fans as read_fans
from initlab.initializers._definition import Shape

FanMode = Literal["fan_in", "fan_out", "fan_avg"]

FAN_MODES: tuple[FanMode, ...] = get_args(FanMode)


@dataclass(frozen=True)
class Fixed:
    """The same factor for every shape.

    Attributes
    ----------
    value
        The factor.
    """

    value: float

    def factor(self, _shape: Shape, _fans: Fans | None, /) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class FanScale:
    """gain · sqrt(numerator / fan): the more terms in a sum, the smaller each of them.

    Attributes
    ----------
    numerator
        For a draw of variance 1, the variance of the weight times the fan.
    mode
        Which fan: that of the inputs, of the outputs, or the mean of both.
    gain
        A further factor.
    """

    numerator: float
    mode: FanMode
    gain: float = 1.0

    def factor(self, shape: Shape, fans: Fans | None, /) -> float:
        """Return the factor; an empty weight, whose fan may be 0, counts as fan 1."""
        fans = fans or read_fans(shape)
        fan = {"fan_in": fans.fan_in, "fan_out": fans.fan_out, "fan_avg": fans.average}[self.mode]
        return self.gain * math.sqrt(self.numerator / (fan or 1))
