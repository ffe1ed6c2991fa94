"""Losses of a model whose parameters are scaled, and their first three derivatives."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from initlab._base.errors import InvalidValueError
from initlab.models.data_driven.losses import Loss, settle
from initlab.models.data_driven.measures import wide
from initlab.models.data_driven.state import run
from initlab.models.inputs import Inputs

# Targets, loss and seed, as the user gave them.
Wanted = tuple[Tensor | None, Loss | None, int]


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a model over some samples.

    Attributes
    ----------
    model, inputs, targets, loss
        What is computed.
    """

    model: nn.Module
    inputs: Inputs
    targets: Tensor | None
    loss: Loss

    def value(self) -> Tensor:
        """Return the loss at the parameters' present values.

        Raises
        ------
        InvalidValueError
            If it is no scalar.
        """
        found: Any = self.loss(run(self.model, self.inputs), self.targets)
        if not isinstance(found, Tensor) or found.numel() != 1:
            raise InvalidValueError("the loss returned is no scalar tensor; its mean would be one")
        return found.reshape(())

    def at(self, samples: Sequence[int]) -> Objective:
        """Return the loss over fewer samples."""
        total = self.samples

        def pick(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.dim() == 0 or len(leaf) != total:
                return leaf
            return leaf[torch.as_tensor(samples, device=leaf.device)]

        args, kwargs = tree_map(pick, (self.inputs.args, dict(self.inputs.kwargs)))
        inputs = Inputs(args, kwargs, given=True, description=self.inputs.description)
        return Objective(self.model, inputs, pick(self.targets), self.loss)

    @property
    def samples(self) -> int:
        """Length of the first tensor that has an axis."""
        leaves = tree_leaves((self.inputs.args, dict(self.inputs.kwargs)))
        return next((len(x) for x in leaves if isinstance(x, Tensor) and x.dim()), 0)


def objective(model: nn.Module, inputs: Inputs, wanted: Wanted) -> Objective:
    """Return the loss over the whole batch, half precision in float32."""
    targets, loss, seed = wanted

    def widened(leaf: Any) -> Any:
        return wide(leaf) if isinstance(leaf, Tensor) else leaf

    args, kwargs = tree_map(widened, (inputs.args, dict(inputs.kwargs)))
    inputs = Inputs(args, kwargs, given=True, description=inputs.description)
    with torch.no_grad():
        result = run(model, inputs)
    return Objective(model, inputs, *settle(result, targets, loss, seed))


class Scaled:
    """Parameters times factors, while the context lasts; then as they were.

    Attributes
    ----------
    starts
        The parameters to scale, with factor 1; half precision as float32.
    trained
        All parameters that gradients are taken by; half precision as float32.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        self.model = model
        self.parameters = parameters
        self.starts = {name: wide(value.detach()).clone() for name, value in parameters.items()}
        self.trained = [
            value
            for value in model.parameters()
            if value.requires_grad and value.is_floating_point()
        ]
        self.checked = False
        self.held = [(value, value.data) for value in model.parameters()]

    def __enter__(self) -> Self:
        for value, data in self.held:
            value.data = wide(data)
        for module in self.model.modules():
            for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
                setattr(module, name, wide(buffer))
        return self

    def __exit__(self, *_: object) -> None:
        for value, data in self.held:
            value.data = data

    def scale(self, factors: Sequence[float]) -> None:
        """Set each parameter to its start times its factor."""
        for (name, start), factor in zip(self.starts.items(), factors, strict=True):
            self.parameters[name].data = start * factor

    def move(self, directions: Sequence[Tensor], by: float) -> None:
        """Add to every trained parameter."""
        for value, direction in zip(self.trained, directions, strict=True):
            value.data = value.data + by * direction

    def check(self, gradients: Sequence[Tensor], name: str) -> None:
        """Refuse gradients that hide that they cannot be differentiated again; looks once.

        A function that is differentiable once cuts the graph, and autograd, asked for derivatives
        by parameters beyond the cut, takes them for 0.

        Raises
        ------
        InvalidValueError
            If there is such a cut.
        """
        if self.checked:
            return
        self.checked = True
        waiting: list[Any] = [each.grad_fn for each in gradients]
        seen = {None}
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.name().endswith("::Error"):
                raise InvalidValueError(
                    f"{name} needs second derivatives, and a layer of the model has none: it is "
                    "marked as differentiable once (once_differentiable)"
                )
            waiting += [following for following, _ in node.next_functions]

    def along(self, directions: Sequence[Tensor]) -> list[float]:
        """Return the derivative by each factor, from those by all trained parameters."""
        by = {id(value): found for value, found in zip(self.trained, directions, strict=True)}
        return [
            float((by[id(self.parameters[name])] * start).sum())
            for name, start in self.starts.items()
        ]


@contextlib.contextmanager
def differentiable() -> Generator[None]:
    """Choose kernels that have second derivatives, where PyTorch has a choice."""
    with (
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
    ):
        yield


def derivatives(
    value: Tensor, by: Sequence[Tensor], name: str, *, again: bool = False
) -> list[Tensor]:
    """Differentiate; 0 where nothing depends.

    Parameters
    ----------
    value
        A scalar.
    by
        What by.
    name
        Of the initialiser, for messages.
    again
        Whether the result is to be differentiated again.

    Raises
    ------
    InvalidValueError
        If a layer has no derivative of that order.
    """
    if not value.requires_grad:
        return [torch.zeros_like(each) for each in by]
    try:
        return list(
            torch.autograd.grad(
                value, list(by), create_graph=again, retain_graph=True, materialize_grads=True
            )
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()
        raise InvalidValueError(
            f"{name} needs second derivatives, and a layer of the model has none: "
            f"{reason[0] if reason else error!r}"
        ) from error


def written(scaled: Scaled, factors: Sequence[float]) -> dict[str, float]:
    """Multiply the parameters, whose context has ended, by their factors; return those by name."""
    by = dict(zip(scaled.starts, factors, strict=True))
    with torch.no_grad():
        for name, factor in by.items():
            scaled.parameters[name].mul_(factor)
    return by
