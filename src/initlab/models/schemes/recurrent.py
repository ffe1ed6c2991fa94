"""Schemes for the recurrent layers of a model; all else is left as it is."""

from __future__ import annotations

from initlab import initializers
from initlab.initializers import Initializer
from initlab.models.assignment import Decision
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.plain import weight, whole
from initlab.models.schemes._common import given, keep_all, number, refused, zeros

# Le, Jaitly & Hinton 2015: std of the weights that are not recurrent.
INPUT_STD = 0.001


def irnn_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set hidden-to-hidden weights without gates to the identity, their inputs small, biases 0.

    Raises
    ------
    InvalidValueError
        If the model has no recurrent layer without gates.
    """
    layers = _recurrent(facts, "rnn")
    if not any(fact.kind == "recurrent" and fact.hidden_to_hidden for fact in layers):
        others = sorted({fact.gates for fact in facts.parameters.values() if fact.gates})
        seen = f", only {' and '.join(others).upper()}" if others else ""
        raise refused(
            initializer,
            f"it has no recurrent layer without gates{seen}",
            "forget_bias and gate_orthogonal are for layers with gates",
        )
    decisions = keep_all(facts, "not part of a recurrent layer without gates")
    for fact in layers:
        if fact.kind == "bias":
            decisions[fact.name] = zeros(fact, "bias of a recurrent layer")
        elif fact.hidden_to_hidden:
            decisions[fact.name] = weight(fact, initializer, "hidden to hidden")
        else:
            small = initializers.get(f"normal(std={INPUT_STD})")
            decisions[fact.name] = weight(fact, small, "input to hidden")
    return decisions


def forget_bias_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set the forget gate in one bias of each LSTM; the other bias, which is added to it, to 0.

    Raises
    ------
    InvalidValueError
        If the model has no LSTM with biases.
    """
    biases = [fact for fact in _recurrent(facts, "lstm") if fact.kind == "bias"]
    if not biases:
        raise refused(initializer, "it has no LSTM with biases", "expected one")
    decisions = keep_all(facts, "not the bias of an LSTM")
    for fact in biases:
        decisions[fact.name] = (
            zeros(fact, "added to the input bias, which holds the forget gate's")
            if fact.hidden_to_hidden
            else whole(fact, initializer, "gates in the order input, forget, cell, output")
        )
    return decisions


def gate_orthogonal_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw a rotation for each gate of the hidden-to-hidden weights.

    Raises
    ------
    InvalidValueError
        If the model has no recurrent weights.
    """
    held = [
        fact
        for fact in facts.parameters.values()
        if fact.kind == "recurrent" and fact.hidden_to_hidden
    ]
    if not held:
        raise refused(
            initializer, "it has no hidden-to-hidden weights", "orthogonal is for other layers"
        )
    gain = number(given(initializer), "gain", 1.0)
    decisions = keep_all(facts, "not a hidden-to-hidden weight")
    for fact in held:
        rotation = initializers.get(f"orthogonal(gain={gain!r})")
        decisions[fact.name] = weight(fact, rotation, "hidden to hidden, gate by gate")
    return decisions


def _recurrent(facts: ModelFacts, gates: str) -> list[ParameterFact]:
    return [
        fact
        for fact in facts.parameters.values()
        if fact.gates == gates and fact.kind in {"recurrent", "bias"}
    ]
