"""UNIT03: units where the activation is flat, and queries that look at one key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from initlab.diagnosis.checks._attention import attention_finding, has_attention
from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number, redraw, with_rules
from initlab.diagnosis.checks._paths import constants, is_move, makers, weights_of
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.models.graph import Node

Source = Literal["scale", "bias", "input"]

# Shares of saturated entries. A pre-activation of variance 1 has 3 % under tanh, none under the
# sigmoid and 32 % under hardtanh; one of std 2 is at the first number.
_WARNING = {"hardtanh": 0.7}
_ERROR = {"hardtanh": 0.88}
_LIMITS = (0.4, 0.75)
_FEWEST = 64
# |x| above which softsign's slope (1 + |x|)⁻² is below 0.05.
_SOFTSIGN = 0.05**-0.5 - 1
# Variance over the wanted one from which a weight is to blame.
_WIDE = 2.0
_EXPLAINS = frozenset(["SIG02", "SIG03", "SIG04", "SIG05", "LAYER02", "OUT01", "OUT03", "STEP01"])


@dataclass(frozen=True)
class _Flat:
    """An activation that saturates, and why."""

    node: Node
    op: str
    share: float
    names: tuple[str, ...]
    source: Source


def _applies(evidence: Evidence) -> bool:
    return has_attention(evidence) or any(True for _ in _bounded(evidence))


def _bounded(evidence: Evidence) -> Iterator[tuple[Node, str, float]]:
    """Yield the operations that saturate, their names, and the share of entries that do."""
    for node in evidence.graph.nodes:
        numbers = evidence.run.numbers.get(node.index)
        if numbers is None or numbers.count < _FEWEST:
            continue
        if node.op in {"tanh", "sigmoid", "hardtanh"} and numbers.saturated is not None:
            if node.op == "hardtanh" and min(constants(node), default=-1.0) >= 0:
                continue  # a rectifier with a ceiling
            if not _gates_itself(evidence, node):
                yield node, node.op, numbers.saturated
        elif _is_softsign(evidence, node):
            yield node, "softsign", _beyond(evidence, node.parents[0], _SOFTSIGN)


def _is_softsign(evidence: Evidence, node: Node) -> bool:
    """Tell whether a node is x / (1 + |x|)."""
    if node.op == "softsign":
        return True
    if node.op != "div" or len(node.parents) != 2:
        return False
    x, below = node.parents[0], evidence.node(node.parents[1])
    if below.op != "add" or len(below.parents) != 1 or 1.0 not in constants(below):
        return False
    size = evidence.node(below.parents[0])
    return size.op == "abs" and size.parents == (x,)


def _beyond(evidence: Evidence, index: int, limit: float) -> float:
    """Return the share of a signal's entries beyond ±limit, with normal units."""
    numbers = evidence.numbers(index)
    if numbers is None:
        return 0.0
    mean = numbers.unit_mean.double()
    deviation = numbers.unit_variance.double().sqrt().clamp(min=1e-12) * math.sqrt(2)
    above = ((limit - mean) / deviation).erfc() / 2
    below = ((limit + mean) / deviation).erfc() / 2
    return float((above + below).mean())


def _gates_itself(evidence: Evidence, node: Node) -> bool:
    """Tell whether the output multiplies the signal that it was computed from: SiLU, GELU."""
    sources = {node.index}
    index = node.index
    while evidence.node(index).kind == "pointwise" and evidence.node(index).parents:
        parents = evidence.node(index).parents
        sources.update(parents)
        index = min(parents)
    reach = [node.index]
    for one in reach:
        for child in evidence.children[one]:
            reader = evidence.node(child)
            if reader.op == "mul" and len(reader.parents) == 2:
                other = [parent for parent in reader.parents if parent != one]
                if any(_within(evidence, parent, sources) for parent in other):
                    return True
            elif is_move(reader):
                reach.append(child)
    return False


def _within(evidence: Evidence, index: int, sources: set[int]) -> bool:
    node = evidence.node(index)
    while index not in sources:
        if not is_move(node) or not node.parents:
            return False
        index = node.parents[0]
        node = evidence.node(index)
    return True


def _find(evidence: Evidence) -> Iterator[Finding]:
    groups: dict[Source, list[_Flat]] = {}
    for node, op, share in _bounded(evidence):
        if share <= _WARNING.get(op, _LIMITS[0]):
            continue
        found = _judge(evidence, node, op, share)
        if found is not None:
            groups.setdefault(found.source, []).append(found)
    for source, group in groups.items():
        yield _finding(evidence, source, group)
    yield from attention_finding(evidence)


def _judge(evidence: Evidence, node: Node, op: str, share: float) -> _Flat | None:
    """Find what makes an activation saturate; None if that is meant, or nothing makes it."""
    weights = weights_of(evidence, makers(evidence, node.parents[0] if node.parents else 0))
    layers = [layer for layer in evidence.layers if layer.name in weights]
    if not layers:
        return None
    wide = tuple(layer.name for layer in layers if layer.ratio > _WIDE)
    if wide:
        return _Flat(node, op, share, wide, "scale")
    before = evidence.numbers(node.parents[0])
    shift = tuple(
        fact.name
        for fact in evidence.facts.parameters.values()
        if fact.bias_of in weights and bool(evidence.values[fact.name].any())
    )
    constant = (
        before is not None
        and before.second > 0
        and (float(before.unit_mean.double().square().mean()) > 0.5 * before.second)
    )
    biased = any(float(evidence.values[name].double().square().mean()) > 1 for name in shift)
    if constant and biased:
        # A gate that starts shut, or an output that starts at its prior, is meant.
        meant = op == "sigmoid" and (
            any(layer.fact.output for layer in layers) or _is_gate(evidence, node)
        )
        return None if meant else _Flat(node, op, share, shift, "bias")
    return _Flat(node, op, share, tuple(layer.name for layer in layers), "input")


def _is_gate(evidence: Evidence, node: Node) -> bool:
    """Tell whether an operation's output multiplies another signal."""
    reach = [node.index]
    for one in reach:
        for child in evidence.children[one]:
            reader = evidence.node(child)
            if reader.op == "mul" and len(reader.parents) > 1:
                return True
            if is_move(reader):
                reach.append(child)
    return False


def _finding(evidence: Evidence, source: Source, group: Sequence[_Flat]) -> Finding:
    names = list(dict.fromkeys(name for one in group for name in one.names))
    worst = max(group, key=lambda one: one.share)
    layers = [layer for layer in evidence.layers if layer.name in names]
    before = evidence.numbers(worst.node.parents[0])
    error = any(one.share > _ERROR.get(one.op, _LIMITS[1]) for one in group)
    text, code = _remedy(source, names, evidence)
    return Finding(
        code="UNIT03",
        title=f"{worst.share:.0%} of the {worst.op} units behind {worst.names[0]} are saturated",
        severity="error" if error else "warning",
        where=tuple(names),
        evidence={
            "saturated": {one.names[0]: number(one.share) for one in group},
            "pre_activation_std": number(math.sqrt(before.variance) if before else math.nan),
            "pre_activation_mean": number(before.mean if before else math.nan),
            "std": {layer.name: number(layer.std) for layer in layers},
            "expected_std": {layer.name: number(layer.parts[0].wanted) for layer in layers},
        },
        cause=_cause(evidence, source, names, worst),
        fix=Fix(text, code, rules=tuple((name, "auto") for name in names)),
        explains=_EXPLAINS,
    )


def _remedy(source: Source, names: Sequence[str], evidence: Evidence) -> tuple[str, str]:
    if source == "bias":
        return "Start the bias at 0.", "\n".join(each(names, "nn.init.zeros_({})"))
    layers = [layer for layer in evidence.layers if layer.name in names]
    code = redraw(layers) if layers else with_rules(names)
    if source == "scale":
        return "Draw the weights with the std that keeps the variance of their input.", code
    return "Standardise what these layers read, or draw their weights for its size.", code


def _cause(evidence: Evidence, source: Source, names: Sequence[str], worst: _Flat) -> str:
    flat = f"where {worst.op} is flat, and the gradient is lost there"
    if source == "bias":
        return f"{named(names)} puts the units {flat}, whatever the input is."
    if source == "scale":
        ratio = max(
            (layer.ratio for layer in evidence.layers if layer.name in names), default=math.nan
        )
        return (
            f"The weights of {named(names)} have up to {math.sqrt(ratio):.3g} times the std that "
            f"their place asks for; it puts most units {flat}."
        )
    return (
        f"What {named(names)} read is larger than their scale is made for; it puts most units "
        f"{flat}."
    )


CHECK = Check("UNIT03", "Units, or the softmax of an attention, are saturated", _applies, _find)
