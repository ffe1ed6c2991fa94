"""``"auto"``: for every layer the scale that its own surroundings ask for.

A layer that sums fan_in terms of second moment E[x²] gives variance v if its weights have variance
v / (fan_in E[x²]) (Bingham & Miikkulainen 2023, AutoInit; with E[x²] = 1/2 behind a ReLU this is
He's rule). E[x²] follows from the traced model, v is 1, or a branch's share of its residual stream
(:mod:`initlab.models.targets`).

The gradient's square norm changes by χ = fan_in Var(w) E[φ'²] a layer. Under ReLU that is 1. Under
GELU or tanh it is more, and in a deep network the gradient explodes; there a share
1 - E[φ²] / E[φ'²] of the variance comes from random biases instead, so that χ = 1: the edge of
chaos at q = 1 (Schoenholz et al. 2017, Hayou et al. 2019).
"""

from __future__ import annotations

import math
from dataclasses import replace

from initlab import initializers
from initlab.initializers import Initializer
from initlab.models.assignment import Assignment, Decision, Kept, Piece
from initlab.models.facts import WEIGHT_KINDS, Kind, ModelFacts, ParameterFact
from initlab.models.plain import embedding, neutral, weight, whole

_NAMES = {1.0: "lecun_normal", 2.0: "he_normal"}

_LEFT: dict[Kind, str] = {
    "scale": "a factor whose value may be meant, such as a branch that starts closed",
    "position": "is added or joined to a signal; no rule follows from the model",
    "slope": "a learned slope",
    "unknown": "its part in the model is not known",
}


def auto(facts: ModelFacts, _initializer: Initializer | None = None) -> dict[str, Decision]:
    """Decide about every parameter."""
    return {name: _decide(fact) for name, fact in facts.parameters.items()}


def _decide(fact: ParameterFact) -> Decision:
    if fact.kind == "recurrent":
        return _recurrent(fact)
    if fact.kind in WEIGHT_KINDS:
        drawn = fact.output_variance - fact.bias_variance
        scale = drawn / fact.input_second_moment
        # A layer that stays may give 0 or anything; this is then not what it gets.
        return weight(fact, scaled(scale if 0 < scale < math.inf else 1.0), _why(fact))
    if fact.kind == "embedding":
        return _embedding(fact)
    if fact.kind == "norm_scale":
        return _norm_scale(fact)
    if fact.kind in _LEFT:
        return Kept(fact.name, _LEFT[fact.kind])
    return _bias(fact) if fact.kind == "bias" else neutral(fact)


def scaled(scale: float) -> Initializer:
    """Return the normal initialiser of variance scale / fan_in, by its own name if it has one."""
    scale = float(f"{scale:.6g}")
    name = next((name for value, name in _NAMES.items() if abs(scale - value) < 1e-4), None)
    return initializers.get(name or f"variance_scaling(scale={scale!r})")


def _why(fact: ParameterFact) -> str:
    words: list[str] = []
    if fact.activation:
        words.append(f"{fact.activation} follows")
    if abs(fact.input_second_moment - 1) > 1e-3:
        words.append(f"reads E[x²] = {fact.input_second_moment:.3g}")
    branch = fact.branch
    if branch is not None and branch.end == fact.name and branch.count > 1:
        words.append(f"ends residual branch {branch.index + 1} of {branch.count}")
    if fact.output:
        words.append("output layer")
    if fact.order is None:
        words.append("was not seen to run")
    return ", ".join(words) or "keeps the second moment of its input"


def _recurrent(fact: ParameterFact) -> Assignment:
    if fact.hidden_to_hidden:
        return weight(fact, initializers.get("orthogonal"), "hidden to hidden, gate by gate")
    reason = f"input to hidden, gate by gate, reads E[x²] = {fact.input_second_moment:.3g}"
    return weight(fact, scaled(1 / fact.input_second_moment), reason)


def _embedding(fact: ParameterFact) -> Assignment:
    if fact.tied or fact.output:
        return embedding(fact)
    std = float(f"{fact.output_variance**0.5:.6g}") or 1.0
    text = "embedding" if std == 1 else f"embedding(std={std!r})"
    return embedding(fact, initializers.get(text))


def _norm_scale(fact: ParameterFact) -> Assignment:
    scale = float(f"{fact.output_variance**0.5:.6g}")
    branch = fact.branch
    if branch is not None and branch.end == fact.name and scale != 1:
        reason = f"ends residual branch {branch.index + 1} of {branch.count}"
        scale = float(f"{scale - fact.offset:.6g}")
        return whole(fact, initializers.get(f"constant({scale!r})"), reason)
    return neutral(fact)


def _bias(fact: ParameterFact) -> Assignment:
    if fact.gates == "lstm" and not fact.hidden_to_hidden:
        zeros, ones = initializers.get("zeros"), initializers.get("ones")
        pieces = tuple(
            Piece(ones if part.label == "forget" else zeros, part.start, part.stop)
            for part in fact.parts
        )
        reason = "forget gate open: its two biases add up to 1"
        return replace(whole(fact, zeros, reason), pieces=pieces)
    if fact.bias_variance > 0:
        std = float(f"{fact.bias_variance**0.5:.6g}")
        reason = "a random bias, which keeps the gradient's size"
        return whole(fact, initializers.get(f"normal(std={std!r})"), reason)
    return neutral(fact)
