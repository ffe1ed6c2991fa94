"""SIG05: what two inputs have in common grows to all, or falls to nothing, with depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from initlab.diagnosis.chains import Chain, chains, gradient_path
from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number
from initlab.diagnosis.checks._signals import FEWEST, edge_of_chaos, has_depth, off
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding

# What is left of 1 - c, c the cosine of two inputs' signals, relative to that of the inputs.
_WARNING, _ERROR = 1e-3, 1e-5
# Chaotic: inputs that had this much in common have less than this share of it at the end.
_ALIKE, _LEFT = 0.5, 0.5


@dataclass(frozen=True)
class _Fate:
    """The cosine of two inputs' signals before and after a chain."""

    chain: Chain
    before: float
    after: float


def _find(evidence: Evidence) -> Iterator[Finding]:
    fates = [fate for chain in chains(evidence) if (fate := _fate(evidence, chain)) is not None]
    if not fates:
        return
    least = min(fates, key=lambda fate: (1 - fate.after) / max(1 - fate.before, 1e-12))
    left = max(1 - least.after, 0.0) / max(1 - least.before, 1e-12)
    if left < _WARNING and least.before < 1 - _WARNING:
        yield _finding(evidence, least, left, larger=False)
        return
    apart = [one for one in fates if one.before > _ALIKE and one.after < _LEFT * one.before]
    if apart:
        lost = min(apart, key=lambda one: one.after / one.before)
        yield _finding(evidence, lost, lost.after / lost.before, larger=True)


def _fate(evidence: Evidence, chain: Chain) -> _Fate | None:
    if len(chain.steps) < FEWEST:
        return None
    first, last = (evidence.numbers(node) for node in (chain.start, chain.steps[-1].node))
    if first is None or last is None or first.alike is None or last.alike is None:
        return None
    return _Fate(chain, first.alike, last.alike)


def _finding(evidence: Evidence, fate: _Fate, left: float, *, larger: bool) -> Finding:
    inside = {step.node for step in fate.chain.steps}
    path = [mark for mark in gradient_path(evidence) if mark.node in inside]
    layers = off(evidence, path)
    names = tuple(layer.name for layer in layers) or tuple(
        evidence.layer_of[step.node].name for step in fate.chain.steps
    )
    count = len(fate.chain.steps)
    if larger:
        title = f"similar inputs come apart: cosine {fate.before:.3g} becomes {fate.after:.3g}"
        regime = "chaotic: what inputs have in common is lost from layer to layer"
    else:
        title = f"inputs become indistinguishable: cosine {fate.after:.6g} after {count} layers"
        regime = "ordered: what tells inputs apart is lost from layer to layer"
    return Finding(
        code="SIG05",
        title=title,
        severity="error" if left < _ERROR else "warning",
        where=names,
        evidence={
            "layers": count,
            "cosine_of_inputs": number(fate.before),
            "cosine_after": number(fate.after),
            "difference_left": number(left),
        },
        cause=f"The weights and biases of {named(names)} make the network {regime}.",
        fix=edge_of_chaos(layers, larger=larger),
        explains=frozenset({"UNIT02", "SIG03", "SIG04", "LAYER02"}),
    )


CHECK = Check("SIG05", "Inputs become indistinguishable with depth, or chaotic", has_depth, _find)
