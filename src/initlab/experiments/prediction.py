"""What mean-field theory predicts for an experiment, in the terms of the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from initlab import activations, initializers
from initlab._base import streams
from initlab._base.errors import InvalidValueError
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.engine.network import Array, Network
from initlab.engine.recipe import LossName
from initlab.theory.blocks import Dense
from initlab.theory.pairs import pair
from initlab.theory.signals import weight_variance
from initlab.theory.states import LARGEST

Floats = NDArray[np.float64]

# Samples differ in length, and pairs of them in angle: the theory takes the mean of each of these
# many quantiles.
_LENGTHS, _ANGLES = 16, 6
_PAIRED = 256  # samples whose angles are looked at
_SOFTMAX_DRAWS = 4096
_SATURATED = 1e12  # from this variance on, what pairs have in common changes no more
_ROUNDING = 1e-15  # values that differ by this share of their size are alike in float64


@dataclass(frozen=True)
class LayerPrediction:
    """What is expected at one layer at the start, as :class:`LayerEvidence` measures it.

    Attributes
    ----------
    layer
        Counted from 1; the last is the output layer.
    activation_std, gradient_std
        Root of the expected square over draws of the weights.
    """

    layer: int
    activation_std: float
    gradient_std: float


@dataclass(frozen=True)
class Prediction:
    """What is expected of one start.

    Attributes
    ----------
    init
        The start.
    layers
        One entry a layer; empty where the theory does not apply.
    why_not
        Why it does not; ``None`` where it does.
    """

    init: str
    layers: tuple[LayerPrediction, ...]
    why_not: str | None = None


def predict(
    init: str, network: Network, loss: LossName, inputs: Array, targets: Array
) -> Prediction:
    """Predict spread of activations and gradients at every layer, before training.

    Mean-field theory as in :func:`initlab.theory.signal`, on the data's own lengths and angles. The
    mean over units and samples, which the spread is taken about, itself differs between draws by
    1 / units; that is accounted for, what draws of narrow layers differ by otherwise is not.

    Parameters
    ----------
    init
        The start.
    network, loss
        What is trained, and by which cost.
    inputs, targets
        ``(features, samples)`` and ``(outputs, samples)``.
    """
    initializer = initializers.get(init)
    try:
        variances = [
            weight_variance(initializer, Dense(fan_in, fan_out))
            for fan_out, fan_in in network.shapes
        ]
    except InvalidValueError as error:
        return Prediction(init, (), str(error))
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a signal that explodes is infinite
            stds, slopes, q = _forward(network, variances, inputs)
            gradients = _backward(network, variances, slopes, _output_gradient(loss, q, targets))
    except InvalidValueError as error:  # a sine of pre-activations in the thousands
        return Prediction(init, (), f"{init}: {error}")
    return Prediction(
        init,
        tuple(
            LayerPrediction(number, std, gradient)
            for number, (std, gradient) in enumerate(zip(stds, gradients, strict=True), start=1)
        ),
    )


def _forward(
    network: Network, variances: Sequence[float], inputs: Array
) -> tuple[list[float], list[Floats], Floats]:
    """Return each layer's spread, E[φ'²] of the hidden ones, and the variance of the logits.

    The latter two by the length of the sample, ``(lengths,)``.
    """
    activation = activations.get(network.activation)
    second, gaps = _quantiles(np.square(inputs).mean(axis=0), _LENGTHS), _gaps(inputs)
    stds: list[float] = []
    slopes: list[Floats] = []
    *hidden, (outputs, last) = network.shapes
    for (fan_out, fan_in), variance in zip(hidden, variances, strict=False):
        layer = _activated(activation, variance * fan_in * second, gaps)
        stds.append(_std(layer, fan_out))
        slopes.append(layer.slope)
        second, gaps = layer.second, layer.gaps
    logits = variances[-1] * last * second
    nothing = np.zeros_like(logits)
    stds.append(_std(_Layer(logits, logits, nothing, nothing, gaps, 1 - gaps.mean()), outputs))
    return stds, slopes, logits


class _Layer(NamedTuple):
    """Values of a layer by the length of the sample, and how pairs of samples relate.

    Attributes
    ----------
    second, variance, mean, slope
        E[x²], Var x, E[x], E[φ'²], each ``(lengths,)``.
    gaps
        1 - E[x x'] / E[x²], ``(angles,)``.
    common
        Correlation of x and x' over units, Cov(x, x') / Var x, as the mean over pairs.
    """

    second: Floats
    variance: Floats
    mean: Floats
    slope: Floats
    gaps: Floats
    common: float


def _activated(activation: Activation, q: Floats, gaps: Floats) -> _Layer:
    """Apply an activation to Gaussians of variances q ``(lengths,)``; pairs at their mean."""
    found = [_moments(activation, each) for each in q.tolist()]
    second, variance, mean, slope = (np.array(each) for each in zip(*found, strict=True))
    middle = min(float(q.mean()), _SATURATED)
    if middle == 0:  # all samples give φ(0)
        return _Layer(second, variance, mean, slope, np.zeros_like(gaps), 1.0)
    distances = np.array(
        [pair(activation, middle, gap, accuracy=1e-6).distance for gap in gaps.tolist()]
    )
    whole, own = gaussian.second_moment(activation, middle), gaussian.variance(activation, middle)
    gaps = distances / whole if whole > 0 else np.zeros_like(gaps)
    common = 1 - float(distances.mean()) / own if own > 0 else 1.0
    return _Layer(second, variance, mean, slope, gaps, common)


def _moments(activation: Activation, q: float) -> tuple[float, float, float, float]:
    """Return E[φ²], Var φ, E[φ], E[φ'²]; what float64 cannot hold any more is infinite."""
    at = min(q, LARGEST)
    second, variance = gaussian.second_moment(activation, at), gaussian.variance(activation, at)
    slope = gaussian.derivative_second_moment(activation, at)
    if q > LARGEST and second > math.sqrt(LARGEST):
        return math.inf, math.inf, math.inf, slope
    return second, variance, gaussian.mean(activation, at), slope


def _std(layer: _Layer, units: int) -> float:
    """Return the expected spread over units and samples about their common mean."""
    second = float(layer.second.mean())
    if not math.isfinite(second):
        return math.inf
    own = float(layer.variance.mean())
    # The mean over one unit's samples is random itself: what pairs have in common, each in
    # proportion to its own size.
    common = layer.common * float(np.sqrt(layer.variance).mean()) ** 2
    square = own + float(layer.mean.var()) - common / units
    return math.sqrt(square) if square > _ROUNDING**2 * second else 0.0


def _backward(
    network: Network, variances: Sequence[float], slopes: Sequence[Floats], output: Floats
) -> list[float]:
    """Return the root mean square of each layer's gradient, from that of the output by length."""
    squares = [output]
    for slope, variance, (fan_out, _) in zip(
        reversed(slopes), reversed(variances), reversed(network.shapes), strict=False
    ):
        squares.append(variance * fan_out * slope * squares[-1])
    return [math.sqrt(float(square.mean())) for square in reversed(squares)]


def _output_gradient(loss: LossName, q: Floats, targets: Array) -> Floats:
    """Return the mean square over outputs of a sample's cost by the logits, by length.

    Logits are Gaussian of variance q and know nothing of the targets.
    """
    outputs = len(targets)
    if loss == "squared_error":
        return (2 / outputs) ** 2 * (q + float(np.square(targets).mean()))
    at = np.minimum(q, LARGEST)
    if loss == "binary_cross_entropy":  # E[(a - y)²] = E[a²] for either y, by symmetry
        sigmoid = activations.get("sigmoid")
        return np.array([gaussian.second_moment(sigmoid, each) for each in at.tolist()])
    draws = streams.stream(0, "softmax").standard_normal((_SOFTMAX_DRAWS, outputs))
    squares = [np.square(special.softmax(root * draws, axis=1)).mean() for root in np.sqrt(at)]
    return np.array(squares) - 2 / outputs**2 + 1 / outputs


def _quantiles(values: Floats, most: int) -> Floats:
    """Return the means of as many parts of the sorted values, each of the same weight."""
    parts = min(most, values.size)
    # Where they do not divide evenly, a value is shared out between two parts.
    return np.repeat(np.sort(values), parts).reshape(parts, values.size).mean(axis=1)


def _gaps(inputs: Array) -> Floats:
    """Return 1 - cosine of pairs of samples ``(features, samples)``, as quantiles."""
    every = max(1, inputs.shape[1] // _PAIRED)
    some = inputs[:, ::every].astype(np.float64)
    lengths = np.linalg.norm(some, axis=0)
    some = some[:, lengths > 0] / lengths[lengths > 0]
    if some.shape[1] == 0:
        return np.zeros(1)
    return _quantiles(np.clip(1 - some.T @ some, 0.0, 2.0).ravel(), _ANGLES)
