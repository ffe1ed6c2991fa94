"""Lets the first layers of a model do what standardising its inputs would have done."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from initlab.diagnosis.entrances import Entrance, entrances
from initlab.diagnosis.subject import arguments
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.graph import Graph
from initlab.models.inputs import Inputs
from initlab.models.walk import walk

# Features get their own scale where those differ by more than this, or where, of the square of
# what one scale for all leaves, more than this is the same in all samples.
_UNEVEN, _SHARED = 1e3, 0.9
# Fewer samples say little about a feature.
_SAMPLES = 8
# A feature whose std is less than this share of its size is constant.
_CONSTANT = 1e-4


@dataclass(frozen=True)
class _Moments:
    """Mean and std of an input: one for all, or one for each of its features."""

    mean: Tensor
    std: Tensor
    size: float


def standardise(model: nn.Module, inputs: Inputs | None, names: Collection[str]) -> list[str]:
    """Change the layers that read these inputs, in place; returns what was done, a line each.

    W (x - μ) / s + b = (W / s) x + (b - W μ / s). That is exact but for zeros at the border of a
    padded image. A layer without a bias, and one of gates, gets weights orthogonal to μ, so that
    W x = W (x - μ). One whose weights were drawn for inputs of the size given is first brought to
    inputs of size 1.
    """
    if inputs is None or not names:
        return []
    found = walk(model, dict(inputs.kwargs) if inputs.kwargs else inputs.args)
    if found.graph is None:
        return []
    values = arguments(model, inputs)
    held = dict(model.named_parameters())
    done: dict[str, None] = {}
    notes: list[str] = []
    for one in entrances(model, inputs, found.graph):
        if one.argument not in names:
            continue
        for fact in _weights(found.facts, found.graph, one):
            if fact.name in done:
                continue
            done[fact.name] = None
            weight = held.get(fact.name)
            if weight is None or not one.moved:
                notes.append(f"{fact.name} is left as it is: standardise {one.argument} itself")
                continue
            direct = found.graph.nodes[one.signal].kind == "input"
            moments = _moments(values[one.argument], fact, direct=direct)
            _fold(weight, held.get(_bias_of(found.facts, fact)), fact, moments)
            notes.append(f"{fact.name} takes the standardisation of {one.argument} upon itself")
    return notes


def _weights(facts: ModelFacts, graph: Graph, one: Entrance) -> Iterator[ParameterFact]:
    """Yield the weights that multiply the input."""
    node = graph.nodes[one.reader]
    for fact in facts.parameters.values():
        if node.kind == "recurrent":
            first = fact.kind == "recurrent" and not fact.hidden_to_hidden and "_l0" in fact.name
            if first and fact.module == node.module:
                yield fact
        elif node.weight is not None and node.weight.name in fact.names:
            yield fact


def _bias_of(facts: ModelFacts, fact: ParameterFact) -> str:
    return next((one.name for one in facts.parameters.values() if one.bias_of == fact.name), "")


def _moments(value: Tensor, fact: ParameterFact, *, direct: bool) -> _Moments:
    x = value.detach().double()
    mean, std = x.mean(), x.std(correction=0)
    size = float(x.square().mean().sqrt())
    one = _Moments(mean, std if float(std) > 0 else torch.ones_like(std), size)
    convolution = "convolution" in fact.kind
    axis = 1 if convolution else x.dim() - 1
    if not direct or fact.groups != 1 or x.dim() < 2 or x.shape[axis] != _columns(fact):
        return one
    rows = x.movedim(axis, -1).reshape(-1, x.shape[axis])
    if len(rows) < _SAMPLES:
        return one
    means, stds = rows.mean(0), rows.std(0, correction=0)
    constant = stds <= _CONSTANT * rows.square().mean(0).sqrt()
    varied = stds[~constant]
    shared = float((means - mean).square().mean() / one.std.square())
    uneven = varied.numel() > 1 and float(varied.max() / varied.min()) > _UNEVEN
    if not uneven and shared < _SHARED:
        return one
    return _Moments(means, torch.where(constant, 1.0, stds), size)


def _columns(fact: ParameterFact) -> int:
    """Return how many features, or channels, a weight reads."""
    return fact.shape[_axis(fact)] if len(fact.shape) > 1 else 0


def _axis(fact: ParameterFact) -> int:
    return 0 if fact.input_first or fact.kind == "transposed_convolution" else 1


@torch.no_grad()
def _fold(weight: Tensor, bias: Tensor | None, fact: ParameterFact, moments: _Moments) -> None:
    axis = _axis(fact)
    shape = [1] * weight.dim()
    if moments.mean.dim():
        shape[axis] = -1
    mean, std = moments.mean.reshape(shape), moments.std.reshape(shape)
    new = weight.double() * _drawn_for(weight, fact, moments.size) / std
    others = [each for each in range(weight.dim()) if each != 1 - axis]
    # The bias of a gate says how far it is open; it is left alone where there is another way.
    own = fact.kind == "recurrent" and weight.shape[1] > 1
    if fact.kind == "transposed_convolution":
        pass  # how many taps reach a place depends on the stride
    elif bias is not None and not own:
        bias.sub_((new * mean).sum(others).to(bias.dtype).reshape(bias.shape))
    elif bool((mean != 0).any()) and math.prod(new.shape[each] for each in others) > 1:
        along = mean.expand_as(new)
        once = along.square().sum(others, keepdim=True)
        new = new - (new * along).sum(others, keepdim=True) / once * along
    weight.copy_(new.to(weight.dtype))


def _drawn_for(weight: Tensor, fact: ParameterFact, size: float) -> float:
    """Return the size of the inputs that a weight was drawn for: the one given, or 1."""
    if fact.fans is None or size <= 0:
        return 1.0
    gain = float(weight.double().square().mean().sqrt()) * math.sqrt(fact.fans.fan_in)
    if gain <= 0:
        return 1.0
    return size if abs(math.log(gain * size)) < abs(math.log(gain)) else 1.0
