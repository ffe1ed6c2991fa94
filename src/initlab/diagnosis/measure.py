"""One forward and one backward pass: statistics of every operation as the passes run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from initlab._base.errors import InitlabError, InvalidValueError
from initlab.diagnosis.finite import not_finite
from initlab.diagnosis.guard import Guard, Guarding
from initlab.diagnosis.losses import (
    Function,
    Loss,
    NothingToDifferentiateError,
    require_loss,
    settle,
)
from initlab.diagnosis.observer import Observer
from initlab.diagnosis.run import Run
from initlab.diagnosis.untouched import untouched
from initlab.models.graph import Graph
from initlab.models.inputs import Inputs
from initlab.models.recorder import tensors_of
from initlab.models.trace import hooked


def measure(
    model: nn.Module,
    inputs: Inputs,
    *,
    targets: Any = None,
    loss: str | Function | None = None,
    seed: int = 0,
) -> Run:
    """Run the model forth and back, and leave it as it was.

    Normalisations look at the batch, nothing is dropped. Where a model does not run like that (a
    batch normalisation of a single sample, a loss in training mode only), it is run in evaluation
    mode, then in training mode, and a note says so.

    Raises
    ------
    InvalidValueError
        If targets or loss do not fit what the model returns.
    UnknownNameError
        If there is no loss of that name.
    """
    require_loss(loss, targets)
    outcomes: list[Run | InitlabError] = []
    for mode, note in _MODES:
        try:
            run = _attempt(model, inputs, targets, loss, seed, mode)
        except InitlabError as error:  # targets or a loss that do not fit what the model returns
            outcomes.append(error)
            continue
        if not run.problem:
            notes = (*run.notes, note) if note else run.notes
            return replace(run, notes=notes, problem=not_finite(model, run, targets))
        outcomes.append(run)
        if _NO_MEMORY in run.problem:
            break
    first = outcomes[0]
    if isinstance(first, InitlabError):
        raise first
    return first


def _evaluation(model: nn.Module) -> None:
    model.eval()


def _training(model: nn.Module) -> None:
    model.train()


_NO_MEMORY = "out of memory"
_MODES: tuple[tuple[Callable[[nn.Module], None] | None, str], ...] = (
    (None, ""),
    (_evaluation, "measured in evaluation mode: in training mode the model does not run on this"),
    (_training, "measured in training mode, dropout included: it does not run otherwise"),
)


def _attempt(
    model: nn.Module,
    inputs: Inputs,
    targets: Any,
    loss: str | Function | None,
    seed: int,
    mode: Callable[[nn.Module], None] | None,
) -> Run:
    parameters = dict(model.named_parameters())
    given = _tensors((inputs.args, dict(inputs.kwargs), targets))
    others = {f" {place}": value for place, value in enumerate(given)}
    guard = Guard(parameters | others)
    observer = Observer(parameters | dict(model.named_buffers()), set(parameters), guard)
    output: Any = None
    graph: Graph | None = None
    found: Loss | None = None
    gradients: dict[str, Tensor] = {}
    problem = ""
    with untouched(model, seed):
        if mode is not None:
            mode(model)
        try:
            output = _forward(model, inputs, observer)
            with Guarding(guard):
                found = settle(output, inputs.kwargs, targets, loss, seed).without_history()
                graph, output = observer.finish(output), None
                gradients = _backward(found.value, parameters)
        except NothingToDifferentiateError as error:
            problem = str(error)
        except InitlabError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            problem = _told(error, observer, inputs, backward=found is not None)
        finally:
            guard.restore()
    if graph is None:
        graph = observer.finish(output)
    overwritten = guard.overwritten.keys() & parameters
    return _result(observer, overwritten, graph, gradients, found, problem)


def _forward(model: nn.Module, inputs: Inputs, observer: Observer) -> Any:
    # Anew each time: a model may take values out of a dictionary that it is given.
    args, kwargs = tree_map(_itself, (inputs.args, dict(inputs.kwargs)))
    for leaf, second in zip(_tensors((args, kwargs)), inputs.second_moments(), strict=True):
        observer.source(leaf, second)
    with hooked(model, observer), observer:
        output = model(*args, **kwargs)
    for tensor in tensors_of(output):
        observer.watch(tensor)
    return output


def _itself(leaf: Any) -> Any:
    return leaf


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _backward(value: Tensor, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trained or not value.requires_grad:
        return {}
    found = cast(
        "tuple[Tensor | None, ...]",
        torch.autograd.grad(value, list(trained.values()), allow_unused=True),
    )
    return {
        name: gradient.to_dense() if gradient.is_sparse else gradient
        for name, gradient in zip(trained, found, strict=True)
        if gradient is not None
    }


def _result(
    observer: Observer,
    overwritten: Collection[str],
    graph: Graph,
    gradients: Mapping[str, Tensor],
    loss: Loss | None,
    problem: str,
) -> Run:
    notes: list[str] = []
    if overwritten:
        names = ", ".join(sorted(overwritten)[:3])
        notes.append(f"the model writes into its own parameters as it runs: {names}")
    if loss is not None and not gradients and not problem:
        notes.append("nothing can be differentiated: no parameter that the loss depends on trains")
    return Run(
        graph,
        observer.numbers,
        observer.scores,
        observer.gradients,
        gradients,
        loss,
        problem,
        tuple(notes),
    )


def _told(error: Exception, observer: Observer, inputs: Inputs, *, backward: bool) -> str:
    """Say in one line what went wrong, and where."""
    reason = (str(error).strip().splitlines() or [""])[0]
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    if memory or "can't allocate memory" in reason:
        what = f"{_NO_MEMORY}; give a smaller batch"
    else:
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if backward:
        return f"the backward pass fails{_stopped(observer)}: {what}"
    place = f"at {observer.place}: " if observer.place else ""
    leaves = _tensors((inputs.args, dict(inputs.kwargs)))
    shown = [f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}" for x in leaves]
    told = ", ".join(dict.fromkeys(shown))
    if told and told not in inputs.description:
        what += f" (inputs: {told})"
    return f"the model does not run on {inputs.description}: {place}{what}"


def _stopped(observer: Observer) -> str:
    """Say where the backward pass went wrong: the operations in place nearest to its last step."""
    reached = min(observer.gradients, default=len(observer.nodes))
    near = [
        index
        for index in observer.written
        if index <= reached or reached in observer.nodes[index].parents
    ]
    if not near:
        return f" below {observer.nodes[reached].module!r}" if observer.gradients else ""
    node = observer.nodes[near[-1]]
    return f" at {node.module or 'the model itself'} ({node.op}_, which writes in place)"


def require_samples(inputs: Inputs) -> None:
    """Refuse an empty batch.

    Raises
    ------
    InvalidValueError
        If a tensor has no entries.
    """
    for leaf in _tensors((inputs.args, dict(inputs.kwargs))):
        if leaf.numel() == 0:
            raise InvalidValueError(
                f"inputs hold an empty tensor, of shape {tuple(leaf.shape)}; accepted: a batch of "
                "one sample or more, better 32"
            )
