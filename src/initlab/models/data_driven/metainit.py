"""MetaInit (Dauphin & Schoenholz 2019, Initializing Learning by Learning to Initialize)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from initlab.engine.adaptive.rules import QUOTIENT_EPSILON, descend_quotient
from initlab.engine.adaptive.settings import MetaInit
from initlab.models.data_driven.adaptation import Adaptation
from initlab.models.data_driven.gradients import (
    Scaled,
    Wanted,
    derivatives,
    differentiable,
    objective,
    written,
)
from initlab.models.data_driven.measures import norm
from initlab.models.inputs import Inputs


def gradient_quotient(
    loss: Tensor,
    parameters: Sequence[Tensor],
    check: Callable[[Sequence[Tensor], str], None] | None = None,
) -> Tensor:
    """Return how far a gradient step changes the gradient: the paper's eq. 1.

    The mean over parameters of abs((g - H g) / (g ± ε) - 1), with the sign of g.
    """
    gradients = derivatives(loss, parameters, "metainit", again=True)
    if check is not None:
        check(gradients, "metainit")
    half = torch.stack([(g**2).sum() / 2 for g in gradients]).sum()
    curved = derivatives(half, parameters, "metainit", again=True)
    total = torch.zeros_like(loss)
    for g, hg in zip(gradients, curved, strict=True):
        divisor = g + QUOTIENT_EPSILON * torch.where(g.detach() >= 0, 1.0, -1.0)
        total = total + ((g - hg) / divisor - 1).abs().sum()
    return total / sum(each.numel() for each in parameters)


def adapt(
    model: nn.Module,
    rule: MetaInit,
    inputs: Inputs,
    parameters: Mapping[str, nn.Parameter],
    wanted: Wanted,
) -> Adaptation:
    """Tune the norm of each parameter with two axes or more so that the gradient quotient falls.

    The quotient is over all parameters that require a gradient. Where targets are not given, they
    are drawn once, not anew at each step as in the paper: the objective stays the same function.
    """
    weights = {name: value for name, value in parameters.items() if value.dim() >= 2}
    norms = {name: norm(value) for name, value in weights.items()}
    tuned = {name: weights[name] for name in weights if 0 < norms[name] < math.inf}
    notes = [
        f"{name}: left as it is: its norm is {norms[name]:g}"
        for name in weights
        if name not in tuned
    ]
    if not tuned:
        return Adaptation({}, {}, math.nan, math.nan, 0, tuple(notes))
    with differentiable(), Scaled(model, tuned) as scaled:
        loss = objective(model, inputs, wanted)

        def quotient(factors: Sequence[float]) -> tuple[float, list[float]]:
            scaled.scale(factors)
            value = gradient_quotient(loss.value(), scaled.trained, scaled.check)
            return float(value.detach()), scaled.along(
                derivatives(value, scaled.trained, "metainit")
            )

        found = descend_quotient(rule, [norms[name] for name in tuned], quotient)
    return Adaptation(
        factors=written(scaled, found.factors),
        shifts={},
        before=found.before,
        after=found.after,
        steps=found.steps,
        notes=(*notes, *found.notes),
    )
