"""LAYER02: a known recipe where the activation, or the input, asks for another scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initlab.diagnosis.chains import Chain, at_fault, chains, gradient_path
from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number, redraw, times
from initlab.diagnosis.checks._recipes import recipe_of
from initlab.diagnosis.checks._signals import GRADIENT_WARNING, product, severity_of
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Severity
from initlab.diagnosis.layers import Layer

# By how much E[x²], or the squared gradient, changes over all layers: below, a few layers with an
# odd scale do little harm.
_FEW_LAYERS, _MANY_LAYERS, _ERROR = 50.0, 10.0, 1e4
_MANY = 5
# A single layer has to be off by this.
_ALONE = 1e3
# Where so many units saturate, the finding is about these.
_SATURATED = 0.25
# A scale of one's own may look like a recipe in a layer or two, by chance.
_RECOGNISED = 0.8


@dataclass(frozen=True)
class _Group:
    """Layers that one recipe made too small, or too large."""

    recipe: str
    layers: tuple[Layer, ...]
    effect: float
    severity: Severity


def _applies(evidence: Evidence) -> bool:
    return bool(chains(evidence))


def _find(evidence: Evidence) -> Iterator[Finding]:
    for larger in (False, True):
        for group in _groups(evidence, larger=larger):
            yield _finding(group, larger=larger)


def _groups(evidence: Evidence, *, larger: bool) -> Iterator[_Group]:
    """Yield the layers at fault whose recipe is known, by recipe."""
    found: dict[str, list[_Group]] = {}
    for chain in chains(evidence):
        layers = [
            layer
            for layer, _ in at_fault(evidence, chain, larger=larger)
            if layer.name not in evidence.pretrained and not _saturates(evidence, layer)
        ]
        recipes = {layer.name: _recipe(layer) for layer in layers}
        if sum(map(bool, recipes.values())) < _RECOGNISED * len(layers):
            continue
        effect = _effect(evidence, chain, layers, larger=larger)
        severity = _severity(len(layers), effect)
        known = [name for name in recipes.values() if name]
        if len(layers) > 1 or (layers and severity != "note"):
            # The first layer, with a fan of its own, may look as if drawn from something else.
            name = max(known, key=known.count)
            group = _Group(name, tuple(layers), effect, severity)
            found.setdefault(name, []).append(group)
    for groups in found.values():
        yield _joined(groups)


def _joined(groups: Sequence[_Group]) -> _Group:
    """Return one group of those of several chains, as bad as the worst of them."""
    worst = max(groups, key=lambda one: one.effect)
    alarms = [one for one in groups if one.severity == "note"] != list(groups)
    kept = [one for one in groups if not alarms or one.severity != "note"]
    layers = {layer.name: layer for one in kept for layer in one.layers}
    return _Group(worst.recipe, tuple(layers.values()), worst.effect, worst.severity)


def _recipe(layer: Layer) -> str:
    """Return the name of what a layer was drawn from; empty if it is none that one would use."""
    found = recipe_of(layer)
    if found is None or ("SELU" in found.name and layer.fact.activation != "selu"):
        return ""
    return found.name


def _saturates(evidence: Evidence, layer: Layer) -> bool:
    return any(
        (numbers := evidence.numbers(child)) is not None and (numbers.saturated or 0) > _SATURATED
        for node in layer.nodes
        for child in evidence.children[node]
    )


def _effect(evidence: Evidence, chain: Chain, layers: Sequence[Layer], *, larger: bool) -> float:
    """Return by what factor the signal, or the gradient, changes for want of the right scale.

    It is at least 1, and at most what the layers at fault account for. A gradient that would vanish
    at the right scale too is not theirs.
    """
    due = math.exp(min(sum(abs(math.log(layer.ratio)) for layer in layers), 700.0))
    path = product(gradient_path(evidence)) if evidence.has_gradients() else 1.0
    both = (max(chain.gain, 1e-300), max(path, 1e-300))
    signal, gradient = both if larger else (1 / both[0], 1 / both[1])
    if gradient / due > GRADIENT_WARNING:
        return 1.0
    return min(max(signal, gradient if signal > 1 else 1.0, 1.0), due)


def _severity(count: int, effect: float) -> Severity:
    least = _MANY_LAYERS if count >= _MANY else _FEW_LAYERS if count > 1 else _ALONE
    return severity_of(effect, least, _ERROR)


def _finding(group: _Group, *, larger: bool) -> Finding:
    names = tuple(layer.name for layer in group.layers)
    ratio = sorted(layer.ratio for layer in group.layers)[len(names) // 2]
    follows = _follows(group.layers)
    what = f"{ratio:.3g} times" if larger else f"1/{1 / ratio:.3g} of"
    harm = (
        f"over the model the signal or its gradient changes by a factor of {times(group.effect)}"
        if group.severity != "note"
        else "over so few layers it does little harm"
    )
    return Finding(
        code="LAYER02",
        title=f"{group.recipe}: {what} the variance that fits{follows}",
        severity=group.severity,
        where=names,
        evidence={
            "recipe": group.recipe,
            "std": {layer.name: number(layer.std) for layer in group.layers},
            "wanted_std": {layer.name: number(layer.parts[0].wanted) for layer in group.layers},
            "variance_over_wanted": number(ratio),
            "change_over_all_layers": number(group.effect),
        },
        cause=(
            f"{named(names)} {'was' if len(names) == 1 else 'were'} drawn from {group.recipe}, "
            f"which gives {what} the variance that keeps E[x²]{follows}; {harm}."
        ),
        fix=Fix(
            "Draw these weights with the std that keeps the second moment of their input.",
            redraw(group.layers),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset(
            {"SIG01", "SIG02", "SIG03", "SIG04", "SIG05", "UNIT02", "OUT01", "STEP01"}
        ),
    )


def _follows(layers: Sequence[Layer]) -> str:
    names = sorted({layer.fact.activation for layer in layers if layer.fact.activation})
    return f" with {' and '.join(names)}" if names else ""


CHECK = Check("LAYER02", "The scale does not fit the activation that follows", _applies, _find)
