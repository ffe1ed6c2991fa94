"""Data-dependent initialisation (Krähenbühl, Doersch, Donahue & Darrell 2016)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from initlab._base import streams
from initlab._base.errors import InvalidValueError
from initlab.engine.adaptive.rules import NEGLIGIBLE, PROJECTIONS, equalise
from initlab.engine.adaptive.settings import Krahenbuhl
from initlab.models.data_driven.adaptation import Adaptation
from initlab.models.data_driven.measures import (
    norm,
    ratios,
    root_mean_square,
    wide,
    without_bias,
)
from initlab.models.data_driven.products import Product, Products
from initlab.models.data_driven.state import outputs, run
from initlab.models.inputs import Inputs


def adapt(
    model: nn.Module,
    rule: Krahenbuhl,
    inputs: Inputs,
    parameters: Mapping[str, nn.Parameter],
    seed: int,
) -> Adaptation:
    """Give each channel mean 0 and variance 1 (alg. 1), then each layer the same rate (alg. 2).

    A layer's rate of change is that of its weight under random linear losses of the output: no
    targets are needed.
    """
    norms = {name: norm(parameter) for name, parameter in parameters.items()}
    biases = {
        name: wide(parameter.detach()).double().cpu().clone()
        for name, parameter in parameters.items()
        if parameter.dim() == 1
    }
    within = _Within()
    with torch.no_grad(), Products(model, parameters, within) as products:
        run(model, inputs)
    weights = {name: parameters[name] for name in within.scaled}
    between = _Between()
    still: set[str] = set()
    notes = [*within.notes, *products.notes]

    def measure() -> dict[str, float]:
        rates = _rates(model, inputs, weights, seed)
        moving = {name: rate for name, rate in rates.items() if 0 < rate < math.inf}
        still.update(rates.keys() - moving.keys())
        return moving

    def rescale(factors: Mapping[str, float]) -> None:
        between.factors = factors
        with torch.no_grad(), Products(model, parameters, between):
            run(model, inputs)

    rescale({})  # measures the signals that biases are to follow
    found = equalise(rule, measure, rescale)
    notes += found.notes
    notes += [f"{name}: no finite gradient reaches it; its scale is left" for name in sorted(still)]
    shifts = {
        name: (wide(parameters[name].detach()).double().cpu() - old).numpy()
        for name, old in biases.items()
        if name not in weights
    }
    return Adaptation(
        factors=ratios(norms, parameters, weights),
        shifts={name: shift for name, shift in shifts.items() if shift.any()},
        before=found.before,
        after=found.after,
        steps=found.rounds,
        notes=tuple(notes),
    )


class _Within:
    """Normalises each channel of each product."""

    def __init__(self) -> None:
        self.scaled: dict[str, None] = {}
        self.notes: list[str] = []
        self.means: dict[str, Tensor] = {}

    def product(self, product: Product) -> Tensor:
        """Scale the weight channel by channel, and move the bias if it is at hand."""
        rows, bias = without_bias(product, product.compute())
        mean, variance = rows.mean(dim=1), rows.var(dim=1, correction=0)
        square = rows.square().mean(dim=1)
        varies = square.isfinite() & (variance > NEGLIGIBLE * square)
        count = int((~varies).sum())
        if count:
            self.notes.append(
                f"{product.name}: {count} of {len(varies)} channels do not vary; left as they are"
            )
        std = torch.where(varies, variance, 1.0).sqrt()
        product.weight.div_(std.view(product.per_channel).to(product.weight.dtype))
        if count < len(varies):
            self.scaled[product.parameter] = None
        shift = torch.where(varies, -mean / std, bias)
        if product.movable is not None:
            product.movable.copy_(shift)
        elif product.bias is None:
            self.means[product.name] = shift
        return product.compute()

    def bias(self, product: Product, bias: Tensor) -> None:
        """Move a bias that is added apart."""
        shift = self.means.pop(product.name, None)
        if shift is not None:
            bias.copy_(shift)


class _Between:
    """Multiplies weights by their factors, and biases by what their product has grown by."""

    def __init__(self) -> None:
        self.factors: Mapping[str, float] = {}
        self.signals: dict[str, float] = {}
        self.growth: dict[str, float] = {}

    def product(self, product: Product) -> Tensor:
        """Compare the signal to that of the last round."""
        signal = float(wide(product.signal).abs().mean())
        old = self.signals.get(product.name, signal)
        grown = signal / old if old and math.isfinite(signal / old) else 1.0
        self.signals[product.name] = signal
        factor = self.factors.get(product.parameter, 1.0)
        self.growth[product.name] = factor * grown
        product.weight.mul_(factor)
        if product.movable is not None:
            product.movable.mul_(factor * grown)
        return product.compute()

    def bias(self, product: Product, bias: Tensor) -> None:
        """Scale a bias that is added apart."""
        bias.mul_(self.growth[product.name])


def _rates(
    model: nn.Module, inputs: Inputs, weights: Mapping[str, nn.Parameter], seed: int
) -> dict[str, float]:
    """Return the rate of change of each weight: root mean square of its gradient over its own."""
    if not weights:
        return {}
    with torch.enable_grad():
        found = [leaf for leaf in outputs(run(model, inputs)) if leaf.requires_grad]
        if not found:
            raise InvalidValueError(
                "the model returns no floating-point tensor that depends on its parameters; "
                "krahenbuhl needs one"
            )
        stream = streams.stream(seed, "adaptation", "projection")
        squares = dict.fromkeys(weights, 0.0)
        for _ in range(PROJECTIONS):
            numbers = stream.standard_normal(tuple(found[0].shape))
            projection = torch.as_tensor(numbers, dtype=found[0].dtype, device=found[0].device)
            gradients = torch.autograd.grad(
                (found[0] * projection).sum(),
                list(weights.values()),
                retain_graph=True,
                materialize_grads=True,
            )
            for name, gradient in zip(weights, gradients, strict=True):
                squares[name] += root_mean_square(gradient) ** 2 / PROJECTIONS
    return {
        name: math.sqrt(squares[name]) / (root_mean_square(weight) or 1.0)
        for name, weight in weights.items()
    }
