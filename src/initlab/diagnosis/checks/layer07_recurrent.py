"""LAYER07: recurrent layers: a half shut forget gate, stacked gates, the spectral radius."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number, with_rules
from initlab.diagnosis.checks._recipes import is_orthogonal
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer
from initlab.models.facts import ParameterFact

# A forget gate at sigmoid(0.3) = 0.57 forgets half of its cell in a step or two.
_FORGETS = 0.3
# Of a plain recurrence; of one with gates, which hold its state by other means.
_RADIUS = (0.8, 1.3)
_GATED = (0.1, 3.0)
# Larger matrices are judged by their entries: random ones have radius std · √n.
_MOST_UNITS = 256
_MOST_SVD = 1024

_SIDE_EFFECTS = frozenset({"SIG01", "SIG02", "SIG03", "SIG04", "UNIT03"})


@dataclass(frozen=True)
class _Radius:
    layer: Layer
    radius: float
    scale: float  # std · √n, the radius of random entries


def _applies(evidence: Evidence) -> bool:
    return any(fact.gates for fact in evidence.facts.parameters.values())


def _find(evidence: Evidence) -> Iterator[Finding]:
    yield from _forgetting(evidence)
    layers = [
        layer
        for layer in evidence.layers
        if layer.fact.kind == "recurrent" and layer.name not in evidence.pretrained
    ]
    yield from _stacked(layers)
    yield from _radii(layers)


def _forgetting(evidence: Evidence) -> Iterator[Finding]:
    """Find LSTMs whose two biases of the forget gate add up to about 0."""
    found: dict[tuple[str, ...], float] = {}
    for names in _bias_pairs(evidence):
        if any(name in evidence.pretrained for name in names):
            continue
        total = sum(_forget(evidence, name) for name in names)
        if total < _FORGETS:
            found[names] = total
    if not found:
        return
    names = tuple(name for pair in found for name in pair)
    mean = min(found.values(), key=abs)
    gate = 1 / (1 + math.exp(min(-mean, 700.0)))
    yield Finding(
        code="LAYER07",
        title=f"forget gates start with bias {mean:.2g}: a cell keeps {gate:.2g} of itself a step",
        severity="warning",
        where=names,
        evidence={
            "forget_bias": {pair[0]: number(total) for pair, total in found.items()},
            "expected_forget_bias": 1.0,
            "forget_gate": number(gate),
            "kept_over_10_steps": number(gate**10),
        },
        cause=(
            f"The biases of the forget gate in {named(names)} add up to {mean:.2g} on average, and "
            f"sigmoid({mean:.2g}) = {gate:.2g} is what is left of a cell, and of its gradient, "
            "after each step."
        ),
        fix=Fix(
            "Let the two biases of the forget gate add up to 1: one of them 1, the other 0.",
            _forget_code(evidence, names),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset({"SIG03"}),
    )


def _bias_pairs(evidence: Evidence) -> list[tuple[str, ...]]:
    pairs: dict[str, list[ParameterFact]] = {}
    for fact in evidence.facts.parameters.values():
        if fact.kind == "bias" and fact.gates == "lstm":
            key = fact.name.replace("bias_ih", "bias").replace("bias_hh", "bias")
            pairs.setdefault(key, []).append(fact)
    return [
        tuple(fact.name for fact in sorted(pair, key=lambda one: one.hidden_to_hidden))
        for pair in pairs.values()
    ]


def _forget(evidence: Evidence, name: str) -> float:
    rows = _forget_rows(evidence, name)
    return float(evidence.values[name][rows].float().mean()) if rows else 0.0


def _forget_rows(evidence: Evidence, name: str) -> slice | None:
    parts = evidence.facts.parameters[name].parts
    return next((slice(one.start, one.stop) for one in parts if one.label == "forget"), None)


def _forget_code(evidence: Evidence, names: Sequence[str]) -> str:
    lines = ["with torch.no_grad():  # gates: input, forget, cell, output"]
    for name in names:
        rows = _forget_rows(evidence, name)
        fact = evidence.facts.parameters[name]
        if rows is not None:
            value = 0.0 if fact.hidden_to_hidden else 1.0
            held = f'model.get_parameter("{name}")'
            lines.append(f"    {held}[{rows.start}:{rows.stop}] = {value}")
    return "\n".join(lines)


def _stacked(layers: Sequence[Layer]) -> Iterator[Finding]:
    """Find gates that were drawn as one orthogonal matrix."""
    found = [
        layer
        for layer in layers
        if len(layer.parts) > 1
        and is_orthogonal(layer.value)
        and not any(is_orthogonal(gate) for gate in _gates(layer))
    ]
    if not found:
        return
    found.sort(key=lambda layer: not layer.fact.hidden_to_hidden)
    names = tuple(layer.name for layer in found)
    low, high = _extremes(found[0])
    between = f", with singular values {low:.2g} to {high:.2g}" if high else ""
    yield Finding(
        code="LAYER07",
        title=f"orthogonal over {len(found[0].parts)} stacked gates, of which none is{between}",
        severity="warning",
        where=names,
        evidence={
            "shape": list(found[0].fact.shape),
            "gates": [part.label for part in found[0].parts],
            "singular_values": [number(low), number(high)] if high else [],
        },
        cause=(
            f"{named(names)} {'has' if len(names) == 1 else 'have'} orthogonal columns as a whole; "
            f"each gate multiplies by its own rows only, which shrink most directions{between}."
        ),
        fix=Fix(
            "Draw each gate's matrix orthogonal by itself.",
            "\n".join(
                f'for gate in model.get_parameter("{name}").data.chunk({len(layer.parts)}):\n'
                "    nn.init.orthogonal_(gate)"
                for name, layer in zip(names, found, strict=True)
            ),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset({"LAYER02", "SIG01", "SIG03"}),
    )


def _gates(layer: Layer) -> list[Tensor]:
    return [layer.value[part.start : part.stop] for part in layer.parts]


def _extremes(layer: Layer) -> tuple[float, float]:
    """Return the smallest and the largest singular value of all gates; 0 for large ones."""
    if max(layer.fact.shape[1], layer.parts[0].stop) > _MOST_SVD:
        return 0.0, 0.0
    found = torch.cat([torch.linalg.svdvals(gate.float()) for gate in _gates(layer)])
    return float(found.min()), float(found.max())


def _radii(layers: Sequence[Layer]) -> Iterator[Finding]:
    """Find recurrences that shrink or grow their state, whatever comes in."""
    for larger in (False, True):
        found = [
            one
            for layer in layers
            if layer.fact.hidden_to_hidden
            and (one := _worst(layer, larger=larger)) is not None
            and _is_off(one, larger=larger)
        ]
        if found:
            yield _radius_finding(found, larger=larger)


def _worst(layer: Layer, *, larger: bool) -> _Radius | None:
    """Return the gate with the smallest, or largest, spectral radius."""
    radii = [
        _Radius(layer, *_radius(gate))
        for gate in _gates(layer)
        if gate.dim() == 2 and gate.shape[0] == gate.shape[1] > 1 and bool(gate.any())
    ]
    if not radii:
        return None
    return (max if larger else min)(radii, key=lambda one: one.scale)


def _radius(matrix: Tensor) -> tuple[float, float]:
    n = matrix.shape[0]
    wide = matrix.float()
    scale = float(torch.linalg.vector_norm(wide)) / math.sqrt(n)
    if n > _MOST_UNITS or not math.isfinite(scale):
        return scale, scale
    return float(torch.linalg.eigvals(wide).abs().max()), scale


def _is_off(one: _Radius, *, larger: bool) -> bool:
    """Tell whether both the radius and the size of the entries are off, but for chance.

    The radius of n · n random entries varies by about std / 2, and std · √n by a share of 1 / n.
    """
    low, high = _RADIUS if one.layer.fact.gates == "rnn" else _GATED
    n = max(one.layer.fact.shape[-1], 2)
    slack = 1 + 1 / math.sqrt(n)
    if larger:
        return one.radius > high * slack and one.scale > high * (1 + 2 / n)
    return one.radius < low * slack and one.scale < low * (1 - 2 / n)


def _radius_finding(found: Sequence[_Radius], *, larger: bool) -> Finding:
    names = tuple(one.layer.name for one in found)
    worst = (max if larger else min)(found, key=lambda one: one.radius)
    what = "grows" if larger else "shrinks"
    rules = tuple((name, "auto") for name in names)
    return Finding(
        code="LAYER07",
        title=f"spectral radius of the recurrence is {worst.radius:.3g}, far from 1",
        severity="warning",
        where=names,
        evidence={
            "spectral_radius": {one.layer.name: number(one.radius) for one in found},
            "expected_spectral_radius": 1.0,
            "std": {one.layer.name: number(one.layer.std) for one in found},
            "over_10_steps": number(min(worst.radius, 1e30) ** 10),
        },
        cause=(
            f"Each step multiplies the state by {named(names)}: what it remembers, and the "
            f"gradient, {what} by about {worst.radius:.3g} a step, and by "
            f"{min(worst.radius, 1e30) ** 10:.2g} over 10 steps."
        ),
        fix=Fix(
            "Draw the hidden-to-hidden weight orthogonal, gate by gate.",
            "\n".join(
                f'nn.init.orthogonal_(model.get_parameter("{one.layer.name}"))'
                for one in found
                if len(one.layer.parts) == 1
            )
            or with_rules(names),
            rules=rules,
        ),
        explains=_SIDE_EFFECTS,
    )


CHECK = Check(
    "LAYER07", "Recurrent layer: forget bias, stacked gates or spectral radius", _applies, _find
)
