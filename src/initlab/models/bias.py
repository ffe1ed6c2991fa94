"""The output bias that the targets suggest: the first predictions are then their mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.models.assignment import Assignment, Decision, Piece
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.plain import whole


def prior(
    facts: ModelFacts, decisions: Mapping[str, Decision], targets: Any, names: Collection[str]
) -> tuple[dict[str, Decision], list[str]]:
    """Return new decisions for the output biases that ``names`` allows, and notes.

    Class numbers, of any shape, give log frequencies, with each class counted once more than it
    occurs; negative ones are masked and left out. So do probabilities, rows that add up to 1. Other
    targets of 0 and 1 give log odds, any other numbers their mean. A bias without as many entries
    as the targets have classes or columns is left as it was.

    Raises
    ------
    InvalidValueError
        If the targets are no tensor or array of finite numbers, or a single number.
    """
    values = _read(targets)
    biases = [
        facts.parameters[name]
        for name in names
        if facts.parameters[name].kind == "bias"
        and facts.parameters[name].output
        and isinstance(decisions[name], Assignment)
    ]
    changed: dict[str, Decision] = {}
    for fact in biases:
        told = _bias(values, fact.shape[0] if fact.shape else 1)
        if told is not None:
            changed[fact.name] = _rows(fact, *told)
    if changed:
        return changed, []
    shape = tuple(values.shape)
    if not biases:
        return {}, [f"the targets of shape {shape} set no bias: no output bias is to be drawn"]
    sizes = ", ".join(_misfit(values, fact) for fact in biases)
    return {}, [f"the targets of shape {shape} set no bias: {sizes}"]


def _misfit(values: Tensor, fact: ParameterFact) -> str:
    """Say why the targets set no bias here: by their classes, if they are whole numbers."""
    count = fact.shape[0] if fact.shape else 1
    if count > 1 and not values.is_floating_point() and (most := int(values.long().max())) >= count:
        return f"class {most}, but the output has {count} ({fact.name})"
    return f"{fact.name} has {tuple(fact.shape)}"


def _rows(fact: ParameterFact, texts: list[str], reason: str) -> Assignment:
    """Give all rows one initialiser, or each its own."""
    if len(texts) == 1:
        return whole(fact, initializers.get(texts[0]), reason)
    pieces = tuple(Piece(initializers.get(text), row, row + 1) for row, text in enumerate(texts))
    return Assignment(fact.name, pieces, reason)


def _read(targets: Any) -> Tensor:
    try:
        values = torch.as_tensor(targets, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f"targets of type {type(targets).__name__} are no array of numbers; accepted: class "
            "numbers, probabilities, or values"
        ) from error
    if values.dim() == 0:
        raise InvalidValueError(
            "targets are a single number; accepted: one or more for every sample, in an array"
        )
    if values.is_complex():
        raise InvalidValueError("targets are complex numbers; real ones are needed")
    if values.numel() == 0 or not bool(torch.isfinite(values.double()).all()):
        raise InvalidValueError("targets are empty or hold nan or inf; finite numbers are needed")
    return values


def _bias(values: Tensor, count: int) -> tuple[list[str], str] | None:
    """Return the text of the bias, or one a row, and the reason; None if the targets do not fit."""
    columns = _columns(values, count)
    if columns is not None and count > 1 and _probabilities(columns):
        return [_frequencies(columns.sum(0) + 1)], "log frequency of each class"
    if columns is not None and bool(((columns == 0) | (columns == 1)).all()):
        shares = ((columns.sum(0) + 1) / (len(columns) + 2)).tolist()
        return [f"prior_bias({share:.6g})" for share in shares], "log odds in the targets"
    if count > 1 and not values.is_floating_point():
        classes = values.long().flatten()
        classes = classes[classes >= 0]
        if len(classes) and int(classes.max()) < count:
            counts = torch.bincount(classes, minlength=count) + 1
            return [_frequencies(counts)], "log frequency of each class"
    if columns is None:
        return None
    return [f"constant({mean:.6g})" for mean in columns.mean(0).tolist()], "mean of the targets"


def _columns(values: Tensor, count: int) -> Tensor | None:
    """Return the targets with one column an output; None if they have another number of them.

    The outputs stand in the second axis, as PyTorch has them, or in the last.
    """
    if count == 1 and values.dim() < 2:
        return values.double().reshape(-1, 1)
    for axis in (1, -1):
        if values.dim() >= 2 and values.shape[axis] == count:
            return values.double().movedim(axis, -1).reshape(-1, count)
    return None


def _probabilities(columns: Tensor) -> bool:
    sums = columns.sum(1)
    return bool((columns >= 0).all()) and bool(((sums - 1).abs() < 1e-4).all())


def _frequencies(counts: Tensor) -> str:
    numbers = tuple(round(count, 6) for count in counts.tolist())
    return f"prior_bias({numbers!r})"
