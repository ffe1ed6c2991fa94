"""Initialisers that look at the data, on any PyTorch module: they rescale weights once drawn."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from initlab._base.errors import InvalidValueError
from initlab.engine.adaptive.settings import GradInit, Krahenbuhl, Lsuv, MetaInit, settings
from initlab.initializers import Initializer
from initlab.models.data_driven import gradinit, krahenbuhl, lsuv, metainit
from initlab.models.data_driven.adaptation import Adaptation
from initlab.models.data_driven.losses import Loss
from initlab.models.data_driven.state import adapted, chosen, prepared


def is_data_driven(initializer: Initializer) -> bool:
    """Tell whether an initialiser needs data: whether :func:`adapt` takes it."""
    return settings(initializer) is not None


def adapt(
    model: nn.Module,
    initializer: Initializer,
    batch: Any,
    *,
    names: Collection[str] | None = None,
    targets: torch.Tensor | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> Adaptation:
    """Adapt weights that have been drawn to a batch, in place.

    The model runs as in training, with the batch's own statistics in its normalisations, but
    without dropout. Apart from the parameters named, it is as before afterwards: mode, buffers,
    attributes, gradients, flags, hooks, PyTorch's random numbers; the parameters too if anything
    goes wrong.

    Parameters
    ----------
    model
        On any device; the batch is moved there if it is a single one.
    initializer
        ``lsuv``, ``krahenbuhl``, ``metainit`` or ``gradinit``; their weights are drawn by the
        caller.
    batch
        What ``forward`` is called with: a tensor, a tuple of positional arguments, or a dictionary
        of named ones.
    names
        Parameters that may change; those that require a gradient if not given.
    targets
        What the outputs are compared to, for ``metainit`` and ``gradinit``. Without: a loss that
        the model returns itself, else random classes for an output ``(samples, classes)``, else
        noise.
    loss
        Called with output and targets, returns a scalar; by default cross-entropy for classes, the
        mean square for values.
    seed
        All random numbers follow from it.

    Raises
    ------
    InvalidValueError
        If the initialiser needs no data, the batch is empty or none, a name is not known, the model
        is not on a device that computes, or its layers have no second derivatives where they are
        needed.
    """
    rule = settings(initializer)
    if rule is None:
        raise InvalidValueError(
            f"initializer {initializer.spec} needs no data; accepted: lsuv, krahenbuhl, metainit, "
            "gradinit"
        )
    parameters = chosen(model, names)
    inputs = prepared(model, batch)
    with adapted(model, parameters, seed):
        match rule:
            case Lsuv():
                return lsuv.adapt(model, rule, inputs, parameters)
            case Krahenbuhl():
                return krahenbuhl.adapt(model, rule, inputs, parameters, seed)
            case MetaInit():
                return metainit.adapt(model, rule, inputs, parameters, (targets, loss, seed))
            case GradInit():
                return gradinit.adapt(model, rule, inputs, parameters, (targets, loss, seed))


__all__ = ["Adaptation", "adapt", "is_data_driven"]
