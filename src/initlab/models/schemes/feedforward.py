"""Schemes that look at each layer's place or activation: SIREN, and the random walk in depth."""

from __future__ import annotations

from initlab import initializers
from initlab.initializers import Initializer
from initlab.initializers.structured import random_walk, siren
from initlab.models.assignment import Decision
from initlab.models.facts import ModelFacts
from initlab.models.plain import plain, weight
from initlab.models.schemes._common import given, is_weight, number

# Symmetric ones, near the identity at 0.
_LINEAR = {"", "identity", "tanh", "softsign", "erf", "hardtanh", "sin"}


def siren_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw the weight that runs first as a first layer, the others as hidden ones."""
    arguments = given(initializer)
    decisions = plain(facts, initializer)
    if "first" in arguments:
        return decisions
    first = next((fact for fact in facts.in_order() if is_weight(fact)), None)
    if first is not None:
        layer = siren(number(arguments, "omega", 30.0), first=True)
        decisions[first.name] = weight(first, layer, "the first layer, which reads coordinates")
    return decisions


def random_walk_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Choose each layer's rule by the activation that follows it."""
    if "activation" in given(initializer):
        return plain(facts, initializer)
    decisions = plain(facts, initializers.get("random_walk"))
    for name, fact in facts.parameters.items():
        if is_weight(fact):
            linear = fact.activation in _LINEAR
            reason = f"{fact.activation or 'no activation'} follows"
            chosen = random_walk("linear" if linear else "relu")
            decisions[name] = weight(fact, chosen, reason)
    return decisions
