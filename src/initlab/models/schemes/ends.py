"""Schemes for both ends of a model, embeddings and the output's bias; all else stays as it is."""

from __future__ import annotations

from initlab.initializers import Initializer
from initlab.models.assignment import Decision
from initlab.models.facts import ModelFacts
from initlab.models.plain import embedding, whole
from initlab.models.schemes._common import given, keep_all, of_output, refused


def embedding_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw the embeddings; their padding rows stay 0.

    Raises
    ------
    InvalidValueError
        If the model has none.
    """
    held = [fact for fact in facts.parameters.values() if fact.kind == "embedding"]
    if not held:
        raise refused(initializer, "it has no embedding", "expected one")
    decisions = keep_all(facts, "not an embedding")
    for fact in held:
        decisions[fact.name] = embedding(fact, initializer)
    return decisions


def prior_bias_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set the bias of the output layer.

    Raises
    ------
    InvalidValueError
        If the output layer has no bias, or one of another number of classes.
    """
    held = [fact for fact in facts.parameters.values() if of_output(facts, fact)]
    if not held:
        raise refused(initializer, "no bias of an output layer was seen in it", "expected one")
    prior = given(initializer).get("prior")
    decisions = keep_all(facts, "not the bias of the output layer")
    for fact in held:
        if isinstance(prior, tuple) and fact.shape != (len(prior),):
            raise refused(
                initializer,
                f"{fact.name} has the shape {fact.shape}",
                f"expected one number for each of its {fact.shape[0] if fact.shape else 1} classes",
            )
        decisions[fact.name] = whole(fact, initializer, "bias of the output layer")
    return decisions
