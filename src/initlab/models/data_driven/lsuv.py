"""Layer-sequential unit variance (Mishkin & Matas 2016, All You Need Is a Good Init, alg. 1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from initlab.engine.adaptive.settings import Lsuv
from initlab.models.data_driven.adaptation import Adaptation
from initlab.models.data_driven.measures import norm, ratios, spread
from initlab.models.data_driven.products import Product, Products
from initlab.models.data_driven.state import run
from initlab.models.inputs import Inputs


def adapt(
    model: nn.Module, rule: Lsuv, inputs: Inputs, parameters: Mapping[str, nn.Parameter]
) -> Adaptation:
    """Scale each weight so that its layer's output has the target variance, in execution order.

    The layers are linear layers and convolutions of any kind, and the same as functions; what
    comes after a layer sees its new output. A weight that is used several times is scaled by the
    first.
    """
    norms = {name: norm(parameter) for name, parameter in parameters.items()}
    before, scaling, after = _Distances(rule), _Scaling(rule), _Distances(rule)
    with torch.no_grad():
        with Products(model, parameters, before):
            run(model, inputs)
        with Products(model, parameters, scaling) as products:
            run(model, inputs)
        with Products(model, parameters, after):
            run(model, inputs)
    return Adaptation(
        factors=ratios(norms, parameters, scaling.scaled),
        shifts={},
        before=before.largest,
        after=after.largest,
        steps=scaling.steps,
        notes=(*scaling.notes, *products.notes),
    )


class _Scaling:
    """Scales each weight it is shown."""

    def __init__(self, rule: Lsuv) -> None:
        self.rule = rule
        self.scaled: dict[str, None] = {}
        self.steps = 0
        self.notes: list[str] = []

    def product(self, product: Product) -> Tensor:
        """Scale the weight until the output's variance is right."""
        rule = self.rule
        out = product.compute()
        found = spread(product, out)
        steps = 0
        while not found.fault and found.distance(rule) >= rule.tolerance and steps < rule.steps:
            product.weight.mul_(found.factor(rule))
            out = product.compute()
            found = spread(product, out)
            steps += 1
        remark = found.remark(rule)
        if remark:
            self.notes.append(f"{product.name}: {remark}")
        if not found.fault:
            self.scaled[product.parameter] = None
        self.steps += steps
        return out

    def bias(self, product: Product, bias: Tensor) -> None:
        """Leave it: the product alone has the variance."""


class _Distances:
    """Measures without changing anything."""

    def __init__(self, rule: Lsuv) -> None:
        self.rule = rule
        self.largest = 0.0

    def product(self, product: Product) -> Tensor:
        """Compare the variance to the target."""
        out = product.compute()
        found = spread(product, out)
        if not found.fault:
            self.largest = max(self.largest, found.distance(self.rule))
        return out

    def bias(self, product: Product, bias: Tensor) -> None:
        """Leave it."""
