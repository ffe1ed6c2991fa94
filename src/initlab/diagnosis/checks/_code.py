"""The line to change, as plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from initlab.diagnosis.layers import Layer
from initlab.models.code import loop_over


def redraw(layers: Sequence[Layer]) -> str:
    """Return code that draws weights anew with the std that their places ask for.

    A packed weight, of which each part has its own, and one that its module computes from others
    are left to ``initlab.initialize``.
    """
    stds: dict[str, list[Layer]] = {}
    packed: list[str] = []
    for layer in layers:
        wanted = {f"{part.wanted:.4g}" for part in layer.parts if part.wanted > 0}
        if len(wanted) != 1 or layer.fact.sources:
            packed.append(layer.name)
        else:
            stds.setdefault(wanted.pop(), []).append(layer)
    lines: list[str] = []
    for std, group in stds.items():
        why = _rule(group)
        names = [layer.name for layer in group]
        lines += each(names, f"nn.init.normal_({{}}, std={std}){f'  # {why}' if why else ''}")
    if packed:
        lines.append(with_rules(packed))
    return "\n".join(lines)


def each(names: Sequence[str], statement: str) -> list[str]:
    """Return a statement for every parameter; ``{}`` in it stands for the parameter."""
    if len(names) == 1:
        return [statement.format(f"model.{names[0]}" if _is_plain(names[0]) else _get(names[0]))]
    head = "\n".join(loop_over(names))
    return [head, "    " + statement.format("model.get_parameter(name)")]


def with_rules(names: Iterable[str], how: str = "auto") -> str:
    """Return the call of ``initlab.initialize`` that draws these anew and keeps the others."""
    rules = ", ".join(f'("{name}", "{how}")' for name in names)
    return f'initlab.initialize(model, rules=[{rules}, ("*", "keep")], seed=0)'


def _is_plain(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _get(name: str) -> str:
    return f'model.get_parameter("{name}")'


def _rule(layers: Sequence[Layer]) -> str:
    """Return the name of the rule that gives these stds, if it has one."""
    gains = {round(part.wanted**2 * part.fan_in, 3) for layer in layers for part in layer.parts}
    names = {1.0: "LeCun: sqrt(1 / fan_in)", 2.0: "He: sqrt(2 / fan_in)"}
    return names.get(gains.pop(), "") if len(gains) == 1 else ""


def number(value: float) -> float | str:
    """Round a number for a record."""
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)


_LONG = 1e7  # from which on a number is not written with all its digits


def times(factor: float) -> str:
    """Return a factor, or its inverse below 1, for a sentence: ``"1,880"``."""
    size = factor if factor >= 1 else 1 / max(factor, 1e-300)
    if size >= _LONG:
        return f"{size:.1e}"
    return f"{float(f'{size:.3g}'):,.{1 if size < 100 else 0}f}"
