"""Puts drawn values into parameters, wherever these live and however they are kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from initlab._base.errors import InvalidValueError
from initlab.models import computed, draw, shards
from initlab.models.assignment import Assignment
from initlab.models.facts import ParameterFact
from initlab.models.report import Summary, summarise


def current(model: nn.Module, fact: ParameterFact) -> Tensor:
    """Return the values that the model uses now."""
    if fact.sources:
        return computed.value(fact.name, _holder(model, fact))
    return model.get_parameter(fact.name)


def write(model: nn.Module, fact: ParameterFact, assignment: Assignment, seed: int) -> str:
    """Draw a parameter and write it; returns a note, if there is one to make."""
    if fact.sources:
        modules = _holder(model, fact)
        old = computed.value(fact.name, modules)
        values = torch.from_numpy(draw.draw(assignment, old.shape, seed))
        return computed.write(fact.name, values.to(old), modules)
    parameter = model.get_parameter(fact.name)
    with torch.no_grad():
        if shards.is_sharded(parameter):
            if shards.local(parameter).numel():
                shards.local(parameter).copy_(_shard(parameter, assignment, seed))
        elif _in_place(parameter):
            draw.fill(parameter.detach().numpy(), assignment, seed)
            increment_version(parameter)
        else:
            parameter.copy_(torch.from_numpy(draw.draw(assignment, parameter.shape, seed)))
    return ""


def check(model: nn.Module, fact: ParameterFact, assignment: Assignment) -> None:
    """Refuse what cannot be drawn or written, before anything is.

    Raises
    ------
    InvalidValueError
        If the parameter is gone or has another shape by now, an initialiser does not fit the shape,
        or a shard's place is not known.
    """
    _check_shape(model, fact)
    draw.check(assignment, fact.shape)
    if not fact.sources and shards.is_sharded(model.get_parameter(fact.name)):
        shards.place(model.get_parameter(fact.name))


def _check_shape(model: nn.Module, fact: ParameterFact) -> None:
    try:
        shape = tuple(current(model, fact).shape)
    except AttributeError as error:
        raise InvalidValueError(
            f"the model has changed since the plan was made: parameter {fact.name!r} is gone; make "
            "a new plan"
        ) from error
    if shape != fact.shape:
        raise InvalidValueError(
            f"the model has changed since the plan was made: parameter {fact.name!r} has shape "
            f"{shape}, and had {fact.shape}; make a new plan"
        )


def is_safe(model: nn.Module, fact: ParameterFact, assignment: Assignment) -> bool:
    """Tell whether nothing can go wrong in writing a parameter, once it is checked."""
    if fact.sources or not all(draw.is_elementwise(piece) for piece in assignment.pieces):
        return False
    return not model.get_parameter(fact.name).is_inference()


def saved(model: nn.Module, fact: ParameterFact) -> Callable[[], None]:
    """Remember a parameter's values; returns what puts them back."""
    if fact.sources:
        return computed.saved(fact.name, _holder(model, fact))
    parameter = model.get_parameter(fact.name)
    old = parameter.detach().clone()

    def restore() -> None:
        with torch.no_grad():
            parameter.copy_(old)

    return restore


def dry(model: nn.Module, fact: ParameterFact, assignment: Assignment, seed: int) -> Summary:
    """Draw a parameter aside and return what it would be."""
    if not fact.sources:
        parameter = model.get_parameter(fact.name)
        if shards.is_sharded(parameter) and shards.local(parameter).numel():
            return summarise(_shard(parameter, assignment, seed))
    return summarise(torch.from_numpy(draw.draw(assignment, fact.shape, seed)))


def _shard(value: Tensor, assignment: Assignment, seed: int) -> Tensor:
    """Draw what this process holds of a distributed parameter."""
    offsets, sizes = shards.place(value)
    return torch.from_numpy(draw.block(assignment, tuple(value.shape), seed, offsets, sizes))


def _in_place(value: Tensor) -> bool:
    """Tell whether NumPy can write into the very memory of a tensor."""
    return (
        type(value) is nn.Parameter
        and value.device.type == "cpu"
        and value.dtype == torch.float32
        and value.is_contiguous()
        and not value.is_inference()
    )


def _holder(model: nn.Module, fact: ParameterFact) -> dict[str, nn.Module]:
    holder = fact.name.rpartition(".")[0]
    return {holder: model.get_submodule(holder)}
