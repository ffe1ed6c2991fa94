"""The coordinate check: how activations, and what a few steps change in them, go with the width.

In a model that is scaled well with its width n, every activation has the same size at all n at the
start, and a step with one learning rate changes it by the same amount (Yang & Hu 2021, Yang et al.
2022): log rms against log n has slope 0. The output layer may start smaller, by n^(-1/2).
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from initlab._base.errors import InvalidValueError
from initlab.diagnosis.factory import build
from initlab.diagnosis.losses import Function, settle
from initlab.diagnosis.optimizers import make_optimizer
from initlab.diagnosis.subject import choose
from initlab.diagnosis.untouched import untouched
from initlab.models.inputs import Inputs
from initlab.models.recorder import tensors_of

Maker = Callable[[nn.Module], torch.optim.Optimizer]

_OPTIMIZER = "adam(lr=0.001)"
# Stands for what has overflowed: large, with a logarithm.
_OVERFLOWN = 1e30


@dataclass(frozen=True)
class WidthSweep:
    """What a coordinate check runs.

    Attributes
    ----------
    factory
        Called with a width; returns a model, ``(model, inputs)`` or ``(model, inputs, targets)``.
    widths
        Two or more, over a factor of 4 or more to tell much.
    optimizer
        A text such as ``"adam(lr=0.001)"``, or a function that makes an optimizer for a model:
        learning rates that go with the width are its own.
    steps
        How many are taken, always on the same data.
    seeds
        Models of each width.
    """

    factory: Callable[[int], Any]
    widths: Sequence[int]
    optimizer: str | Maker = _OPTIMIZER
    steps: int = 3
    seeds: int = 3


@dataclass(frozen=True)
class Trend:
    """How a size goes with the width at one module.

    Attributes
    ----------
    module
        Qualified name.
    weights
        Names of the weights that it holds itself.
    slope, error
        Of log rms against log width, with its standard error.
    sizes
        Root mean square by width, the geometric mean over the seeds.
    """

    module: str
    weights: tuple[str, ...]
    slope: float
    error: float
    sizes: Mapping[int, float]

    def leans(self, least: float) -> bool:
        """Tell whether the slope is steeper than this, for sure."""
        return abs(self.slope) - 2 * self.error > least


@dataclass(frozen=True)
class Coordinates:
    """A coordinate check's result.

    Attributes
    ----------
    widths, steps, seeds
        As in :class:`WidthSweep`.
    optimizer
        Its name.
    start
        Size of each module's output at the start, modules in execution order.
    change
        Size of what the steps have changed in it.
    """

    widths: tuple[int, ...]
    steps: int
    seeds: int
    optimizer: str
    start: tuple[Trend, ...]
    change: tuple[Trend, ...]


def read_sweep(widths: Any, optimizer: Any = None) -> WidthSweep | None:
    """Read a sweep, or a pair of factory and widths; None for None.

    Of the pair, the optimizer is the one that the diagnosis has, if that is a text.

    Raises
    ------
    InvalidValueError
        If it is neither, or a number in it does not fit.
    """
    if widths is None:
        return None
    sweep = widths
    if isinstance(widths, tuple) and len(widths) == 2 and callable(widths[0]):
        chosen = optimizer if isinstance(optimizer, str) else _OPTIMIZER
        sweep = WidthSweep(widths[0], widths[1], chosen)
    if not isinstance(sweep, WidthSweep):
        raise InvalidValueError(
            f"widths of type {type(widths).__name__}; accepted: a WidthSweep, or a pair of a "
            "function of the width and widths, (build, (64, 128, 256))"
        )
    numbers: tuple[Any, ...] = tuple(sweep.widths)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers)
    if not whole or len(set(numbers)) < 2:
        raise InvalidValueError(
            f"widths {numbers}; accepted: two or more different whole numbers, such as 64, 128, 256"
        )
    if sweep.steps < 1 or sweep.seeds < 1:
        raise InvalidValueError(
            f"steps={sweep.steps}, seeds={sweep.seeds}; accepted: 1 or more of each"
        )
    return replace(sweep, widths=tuple(sorted(set(numbers))))


def coordinate_check(
    sweep: WidthSweep,
    inputs: Any = None,
    targets: Any = None,
    loss: str | Function | None = None,
    seed: int = 0,
) -> Coordinates:
    """Train models of several widths for a few steps, and see what goes with the width.

    Parameters
    ----------
    sweep
        The models.
    inputs, targets
        Of every model whose factory returns none; made up where there are none at all.
    loss, seed
        As in :func:`initlab.diagnose`; the models are drawn with this seed and the next ones.

    Raises
    ------
    InvalidValueError
        If a factory, a model or an argument does not work.
    """
    start: dict[str, list[tuple[int, float]]] = {}
    change: dict[str, list[tuple[int, float]]] = {}
    weights: dict[str, tuple[str, ...]] = {}
    with _random_states():
        for width in sweep.widths:
            for each in range(sweep.seeds):
                one = _one(sweep, width, seed + each, inputs, targets, loss)
                weights |= one.weights
                for name, size in one.start.items():
                    start.setdefault(name, []).append((width, size))
                for name, size in one.change.items():
                    change.setdefault(name, []).append((width, size))
    name = sweep.optimizer if isinstance(sweep.optimizer, str) else "the optimizer given"
    return Coordinates(
        tuple(sweep.widths),
        sweep.steps,
        sweep.seeds,
        name,
        _trends(start, weights, len(sweep.widths)),
        _trends(change, weights, len(sweep.widths)),
    )


@dataclass(frozen=True)
class _Sizes:
    start: dict[str, float]
    change: dict[str, float]
    weights: dict[str, tuple[str, ...]]


def _one(
    sweep: WidthSweep,
    width: int,
    seed: int,
    inputs: Any,
    targets: Any,
    loss: str | Function | None,
) -> _Sizes:
    torch.manual_seed(seed)
    built = build(lambda: sweep.factory(width))
    batch = built.inputs if built.inputs is not None else inputs
    subject = choose(built.model, batch, 0)
    model, fed = subject.model, subject.inputs
    if fed is None:
        raise InvalidValueError(f"at width {width} no inputs could be made; give some")
    wanted = built.targets if built.targets is not None else targets
    try:
        with untouched(model, seed):
            before, after = _trained(model, _made(sweep, model), sweep.steps, fed, wanted, loss)
    except (RuntimeError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InvalidValueError(
            f"the model of width {width} does not train: {type(error).__name__}: {reason}"
        ) from error
    held = {
        name: tuple(
            f"{name}.{own}".lstrip(".")
            for own, value in module.named_parameters(recurse=False)
            if value.dim() > 1
        )
        for name, module in model.named_modules()
    }
    return _Sizes(
        {name: _size(value) for name, value in before.items()},
        {name: _size(after[name] - value) for name, value in before.items() if name in after},
        {name: held.get(name, ()) for name in before},
    )


def _made(sweep: WidthSweep, model: nn.Module) -> torch.optim.Optimizer:
    if isinstance(sweep.optimizer, str):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return make_optimizer(sweep.optimizer, trained)
    return sweep.optimizer(model)


def _trained(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    inputs: Inputs,
    targets: Any,
    loss: str | Function | None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the outputs of the modules before and after some steps."""
    before: dict[str, Tensor] = {}
    for step in range(steps):
        with _watched(model, before) if step == 0 else contextlib.nullcontext():
            output = model(*inputs.args, **inputs.kwargs)
        optimizer.zero_grad()
        settle(output, inputs.kwargs, targets, loss, 0).value.backward()
        optimizer.step()
    after: dict[str, Tensor] = {}
    with torch.no_grad(), _watched(model, after):
        model(*inputs.args, **inputs.kwargs)
    return before, after


@contextlib.contextmanager
def _watched(model: nn.Module, found: dict[str, Tensor]) -> Generator[None]:
    """Keep what the modules without modules inside give, and what the model does."""

    def keeper(name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            value = next((x for x in tensors_of(output) if x.is_floating_point()), None)
            if value is not None:
                flat = value.detach().flatten().clone()
                found[name] = torch.cat((found[name], flat)) if name in found else flat

        return keep

    inner = [(name, each) for name, each in model.named_modules() if not any(each.children())]
    handles = [module.register_forward_hook(keeper(name)) for name, module in inner]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _size(value: Tensor) -> float:
    size = float(value.float().square().mean().sqrt()) if value.numel() else 0.0
    return size if math.isfinite(size) else _OVERFLOWN


def _trends(
    sizes: Mapping[str, list[tuple[int, float]]],
    weights: Mapping[str, tuple[str, ...]],
    widths: int,
) -> tuple[Trend, ...]:
    return tuple(
        _trend(name, weights.get(name, ()), points)
        for name, points in sizes.items()
        if len({width for width, _ in points}) == widths and all(size > 0 for _, size in points)
    )


def _trend(name: str, weights: tuple[str, ...], points: Sequence[tuple[int, float]]) -> Trend:
    """Fit log rms = a + slope · log width by least squares."""
    x = np.log([width for width, _ in points])
    y = np.log([size for _, size in points])
    x = x - x.mean()
    across = float(x @ x)
    slope = float(x @ y) / across
    left = y - y.mean() - slope * x
    error = math.sqrt(float(left @ left) / max(len(x) - 2, 1) / across)
    means = {
        width: float(np.exp(np.mean([math.log(size) for w, size in points if w == width])))
        for width in dict.fromkeys(width for width, _ in points)
    }
    return Trend(name, weights, slope, error, means)


@contextlib.contextmanager
def _random_states() -> Generator[None]:
    """Put all random states back at the end."""
    devices = list(range(torch.cuda.device_count()))
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - factories may use it
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the same
