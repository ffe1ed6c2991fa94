"""The loss at the start: the user's, the model's own, or the one that fits output and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab._base.errors import InitlabError, InvalidValueError, UnknownNameError
from initlab.models.data_driven.losses import check_classes, cross_entropy, own_loss, places
from initlab.models.recorder import tensors_of

Kind = Literal["cross_entropy", "binary", "regression", "own", "given", "projection"]

# An output with more entries than this is kept in half precision.
_LARGE = 2**24

Function = Callable[[Any, Any], Tensor]


class NothingToDifferentiateError(InvalidValueError):
    """What a model returns has no floating-point numbers."""


@dataclass(frozen=True)
class Loss:
    """What is differentiated.

    Attributes
    ----------
    value
        A scalar with its history.
    kind
        ``"cross_entropy"`` and ``"binary"`` (logits of one class against the other), whoever has
        computed it; ``"projection"``: the output times random numbers, where there are no targets.
    output
        The first floating-point output, or the logits beside the model's own loss.
    targets
        As given, or the labels among the inputs of a model with a loss of its own.
    """

    value: Tensor
    kind: Kind
    output: Tensor | None = None
    targets: Any = None

    def without_history(self) -> Loss:
        """Return the same with a detached output, a very large one in half precision.

        The backward pass needs the memory: a language model's scores are its largest tensor.
        """
        output = self.output
        if output is None:
            return self
        large = output.numel() > _LARGE and output.dtype in {torch.float32, torch.float64}
        kept = output.detach()
        return replace(self, output=kept.to(torch.bfloat16) if large else kept)

    @property
    def logits(self) -> Tensor | None:
        """Scores of each class, ``(samples, classes)``, detached; None if it is no such loss."""
        output = self.output
        if output is None or self.kind != "cross_entropy" or output.dim() < 2:
            return None
        last = not isinstance(self.targets, Tensor) or self.targets.shape == output.shape[:-1]
        scores = output.detach() if last or output.dim() == 2 else output.detach().movedim(1, -1)
        return scores.reshape(-1, scores.shape[-1])

    @property
    def classes(self) -> Tensor | None:
        """Class numbers of the targets, ``(samples,)``, without masked ones; None if not known."""
        targets = self.targets
        if self.kind != "cross_entropy" or not isinstance(targets, Tensor):
            return None
        if targets.is_floating_point():
            return targets.argmax(1).flatten() if targets.dim() > 1 else None
        return targets[targets >= 0].flatten()


def _mean_square(output: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(output, _shaped(output, targets))


def _absolute(output: Tensor, targets: Tensor) -> Tensor:
    return functional.l1_loss(output, _shaped(output, targets))


def _binary(output: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output, _shaped(output, targets))


def _shaped(output: Tensor, targets: Tensor) -> Tensor:
    if output.numel() != targets.numel():
        raise InvalidValueError(_misfit(output, targets))
    return targets.to(output.dtype).reshape(output.shape)


def _misfit(output: Tensor, targets: Tensor) -> str:
    return (
        f"targets of shape {tuple(targets.shape)} for an output of shape {tuple(output.shape)}; "
        "accepted: the same shape, classes as whole numbers, or a loss="
    )


def _classes(output: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        if targets.shape != output.shape:
            raise InvalidValueError(_misfit(output, targets))
        return functional.cross_entropy(output, targets)
    check_classes(output, targets)
    count = output.shape[1 if targets.shape == places(output) else -1]
    # -100 stands for "not counted". Elsewhere than here, a GPU would not go on behind the error.
    outside = targets[((targets < 0) & (targets != -100)) | (targets >= count)]
    if outside.numel():
        raise InvalidValueError(
            f"targets hold the class {int(outside[0])}, and the output has scores of {count}; "
            f"accepted: 0 to {count - 1}, and -100 for what is not counted"
        )
    return cross_entropy(output, targets)


LOSSES: dict[str, tuple[Kind, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross_entropy": ("cross_entropy", _classes),
    "bce_with_logits": ("binary", _binary),
    "mse": ("regression", _mean_square),
    "l1": ("regression", _absolute),
}
"""Losses by name."""


def require_loss(loss: object, targets: object) -> None:
    """Refuse what is no loss, before anything runs.

    Raises
    ------
    InvalidValueError
        If it is neither a text nor a function, or needs targets that are not there.
    UnknownNameError
        If there is no loss of that name.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise UnknownNameError("loss", loss, LOSSES)
        if targets is None:
            raise InvalidValueError(f"loss={loss!r} needs targets, and there are none")
    elif loss is not None and not callable(loss):
        raise InvalidValueError(
            f"loss of type {type(loss).__name__}; accepted: {', '.join(LOSSES)}, or a function of "
            "output and targets"
        )


def settle(result: Any, inputs: Any, targets: Any, loss: str | Function | None, seed: int) -> Loss:
    """Return the loss of what a model returned.

    Parameters
    ----------
    result
        What it returned.
    inputs
        Its named arguments: ``labels`` among them are the targets of a loss of its own.
    targets, loss
        What the user gave, if anything.
    seed
        A random projection follows from it.

    Raises
    ------
    NothingToDifferentiateError
        If the model returns no floating-point tensor.
    InvalidValueError
        If the targets do not fit the output, or the loss raises an error or is no scalar.
    """
    if loss is not None and not isinstance(loss, str):
        return _given(result, targets, loss)
    own = _own_loss(result)
    if own is not None and targets is None:
        return _own(own, result, inputs)
    output = _output(result, own)
    if targets is None:
        return Loss(_projection(output, seed), "projection", output)
    targets = _numbers(targets).to(output.device)
    kind, function = LOSSES[loss] if loss is not None else _fitting(output, targets)
    return Loss(function(output, targets), kind, output, targets)


def _own_loss(result: Any) -> Tensor | None:
    """Return the loss that the model returns; detectors return several, to be summed."""
    if isinstance(result, Mapping) and result and "loss" not in result:
        parts = list(cast("Mapping[str, Any]", result).values())
        if all(isinstance(x, Tensor) and x.dim() == 0 and x.is_floating_point() for x in parts):
            return torch.stack(parts).sum()
    return own_loss(result)


def _numbers(targets: Any) -> Tensor:
    if isinstance(targets, Tensor):
        return targets
    try:
        return torch.as_tensor(targets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f"targets of type {type(targets).__name__} are no array of numbers; give a loss= that "
            "reads them"
        ) from error


def _fitting(output: Tensor, targets: Tensor) -> tuple[Kind, Callable[[Tensor, Tensor], Tensor]]:
    """Choose a loss by the shapes, and by whether the targets are whole numbers."""
    whole = not targets.is_floating_point()
    same = output.numel() == targets.numel() and output.shape[:1] == targets.shape[:1]
    binary = same and bool(((targets == 0) | (targets == 1)).all())
    if whole and not same:
        return LOSSES["cross_entropy"]
    if binary:
        outside = bool(((output < 0) | (output > 1)).any())
        return LOSSES["bce_with_logits"] if outside else LOSSES["mse"]
    if same:
        return LOSSES["mse"]
    raise InvalidValueError(_misfit(output, targets))


def _given(result: Any, targets: Any, loss: Function) -> Loss:
    try:
        value: Any = loss(result, _on(targets, result))
    except (InitlabError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InvalidValueError(
            f"the loss raises {type(error).__name__} on what the model returns: {reason}"
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InvalidValueError(f"the loss gives {shape}; accepted: a single number")
    known = isinstance(loss, nn.CrossEntropyLoss) or loss is functional.cross_entropy
    kind: Kind = "cross_entropy" if known else "given"
    return Loss(value.reshape(()), kind, _first(result), targets)


def _own(value: Tensor, result: Any, inputs: Any) -> Loss:
    """Read the loss that the model computed; its labels are among its named arguments."""
    named: Mapping[str, Any] = inputs if isinstance(inputs, Mapping) else {}
    labels = named.get("labels", named.get("targets"))
    output = next((x for x in tensors_of(result) if x.is_floating_point() and x.dim() > 1), None)
    kind: Kind = "own"
    if isinstance(labels, Tensor) and output is not None and not labels.is_floating_point():
        fits = labels.shape in (output.shape[:-1], output.shape[:1] + output.shape[2:])
        kind = "cross_entropy" if fits and output.shape[-1] > 1 else "own"
    return Loss(value.reshape(()), kind, output, labels)


def _projection(output: Tensor, seed: int) -> Tensor:
    """Return the output's inner product with random numbers, of the size of a mean over samples."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    wide = torch.promote_types(output.dtype, torch.float32)  # a sum of halves is soon too large
    direction = torch.randn(output.shape, generator=generator).to(output.device, wide)
    return (output.to(wide) * direction).sum() / max(output.shape[0] if output.dim() else 1, 1)


def _on(targets: Any, result: Any) -> Any:
    output = _first(result)
    if isinstance(targets, Tensor) and output is not None:
        return targets.to(output.device)
    return targets


def _first(result: Any, but: Tensor | None = None) -> Tensor | None:
    found = (x for x in tensors_of(result) if x.is_floating_point() and x is not but)
    return next(found, None)


def _output(result: Any, loss: Tensor | None) -> Tensor:
    found = _first(result, loss)
    if found is None:
        raise NothingToDifferentiateError(
            f"the model returns {_shown(result)} without a floating-point tensor: there is "
            "nothing to differentiate; return the scores, not their argmax"
        )
    if found.layout != torch.strided:
        raise NothingToDifferentiateError(
            f"the model returns a tensor of layout {found.layout}, which is not followed; return "
            "an ordinary one, or give a loss="
        )
    return found


def _shown(result: Any) -> str:
    if isinstance(result, Tensor):
        return f"a tensor of {str(result.dtype).removeprefix('torch.')}"
    return "nothing" if result is None else type(result).__name__
