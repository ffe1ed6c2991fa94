"""GradInit (Zhu et al. 2021, Learning to Initialize Neural Networks)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from initlab._base import streams
from initlab.engine.adaptive.rules import (
    SMALLEST_SCALE,
    FirstStep,
    descend_first_step,
    split,
)
from initlab.engine.adaptive.settings import GradInit
from initlab.models.data_driven.adaptation import Adaptation
from initlab.models.data_driven.gradients import (
    Objective,
    Scaled,
    Wanted,
    derivatives,
    differentiable,
    objective,
    written,
)
from initlab.models.inputs import Inputs


def adapt(
    model: nn.Module,
    rule: GradInit,
    inputs: Inputs,
    parameters: Mapping[str, nn.Parameter],
    wanted: Wanted,
) -> Adaptation:
    """Tune a factor of each parameter so that a first step of training lowers the loss most.

    The batch is cut into thirds A, B, C, at random: the step is taken on A and B, its loss is that
    of A and C.
    """
    if not parameters:
        return Adaptation({}, {}, math.nan, math.nan, 0)
    with differentiable(), Scaled(model, parameters) as scaled:
        whole = objective(model, inputs, wanted)
        order = streams.stream(wanted[2], "adaptation", "split").permutation(whole.samples)
        parts = split([int(number) for number in order])
        here, there = whole.at(parts.step), whole.at(parts.after)

        def first_step(factors: Sequence[float]) -> FirstStep:
            scaled.scale(factors)
            size, after, direction = _look(rule, here, there, scaled)
            return FirstStep(size, after, scaled.along(direction))

        floors = [SMALLEST_SCALE if value.dim() >= 2 else 0.0 for value in parameters.values()]
        found = descend_first_step(rule, floors, first_step)
    return Adaptation(
        factors=written(scaled, found.factors),
        shifts={},
        before=found.before,
        after=found.after,
        steps=found.steps,
        notes=found.notes,
    )


def _look(
    rule: GradInit, here: Objective, there: Objective, scaled: Scaled
) -> tuple[float, float, list[Tensor]]:
    """Return the gradient's norm, the loss after a step, and the derivative of one of the two.

    By the parameters, that is. The step θ' = θ - η g has the derivative 1 - η H, the step along the
    sign of g the derivative 1 almost everywhere; the norms have H g / norm and H sign(g).
    """
    places = [value.data for value in scaled.trained]
    gradients = derivatives(here.value(), scaled.trained, "gradinit", again=True)
    scaled.check(gradients, "gradinit")
    plain = rule.optimizer == "sgd"
    fixed = [each.detach() for each in gradients]
    steps = fixed if plain else [each.sign() for each in fixed]
    powers = [each.square().sum() if plain else each.abs().sum() for each in fixed]
    size = float(torch.stack(powers).sum())
    size = size**0.5 if plain else size

    scaled.move(steps, -rule.first_rate)
    after = there.value()
    direction = derivatives(after, scaled.trained, "gradinit")
    for value, place in zip(scaled.trained, places, strict=True):
        value.data = place

    if size > rule.gamma:
        aim = [each / size for each in fixed] if plain else steps
        direction = _curved(gradients, aim, scaled.trained)
    elif plain:
        curved = _curved(gradients, direction, scaled.trained)
        direction = [d - rule.first_rate * c for d, c in zip(direction, curved, strict=True)]
    return size, float(after.detach()), direction


def _curved(
    gradients: Sequence[Tensor], direction: Sequence[Tensor], by: Sequence[Tensor]
) -> list[Tensor]:
    """Return Hessian times direction."""
    product = torch.stack(
        [(g * d.detach()).sum() for g, d in zip(gradients, direction, strict=True)]
    ).sum()
    return derivatives(product, by, "gradinit")
