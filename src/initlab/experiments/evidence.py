"""Measures what a network does with its training set: the facts that a run's story rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from initlab import activations
from initlab.activations import Activation
from initlab.engine import losses, reference
from initlab.engine.network import Array, Layer, Network
from initlab.engine.recipe import LossName
from initlab.experiments.records import Evidence, LayerEvidence

# A slope below this share of the function's steepest is flat: what flows back through such a unit
# is less than a hundredth of what it could be. Sigmoid: |z| > 6; tanh: |z| > 3, |φ| > 0.995.
FLAT_SLOPE = 0.01

# Units are alike when they differ by less than this share of the layer's largest pre-activation:
# well above rounding (1e-16 a term, summed), since vector kernels may round alike units apart,
# and far below any difference that random draws leave.
ALIKE = 1e-12

# The activations with two flat tails; each is steepest at 0.
BOUNDED = frozenset({"tanh", "sigmoid", "softsign", "erf", "hardtanh"})

# Fractional parts of its multiples are spread evenly and meet no pattern in the data.
_GOLDEN = (math.sqrt(5) - 1) / 2


class Moment(NamedTuple):
    """What was measured at one moment.

    Attributes
    ----------
    layers
        One entry a layer.
    saturated_outputs, saturated_wrong
        Samples on a flat tail at every output; those among them that are predicted wrong.
    output_spread
        Standard deviation of the outputs over samples in units of the targets'.
    samples
        What the counts are out of.
    """

    layers: tuple[LayerEvidence, ...]
    saturated_outputs: int
    saturated_wrong: int
    output_spread: float
    samples: int


def measure(
    network: Network, loss: LossName, layers: Sequence[Layer], inputs: Array, targets: Array
) -> Moment:
    """Run one forward and one backward pass over all samples, in float64, and measure them.

    Parameters
    ----------
    network, loss
        What is trained, and by which cost.
    layers
        Weights ``(fan_out, fan_in)`` and biases ``(fan_out,)``.
    inputs, targets
        ``(features, samples)`` and ``(outputs, samples)``.
    """
    layers = [Layer(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    activation = activations.get(network.activation)
    # Overflow and nan are what a diverged network looks like: measured, not warned about.
    with np.errstate(all="ignore"):
        passed = reference.forward(network, layers, inputs)
        found = reference.backward(network, loss, layers, passed, targets)
        outputs = losses.output(loss, passed.logits)
        flat = _flat_outputs(loss, outputs)
        entries = tuple(
            _layer(number, _Signals(weight, pre, post, delta, gradient), tails)
            for number, ((weight, _), pre, post, delta, gradient, tails) in enumerate(
                zip(
                    layers,
                    passed.pre,
                    (*passed.post[1:], passed.logits),
                    found.deltas,
                    found.gradients,
                    (*(_tails(activation, pre) for pre in passed.pre[:-1]), _Tails(0, flat)),
                    strict=True,
                ),
                start=1,
            )
        )
        saturated = flat.all(axis=0)
        wrong = saturated & ~correct(outputs, targets)
        spread = float(np.divide(_spread(outputs), _spread(targets)))
    return Moment(entries, int(saturated.sum()), int(wrong.sum()), spread, inputs.shape[1])


def combine(start: Moment, end: Moment) -> Evidence:
    """Put the two ends of a run together as the record that is kept."""
    return Evidence(
        start=start.layers,
        end=end.layers,
        saturated_outputs_start=start.saturated_outputs,
        saturated_outputs_end=end.saturated_outputs,
        saturated_wrong_start=start.saturated_wrong,
        saturated_wrong_end=end.saturated_wrong,
        output_spread_start=start.output_spread,
        output_spread_end=end.output_spread,
        samples=start.samples,
    )


def correct(outputs: Array, targets: Array) -> NDArray[np.bool_]:
    """Return which samples are classified right, ``(samples,)``.

    One output says class 1 above 0.5; of several the largest says the class. An output that is not
    a number is wrong.

    Parameters
    ----------
    outputs
        Probabilities, or what a squared error fits to the labels, ``(outputs, samples)``.
    targets
        0 or 1, or one-hot columns, ``(outputs, samples)``.
    """
    if len(outputs) == 1:
        return ((outputs > 0.5) == (targets > 0.5))[0] & ~np.isnan(outputs[0])
    right = outputs.argmax(axis=0) == targets.argmax(axis=0)
    return right & ~np.isnan(outputs).any(axis=0)


class _Tails(NamedTuple):
    dead_units: int
    flat: NDArray[np.bool_]  # (units, samples)


def _tails(activation: Activation, pre: Array) -> _Tails:
    """Find the dead units and the flat tails among hidden pre-activations ``(units, samples)``."""
    slope = activation.slope(pre)
    dead = ~slope.any(axis=1) & ~np.isnan(pre).any(axis=1)
    steepest = activation.slope(0.0) if activation.name in BOUNDED else 0.0
    return _Tails(int(dead.sum()), np.abs(slope) < FLAT_SLOPE * steepest)


class _Signals(NamedTuple):
    """What one layer holds and what passes through it; ``(units, samples)`` where not a weight."""

    weight: Array  # (fan_out, fan_in)
    pre: Array
    post: Array
    delta: Array
    gradient: Layer  # weight (fan_out, fan_in), bias (fan_out,)


def _layer(number: int, signals: _Signals, tails: _Tails) -> LayerEvidence:
    weight, pre, post, delta, gradient = signals
    units, samples = pre.shape
    return LayerEvidence(
        layer=number,
        units=units,
        weight_std=_rms(weight - weight.mean()),
        activation_mean=float(post.mean()),
        activation_std=_rms(post - post.mean()),
        gradient_std=_rms(delta) * samples,
        weight_gradient_norm=_norm(gradient.weight),
        bias_gradient_norm=_norm(gradient.bias),
        identical_units=_identical(pre),
        dead_units=tails.dead_units,
        saturated=float(tails.flat.mean()),
    )


def _flat_outputs(loss: LossName, outputs: Array) -> NDArray[np.bool_]:
    """Return which outputs sit on a flat tail, ``(outputs, samples)``.

    The slope of a sigmoid, and of a softmax by its own logit, is a (1 - a), 1/4 at its steepest.
    """
    if loss == "squared_error":
        return np.zeros(outputs.shape, dtype=np.bool_)
    return outputs * (1 - outputs) < FLAT_SLOPE / 4


def _identical(pre: Array) -> int:
    """Count the rows of ``(units, samples)`` that equal another row.

    Rows that are alike have sums, under one fixed weighting of the samples, that are alike, so
    sorting by that sum brings them next to each other.
    """
    units, samples = pre.shape
    scale = np.abs(pre).max()
    if units == 1 or not np.isfinite(scale):
        return 0
    weighting = np.modf(np.arange(1, samples + 1) * _GOLDEN)[0]
    ordered = pre[np.argsort(pre @ weighting)]
    alike = np.abs(np.diff(ordered, axis=0)).max(axis=1) <= ALIKE * scale  # (units - 1,)
    either = np.zeros(units, dtype=np.bool_)
    either[1:] |= alike
    either[:-1] |= alike
    return int(either.sum())


def _rms(values: NDArray[Any]) -> float:
    """Return the root mean square; scaled first, so that 1e-200 neither vanishes nor overflows."""
    largest = np.abs(values).max()
    if largest == 0 or not np.isfinite(largest):
        return float(largest)
    return float(largest * np.sqrt(np.square(values / largest).mean()))


def _norm(values: NDArray[Any]) -> float:
    return _rms(values) * math.sqrt(values.size)


def _spread(outputs: Array) -> float:
    """Return the standard deviation over samples of ``(outputs, samples)``."""
    return _rms(outputs - outputs.mean(axis=1, keepdims=True))
