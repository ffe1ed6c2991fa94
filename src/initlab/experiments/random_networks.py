"""Draws random networks and measures what the theory predicts of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from initlab import initializers
from initlab._base import streams
from initlab._base.errors import InvalidValueError
from initlab._base.numbers import not_negative, within
from initlab._base.whole import require_whole
from initlab.activations import Activation
from initlab.engine.network import Layer
from initlab.initializers import Initializer
from initlab.theory.blocks import fully_connected
from initlab.theory.function import AnyFunction, as_activation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MeasuredSignal:
    """What two inputs became in random networks; each array is ``(draws, layers)``.

    Attributes
    ----------
    variance
        Mean of z² over units and both inputs.
    correlation
        Sum of z z' over units, divided by the root of the sums of z² and z'²; ``nan`` where those
        are 0.
    mean, second_moment
        Of φ(z), over units and both inputs; at the last layer, of z.
    gradient
        Mean over units of (∂/∂z)², of a random projection of the first input's output, in units of
        that at the last layer.
    """

    variance: Floats
    correlation: Floats
    mean: Floats
    second_moment: Floats
    gradient: Floats


def measure_signal(
    sizes: Sequence[int],
    activation: AnyFunction,
    init: str | Initializer,
    *,
    bias_var: float = 0.0,
    input_second_moment: float = 1.0,
    input_correlation: float = 0.5,
    draws: int = 10,
    seed: int = 0,
) -> MeasuredSignal:
    """Draw fully-connected networks and run two inputs of a given correlation through each.

    Parameters
    ----------
    sizes
        Units per layer, inputs first; two or more inputs, or the correlation is that of one.
    activation, init, bias_var, input_second_moment, input_correlation
        As in :func:`initlab.theory.signal`. Biases are normal.
    draws
        How many networks.
    seed
        Of all random numbers.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> found = measure_signal((200,) * 4, "relu", "he_normal", draws=2)
    >>> found.variance.shape
    (2, 3)
    """
    phi, initializer = as_activation(activation), initializers.get(init)
    fully_connected(sizes, phi)  # refuses what is no network
    if initializers.catalogue[initializer.name].family == "data-driven":
        raise InvalidValueError(
            f"{initializer.spec} adapts its weights to data; expected one that draws them alone"
        )
    deviation = math.sqrt(not_negative("bias_var", bias_var))
    root = math.sqrt(not_negative("input_second_moment", input_second_moment))
    correlation = within("input_correlation", input_correlation, -1.0, 1.0)
    found: list[tuple[Floats, ...]] = []
    with np.errstate(over="ignore", invalid="ignore"):  # a signal that explodes shows inf
        for draw in range(require_whole("draws", draws, 1)):
            stream = streams.stream(seed, "random network", draw)
            inputs = root * _two_inputs(sizes[0], correlation, stream)
            layers = [
                Layer(
                    initializer.sample((fan_out, fan_in), stream),
                    deviation * stream.standard_normal(fan_out),
                )
                for fan_in, fan_out in pairwise(sizes)
            ]
            found.append(_measured(phi, layers, inputs, stream.standard_normal(sizes[-1])))
    return MeasuredSignal(*(np.stack(each) for each in zip(*found, strict=True)))


def _measured(
    phi: Activation, layers: Sequence[Layer], inputs: Floats, delta: Floats
) -> tuple[Floats, ...]:
    """Run inputs ``(features, 2)`` forward, a gradient by the output ``(outputs,)`` back.

    Returns
    -------
    tuple
        The fields of :class:`MeasuredSignal`, each ``(layers,)``.
    """
    pres: list[Floats] = []  # (units, 2)
    posts = [inputs]
    for weight, bias in layers:
        pres.append(weight @ posts[-1] + bias[:, None])
        posts.append(phi(pres[-1]))
    posts[-1] = pres[-1]
    deltas = [delta]
    for (weight, _), pre in zip(reversed(layers[1:]), reversed(pres[:-1]), strict=True):
        at = pre[:, 0]
        slope = np.where(np.isnan(at), np.nan, phi.slope(at))  # some say 0, which would be a claim
        deltas.append((weight.T @ deltas[-1]) * slope)
    gradients = np.array([np.square(each).mean() for each in reversed(deltas)])
    return (
        np.array([np.square(pre).mean() for pre in pres]),
        np.array([_cosine(pre) for pre in pres]),
        np.array([post.mean() for post in posts[1:]]),
        np.array([np.square(post).mean() for post in posts[1:]]),
        gradients / gradients[-1],
    )


def _two_inputs(features: int, correlation: float, stream: np.random.Generator) -> Floats:
    """Return two inputs ``(features, 2)`` of mean square 1 and exactly this correlation."""
    first, second = stream.standard_normal((2, features))
    first *= math.sqrt(features) / np.linalg.norm(first)
    if features == 1:
        return np.stack([first, math.copysign(1.0, correlation) * first], axis=1)
    second -= (second @ first) / features * first
    second *= math.sqrt(features) / np.linalg.norm(second)
    other = correlation * first + math.sqrt(1 - correlation**2) * second
    return np.stack([first, other], axis=1)


def _cosine(pre: Floats) -> float:
    # Scaled, so that 1e-200 neither vanishes nor overflows when squared.
    scaled = pre / (np.abs(pre).max(axis=0) + np.finfo(np.float64).tiny)
    first, second = scaled.T
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / length) if length > 0 else math.nan
