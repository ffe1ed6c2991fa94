"""Mimetic initialisation on a model: the four projections of an attention, drawn together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from initlab import initializers
from initlab._base.spec import Literal
from initlab.initializers import Initializer
from initlab.initializers.attention import ATTENTION_PARTS, AttentionPart
from initlab.initializers.attention import mimetic as make
from initlab.models.assignment import Decision, Piece
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.plain import plain, weight
from initlab.models.schemes._common import given, is_weight, number, refused, whole_number
from initlab.models.schemes.transformer import Stack, stack_of, stacks

Shapes = dict[AttentionPart, tuple[int, ...]]


def mimetic_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw the projections of each attention from one stream, the rest from truncated_normal(0.02).

    Raises
    ------
    InvalidValueError
        If the model has no attention, none that fits, or one with an unknown number of heads.
    """
    arguments = given(initializer)
    if "part" in arguments:
        return plain(facts, initializer)
    modules: dict[str, list[ParameterFact]] = {}
    for fact in facts.parameters.values():
        if fact.attention is not None and is_weight(fact):
            modules.setdefault(fact.attention.module, []).append(fact)
    if not modules:
        raise refused(initializer, "no attention was seen in it", "expected a transformer")
    base = initializers.get("truncated_normal(std=0.02)")
    decisions = plain(facts, base)
    found = stacks(facts)
    misfits: list[str] = []
    for module, held in modules.items():
        heads = whole_number(arguments, "heads", _heads(held))
        if heads < 1:
            raise refused(
                initializer,
                f"the number of heads of {module or 'its attention'} is not known",
                "give it: mimetic(heads=8)",
            )
        misfit = _cross(held, found) or next(_misfits(held, heads), "")
        misfits += [misfit] if misfit else []
        for fact in held:
            decisions[fact.name] = (
                weight(fact, base, f"in an attention that mimetic does not fit: {misfit}")
                if misfit
                else _together(fact, heads, arguments, module)
            )
    if len(misfits) == len(modules):
        raise refused(
            initializer, f"none of its attentions fits: {misfits[0]}", "expected self-attention"
        )
    return decisions


def _cross(held: list[ParameterFact], found: tuple[Stack, ...]) -> str:
    """Say that an attention reads another stack, where the identity has no meaning; else empty."""
    for fact in held:
        stack = stack_of(found, fact)
        if stack is not None and fact.branch is not None and stack.crosses(fact.branch):
            return "it attends to another stack"
    return ""


def _together(
    fact: ParameterFact, heads: int, arguments: dict[str, Literal], module: str
) -> Decision:
    """Draw each part of a projection from the stream of its attention."""
    drawn = weight(fact, make("query", heads), "drawn together with its attention's projections")
    pieces: list[Piece] = []
    for piece, role in zip(drawn.pieces, _roles(fact), strict=True):
        chosen = make(
            role,
            heads,
            alpha_qk=number(arguments, "alpha_qk", 0.7),
            beta_qk=number(arguments, "beta_qk", 0.7),
            alpha_vo=number(arguments, "alpha_vo", 0.4),
            beta_vo=number(arguments, "beta_vo", 0.4),
        )
        pieces.append(replace(piece, initializer=chosen, stream=module or "attention"))
    return replace(drawn, pieces=tuple(pieces))


def _roles(fact: ParameterFact) -> tuple[AttentionPart, ...]:
    return fact.attention.roles if fact.attention is not None else ()


def _heads(held: list[ParameterFact]) -> int:
    """Return the number of heads; 0 if it is not known."""
    known = {fact.attention.heads for fact in held if fact.attention and fact.attention.heads}
    return next(iter(known)) or 0 if len(known) == 1 else 0


def _misfits(held: list[ParameterFact], heads: int) -> Iterator[str]:
    """Say why the projections cannot be drawn together."""
    shapes: Shapes = {}
    for fact in held:
        if len(fact.shape) != 2 or len(_roles(fact)) != len(fact.parts):
            yield f"{fact.name} is not a matrix cut into its projections"
            return
        for role, part in zip(_roles(fact), fact.parts, strict=True):
            if role in shapes:
                yield f"it has several {role} projections"
            rows = part.stop - part.start
            shapes[role] = fact.shape[::-1] if fact.input_first else (rows, fact.shape[1])
    absent = [role for role in ATTENTION_PARTS if role not in shapes]
    if absent:
        yield f"no {' and '.join(absent)} projection was seen"
        return
    inner, width = shapes["query"]
    if shapes["key"] != (inner, width) or shapes["value"] != (inner, width):
        yield "queries, keys and values differ in shape"
    if shapes["output"] != (width, inner):
        yield "the output does not have the shape of the queries, transposed"
    if inner % heads or inner > width:
        yield f"{heads} heads do not share {inner} of {width} entries"
