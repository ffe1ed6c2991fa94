"""Runs a model for what it computes, and leaves everything else about it as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.utils._pytree import tree_leaves, tree_map

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.models.inputs import Inputs, given
from initlab.models.trace import without_fast_path

_BY_BATCH = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def chosen(model: nn.Module, names: Collection[str] | None) -> dict[str, nn.Parameter]:
    """Return the parameters to adapt, a tied one once, in registration order.

    Raises
    ------
    UnknownNameError
        If the model has no parameter of a name.
    InvalidValueError
        If the model's parameters have no values yet.
    """
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise InvalidValueError(
                f"{name} of a lazy module has no shape yet; run the model once, then initialize it"
            )
        if parameter.is_meta:
            raise InvalidValueError(
                f"{name} is on the meta device and has no values; materialise the model first "
                "(to_empty)"
            )
    every = dict(model.named_parameters(remove_duplicate=False))
    for name in names or ():
        if name not in every:
            raise UnknownNameError("parameter", name, every)
    wanted = {id(every[name]) for name in names} if names is not None else None
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if (parameter.requires_grad if wanted is None else id(parameter) in wanted)
        and parameter.is_floating_point()
    }


def prepared(model: nn.Module, batch: Any) -> Inputs:
    """Read the batch, and move it to the model's device if that is a single one.

    Raises
    ------
    InvalidValueError
        If there is no tensor in it, or none with entries.
    """
    inputs = given(batch)
    tensors = [leaf for leaf in tree_leaves((inputs.args, dict(inputs.kwargs))) if _filled(leaf)]
    if not tensors:
        raise InvalidValueError("the batch has no samples; a data-driven initializer needs some")
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) != 1:
        return inputs
    device = devices.pop()

    def moved(leaf: Any) -> Any:
        return leaf.detach().to(device) if isinstance(leaf, Tensor) else leaf

    args, kwargs = tree_map(moved, (inputs.args, dict(inputs.kwargs)))
    return Inputs(args, kwargs, given=True, description=inputs.description)


def _filled(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.numel() > 0


def run(model: nn.Module, inputs: Inputs) -> Any:
    """Call the model."""
    return model(*inputs.args, **inputs.kwargs)


def outputs(result: Any) -> list[Tensor]:
    """Return the floating-point tensors of what a model returned, in order."""
    return [
        leaf
        for leaf in tree_leaves(result)
        if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]


@contextlib.contextmanager
def adapted(model: nn.Module, parameters: Mapping[str, nn.Parameter], seed: int) -> Generator[None]:
    """Let the parameters be changed, and nothing else; on an error not even these."""
    originals = [(parameter, parameter.detach().clone()) for parameter in parameters.values()]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own_random_numbers(model, seed))
        stack.enter_context(_as_before(model))
        stack.enter_context(without_fast_path())
        stack.enter_context(torch.inference_mode(mode=False))
        try:
            _prepare(model, parameters)
            yield
        except BaseException:
            with torch.no_grad():
                for parameter, value in originals:
                    parameter.copy_(value)
            raise


def _prepare(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    for module in model.modules():
        # As in training, where a normalisation looks at the batch; but nothing random.
        module.training = isinstance(module, _BY_BATCH)
    for parameter in parameters.values():
        parameter.requires_grad = True


@contextlib.contextmanager
def _as_before(model: nn.Module) -> Generator[None]:
    """Restore attributes (mode included), buffers and flags."""
    modules = list(model.modules())
    attributes = [dict(module.__dict__) for module in modules]
    buffers: list[dict[str, Tensor | None]] = [dict(each["_buffers"]) for each in attributes]
    values = [
        (buffer, buffer.detach().clone())
        for table in buffers
        for buffer in table.values()
        if buffer is not None
    ]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for module, attribute, table in zip(modules, attributes, buffers, strict=True):
            module.__dict__.clear()
            module.__dict__.update(attribute)
            attribute["_buffers"].clear()
            attribute["_buffers"].update(table)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)
        for parameter, flag in flags:
            parameter.requires_grad = flag


@contextlib.contextmanager
def _own_random_numbers(model: nn.Module, seed: int) -> Generator[None]:
    """Seed what the model may draw, and leave PyTorch's generators where they were."""
    on_gpu = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(on_gpu)):
        # Not torch.manual_seed, which would seed devices whose state is not kept.
        torch.default_generator.manual_seed(seed % 2**63)
        for index in on_gpu:
            torch.cuda.default_generators[index].manual_seed(seed % 2**63)
        yield
