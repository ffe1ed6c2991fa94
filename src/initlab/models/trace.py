"""Runs a model once, to record what happens to its signals, and leaves it as it was.

The model runs on tensors without data (shapes only), so that a large one costs no more than a small
one, and nothing of it changes. Where its code looks at values, it runs on real ones.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import logging
import warnings
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

# How PyTorch documents running without data; it gives it no public home.
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from initlab._base.errors import InvalidValueError
from initlab.models.graph import Graph
from initlab.models.inputs import Inputs
from initlab.models.recorder import Recorder


def trace(model: nn.Module, inputs: Inputs) -> Graph:
    """Run the model in evaluation mode and record the graph; the model is as before afterwards.

    Raises
    ------
    InvalidValueError
        If the model does not run on these inputs; the message carries the error.
    """
    try:
        with silenced():
            graph, made = _record(model, inputs, fake=True)
    except Exception:  # noqa: BLE001 - whatever the model's code raises when it sees no values
        return _trace_values(model, inputs)
    gc.collect()
    kept = any(tensor() is not None for tensor in made)
    return replace(graph, notes=(*graph.notes, _KEPT)) if kept else graph


def _trace_values(model: nn.Module, inputs: Inputs) -> Graph:
    with contextlib.suppress(Exception), silenced():
        return _record(model, inputs, fake=False)[0]
    try:  # a model that takes derivatives as it runs
        with silenced():
            return _record(model, inputs, fake=False, gradients=True)[0]
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise InvalidValueError(
            f"the model does not run on {inputs.description}: {type(error).__name__}: "
            f"{reason[0] if reason else ''}"
        ) from error


_KEPT = (
    "the model keeps tensors of its trial run outside of its modules, such as in a cache of a "
    "function: clear that before using it"
)


def _record(
    model: nn.Module, inputs: Inputs, *, fake: bool, gradients: bool = False
) -> tuple[Graph, list[weakref.ref[Tensor]]]:
    """Return the graph, and the tensors made on the way, which nothing should keep."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(as_found(model))
        stack.enter_context(without_fast_path())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        substitute: Callable[[Tensor], Tensor] = _copied
        mode = None
        if fake:
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            substitute = mode.from_tensor
        elif gradients:
            substitute = _trained
        names = {
            name: substitute(value.detach())
            for name, value in (*model.named_parameters(), *model.named_buffers())
        }
        parameters = {name for name, _ in model.named_parameters()}

        def put(value: Any) -> Any:
            return substitute(value) if isinstance(value, Tensor) else value

        args, kwargs = tree_map(put, (inputs.args, dict(inputs.kwargs)))
        recorder = Recorder(names, parameters)
        # A recurrent module keeps its parameters in a list of its own too.
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            recorder.name(value, name, is_parameter=name in parameters)
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for leaf, second in zip(leaves, inputs.second_moments(), strict=True):
            recorder.source(leaf, second)
        stack.enter_context(hooked(model, recorder))
        if mode is not None:
            stack.enter_context(mode)
        stack.enter_context(recorder)
        inner, prefix = _unwrapped(model)
        held = {name.removeprefix(prefix): value for name, value in names.items()}
        graph = recorder.finish(functional_call(inner, held, tuple(args), kwargs))
        return graph, recorder.made


def _unwrapped(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the module that a wrapper runs on several devices, and its name there."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return model.module, "module."
    return model, ""


@contextlib.contextmanager
def silenced() -> Generator[None]:
    """Keep a trial run's warnings, and PyTorch's word on what stops it, from being printed."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _trained(value: Tensor) -> Tensor:
    return _copied(value).requires_grad_(value.is_floating_point())


def _copied(value: Tensor) -> Tensor:
    return value.detach().clone()


@contextlib.contextmanager
def as_found(model: nn.Module) -> Generator[None]:
    """Run in evaluation mode; each module has its attributes back afterwards.

    Hooks and caches of the model's own keep tensors in its modules, which here may have no data.
    """
    holders: dict[int, tuple[Any, Any]] = {}
    for module in model.modules():
        _remember(vars(module), holders)
    try:
        model.eval()
        yield
    finally:
        for holder, content in holders.values():
            holder.clear()
            (holder.update if isinstance(holder, (dict, set)) else holder.extend)(content)


_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
_LARGE = 10_000  # a data set, not a cache


def _remember(holder: Any, holders: dict[int, tuple[Any, Any]]) -> None:
    """Keep the content of a container, and of those inside it, each once."""
    if type(holder) not in _CONTAINERS or id(holder) in holders or len(holder) > _LARGE:
        return
    holders[id(holder)] = (holder, copy.copy(holder))
    for value in holder.values() if isinstance(holder, dict) else holder:
        _remember(value, holders)


@contextlib.contextmanager
def without_fast_path() -> Generator[None]:
    """Let attention modules run step by step, not as one fused operation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def hooked(model: nn.Module, recorder: Recorder) -> Generator[None]:
    """Tell the recorder which module is running."""
    handles: list[Any] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            recorder.enter(name, module, (args, kwargs))

        return hook

    def leave(module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        recorder.leave(module, output)

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(name), with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
