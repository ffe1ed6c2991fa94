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
    if targets is None and _own_loss(result) is not None:
        return None, lambda result, _: cast("Tensor", _own_loss(result))
    output = _first(result)
    if targets is None:
        targets = _random_targets(output, seed)
    targets = targets.to(output.device)
    if not targets.is_floating_point():
        _check_classes(output, targets)
        return targets, lambda result, targets: _cross_entropy(_first(result), targets)
    if targets.shape != output.shape:
        raise InvalidValueError(
            f"targets of shape {tuple(targets.shape)} for an output of shape "
            f"{tuple(output.shape)}; accepted: the same shape, classes as whole numbers, or a loss="
        )
    return targets, lambda result, targets: functional.mse_loss(
        _first(result), targets.to(_first(result).dtype)
    )


def _own_loss(result: Any) -> Tensor | None:
    """Return the loss that models with labels among their arguments return."""
    found = cast("Mapping[str, Any]", result).get("loss") if isinstance(result, Mapping) else None
    return found if isinstance(found, Tensor) and found.numel() == 1 else None


def _first(result: Any) -> Tensor:
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


def _check_classes(output: Tensor, targets: Tensor) -> None:
    if output.dim() >= 2 and targets.shape in (output.shape[:-1], _places(output)):
        return
    raise InvalidValueError(
        f"classes of shape {tuple(targets.shape)} for an output of shape {tuple(output.shape)}; "
        f"accepted: {tuple(_places(output))} or {tuple(output.shape[:-1])}, or a loss="
    )


def _places(output: Tensor) -> torch.Size:
    """Return the shape without the second axis, where PyTorch has the classes."""
    return output.shape[:1] + output.shape[2:]


def _cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    if targets.shape != _places(output):  # classes last, as language models have them
        output = output.movedim(-1, 1)
    return functional.cross_entropy(output, targets.long())
