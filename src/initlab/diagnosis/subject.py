"""What is diagnosed: the model as it was written, and inputs that it runs on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from initlab._base.errors import InvalidValueError
from initlab.diagnosis.measure import require_samples
from initlab.diagnosis.untouched import random_states
from initlab.models import inputs as examples
from initlab.models.inputs import Inputs
from initlab.models.selection import refuse
from initlab.models.walk import walk

# Samples that are drawn where no inputs are given: the fewer, the more numbers each has.
_ENTRIES, _MOST, _FEWEST = 200_000, 256, 8
# Of token numbers, this many sequences.
_SEQUENCES = 16

_GIVEN = "the inputs given"


@dataclass(frozen=True)
class Subject:
    """A model and what it is run on.

    Attributes
    ----------
    model
        Without the wrappers of ``torch.compile`` and of parallel runs.
    inputs
        None where none were given and none could be made.
    notes
        Where the inputs come from, if they were not given.
    """

    model: nn.Module
    inputs: Inputs | None
    notes: tuple[str, ...] = ()


def written(model: nn.Module) -> nn.Module:
    """Return the module inside of wrappers that compile it or run it in parallel."""
    inner: Any = model
    while True:
        if isinstance(inner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = inner.module
        elif type(inner).__name__ == "OptimizedModule" and hasattr(inner, "_orig_mod"):
            inner = inner._orig_mod  # noqa: SLF001 - where torch.compile keeps it
        else:
            return inner


@torch.inference_mode(mode=False)
def choose(model: object, inputs: Any, seed: int) -> Subject:
    """Check the model, and read the inputs or make some.

    Raises
    ------
    InvalidValueError
        If it is no module, has no parameters or none with values, or a batch is empty.
    """
    if not isinstance(model, nn.Module):
        raise InvalidValueError(
            f"model of type {type(model).__name__} is no torch.nn.Module; give the module itself, "
            "or a function that returns it"
        )
    inner = written(model)
    if next(inner.parameters(), None) is None:
        raise InvalidValueError(
            f"{type(inner).__name__} has no parameters: there are no starting weights to look at"
        )
    for name, module in inner.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InvalidValueError(
                f"{name or 'the model'} is compiled by torch.jit ({type(module).__name__}), and "
                "cannot be looked into; give the module that it was made from"
            )
    refuse(inner, ())
    if inputs is not None:
        batch: Any = dict(inputs) if isinstance(inputs, Mapping) else inputs
        given = _bound(inner, _placed(inner, examples.given(batch)))
        require_samples(given)
        return Subject(inner, replace(given, description=_GIVEN))
    with random_states(seed):
        found = walk(inner)
    if found.inputs is None:
        return Subject(inner, None, found.facts.notes)
    made = _random(inner, found.inputs, seed)
    what = f"no inputs were given: {made.description}"
    return Subject(inner, made, (what,))


def _placed(model: nn.Module, inputs: Inputs) -> Inputs:
    """Move inputs to the model's device, if that is a single one; they have no history there."""
    devices = {parameter.device for parameter in model.parameters()}
    device = devices.pop() if len(devices) == 1 else None

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        plain = leaf.clone() if leaf.is_inference() else leaf.detach()
        return plain.to(device) if device is not None else plain

    args, kwargs = tree_map(moved, (inputs.args, dict(inputs.kwargs)))
    return replace(inputs, args=args, kwargs=kwargs)


def _bound(model: nn.Module, inputs: Inputs) -> Inputs:
    """Read a dictionary as one argument where the model's forward takes no such named ones."""
    if not inputs.kwargs or inputs.args:
        return inputs
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        return inputs
    try:
        signature.bind(**inputs.kwargs)
    except TypeError:
        try:
            signature.bind(dict(inputs.kwargs))
        except TypeError:
            return inputs
        return replace(inputs, args=(dict(inputs.kwargs),), kwargs={})
    return inputs


def _random(model: nn.Module, example: Inputs, seed: int) -> Inputs:
    """Fill an example with standard-normal numbers, or random tokens, of more samples."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    leaves = [x for x in tree_leaves((example.args, dict(example.kwargs))) if isinstance(x, Tensor)]
    entries = max((x[:1].numel() for x in leaves if x.is_floating_point()), default=0)
    rows = _SEQUENCES
    if entries:
        rows = min(max(_ENTRIES // entries, _FEWEST), _MOST if len(leaves) == 1 else _SEQUENCES)
    tokens = _tokens(model)

    def filled(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        shape = (rows, *leaf.shape[1:]) if leaf.dim() else leaf.shape
        if leaf.is_floating_point():
            return torch.randn(shape, generator=generator).to(leaf.device, leaf.dtype)
        return torch.randint(tokens, shape, generator=generator).to(leaf.device, leaf.dtype)

    args, kwargs = tree_map(filled, (example.args, dict(example.kwargs)))
    words = [
        f"{'standard-normal numbers' if x.is_floating_point() else 'random tokens'} of shape "
        f"{tuple(x.shape)}"
        for x in tree_leaves((args, kwargs))
        if isinstance(x, Tensor)
    ]
    return Inputs(args, kwargs, given=True, description=", ".join(dict.fromkeys(words)))


def _tokens(model: nn.Module) -> int:
    """Return how many tokens the smallest table of the model has, if no configuration tells."""
    config: Any = getattr(model, "config", None)
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and size > 0:
        return size
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    return min(tables, default=2)


def described(inputs: Inputs) -> str:
    """Say what a model runs on: whether it was given, and each tensor's shape."""
    shapes = [
        str(tuple(leaf.shape))
        for leaf in tree_leaves((inputs.args, dict(inputs.kwargs)))
        if isinstance(leaf, Tensor)
    ]
    if inputs.description == _GIVEN:
        return f"given, of shape {', '.join(dict.fromkeys(shapes))}"
    return f"made up, as none were given: {inputs.description}"


def arguments(model: nn.Module, inputs: Inputs) -> Mapping[str, Tensor]:
    """Return the floating-point tensors among the inputs, by the name of their argument."""
    try:
        bound = inspect.signature(model.forward).bind(*inputs.args, **inputs.kwargs).arguments
    except (TypeError, ValueError):
        bound = {f"input {place}": value for place, value in enumerate(inputs.args)}
        bound |= dict(inputs.kwargs)
    named: dict[str, Tensor] = {}
    for name, value in bound.items():
        leaves = [x for x in tree_leaves(value) if isinstance(x, Tensor) and x.is_floating_point()]
        for place, leaf in enumerate(leaves):
            named[name if len(leaves) == 1 else f"{name}[{place}]"] = leaf
    return named
