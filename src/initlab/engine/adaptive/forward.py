"""LSUV and Krähenbühl's initialisation: layer by layer, from what each one computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from initlab import activations
from initlab._base import streams
from initlab.engine import reference
from initlab.engine.adaptive.adapted import Adapted, own, ratios
from initlab.engine.adaptive.rules import NEGLIGIBLE, PROJECTIONS, Spread, equalise
from initlab.engine.adaptive.settings import Krahenbuhl, Lsuv
from initlab.engine.network import Array, Layer, Network


def lsuv(network: Network, layers: Sequence[Layer], rule: Lsuv, inputs: Array) -> Adapted:
    """Scale each weight so that the layer's output has the target variance, first layer first."""
    activation = activations.get(network.activation)
    current = own(layers)
    before = _farthest(network, current, rule, inputs)
    notes: list[str] = []
    rescalings = 0
    signal = inputs.astype(np.float64)
    for number, layer in enumerate(current, start=1):
        with np.errstate(over="ignore", invalid="ignore"):
            taken, note = _scale(layer, rule, signal)
            signal = activation(layer.weight @ signal + layer.bias[:, None])
        rescalings += taken
        if note:
            notes.append(f"layer {number}: {note}")
    after = _farthest(network, current, rule, inputs)
    return Adapted(tuple(current), ratios(layers, current), before, after, rescalings, tuple(notes))


def _scale(layer: Layer, rule: Lsuv, signal: Array) -> tuple[int, str]:
    """Scale one weight in place; return how often, and what went wrong."""
    steps = 0
    spread = _spread(layer, signal)
    while not spread.fault and spread.distance(rule) >= rule.tolerance and steps < rule.steps:
        layer.weight[...] *= spread.factor(rule)
        spread = _spread(layer, signal)
        steps += 1
    return steps, spread.remark(rule)


def _spread(layer: Layer, signal: Array) -> Spread:
    product, bias = layer.weight @ signal, layer.bias
    covariance = (product.mean(axis=1) * bias).mean() - product.mean() * bias.mean()
    return Spread(
        product=float(product.var()),
        covariance=float(covariance),
        shift=float(bias.var()),
        square=float((product**2).mean()),
    )


def _farthest(network: Network, layers: Sequence[Layer], rule: Lsuv, inputs: Array) -> float:
    passed = reference.forward(network, layers, inputs)
    with np.errstate(over="ignore", invalid="ignore"):
        found = [_spread(*each) for each in zip(layers, passed.post, strict=True)]
    return max((each.distance(rule) for each in found if not each.fault), default=0.0)


def krahenbuhl(
    network: Network, layers: Sequence[Layer], rule: Krahenbuhl, inputs: Array, seed: int
) -> Adapted:
    """Give every unit mean 0 and variance 1, then every layer the same rate of change."""
    current = own(layers)
    notes = _within(network, current, inputs)
    if not _finite(network, current, inputs):
        note = "an output is not finite; the rates of change are left as they are"
        return Adapted(tuple(current), ratios(layers, current), 1.0, 1.0, 0, (*notes, note))
    outputs, samples = network.sizes[-1], inputs.shape[1]
    stream = streams.stream(seed, "adaptation", "projection")
    projections = [stream.standard_normal((samples, outputs)).T for _ in range(PROJECTIONS)]
    still: set[str] = set()

    def measure() -> dict[str, float]:
        found = _rates(network, current, inputs, projections)
        moving = {name: rate for name, rate in found.items() if 0 < rate < np.inf}
        still.update(found.keys() - moving.keys())
        return moving

    def rescale(factors: Mapping[str, float]) -> None:
        _rescale(network, current, inputs, factors)

    found = equalise(rule, measure, rescale)
    notes += [f"layer {name}: no gradient reaches it; its scale is left" for name in sorted(still)]
    notes += found.notes
    return Adapted(
        tuple(current), ratios(layers, current), *found[:2], steps=found.rounds, notes=tuple(notes)
    )


def _within(network: Network, layers: Sequence[Layer], inputs: Array) -> list[str]:
    """Scale and shift each unit in place (alg. 1)."""
    activation = activations.get(network.activation)
    notes: list[str] = []
    signal = inputs.astype(np.float64)
    for number, (weight, bias) in enumerate(layers, start=1):
        with np.errstate(over="ignore", invalid="ignore"):
            product = weight @ signal
            mean, variance = product.mean(axis=1), product.var(axis=1)
            square = (product**2).mean(axis=1)
            varies = np.isfinite(square) & (variance > NEGLIGIBLE * square)
            std = np.sqrt(np.where(varies, variance, 1.0))
            weight[...] /= std[:, None]
            bias[varies] = (-mean / std)[varies]
            signal = activation(weight @ signal + bias[:, None])
        if not varies.all():
            count = int((~varies).sum())
            notes.append(f"layer {number}: {count} of {len(std)} channels do not vary; left")
    return notes


def _finite(network: Network, layers: Sequence[Layer], inputs: Array) -> bool:
    return bool(np.isfinite(reference.forward(network, layers, inputs).logits).all())


def _rates(
    network: Network, layers: Sequence[Layer], inputs: Array, projections: Sequence[Array]
) -> dict[str, float]:
    """Return the rate of change of each layer under the random losses Σ projection · output."""
    passed = reference.forward(network, layers, inputs)
    squares = np.zeros(len(layers))
    for projection in projections:
        # These targets make the projection the output's delta under the mean squared error.
        targets = passed.logits - projection * projection.size / 2
        found = reference.backward(network, "squared_error", layers, passed, targets)
        squares += [_root_mean_square(each.weight) ** 2 for each in found.gradients]
    return {
        str(number): float(np.sqrt(square / len(projections)))
        / (_root_mean_square(layer.weight) or 1.0)
        for number, (layer, square) in enumerate(zip(layers, squares, strict=True), start=1)
    }


def _root_mean_square(array: Array) -> float:
    return float(np.sqrt((array**2).mean()))


def _rescale(
    network: Network, layers: Sequence[Layer], inputs: Array, factors: Mapping[str, float]
) -> None:
    """Multiply weights by their factors, biases also by what their layer's input has grown by."""
    activation = activations.get(network.activation)
    old = [float(np.abs(post).mean()) for post in reference.forward(network, layers, inputs).post]
    signal = inputs
    for number, (weight, bias) in enumerate(layers, start=1):
        factor = factors.get(str(number), 1.0)
        grown = float(np.abs(signal).mean()) / old[number - 1] if old[number - 1] else 1.0
        weight[...] *= factor
        bias[...] *= factor * grown
        signal = activation(weight @ signal + bias[:, None])
