"""Initialisers that look at the data: they rescale weights that have been drawn."""

from __future__ import annotations

from collections.abc import Sequence

from initlab._base.errors import InvalidValueError
from initlab.engine.adaptive import forward, gradients
from initlab.engine.adaptive.adapted import Adapted
from initlab.engine.adaptive.settings import (
    GradInit,
    Krahenbuhl,
    Lsuv,
    MetaInit,
    Settings,
    settings,
)
from initlab.engine.network import Array, Layer, Network
from initlab.engine.recipe import LossName


def adapt(
    network: Network,
    layers: Sequence[Layer],
    rule: Settings,
    loss: LossName,
    data: tuple[Array, Array],
    seed: int = 0,
) -> Adapted:
    """Adapt drawn weights to the data, in float64.

    Parameters
    ----------
    network, layers
        What is adapted; the layers are not changed.
    rule
        Which initialiser, with its arguments.
    loss
        Of the training; the first two need none.
    data
        Inputs ``(features, samples)`` and targets ``(outputs, samples)``.
    seed
        Random numbers follow from it: the projection of ``krahenbuhl``, the samples that
        ``gradinit`` takes its step on.

    Raises
    ------
    InvalidValueError
        If there are no samples.
    """
    inputs, targets = data
    if inputs.shape[1] == 0:
        raise InvalidValueError("a data-driven initializer is given no samples; it needs some")
    match rule:
        case Lsuv():
            return forward.lsuv(network, layers, rule, inputs)
        case Krahenbuhl():
            return forward.krahenbuhl(network, layers, rule, inputs, seed)
        case MetaInit():
            return gradients.metainit(network, layers, rule, loss, (inputs, targets))
        case GradInit():
            return gradients.gradinit(network, layers, rule, loss, (inputs, targets), seed)


__all__ = [
    "Adapted",
    "GradInit",
    "Krahenbuhl",
    "Lsuv",
    "MetaInit",
    "Settings",
    "adapt",
    "settings",
]
