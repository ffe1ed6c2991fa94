"""Schemes for residual networks: what a branch may add at the start."""

from __future__ import annotations

from initlab import initializers
from initlab.initializers import Initializer
from initlab.initializers.depth_aware import fixup
from initlab.models.assignment import Assignment, Decision, Piece
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.plain import plain, weight, whole
from initlab.models.schemes._common import (
    closes,
    ends,
    given,
    is_readout,
    is_weight,
    refused,
    some_branches,
    whole_number,
    zeros,
)


def fixup_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Scale the weights of each branch by the number of branches; close each branch by a 0.

    Raises
    ------
    InvalidValueError
        If the model has no residual branch.
    """
    arguments = given(initializer)
    if "last" in arguments:
        return plain(facts, initializer)
    found = some_branches(facts, initializer, "he_normal is what is left of it")
    blocks = whole_number(arguments, "blocks", len(found))
    decisions = plain(facts, initializers.get("he_normal"))
    for name, fact in facts.parameters.items():
        if not is_weight(fact):
            continue
        if closes(fact):
            decisions[name] = zeros(fact, "the last weight of a residual branch")
        elif is_readout(fact):
            decisions[name] = zeros(fact, "the output layer")
        elif fact.branch is not None:
            layers = max(whole_number(arguments, "layers", len(fact.branch.weights)), 2)
            reason = f"{layers} weights a branch, {blocks} branches; scalars are up to the model"
            decisions[name] = weight(fact, fixup(blocks, layers), reason)
    return decisions


def rezero_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set the factors that end a branch; draw the weights from glorot_uniform."""
    return _factors(facts, initializer, "glorot_uniform")


def skipinit_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set the factors that end a branch; draw the weights from he_normal."""
    return _factors(facts, initializer, "he_normal")


def _factors(facts: ModelFacts, initializer: Initializer, base: str) -> dict[str, Decision]:
    """Set the factors that end a branch, the rest as for ``base``.

    Raises
    ------
    InvalidValueError
        If no branch ends in a factor.
    """
    closing = [fact for fact in facts.parameters.values() if fact.kind == "scale" and ends(fact)]
    if not closing:
        raise refused(
            initializer,
            "no residual branch of it ends in a trainable factor",
            "expected x + factor * branch(x) with a parameter as the factor",
        )
    decisions = plain(facts, initializers.get(base))
    for fact in closing:
        decisions[fact.name] = whole(fact, initializer, "the factor that ends a residual branch")
    return decisions


def zero_gamma_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set the normalisation scale that ends a branch to 0; draw the weights from he_normal.

    Raises
    ------
    InvalidValueError
        If no branch ends in a normalisation.
    """
    closing = [
        fact for fact in facts.parameters.values() if fact.kind == "norm_scale" and ends(fact)
    ]
    if not closing:
        raise refused(
            initializer,
            "no residual branch of it ends in a normalisation with a scale",
            "fixup closes branches by their last weight",
        )
    decisions = plain(facts, initializers.get("he_normal"))
    for fact in closing:
        reason = "scale of the normalisation that ends a residual branch"
        decisions[fact.name] = whole(fact, initializer, reason)
    return decisions


def zero_hadamard_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Set every weight to the identity or its kin, the last one of each branch to 0."""
    decisions = plain(facts, initializer)
    for name, fact in facts.parameters.items():
        if is_weight(fact) and closes(fact):
            decisions[name] = zeros(fact, "the last weight of a residual branch")
        elif is_weight(fact) and fact.groups > 1:
            decisions[name] = _by_group(fact, initializer)
    return decisions


def _by_group(fact: ParameterFact, initializer: Initializer) -> Assignment:
    """Draw each group of a convolution by itself: no input of one reaches another."""
    rows = fact.shape[0] // fact.groups
    swapped = fact.kind == "transposed_convolution"
    pieces = tuple(
        Piece(initializer, rows * group, rows * (group + 1), swapped=swapped)
        for group in range(fact.groups)
    )
    return Assignment(fact.name, pieces, f"a convolution of {fact.groups} groups")
