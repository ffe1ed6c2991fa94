"""What the callbacks of training frameworks share: read a batch, diagnose, warn or raise."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from initlab._base.errors import InitlabError, InvalidValueError
from initlab.diagnosis import diagnose
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.untouched import random_states

OnFinding = Literal["warn", "raise"]


class StartsWrongError(InitlabError):
    """A model does not start well; the message holds the findings."""


class StartsWrongWarning(UserWarning):
    """The same, as a warning."""


def require_choice(on_finding: object) -> None:
    """Refuse anything but "warn" and "raise".

    Raises
    ------
    InvalidValueError
        If it is something else.
    """
    if on_finding not in {"warn", "raise"}:
        raise InvalidValueError(f"on_finding={on_finding!r}; accepted: 'warn', 'raise'")


def tell(report: Diagnosis, on_finding: OnFinding, ignore: Iterable[str]) -> None:
    """Warn of errors and warnings, or raise them.

    Raises
    ------
    StartsWrongError
        If there are any that count, and they are to be raised.
    """
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    if not report.problem and not any(one.code not in ignored for one in report.alarms):
        return
    if on_finding == "raise":
        raise StartsWrongError(report.text())
    warnings.warn(report.text(), StartsWrongWarning, stacklevel=4)


def parts(batch: Any, forward: Callable[..., Any]) -> tuple[Any, Any]:
    """Split a batch into what forward takes, and targets if there are any left.

    A dictionary goes in by name, without the names that forward does not take. Of a pair, the first
    is the input and the second the target, unless forward cannot do without both.
    """
    if isinstance(batch, Mapping):
        named = dict(cast("Mapping[str, Any]", batch))
        return _taken(named, forward), None
    if isinstance(batch, (tuple, list)) and batch:
        values = list(cast("Iterable[Any]", batch))
        wanted = _wanted(forward)
        count = len(values) if len(values) == 1 else min(max(wanted, 1), len(values))
        rest = values[count:]
        targets = rest[0] if len(rest) == 1 and isinstance(rest[0], Tensor) else None
        return tuple(values[:count]), targets
    return batch, None


def _taken(named: dict[str, Any], forward: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return named
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return named
    taken = {one.name: named[one.name] for one in parameters if one.name in named}
    return taken or named  # a dictionary as one argument


def _wanted(forward: Callable[..., Any]) -> int:
    """Return how many positional arguments forward cannot do without."""
    kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(one.kind in kinds and one.default is one.empty for one in parameters)


def first_batch(loader: Any) -> Any:
    """Return the first batch; None if there is none.

    What shuffles the data stays where it was: training then meets the batches that it would have
    met without.
    """
    sampler = getattr(loader, "sampler", None)
    own = {id(x): x for one in (loader, sampler) if (x := getattr(one, "generator", None))}
    states = [(x, x.get_state()) for x in own.values() if isinstance(x, torch.Generator)]
    try:
        with random_states(0), torch.random.fork_rng(devices=[]):
            return next(iter(loader), None)
    finally:
        for generator, state in states:
            generator.set_state(state)


def look(model: nn.Module, inputs: Any, targets: Any, seed: int, optimizer: Any) -> Diagnosis:
    """Diagnose on a batch; what does not fit as targets is left out."""
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(inputs)):
        inputs = targets = None
    try:
        return diagnose(model, inputs, targets, None, seed, optimizer=optimizer)
    except InvalidValueError:
        if targets is None:
            raise
        return diagnose(model, inputs, None, None, seed, optimizer=optimizer)
