"""UNIT02: rectifiers that are off for every input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number, redraw
from initlab.diagnosis.checks._paths import is_rectifier, makers, weights_of
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.reductions import Numbers
from initlab.models.graph import Node

# Standard deviations of a pre-activation that a batch stays within, and inputs to come as well.
_REACH = 4.0
# E[φ(z)²] over E[z²] of a unit that is all but off.
_SILENT = 1e-4
# With fewer samples, that a unit is off on all of them says little.
_FEWEST = 8
_EXCESS, _ERRORS = 0.2, 3.0
_MOST = 0.9


@dataclass(frozen=True)
class _Dead:
    """A rectifier with more dead units than chance gives it, and what makes them."""

    node: Node
    units: int
    dead: int
    expected: float
    source: str
    cause: str

    @property
    def share(self) -> float:
        return self.dead / self.units


def _applies(evidence: Evidence) -> bool:
    return any(_samples(evidence, node) >= _FEWEST for node in _rectifiers(evidence))


def _rectifiers(evidence: Evidence) -> Iterator[Node]:
    for node in evidence.graph.nodes:
        if node.kind == "pointwise" and is_rectifier(node) and len(node.parents) == 1:
            yield node


def _samples(evidence: Evidence, node: Node) -> int:
    numbers = evidence.run.numbers.get(node.index)
    return numbers.samples if numbers is not None else 0


def _find(evidence: Evidence) -> Iterator[Finding]:
    groups: dict[str, list[_Dead]] = {}
    for node in _rectifiers(evidence):
        if _samples(evidence, node) < _FEWEST:
            continue
        found = _judge(evidence, node)
        if found is not None:
            groups.setdefault(found.cause, []).append(found)
    for cause, group in groups.items():
        yield _finding(evidence, cause, group)


def _judge(evidence: Evidence, node: Node) -> _Dead | None:
    after, before = evidence.run.numbers[node.index], evidence.numbers(node.parents[0])
    if before is None or before.unit_mean.shape != after.unit_second.shape:
        return None
    if not math.isfinite(before.second):
        return None
    deviation = before.unit_variance.sqrt()
    silent = after.unit_second <= _SILENT * before.unit_second
    off = (before.unit_mean + _REACH * deviation < 0) & silent
    on = before.unit_mean - _REACH * deviation > 0
    units, dead, open_ = off.numel(), int(off.sum()), int(on.sum())
    expected = min(open_ / units, _expected(before))
    excess = dead / units - expected
    chance = _ERRORS * math.sqrt(max(dead + expected * units, 1.0)) / units
    if excess <= max(_EXCESS, chance):
        return None
    source, cause = _source(evidence, node, before, off)
    return _Dead(node, units, dead, expected, source, cause) if source else None


def _expected(before: Numbers) -> float:
    """Return the share of units that are off for all inputs because all inputs look alike.

    With means of variance c and deviations of variance 1 - c, μ + kσ < 0 has the probability
    Φ(-k √((1 - c) / c)).
    """
    shared = float(before.unit_mean.double().square().mean())
    c = min(max(shared / before.second if before.second > 0 else 0.0, before.alike or 0.0), 1.0)
    if c <= 0:
        return 0.0
    return 0.5 * math.erfc(_REACH * math.sqrt((1 - c) / c) / math.sqrt(2))


def _source(evidence: Evidence, node: Node, before: Numbers, off: Tensor) -> tuple[str, str]:
    """Return the parameter that holds the units down, and by what."""
    shift = _shift(evidence, node, off.numel())
    if shift is not None:
        name, values = shift
        free = before.unit_mean - values + _REACH * before.unit_variance.sqrt() < 0
        if int((free & off).sum()) < 0.5 * int(off.sum()):
            return name, "bias"
    names = weights_of(evidence, makers(evidence, node.index))
    if not names:
        return "", ""
    layer = next((one for one in evidence.layers if one.name == names[-1]), None)
    if (
        layer is not None
        and layer.parts[0].mean < -_ERRORS * layer.std / layer.value.numel() ** 0.5
    ):
        return names[-1], "negative"
    return names[-1], "input"


def _shift(evidence: Evidence, node: Node, units: int) -> tuple[str, Tensor] | None:
    """Return the bias, or the shift of a normalisation, that stands before a rectifier."""
    index = node.parents[0]
    while True:
        one = evidence.node(index)
        use = one.bias or (one.factor if one.op in {"add", "sub"} else None)
        name = evidence.canonical.get(use.name) if use is not None else None
        if name is not None and evidence.values[name].numel() == units:
            return name, evidence.values[name].detach().flatten().float().cpu()
        if one.kind not in {"shape", "pad", "max", "mean"} and one.op not in {"add", "sub"}:
            return None
        if len(one.parents) != 1:
            return None
        index = one.parents[0]


_CAUSES = {
    "bias": "{names} {is_} so negative that no input of this batch, nor within 4 standard "
    "deviations of it, switches these units on",
    "negative": "The weights of {names} are negative on average, and what they read is positive: "
    "each unit's sum stays below 0 for every input",
    "input": "What {names} reads hardly varies beside its mean, and the weights point against "
    "that mean",
}


def _finding(evidence: Evidence, cause: str, group: Sequence[_Dead]) -> Finding:
    names = list(dict.fromkeys(one.source for one in group))
    worst = max(group, key=lambda one: one.share)
    layers = [layer for layer in evidence.layers if layer.name in names]
    first = names[0]
    where = _CAUSES[cause].format(names=named(names), is_="is" if len(names) == 1 else "are")
    bias = cause == "bias"
    return Finding(
        code="UNIT02",
        title=f"{worst.share:.0%} of the rectifiers behind {first} are off for every input",
        severity="error" if worst.share > _MOST else "warning",
        where=tuple(names),
        evidence={
            "dead": {one.source: one.dead for one in group},
            "units": {one.source: one.units for one in group},
            "share": number(worst.share),
            "expected_share": number(worst.expected),
            "samples": _samples(evidence, worst.node),
            "mean": number(float(_mean(evidence, worst))),
        },
        cause=f"{where}; a unit that is off gets no gradient.",
        fix=Fix(
            "Start the bias at 0."
            if bias
            else "Draw the weights symmetrically around 0, and standardise what they read.",
            "\n".join(each(names, "nn.init.zeros_({})")) if bias else redraw(layers),
            rules=tuple((name, "auto") for name in names),
            standardise=cause == "input" and _reads_input(evidence, worst.node),
        ),
        explains=frozenset(
            {"SIG01", "SIG03", "SIG05", "OUT01", "OUT02", "STEP01", "LAYER09", "LAYER02"}
        ),
    )


def _mean(evidence: Evidence, one: _Dead) -> Tensor:
    before = evidence.numbers(one.node.parents[0])
    return before.unit_mean.mean() if before is not None else torch.tensor(math.nan)


def _reads_input(evidence: Evidence, node: Node) -> bool:
    return any(
        evidence.node(parent).kind == "input"
        for maker in makers(evidence, node.index)
        for parent in evidence.node(maker).parents
    )


CHECK = Check("UNIT02", "Rectifiers are off for every input", _applies, _find)
