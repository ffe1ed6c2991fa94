"""Calls the user's factory, watches what it draws, and reads what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from initlab._base.errors import InvalidValueError
from initlab.diagnosis.making import Making, watched

_ACCEPTED = "accepted: a model, (model, inputs), or (model, inputs, targets)"


@dataclass(frozen=True)
class Built:
    """What a factory made.

    Attributes
    ----------
    model, inputs, targets
        As it returned them; None for what it did not.
    making
        What it drew.
    """

    model: nn.Module
    inputs: Any = None
    targets: Any = None
    making: Making | None = None


def build(factory: Callable[..., Any], arguments: Mapping[str, Any] | None = None) -> Built:
    """Call a factory, and watch it.

    Parameters
    ----------
    factory
        Returns a model, ``(model, inputs)`` or ``(model, inputs, targets)``. A class of modules is
        one too.
    arguments
        What it is called with.

    Raises
    ------
    InvalidValueError
        If it cannot be called, raises, or returns anything else.
    """
    if isinstance(factory, nn.Module):
        return Built(factory)
    if not callable(factory):
        raise InvalidValueError(
            f"the factory is of type {type(factory).__name__}; accepted: a function without "
            "arguments that returns a model"
        )
    name = getattr(factory, "__name__", type(factory).__name__)
    with watched() as watch:
        try:
            made = factory(**(arguments or {}))
        except (Exception, SystemExit) as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            raise InvalidValueError(f"{name}() raises {type(error).__name__}: {reason}") from error
    if made is None:
        raise InvalidValueError(f"{name}() returns nothing; {_ACCEPTED}")
    parts: tuple[Any, ...] = made if isinstance(made, tuple) else (made,)
    if not 1 <= len(parts) <= 3 or not isinstance(parts[0], nn.Module):
        told = type(made).__name__
        if isinstance(made, tuple):
            told = f"a tuple of {', '.join(type(part).__name__ for part in parts) or 'nothing'}"
        raise InvalidValueError(f"{name}() returns {told}; {_ACCEPTED}")
    model: nn.Module = parts[0]
    inputs, targets = (*parts[1:], None, None)[:2]
    return Built(model, inputs, targets, watch.making(model))
