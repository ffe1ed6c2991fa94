"""MetaInit and GradInit: factors that an objective made of gradients is descended over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from initlab._base import streams
from initlab.engine import losses, reference
from initlab.engine.adaptive.adapted import Adapted, norm, own
from initlab.engine.adaptive.rules import (
    QUOTIENT_EPSILON,
    SMALLEST_SCALE,
    Descent,
    FirstStep,
    descend_first_step,
    descend_quotient,
    split,
)
from initlab.engine.adaptive.settings import GradInit, MetaInit
from initlab.engine.network import Array, Layer, Network, pack, unpack
from initlab.engine.recipe import LossName

# Finite differences: the step of a gradient, relative to the parameters; that of a factor.
GRADIENT_STEP = 1e-6
FACTOR_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class Surface:
    """The cost over some samples, as a function of the packed parameters.

    Attributes
    ----------
    network, loss
        What is computed.
    inputs, targets
        ``(features, samples)`` and ``(outputs, samples)``.
    """

    network: Network
    loss: LossName
    inputs: Array
    targets: Array

    def cost(self, flat: Array) -> float:
        """Return the cost."""
        layers = unpack(self.network, flat)
        logits = reference.forward(self.network, layers, self.inputs).logits
        return losses.cost(self.loss, logits, self.targets)

    def gradient(self, flat: Array) -> Array:
        """Return its gradient."""
        layers = unpack(self.network, flat)
        passed = reference.forward(self.network, layers, self.inputs)
        found = reference.backward(self.network, self.loss, layers, passed, self.targets)
        return pack(found.gradients)

    def curved(self, flat: Array, direction: Array) -> Array:
        """Return Hessian times direction, by central differences of the gradient."""
        length = norm(direction)
        if not 0 < length < np.inf:
            return np.zeros_like(flat) * length
        step = GRADIENT_STEP * (1 + norm(flat)) / length
        return (self.gradient(flat + step * direction) - self.gradient(flat - step * direction)) / (
            2 * step
        )

    def at(self, samples: Sequence[int]) -> Surface:
        """Return the cost over fewer samples."""
        return Surface(self.network, self.loss, self.inputs[:, samples], self.targets[:, samples])


def gradient_quotient(surface: Surface, flat: Array) -> float:
    """Return how far a gradient step changes the gradient (Dauphin & Schoenholz 2019, eq. 1).

    The mean over parameters of abs((g - H g) / (g ± ε) - 1), with the sign of g.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = surface.gradient(flat)
        curved = surface.curved(flat, gradient)
        divisor = gradient + np.where(gradient >= 0, QUOTIENT_EPSILON, -QUOTIENT_EPSILON)
        return float(np.abs((gradient - curved) / divisor - 1).mean())


def metainit(
    network: Network,
    layers: Sequence[Layer],
    rule: MetaInit,
    loss: LossName,
    data: tuple[Array, Array],
) -> Adapted:
    """Tune the norms of the weights so that the gradient quotient falls."""
    first = own(layers)
    surface = Surface(network, loss, data[0].astype(np.float64), data[1].astype(np.float64))
    tuned = [place for place, layer in enumerate(first) if 0 < norm(layer.weight) < np.inf]

    def scaled(factors: Sequence[float]) -> Array:
        by = dict(zip(tuned, factors, strict=True))
        return pack([Layer(w * by.get(place, 1.0), b) for place, (w, b) in enumerate(first)])

    def quotient(factors: Sequence[float]) -> tuple[float, list[float]]:
        slopes: list[float] = []
        for place, factor in enumerate(factors):
            step = FACTOR_STEP * factor
            above, below = (
                gradient_quotient(surface, scaled(_moved(factors, place, change)))
                for change in (step, -step)
            )
            slopes.append((above - below) / (2 * step))
        return gradient_quotient(surface, scaled(factors)), slopes

    norms = [norm(first[place].weight) for place in tuned]
    found = descend_quotient(rule, norms, quotient)
    by = dict(zip(tuned, found.factors, strict=True))
    factors = [(by.get(place, 1.0), 1.0) for place in range(len(first))]
    return _adapted(first, factors, found, _zero_notes(first, tuned))


def _moved(values: Sequence[float], place: int, change: float) -> list[float]:
    return [value + change * (number == place) for number, value in enumerate(values)]


def _zero_notes(layers: Sequence[Layer], tuned: Sequence[int]) -> list[str]:
    return [
        f"layer {place + 1}: left as it is: its norm is {norm(layers[place].weight):g}"
        for place in range(len(layers))
        if place not in tuned
    ]


def gradinit(
    network: Network,
    layers: Sequence[Layer],
    rule: GradInit,
    loss: LossName,
    data: tuple[Array, Array],
    seed: int,
) -> Adapted:
    """Tune the factors of weights and biases so that the first step lowers the loss most."""
    first = own(layers)
    surface = Surface(network, loss, data[0].astype(np.float64), data[1].astype(np.float64))
    order = streams.stream(seed, "adaptation", "split").permutation(data[0].shape[1])
    parts = split([int(number) for number in order])
    here, there = surface.at(parts.step), surface.at(parts.after)

    def scaled(factors: Sequence[float]) -> Array:
        pairs = zip(factors[::2], factors[1::2], strict=True)
        return pack([Layer(w * f, b * g) for (w, b), (f, g) in zip(first, pairs, strict=True)])

    def first_step(factors: Sequence[float]) -> FirstStep:
        flat = scaled(factors)
        with np.errstate(over="ignore", invalid="ignore"):
            size, after, direction = _look(rule, here, there, flat)
            parts = unpack(network, direction)
            slopes = [
                float((part * start).sum())
                for pair, starts in zip(parts, first, strict=True)
                for part, start in zip(pair, starts, strict=True)
            ]
        return FirstStep(size, after, slopes)

    floors = [SMALLEST_SCALE, 0.0] * len(first)
    found = descend_first_step(rule, floors, first_step)
    factors = list(zip(found.factors[::2], found.factors[1::2], strict=True))
    return _adapted(first, factors, found, [])


def _look(rule: GradInit, here: Surface, there: Surface, flat: Array) -> tuple[float, float, Array]:
    """Return the gradient's norm, the loss after a step, and the gradient of one of the two.

    The step θ' = θ - η g has the derivative 1 - η H, the step along the sign of g the derivative 1
    almost everywhere; the norms have H g / norm and H sign(g).
    """
    gradient = here.gradient(flat)
    plain = rule.optimizer == "sgd"
    step = gradient if plain else np.sign(gradient)
    size = norm(gradient) if plain else float(np.abs(gradient).sum())
    stepped = flat - rule.first_rate * step
    after = there.cost(stepped)
    if size > rule.gamma:
        return size, after, here.curved(flat, gradient / size if plain else step)
    direction = there.gradient(stepped)
    if plain:
        direction = direction - rule.first_rate * here.curved(flat, direction)
    return size, after, direction


def _adapted(
    first: Sequence[Layer],
    factors: Sequence[tuple[float, float]],
    found: Descent,
    notes: Sequence[str],
) -> Adapted:
    layers = tuple(
        Layer(weight * by, bias * shift_by)
        for (weight, bias), (by, shift_by) in zip(first, factors, strict=True)
    )
    return Adapted(
        layers,
        tuple(by for by, _ in factors),
        found.before,
        found.after,
        found.steps,
        (*notes, *found.notes),
    )
