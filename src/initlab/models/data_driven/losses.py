"""The loss to take gradients of: the user's, the model's own, or one that fits the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from initlab._base import streams
from initlab._base.errors import InvalidValueError
from initlab.models.data_driven.state import outputs

# From what the model returns and the targets to a scalar.
Loss = Callable[[Any, Any], Tensor]


def settle(
    result: Any, targets: Tensor | None, loss: Loss | None, seed: int
) -> tuple[Tensor | None, Loss]:
    """Choose targets and loss where they are not given.

    Parameters
    ----------
    result
        What the model returns for the whole batch.
    targets, loss
        What the user gave.
    seed
        Random targets follow from it.

    Raises
    ------
    InvalidValueError
        If the model returns no floating-point tensor, or targets do not fit what it returns.
    """
    if loss is not None:
        return targets, loss
    if targets is None and own_loss(result) is not None:
        return None, lambda result, _: cast("Tensor", own_loss(result))
    output = first_output(result)
    if targets is None:
        targets = _random_targets(output, seed)
    targets = targets.to(output.device)
    if not targets.is_floating_point():
        check_classes(output, targets)
        return targets, lambda result, targets: cross_entropy(first_output(result), targets)
    if targets.shape != output.shape:
        raise InvalidValueError(
            f"targets of shape {tuple(targets.shape)} for an output of shape "
            f"{tuple(output.shape)}; accepted: the same shape, classes as whole numbers, or a loss="
        )
    return targets, lambda result, targets: functional.mse_loss(
        first_output(result), targets.to(first_output(result).dtype)
    )


def own_loss(result: Any) -> Tensor | None:
    """Return the loss that a model returns itself: alone, or as the ``loss`` of what it returns."""
    if isinstance(result, Tensor):
        return result if result.dim() == 0 and result.is_floating_point() else None
    if isinstance(result, Mapping):
        found = cast("Mapping[str, Any]", result).get("loss")
    else:
        found = getattr(result, "loss", None)
    return found if isinstance(found, Tensor) and found.numel() == 1 else None


def first_output(result: Any) -> Tensor:
    """Return the first floating-point tensor of what a model returned.

    Raises
    ------
    InvalidValueError
        If there is none.
    """
    found = outputs(result)
    if not found:
        raise InvalidValueError(
            f"the model returns {type(result).__name__} without a floating-point tensor; give a "
            "loss= that reads it"
        )
    return found[0]


def _random_targets(output: Tensor, seed: int) -> Tensor:
    """Draw classes for logits, as in Dauphin & Schoenholz 2019, and noise for anything else."""
    stream = streams.stream(seed, "adaptation", "targets")
    if output.dim() == 2 and output.shape[1] > 1:
        return torch.as_tensor(stream.integers(output.shape[1], size=len(output)))
    return torch.as_tensor(stream.standard_normal(tuple(output.shape)), dtype=output.dtype)


def check_classes(output: Tensor, targets: Tensor) -> None:
    """Refuse class numbers whose shape does not go with that of the scores.

    Raises
    ------
    InvalidValueError
        With both shapes.
    """
    if output.dim() >= 2 and targets.shape in (output.shape[:-1], places(output)):
        return
    raise InvalidValueError(
        f"classes of shape {tuple(targets.shape)} for an output of shape {tuple(output.shape)}; "
        f"accepted: {tuple(places(output))} or {tuple(output.shape[:-1])}, or a loss="
    )


def places(output: Tensor) -> torch.Size:
    """Return the shape without the second axis, where PyTorch has the classes."""
    return output.shape[:1] + output.shape[2:]


def cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy; classes stand in the second axis, or in the last."""
    if targets.shape != places(output):  # classes last, as language models have them
        output = output.movedim(-1, 1)
    return functional.cross_entropy(output, targets.long())
