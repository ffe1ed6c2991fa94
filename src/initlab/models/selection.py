"""Which parameters are left alone, and which are refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from initlab._base.errors import InvalidValueError
from initlab._base.patterns import matches
from initlab.models import computed
from initlab.models.facts import ModelFacts, ParameterFact


def singles_out(pattern: str, names: Iterable[str]) -> bool:
    """Tell whether a pattern is about a parameter itself, not about all that stands in a module.

    Its last part is then more than a ``*``: ``"head.bias"`` and ``"*.bias"`` are, ``"head"`` and
    ``"head.*"`` are not.
    """
    last = pattern.rpartition(".")[2]
    return last.strip("*") != "" and any(
        fnmatchcase(name, pattern) and fnmatchcase(name.rpartition(".")[2], last) for name in names
    )


def patterns_of(keep: object) -> tuple[str, ...]:
    """Return the patterns that ``keep`` gives: one, several, or none for None.

    Raises
    ------
    InvalidValueError
        If it is anything else.
    """
    if keep is None:
        return ()
    if isinstance(keep, str):
        return (keep,)
    if isinstance(keep, (bytes, bytearray)) or not isinstance(keep, Iterable):
        raise InvalidValueError(
            f"keep of type {type(keep).__name__} is no pattern of names; accepted: 'head.*', or a "
            "list of such"
        )
    given = list(cast("Iterable[object]", keep))
    for one in given:
        if not isinstance(one, str):
            raise InvalidValueError(
                f"keep holds an entry of type {type(one).__name__}; accepted: patterns of names "
                "such as 'head.*'"
            )
    return tuple(cast("list[str]", given))


def all_names(fact: ParameterFact) -> tuple[str, ...]:
    """Return all names that a pattern may know a parameter by."""
    return (*fact.names, *fact.sources)


def check_patterns(patterns: Sequence[str], facts: ModelFacts, argument: str) -> None:
    """Refuse a pattern that matches nothing: it is a slip of the pen.

    Raises
    ------
    InvalidValueError
        With the names that there are.
    """
    for pattern in patterns:
        if pattern != "*" and not any(
            matches(pattern, *all_names(fact)) for fact in facts.parameters.values()
        ):
            names = list(facts.parameters)
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise InvalidValueError(
                f"{argument}: {pattern!r} matches no parameter; the model has {shown or 'none'}"
            )


def refuse(model: nn.Module, keep: Sequence[str]) -> None:
    """Refuse a model whose parameters cannot be written, but for those that ``keep`` matches.

    Raises
    ------
    InvalidValueError
        If a parameter has no values yet (lazy, on the meta device), or is held in pieces that do
        not tell where they belong.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    flat = [
        name for name, one in modules.items() if type(one).__name__ == "FullyShardedDataParallel"
    ]
    for name, value in model.named_parameters(remove_duplicate=False):
        if any(not prefix or name.startswith(f"{prefix}.") for prefix in flat):
            raise InvalidValueError(
                f"parameter {name!r} is flattened with others by FullyShardedDataParallel; "
                "initialise before wrapping, or shard with fully_shard, whose parameters keep "
                "their shapes"
            )
        if value.requires_grad and not any(matches(one, name) for one in keep):
            shown = computed.shown(name, modules) if not is_lazy(value) else None
            if shown is None or not any(matches(one, shown) for one in keep):
                _refuse(shown or name, value)


def left_alone(model: nn.Module, facts: ModelFacts, keep: Sequence[str]) -> dict[str, str]:
    """Return the parameters that are not to be touched, each with the reason.

    Raises
    ------
    InvalidValueError
        If a pattern of ``keep`` matches nothing.
    """
    check_patterns(keep, facts, "keep")
    values = dict(model.named_parameters(remove_duplicate=False))
    kept: dict[str, str] = {}
    for name, fact in facts.parameters.items():
        held = [values[source] for source in fact.stored]
        pattern = next((one for one in keep if matches(one, *all_names(fact))), None)
        reason = f"matches keep={pattern!r}" if pattern is not None else _untouchable(held)
        if reason:
            kept[name] = reason
    return kept


def _untouchable(held: Sequence[Tensor]) -> str:
    """Return why a parameter's tensors are not drawn; empty if they are."""
    for value in held:
        if not (value.is_floating_point() or value.is_complex()):
            return f"{str(value.dtype).removeprefix('torch.')} numbers: not trained"
    if not all(value.requires_grad for value in held):
        return "frozen"
    if any(value.is_complex() for value in held):
        return "complex numbers: no rule draws them"
    return "has no entries" if any(value.numel() == 0 for value in held) else ""


def _refuse(name: str, value: Any) -> None:
    if is_lazy(value):
        raise InvalidValueError(
            f"parameter {name!r} is lazy and has no shape yet; run one batch through the model "
            "first, or leave it out with keep="
        )
    if value.is_meta:
        raise InvalidValueError(
            f"parameter {name!r} is on the meta device and holds no values; call "
            "model.to_empty(device=...) first"
        )
    if type(value).__name__ == "FakeTensor" or type(value.data).__name__ == "FakeTensor":
        raise InvalidValueError(
            f"parameter {name!r} is a fake tensor and holds no values; build the model outside of "
            "FakeTensorMode"
        )
    if type(value).__name__ == "FlatParameter":
        raise InvalidValueError(
            f"parameter {name!r} is a flattened shard of several; initialise before wrapping, or "
            "shard with fully_shard, whose parameters keep their shapes"
        )
    if hasattr(value, "ds_shape") and tuple(value.ds_shape) != tuple(value.shape):
        raise InvalidValueError(
            f"parameter {name!r} is partitioned by DeepSpeed; initialise within "
            "deepspeed.zero.GatheredParameters, or before"
        )
    if value.numel() > 1 and 0 in [
        stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1
    ]:
        raise InvalidValueError(
            f"parameter {name!r} is expanded: several entries share one place in memory; make it "
            "contiguous first"
        )
