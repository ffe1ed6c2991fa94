"""What the schemes share: the arguments a user gave, refusals, branches, parts by their role."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab._base.spec import Literal, parse_call
from initlab.initializers import Initializer
from initlab.models.assignment import Assignment, Decision, Kept
from initlab.models.facts import WEIGHT_KINDS, Branch, ModelFacts, ParameterFact
from initlab.models.plain import weight, whole

Scheme = Callable[[ModelFacts, Initializer], dict[str, Decision]]


def given(initializer: Initializer) -> dict[str, Literal]:
    """Return the arguments that an initialiser was made with, by name; not those at defaults."""
    call = parse_call(initializer.spec, "initializer")
    make = initializers.catalogue[call.name].make
    return dict(inspect.signature(make).bind(*call.args, **dict(call.kwargs)).arguments)


def number(arguments: dict[str, Literal], name: str, otherwise: float) -> float:
    """Return a given number, or the other one."""
    value = arguments.get(name)
    return value if isinstance(value, (int, float)) else otherwise


def whole_number(arguments: dict[str, Literal], name: str, otherwise: int) -> int:
    """Return a given whole number, or the other one."""
    value = arguments.get(name)
    return value if isinstance(value, int) else otherwise


def refused(initializer: Initializer, missing: str, instead: str) -> InvalidValueError:
    """Return the error that says what a model lacks for an initialiser, and what would do."""
    return InvalidValueError(f"{initializer.spec!r} does not fit this model: {missing}; {instead}")


def keep_all(facts: ModelFacts, reason: str) -> dict[str, Decision]:
    """Leave every parameter as it is."""
    return {name: Kept(name, reason) for name in facts.parameters}


def is_weight(fact: ParameterFact) -> bool:
    """Tell whether a parameter's entries are summed over."""
    return fact.kind in WEIGHT_KINDS


def is_readout(fact: ParameterFact) -> bool:
    """Tell whether a weight is an output layer: the end of a branch also reaches the output."""
    return is_weight(fact) and fact.output and fact.branch is None


def of_output(facts: ModelFacts, fact: ParameterFact) -> bool:
    """Tell whether a parameter is the bias of an output layer."""
    if fact.kind != "bias" or fact.branch is not None:
        return False
    held = next((one for one in facts.parameters.values() if fact.bias_of in one.names), None)
    return fact.output if held is None else is_readout(held)


def closes(fact: ParameterFact) -> bool:
    """Tell whether a weight is the last one of its residual branch."""
    branch = fact.branch
    return branch is not None and bool(branch.weights) and branch.weights[-1] in fact.names


def ends(fact: ParameterFact) -> bool:
    """Tell whether a parameter sets the size of its residual branch's output."""
    return fact.branch is not None and fact.branch.end in fact.names


def branches(facts: ModelFacts) -> dict[tuple[int, int], Branch]:
    """Return the model's residual branches by stream and index."""
    found = [fact.branch for fact in facts.parameters.values() if fact.branch is not None]
    return {(branch.stream, branch.index): branch for branch in (*facts.branches, *found)}


def some_branches(
    facts: ModelFacts, initializer: Initializer, instead: str
) -> dict[tuple[int, int], Branch]:
    """Return :func:`branches`; refuse a model without any."""
    found = branches(facts)
    if not found:
        raise refused(initializer, "no residual branch was seen in it", instead)
    return found


def zeros(fact: ParameterFact, reason: str) -> Assignment:
    """Set a parameter to 0."""
    return whole(fact, initializers.get("zeros"), reason)


def by_role(
    fact: ParameterFact, choose: Callable[[str], Initializer], reason: str
) -> Assignment | None:
    """Draw each part of a weight by its role in an attention.

    ``choose`` is asked with the role, or with an empty text for a weight outside of attentions.
    None if the parts cannot be told apart: a packed projection that is not cut into its roles.
    """
    roles = fact.attention.roles if fact.attention is not None else ("",) * len(fact.parts)
    chosen = [choose(role) for role in roles]
    if len(roles) != len(fact.parts):
        same = all(initializer == chosen[0] for initializer in chosen)
        return weight(fact, chosen[0], reason) if same else None
    drawn = weight(fact, chosen[0], reason)
    pieces = tuple(
        replace(piece, initializer=initializer)
        for piece, initializer in zip(drawn.pieces, chosen, strict=True)
    )
    return replace(drawn, pieces=pieces)
