"""Mean and second moment of every signal of a traced model, by calculation.

A layer with random weights turns whatever it is fed into a signal that is close to Gaussian. What
the model then does to it entry by entry is evaluated on a grid of z, weighted with the density of
N(0, 1): so the moments behind any activation follow, be it a function of PyTorch or a formula that
the model's author wrote. This is the analytic propagation of Bingham & Miikkulainen (2023),
AutoInit, without a table of activations.

The approximations: signals from different layers are independent, and so are the features that a
mean or a maximum runs over; places share what their common input makes them share; an attention
hands its values through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from initlab.models.gaussian import (
    NODES,
    PAIR_NODES,
    Signal,
    constant,
    distributed,
    gaussian,
    given_shared,
    grid,
    of_values,
    ratio,
)
from initlab.models.graph import Graph, Node
from initlab.models.operators import CUTS
from initlab.models.pointwise import Known, first, pointwise

# E[h²] of a recurrent module's output by simulation: white noise in, input-to-hidden weights of
# variance 1 / fan_in, orthogonal hidden-to-hidden gates, the LSTM's forget bias at 1.
_RECURRENT_SECOND_MOMENT = {"LSTM": 0.05, "GRU": 0.17, "RNN": 0.46, "RNN_RELU": 0.90}
# Correlation of its outputs at two times, by the same simulation.
_RECURRENT_ALIKE = {"LSTM": 0.14, "GRU": 0.08, "RNN_RELU": 0.25}

# From how many independent values on a mean counts as its expectation.
_MANY = 8


Target = Callable[[Node, Sequence[Signal]], float]
"""What a layer's or a normalisation's output is given, from its node and the signals before it."""


def unit(_node: Node, _signals: Sequence[Signal]) -> float:
    """Return 1: every layer gives variance 1."""
    return 1.0


def propagate(
    graph: Graph,
    known: Known,
    *,
    variance: Target = unit,
    norm_scale: Target = unit,
) -> tuple[Signal, ...]:
    """Return the signal of every node.

    Parameters
    ----------
    graph
        The traced model.
    known
        Looks up the values of a parameter or buffer that is added or multiplied on the way.
    variance
        The variance that each layer is to give its output; its mean is 0.
    norm_scale
        The scale γ that each normalisation is to have; its shift is 0. Asked for every pointwise
        operation too, which may be the last step of one that the model's author wrote.
    """
    signals: list[Signal] = []
    for node in graph.nodes:
        parents = {index: signals[index] for index in node.parents}
        rule = _RULES.get(node.kind)
        if node.kind == "input":
            second = float(node.geometry.get("second", 1.0))
            signal = gaussian(0.0, second, node.index)
        elif node.kind in {"layer", "embedding"}:
            signal = _summed(node, parents, variance(node, signals))
        elif node.kind == "norm":
            signal = _normalised(node, first(node, parents), norm_scale(node, signals))
        elif node.kind == "pointwise":
            signal = _scaled(pointwise(node, parents, known), norm_scale(node, signals))
        elif rule is not None:
            signal = rule(node, parents)
        else:
            signal = first(node, parents)
        signals.append(signal)
    return tuple(signals)


def _summed(node: Node, parents: Mapping[int, Signal], variance: float) -> Signal:
    """Return the signal of a layer: Gaussian, if it sums over many inputs."""
    if node.kind == "embedding":
        return gaussian(0.0, variance * node.count, node.index)  # a bag: of several rows
    if not parents:
        return gaussian(0.0, variance, node.index)
    fed = parents[node.parents[0]]
    alike = min(max(fed.shared * _overlap(node), 0.0), 1.0)
    if not node.geometry.get("depthwise") or fed.values is None or fed.second <= 0:
        return gaussian(0.0, variance, node.index, alike)
    # A depthwise convolution sees one channel alone: where that is dead, so is its output.
    z, weights = grid(PAIR_NODES)
    energy = given_shared(fed).square() @ weights
    size = (energy * (variance / float(weights @ energy))).sqrt()
    return distributed(size[:, None] * z[None, :], node.index, alike)


def _overlap(node: Node) -> float:
    """Return how many taps of a convolution two of its places share, of those that each has.

    A tap that falls on padding at a share 1 - p of the places is there for both with p².
    """
    geometry = node.geometry
    if geometry.get("transposed", True):  # no convolution, or one that spreads
        return 1.0
    overlap = 1.0
    for size, kernel, stride, padding, dilation in zip(
        *(geometry[key] for key in ("size", "kernel", "stride", "padding", "dilation")),
        strict=False,
    ):
        places = max((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1, 1)
        starts = [place * stride - padding for place in range(places)]
        taps = [
            sum(0 <= start + dilation * tap < size for start in starts) / places
            for tap in range(kernel)
        ]
        overlap *= sum(p * p for p in taps) / max(sum(taps), 1e-12)
    return overlap


def _normalised(node: Node, signal: Signal, scale: float) -> Signal:
    """Return a signal of mean 0 and variance scale²: a function keeps its form under an affine one.

    A normalisation that divides by the root of the mean square leaves the mean what it is.
    """
    if signal.values is None or signal.variance <= 0 or signal.source is None:
        return gaussian(0.0, scale**2, node.index)
    if "rms" in node.op:
        factor = scale / math.sqrt(signal.second)
        return Signal(
            signal.mean * factor, scale**2, signal.source, signal.values * factor, signal.alike
        )
    values = (signal.values - signal.mean) * (scale / math.sqrt(signal.variance))
    return Signal(0.0, scale**2, signal.source, values, signal.alike)


def _scaled(signal: Signal, scale: float) -> Signal:
    if scale == 1:
        return signal
    values = signal.values * scale if signal.values is not None else None
    return replace(signal, mean=signal.mean * scale, second=signal.second * scale**2, values=values)


def _mean(node: Node, parents: Mapping[int, Signal]) -> Signal:
    signal = first(node, parents)
    if node.over_features:  # a statistic, such as a hand-written normalisation takes
        return Signal(signal.mean, signal.mean**2 + signal.variance / max(node.count, 1.0))
    shared = signal.covariance
    variance = shared + (signal.variance - shared) / max(node.count, 1.0)
    if node.count >= _MANY and node.count != 1 and variance < 0.25 * signal.second:
        # A statistic of the signal, such as a hand-written normalisation takes: all but constant.
        return (
            Signal(signal.mean, signal.mean**2 + variance)
            if signal.mean
            else gaussian(0.0, variance, node.index)
        )
    return gaussian(signal.mean, variance, node.index, ratio(shared, variance))


def _maximum(node: Node, parents: Mapping[int, Signal]) -> Signal:
    """Return the largest of n values; of independent ones, the distribution function is F^n.

    The places of a pool share a part of their Gaussian; for each value u of that, the rest is
    independent.
    """
    signal = first(node, parents)
    if signal.values is None or node.count <= 1:
        return signal
    _, weights = grid(PAIR_NODES)
    values, order = torch.sort(given_shared(signal), dim=1)
    below = torch.cumsum(weights[order], 1).clamp(max=1.0)
    mass = torch.diff(
        below**node.count, dim=1, prepend=torch.zeros(PAIR_NODES, 1, dtype=below.dtype)
    )
    means, seconds = (mass * values).sum(1), (mass * values**2).sum(1)
    mean, second = float(weights @ means), float(weights @ seconds)
    shared = float(weights @ means.square()) - mean**2
    return gaussian(mean, second - mean**2, node.index, ratio(shared, second - mean**2))


def _sum(node: Node, parents: Mapping[int, Signal]) -> Signal:
    signal = first(node, parents)
    n = max(node.count, 1.0)
    shared = 0.0 if node.over_features else signal.covariance
    variance = n * (signal.variance - shared) + n * n * shared
    return gaussian(signal.mean * n, variance, node.index, ratio(n * n * shared, variance))


def _softmax(node: Node, parents: Mapping[int, Signal]) -> Signal:
    if "log" in node.op:  # x - log Σ exp x, all but x - log n - E[x] - Var(x) / 2
        signal = first(node, parents)
        mean = -math.log(max(node.count, 1.0)) - signal.variance / 2
        return gaussian(mean, signal.variance, node.index)
    return constant(1.0 / max(node.count, 1.0))


def _moved(node: Node, parents: Mapping[int, Signal]) -> Signal:
    """Return a signal moved; a part of one is independent of its other parts."""
    signal = first(node, parents)
    if node.op in CUTS and signal.values is not None:
        return replace(signal, source=node.index)
    return signal


def _concat(node: Node, parents: Mapping[int, Signal]) -> Signal:
    if not parents:
        return gaussian(0.0, 1.0, node.index)
    if len(parents) == 1:
        return first(node, parents)
    sizes: Mapping[int, float] = node.geometry.get("shares", {})
    if not sum(sizes.get(index, 0.0) for index in parents):
        sizes = dict.fromkeys(parents, 1.0)
    whole = sum(sizes.get(index, 0.0) for index in parents)
    share = {index: sizes.get(index, 0.0) / whole for index in parents}
    mean = sum(share[index] * signal.mean for index, signal in parents.items())
    second = sum(share[index] * signal.second for index, signal in parents.items())
    variance = second - mean**2
    shared = sum(share[index] * signal.covariance for index, signal in parents.items())
    return gaussian(mean, variance, node.index, ratio(shared, variance))


def _padded(node: Node, parents: Mapping[int, Signal]) -> Signal:
    signal = first(node, parents)
    mean, second = signal.mean / node.count, signal.second / node.count
    return gaussian(mean, second - mean**2, node.index)


def _matmul(node: Node, parents: Mapping[int, Signal]) -> Signal:
    """Of two signals: a product with probabilities hands the other factor through."""
    signals = [parents[index] for index in node.parents]
    if len(signals) < 2:
        return first(node, parents)
    for one, other in (signals, reversed(signals)):
        if one.source is None and abs(one.mean * node.count - 1) < 1e-6:  # weights of a mean
            return _averaged(node, other)
    second = signals[0].second * signals[1].second
    mean = signals[0].mean * signals[1].mean
    return gaussian(mean * node.count, max(second - mean**2, 0.0) * node.count, node.index)


def _attention(node: Node, parents: Mapping[int, Signal]) -> Signal:
    return _averaged(node, parents[node.parents[-1]])


def _averaged(node: Node, value: Signal) -> Signal:
    """Return a mean with the probabilities p of an attention as weights: of Σ p² of the variance.

    Σ p², where it was measured, stands in the node; else each query is taken to look at one key.
    """
    concentration = float(node.geometry.get("concentration", 1.0))
    shared = value.covariance
    variance = shared + (value.variance - shared) * concentration
    return gaussian(value.mean, variance, node.index, 1.0 if concentration == 1 else 0.0)


def _recurrent(node: Node, _parents: Mapping[int, Signal]) -> Signal:
    second = _RECURRENT_SECOND_MOMENT.get(node.op, 0.3)
    alike = _RECURRENT_ALIKE.get(node.op, 0.0)
    if node.op == "RNN_RELU":
        z, _ = grid(NODES)
        rectified = of_values(math.sqrt(2 * second) * z.clamp(min=0), node.index, alike)
        if rectified is not None:
            return rectified
    return gaussian(0.0, second, node.index, alike)


_RULES: dict[str, Callable[[Node, Mapping[int, Signal]], Signal]] = {
    "shape": _moved,
    "mean": _mean,
    "max": _maximum,
    "sum": _sum,
    "softmax": _softmax,
    "concat": _concat,
    "pad": _padded,
    "matmul": _matmul,
    "attention": _attention,
    "recurrent": _recurrent,
}
