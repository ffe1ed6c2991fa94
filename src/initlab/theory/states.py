"""What is known of the values between two blocks, and what a block without weights makes of it.

Each step returns the state behind it, and the factor on the squared gradient from there to before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.theory.pairs import pair

# A variance beyond which there are no moments in float64; a signal that gets there has exploded.
LARGEST = 1e150
# One below which numbers lose their digits; a signal that gets there has vanished.
LEAST = 1e-300
# As many standard deviations out, moments take a function into account.
_END = 38.0
# Beyond these variances a function is as good as its limit: ratios of moments change no more.
_LEAST_OF_RATIOS, _LARGEST_OF_RATIOS = 1e-30, 1e30


class State(NamedTuple):
    """What is known of the values between two blocks.

    Attributes
    ----------
    mean, second, distance
        E[x], E[x²], and of two inputs E[(x - x')²] / 2.
    normal
        Whether x is Gaussian with mean 0.
    units
        How many values there are; ``None`` where that is not known.
    mapped
        Whether each is a map of positions, which a dense layer takes one by one.
    relative
        Relative variance, over draws, of the variance of the pre-activations that x is made of;
        ``None`` where the theory does not give it.
    kurtosis
        Var(x²) / E[x²]²: divided by the units, the relative variance of their mean of x².
    """

    mean: float
    second: float
    distance: float
    normal: bool
    units: int | None
    mapped: bool
    relative: float | None
    kurtosis: float

    @property
    def correlation(self) -> float:
        """E[x x'] / E[x²]."""
        return 1 - self.distance / self.second if self.second > 0 else math.nan

    @property
    def fluctuation(self) -> float | None:
        """Relative variance over draws of the mean of x² over units."""
        if self.relative is None or self.units is None:
            return None
        return self.relative + self.kurtosis / self.units * (1 + self.relative)


def activate(activation: Activation, state: State) -> tuple[State, float]:
    """Apply φ to Gaussian values; E[φ'²] is the factor on the squared gradient.

    Raises
    ------
    InvalidValueError
        If the values are not Gaussian with mean 0, or a moment does not exist.
    """
    if not state.normal:
        raise InvalidValueError(
            f"{activation.name} is fed something that is not Gaussian with mean 0; expected a "
            "Dense or Convolution layer, or a sum of such, right before it"
        )
    if math.isnan(state.second):
        return state._replace(normal=False), math.nan
    if _explodes(activation, state.second):
        after = state._replace(
            mean=math.nan, second=math.inf, distance=math.nan, normal=False, relative=None
        )
        return after, _slope_far_out(activation)
    q = min(state.second, LARGEST)
    slope_second = gaussian.derivative_second_moment(activation, q)
    second = gaussian.second_moment(activation, q)
    if q == 0:
        after = state._replace(
            mean=float(activation(0.0)), second=second, distance=0.0, normal=False, relative=None
        )
        return after, slope_second
    within_reach = min(max(q, _LEAST_OF_RATIOS), _LARGEST_OF_RATIOS)
    kurtosis = _kurtosis(activation, within_reach)
    relative = state.relative if kurtosis is not None else None
    if relative is not None and second > 0:
        relative *= (math.sqrt(q) * gaussian.value_derivative_moment(activation, q) / second) ** 2
    after = state._replace(
        mean=gaussian.mean(activation, q),
        second=second,
        distance=second * _apart(activation, within_reach, state.distance / state.second),
        normal=False,
        relative=relative,
        kurtosis=kurtosis or 0.0,
    )
    return after, slope_second


def _explodes(activation: Activation, q: float) -> bool:
    """Return whether E[φ²] is beyond float64, or the variance is and φ grows with it."""
    ends = activation(np.array([-_END, _END]) * math.sqrt(min(q, LARGEST)))
    return float(np.abs(ends).max()) > (LARGEST if q <= LARGEST else math.sqrt(LARGEST))


def _slope_far_out(activation: Activation) -> float:
    try:
        return gaussian.derivative_second_moment(activation, LARGEST)
    except InvalidValueError:  # it grows faster than linearly
        return math.inf


def _apart(activation: Activation, q: float, gap: float) -> float:
    """Return 1 - E[φ(u) φ(u')] / E[φ²]; ``nan`` where that is not known."""
    second = gaussian.second_moment(activation, q)
    if second == 0 or math.isnan(gap):
        return math.nan
    try:
        return pair(activation, q, min(max(gap, 0.0), 2.0)).distance / second
    except InvalidValueError:  # it oscillates too fast
        return math.nan


def _kurtosis(activation: Activation, q: float) -> float | None:
    """Return Var(φ²) / E[φ²]², ``None`` where there is no fourth moment in float64."""
    try:
        fourth = gaussian.fourth_moment(activation, q)
    except InvalidValueError:
        return None
    square = gaussian.second_moment(activation, q) ** 2
    return max(fourth / square - 1, 0.0) if square > 0 else None


def drop(rate: float, state: State) -> tuple[State, float]:
    """Set a share of the values to 0 and divide the others by what is kept."""
    kept = 1 - rate
    after = state._replace(
        second=state.second / kept,
        distance=state.distance + state.second * rate / kept,
        normal=state.normal and rate == 0,
        # E[x⁴] is divided by kept³, E[x²]² by kept².
        kurtosis=(state.kurtosis + 1) / kept - 1,
        relative=state.relative if state.units is not None else None,
    )
    return after, 1 / kept


def normalise(state: State) -> tuple[State, float]:
    """Bring the values of each input to mean 0 and variance 1.

    Raises
    ------
    InvalidValueError
        If they are all the same.
    """
    variance = state.second - state.mean**2
    if variance <= 0:
        raise InvalidValueError(
            "layer normalisation is fed values that are all the same; expected some variance"
        )
    after = state._replace(mean=0.0, second=1.0, distance=state.distance / variance, relative=None)
    return after, 1 / variance
