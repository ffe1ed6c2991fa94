"""Watches a factory make its model: which tensors were drawn from what, in which order."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from initlab.diagnosis.subject import written
from initlab.models import operators


@dataclass(frozen=True)
class Draw:
    """One initialisation of a tensor.

    Attributes
    ----------
    distribution
        ``"normal"``, ``"uniform"``, ``"truncated_normal"``, ``"clamped_normal"``, ``"constant"``;
        ``"other"`` for values that come from anywhere else.
    mean, std
        As the call asked for; before any truncation.
    low, high
        Bounds of a uniform or truncated distribution.
    share
        Share of the parameter's entries that it was about.
    """

    distribution: str
    mean: float = 0.0
    std: float = 0.0
    low: float = float("-inf")
    high: float = float("inf")
    share: float = 1.0

    def scaled(self, factor: float) -> Draw:
        """Return what it is once every entry is multiplied."""
        ends = sorted((self.low * factor, self.high * factor)) if factor else [0.0, 0.0]
        return replace(
            self, mean=self.mean * factor, std=self.std * abs(factor), low=ends[0], high=ends[1]
        )

    def shifted(self, term: float) -> Draw:
        """Return what it is once a number is added to every entry."""
        return replace(self, mean=self.mean + term, low=self.low + term, high=self.high + term)

    def clamped(self, low: float, high: float) -> Draw:
        """Return what it is once what lies outside is moved to the bounds."""
        name = "clamped_normal" if self.distribution == "normal" else self.distribution
        return replace(self, distribution=name, low=max(self.low, low), high=min(self.high, high))

    def inverted(self) -> Draw:
        """Return what becomes of a uniform draw through erf⁻¹: a truncated N(0, 1/2)."""
        if self.distribution != "uniform":
            return Draw("other", share=self.share)
        low, high = _erfinv(self.low), _erfinv(self.high)
        return Draw("truncated_normal", 0.0, math.sqrt(0.5), low, high, self.share)


@dataclass(frozen=True)
class Making:
    """What a factory was seen to draw.

    Attributes
    ----------
    draws
        By the parameter's qualified name, in order: the last one counts. A parameter that was
        computed or read from elsewhere, and never drawn, is not in it.
    """

    draws: dict[str, tuple[Draw, ...]] = field(default_factory=dict[str, tuple[Draw, ...]])

    def last(self, *names: str) -> Draw | None:
        """Return what all entries of a parameter were last drawn from; None if that is not known.

        Parameters
        ----------
        names
            Those that the parameter goes by.
        """
        for name in names:
            later = 0.0
            for draw in reversed(self.draws.get(name, ())):
                if draw.share >= _MOST_OF_IT:
                    known = draw.distribution != "other" and later < _LITTLE_OF_IT
                    return draw if known else None
                later += draw.share
        return None


# A padding row that is set to 0 afterwards leaves a draw a draw; half a matrix does not.
_MOST_OF_IT, _LITTLE_OF_IT = 0.99, 0.3

# A tensor's place in its storage: first entry, one past the last, number of entries.
_Span = tuple[int, int, int]


@dataclass
class _Entry:
    span: _Span
    draw: Draw


@dataclass
class _History:
    alive: StorageWeakRef
    entries: list[_Entry] = field(default_factory=list[_Entry])

    def add(self, span: _Span, draw: Draw) -> None:
        if draw.distribution == "other" and self.entries:
            last = self.entries[-1]
            if last.draw.distribution == "other" and last.span == span:
                return  # a thousand steps of training are one
        self.entries.append(_Entry(span, draw))

    def change(self, span: _Span, how: Callable[[Draw], Draw]) -> None:
        """Change the last draw, if it was about the very same entries."""
        last = self.entries[-1] if self.entries else None
        if last is None or last.span != span or last.draw.distribution == "other":
            self.add(span, Draw("other"))
        else:
            last.draw = how(last.draw)

    def of(self, span: _Span) -> tuple[Draw, ...]:
        """Return what was drawn into a part of the storage."""
        start, stop, count = span
        return tuple(
            replace(each.draw, share=min(each.span[2] / count, 1.0))
            for each in self.entries
            if each.span[0] < stop and start < each.span[1]
        )


class Watch(TorchDispatchMode):
    """Takes note of what is drawn, however it was called; results are not changed by it."""

    def __init__(self) -> None:
        super().__init__()
        self._histories: dict[int, _History] = {}
        self._room = 4096
        self._paused = 0

    def making(self, model: nn.Module) -> Making:
        """Return what was drawn into the parameters of a model."""
        found: dict[str, tuple[Draw, ...]] = {}
        for name, parameter in written(model).named_parameters(remove_duplicate=False):
            history = self._history(parameter)
            draws = history.of(_span(parameter)) if history and parameter.numel() else ()
            if any(draw.distribution != "other" for draw in draws):
                found[name] = draws
        return Making(found)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if not self._paused:
            try:
                self._note(func, args, kwargs, output)
            except Exception:  # noqa: BLE001 - exotic tensors; a factory never fails because of it
                return output
        return output

    def truncated(self, original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Wrap what truncates for ``nn.init.trunc_normal_``: its bounds show in no operation."""

        def run(*args: Any, **kwargs: Any) -> Tensor:
            self._paused += 1
            try:
                result = original(*args, **kwargs)
            finally:
                self._paused -= 1
            with contextlib.suppress(Exception):
                given = inspect.signature(original).bind(*args, **kwargs).arguments
                mean, std, low, high = (float(given[key]) for key in ("mean", "std", "a", "b"))
                draw = Draw("truncated_normal", mean, std, low, high)
                self._made(result).add(_span(result), draw)
            return result

        return run

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> None:
        name = operators.name_of(func)
        if operators.is_in_place(func):
            self._written(name, args, kwargs)
        elif not isinstance(out, Tensor):
            return
        elif name in _MADE:
            draw = _MADE[name](args, kwargs)
            if draw is not None:
                self._made(out).add(_span(out), draw)
        elif args and isinstance(args[0], Tensor):
            self._passed_on(name, args, kwargs, out)

    def _written(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        target = args[0]
        span = _span(target)
        if name in _DRAWN:
            self._made(target).add(span, _DRAWN[name](args, kwargs))
        elif name == "copy":
            source = self._history(args[1])
            whole = source is not None and args[1].numel() == target.numel()
            drawn = source.of(_span(args[1])) if source is not None and whole else ()
            for draw in drawn[-1:] or (Draw("other"),):
                self._made(target).add(span, draw)
        else:
            change = _changed(name, args, kwargs)
            self._made(target).change(span, change or (lambda _: Draw("other")))

    def _passed_on(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Tensor
    ) -> None:
        """Hand the history of a tensor on to a copy of it, changed as the entries were."""
        history = self._history(args[0])
        if history is None or out.numel() != args[0].numel():
            return
        change = _changed(name, args, kwargs)
        if (name not in _COPIES and change is None) or self._history(out) is history:
            return
        made = self._made(out)
        made.entries = [_Entry(_span(out), draw) for draw in history.of(_span(args[0]))]
        if change is not None:
            made.change(_span(out), change)

    def _history(self, value: Tensor) -> _History | None:
        try:
            return self._histories.get(StorageWeakRef(value.untyped_storage()).cdata)
        except (NotImplementedError, RuntimeError, AttributeError):
            return None  # has no memory of its own

    def _made(self, value: Tensor) -> _History:
        alive = StorageWeakRef(value.untyped_storage())
        if len(self._histories) > self._room:
            held = self._histories.items()
            self._histories = {key: one for key, one in held if not one.alive.expired()}
            self._room = max(2 * len(self._histories), 4096)
        # The reference keeps the number from being given to another storage.
        return self._histories.setdefault(alive.cdata, _History(alive))


@contextlib.contextmanager
def watched() -> Generator[Watch]:
    """Take note of every initialisation in the ``with`` statement."""
    watch = Watch()
    name = "_no_grad_trunc_normal_"
    original = getattr(nn.init, name, None)
    if original is not None:
        setattr(nn.init, name, watch.truncated(original))
    try:
        with watch:
            yield watch
    finally:
        if original is not None:
            setattr(nn.init, name, original)


def _span(value: Tensor) -> _Span:
    start = int(value.storage_offset())
    reach = sum((size - 1) * step for size, step in zip(value.shape, value.stride(), strict=True))
    return start, start + int(reach) + 1, value.numel()


def _erfinv(value: float) -> float:
    if abs(value) >= 1:
        return math.copysign(math.inf, value)
    return float(torch.special.erfinv(torch.tensor(value, dtype=torch.float64)))


def _given(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], place: int, name: str, default: float
) -> float:
    value = args[place] if len(args) > place else kwargs.get(name, default)
    return default if value is None else float(value)


def _uniform(low: float, high: float) -> Draw:
    return Draw("uniform", (low + high) / 2, abs(high - low) / math.sqrt(12), low, high)


def _constant(value: Any) -> Draw:
    number = float(value)
    return Draw("constant", number, 0.0, number, number)


_Args = tuple[Any, ...]
_Named = Mapping[str, Any]

_DRAWN: dict[str, Callable[[_Args, _Named], Draw]] = {
    "uniform": lambda a, k: _uniform(_given(a, k, 1, "from", 0.0), _given(a, k, 2, "to", 1.0)),
    "normal": lambda a, k: Draw(
        "normal", _given(a, k, 1, "mean", 0.0), _given(a, k, 2, "std", 1.0)
    ),
    "fill": lambda a, _: _constant(a[1]),
    "zero": lambda _a, _k: _constant(0.0),
    **{
        name: lambda _a, _k: Draw("other")
        for name in ("exponential", "cauchy", "log_normal", "geometric", "bernoulli", "random")
    },
}


def _normal(args: _Args, _kwargs: _Named) -> Draw | None:
    numbers = [each for each in args[:2] if isinstance(each, (int, float))]
    return Draw("normal", *map(float, numbers)) if len(numbers) == 2 else None


_MADE: dict[str, Callable[[_Args, _Named], Draw | None]] = {
    "randn": lambda _a, _k: Draw("normal", 0.0, 1.0),
    "randn_like": lambda _a, _k: Draw("normal", 0.0, 1.0),
    "rand": lambda _a, _k: _uniform(0.0, 1.0),
    "rand_like": lambda _a, _k: _uniform(0.0, 1.0),
    "normal": _normal,
    "zeros": lambda _a, _k: _constant(0.0),
    "zeros_like": lambda _a, _k: _constant(0.0),
    "new_zeros": lambda _a, _k: _constant(0.0),
    "ones": lambda _a, _k: _constant(1.0),
    "ones_like": lambda _a, _k: _constant(1.0),
    "new_ones": lambda _a, _k: _constant(1.0),
    "full": lambda a, k: _constant(a[1] if len(a) > 1 else k["fill_value"]),
    "full_like": lambda a, k: _constant(a[1] if len(a) > 1 else k["fill_value"]),
    "new_full": lambda a, k: _constant(a[2] if len(a) > 2 else k["fill_value"]),
}

_COPIES = frozenset({"clone", "_to_copy", "contiguous", "to", "copy"})


def _changed(name: str, args: _Args, kwargs: _Named) -> Callable[[Draw], Draw] | None:
    """Return what an operation makes of a draw; None for one that is no simple change."""
    if name == "erfinv":
        return Draw.inverted
    if name in {"clamp", "clamp_min", "clamp_max"}:
        low, high = -math.inf, math.inf
        if name != "clamp_max":
            low = _given(args, kwargs, 1, "min", low)
        if name != "clamp_min":
            high = _given(args, kwargs, 2 if name == "clamp" else 1, "max", high)
        return lambda draw: draw.clamped(low, high)
    if name == "neg":
        return lambda draw: draw.scaled(-1.0)
    number = _number(args[1]) if len(args) > 1 else None
    if number is None or name not in {"mul", "div", "add", "sub"}:
        return None
    if name in {"mul", "div"}:
        factor = number if name == "mul" else 1 / number
        return lambda draw: draw.scaled(factor)
    term = number * float(kwargs.get("alpha", 1)) * (1 if name == "add" else -1)
    return lambda draw: draw.shifted(term)


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Tensor) and value.dim() == 0 and value.device.type == "cpu":
        return float(value)
    return None
