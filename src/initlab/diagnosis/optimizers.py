"""How the first step is taken: what an optimizer, or a text that names one, does to a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab._base.spec import parse_call

_EXAMPLE = "adam(lr=0.001)"
_MOMENTUM = 0.9

# What each name makes; a learning rate that is not given is PyTorch's own default.
_MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}

# Optimizers, of PyTorch or others, whose first update has the size of the learning rate in every
# entry, however large the gradient; told by a part of the class's name.
_SIGNED = ("adam", "adagrad", "rmsprop", "rprop", "lion", "lamb", "signsgd")
_PLAIN = ("sgd",)


@dataclass(frozen=True)
class Rate:
    """What the first update of one group of parameters is.

    Attributes
    ----------
    lr
        Learning rate.
    factor
        What the update is multiplied by besides, in the first step.
    eps
        None where the update is lr · g; else it is lr · g / (abs(g) + eps).
    """

    lr: float
    factor: float = 1.0
    eps: float | None = None

    def norm(self, gradient: Tensor) -> float:
        """Return the norm of the first update."""
        g = gradient.detach()
        g = g if g.dtype == torch.float64 else g.float()
        if self.eps is not None:
            g = g / (g.abs() + self.eps)
        return self.lr * self.factor * float(torch.linalg.vector_norm(g))


@dataclass(frozen=True)
class Step:
    """The first step of an optimizer. Weight decay is left out: it is no part of the gradient.

    Attributes
    ----------
    name
        Of the optimizer.
    rates
        By the identity of the parameter.
    every
        For all parameters alike; None where these are listed.
    """

    name: str
    rates: Mapping[int, Rate] = field(default_factory=dict[int, Rate])
    every: Rate | None = None

    def rate(self, parameter: Tensor) -> Rate | None:
        """Return what a parameter's update is; None if the optimizer does not have it."""
        return self.every or self.rates.get(id(parameter))

    @property
    def is_scale_free(self) -> bool:
        """True if the size of the gradient, and so of the loss, does not matter."""
        every = [self.every] if self.every is not None else list(self.rates.values())
        return all(rate.eps is not None for rate in every)


def read_optimizer(optimizer: Any) -> Step | None:
    """Read an optimizer of PyTorch, or a text such as ``"sgd(lr=0.1)"``; None for None.

    None as well for an optimizer of an unknown kind: its first step is not known.

    Raises
    ------
    UnknownNameError
        If there is no optimizer of that name.
    InvalidValueError
        If it is neither, or an argument does not fit.
    """
    if optimizer is None:
        return None
    if isinstance(optimizer, str):
        stand_in = nn.Parameter(torch.zeros(()))
        made = make_optimizer(optimizer, [stand_in])
        rates = _rates(made)
        return Step(_name(optimizer), every=rates[id(stand_in)]) if rates else None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InvalidValueError(
            f"optimizer of type {type(optimizer).__name__}; accepted: an optimizer of PyTorch, or "
            f"a text such as {_EXAMPLE!r}"
        )
    rates = _rates(optimizer)
    return Step(type(optimizer).__name__.lower(), rates) if rates else None


def make_optimizer(text: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make the optimizer that a text names.

    Names are those of PyTorch in small letters: ``sgd``, ``adam``, ``adamw``, ``adamax``,
    ``nadam``, ``adagrad``, ``rmsprop``; ``momentum`` is ``sgd`` with a momentum of 0.9. Arguments
    are PyTorch's as well, and so is the learning rate where none is given: 0.001, and 0.01 for
    ``adagrad`` and ``rmsprop``, 0.002 for ``adamax`` and ``nadam``.

    Raises
    ------
    UnknownNameError
        If there is no optimizer of that name.
    InvalidValueError
        If an argument does not fit.
    """
    call = parse_call(text, "optimizer", _EXAMPLE)
    make = _MAKERS.get(call.name.lower())
    if make is None:
        raise UnknownNameError("optimizer", call.name, _MAKERS)
    arguments: dict[str, Any] = dict(call.kwargs)
    if call.name.lower() == "momentum":
        arguments.setdefault("momentum", _MOMENTUM)
    try:
        return make(list(parameters), *call.args, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InvalidValueError(
            f"optimizer {text!r} is none: {reason}; accepted: PyTorch's arguments, such as "
            f"{_EXAMPLE!r}"
        ) from error


def _name(text: str) -> str:
    return parse_call(text, "optimizer", _EXAMPLE).name.lower()


def _rates(optimizer: torch.optim.Optimizer) -> dict[int, Rate]:
    """Return each parameter's rate; nothing for an optimizer of an unknown kind."""
    kind = type(optimizer).__name__.lower()
    signed = any(part in kind for part in _SIGNED)
    if not signed and not any(part in kind for part in _PLAIN):
        return {}
    return {
        id(parameter): _rate(kind, group, signed=signed)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def _rate(kind: str, group: Mapping[str, Any], *, signed: bool) -> Rate:
    # A schedule that warms up has set the rate to next to nothing; it is to grow to this.
    lr = max(float(group.get("lr") or 0.0), float(group.get("initial_lr") or 0.0))
    if signed:
        # RMSprop's mean of squares starts at 0, with no correction: (1 - α) g² in the first step.
        alpha = group.get("alpha") if "rmsprop" in kind else None
        factor = (1 - float(alpha)) ** -0.5 if alpha is not None and alpha < 1 else 1.0
        return Rate(lr, factor, float(group.get("eps") or 0.0) or 1e-30)
    nesterov = float(group.get("momentum") or 0.0) if group.get("nesterov") else 0.0
    return Rate(lr, 1 + nesterov)
