"""Schemes for transformers, whose depth is counted in layers of two or three branches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from initlab import initializers
from initlab._base.spec import Literal
from initlab.initializers import Initializer
from initlab.initializers.transformer_depth import (
    FixupSide,
    StackKind,
    deepnorm,
    deepnorm_alpha,
    depth_scaled,
    t_fixup,
)
from initlab.models.assignment import Decision
from initlab.models.facts import Branch, ModelFacts, ParameterFact
from initlab.models.plain import embedding, plain, weight, whole
from initlab.models.schemes._common import (
    branches,
    by_role,
    closes,
    given,
    is_weight,
    number,
    refused,
    some_branches,
    whole_number,
)

_NO_ATTENTION = "no residual branch with an attention was seen in it"


Place = tuple[int, int]


@dataclass(frozen=True)
class Stack:
    """The layers of an encoder, or of a decoder.

    Attributes
    ----------
    places
        Its residual branches in execution order: number of the stream, and of the branch in it.
    each
        Branches of a layer: attention and feed-forward, in a decoder cross-attention besides.
    """

    places: tuple[Place, ...]
    each: int

    @property
    def layers(self) -> int:
        """Number of its layers."""
        return -(-len(self.places) // self.each)

    @property
    def decoder(self) -> bool:
        """True if it attends to another stack too."""
        return self.each == 3

    def layer(self, branch: Branch) -> int:
        """Return the layer that a branch stands in, counted from 1."""
        return self.places.index((branch.stream, branch.index)) // self.each + 1

    def crosses(self, branch: Branch) -> bool:
        """Tell whether a branch attends to another stack: the second of three in a layer."""
        return self.decoder and self.places.index((branch.stream, branch.index)) % 3 == 1


def stacks(facts: ModelFacts) -> tuple[Stack, ...]:
    """Return the stacks of layers that hold attentions.

    The branches of one stream are a stack. Where each sum is normalised, every branch starts a
    stream; there a stack is what stands in the same list of modules. Two attentions for each branch
    without one make a decoder that reads an encoder; else a layer has two branches.
    """
    groups: dict[str, dict[Place, bool]] = {}
    for fact in facts.in_order():
        branch = fact.branch
        if branch is not None:
            group = f"list {_list(fact.name)}" if post_norm(branch) else f"stream {branch.stream}"
            places = groups.setdefault(group, {})
            place = (branch.stream, branch.index)
            places[place] = places.get(place, False) or fact.attention is not None
    found: list[Stack] = []
    for places in groups.values():
        attentions = sum(places.values())
        if attentions:
            each = 3 if 3 * attentions == 2 * len(places) else 2
            found.append(Stack(tuple(places), each))
    return tuple(found)


def post_norm(branch: Branch) -> bool:
    """Tell whether a branch stands in a post-norm stack, where each sum starts a new stream.

    The last sum of a pre-norm stack is normalised too, after others of the same stream.
    """
    return branch.post_norm and branch.count == 1


def _list(name: str) -> str:
    """Return what stands before the first number in a name: ``"encoder.layers"``."""
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[:place])


def stack_of(found: tuple[Stack, ...], fact: ParameterFact) -> Stack | None:
    """Return the stack that a parameter stands in."""
    if fact.branch is None:
        return None
    place = (fact.branch.stream, fact.branch.index)
    return next((stack for stack in found if place in stack.places), None)


def t_fixup_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Scale values, outputs and feed-forward weights by depth and side, and the embeddings.

    Raises
    ------
    InvalidValueError
        If the model has no residual branch with an attention.
    """
    arguments = given(initializer)
    if arguments.get("side") == "embedding":
        return plain(facts, initializer)
    found = _found(facts, initializer)
    rest = initializers.get("glorot_uniform")

    def choose(stack: Stack) -> tuple[Initializer, str]:
        side: FixupSide = "decoder" if stack.decoder else "encoder"
        if arguments.get("side") == "decoder":
            side = "decoder"
        layers = whole_number(arguments, "layers", stack.layers)
        return t_fixup(layers, side), f"in a residual branch of a {layers}-layer {side}"

    decisions = _scaled(facts, initializer, found, rest, choose)
    for name, fact in facts.parameters.items():
        if fact.kind == "embedding":
            layers = whole_number(arguments, "layers", _reader(facts, fact, found).layers)
            decisions[name] = embedding(fact, t_fixup(layers, "embedding"))
    return decisions


def deepnorm_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Scale values, outputs and feed-forward weights by β; the model has to multiply skips by α.

    Raises
    ------
    InvalidValueError
        If the model has no residual branch with an attention.
    """
    arguments = given(initializer)
    found = _found(facts, initializer)
    rest = initializers.get("glorot_normal")
    depths = [stack.layers for stack in found if stack.decoder]
    decoder_layers = whole_number(arguments, "decoder_layers", max(depths, default=1))
    meant = any(post_norm(branch) for branch in branches(facts).values())

    def choose(stack: Stack) -> tuple[Initializer, str]:
        layers = whole_number(arguments, "layers", stack.layers)
        kind = _kind(arguments, stack, paired=bool(depths) and len(found) > 1)
        alpha = deepnorm_alpha(layers, kind, decoder_layers)
        other = decoder_layers if kind == "encoder" else 1
        reason = f"the model has to multiply its skips by {alpha:.6g}"
        if not meant:
            reason += ", and to normalise its sums, which it does not"
        return deepnorm(layers, kind, other), reason

    return _scaled(facts, initializer, found, rest, choose)


def _kind(arguments: dict[str, Literal], stack: Stack, *, paired: bool) -> StackKind:
    """Return the kind that was given, or that of the stack."""
    asked = arguments.get("kind")
    kinds: tuple[StackKind, ...] = ("decoder_only", "encoder", "decoder")
    for kind in kinds:
        if asked == kind:
            return kind
    if stack.decoder:
        return "decoder"
    return "encoder" if paired else "encoder_only"


def gpt2_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw everything with one std, but the last weight of a branch by the number of branches.

    Raises
    ------
    InvalidValueError
        If the model has no residual branch.
    """
    arguments = given(initializer)
    if "residual" in arguments:
        return plain(facts, initializer)
    some_branches(facts, initializer, "normal(0.02) is what is left of it")
    std = number(arguments, "std", 0.02)
    base = initializers.get(f"normal(std={std!r})")
    decisions = plain(facts, base)
    for name, fact in facts.parameters.items():
        if fact.kind == "position":
            decisions[name] = whole(fact, base, "positions")
        elif is_weight(fact) and closes(fact) and fact.branch is not None:
            count = 2 * whole_number(arguments, "layers", 0) or fact.branch.count
            scaled = initializers.get(f"normal(std={std / count**0.5!r})")
            which = "the residual branch" if count == 1 else f"one of {count} residual branches"
            decisions[name] = weight(fact, scaled, f"ends {which}")
    return decisions


def depth_scaled_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Scale the weights of the l-th layer by 1 / sqrt(l).

    Raises
    ------
    InvalidValueError
        If the model has no residual branch.
    """
    arguments = given(initializer)
    if "layer" in arguments:
        return plain(facts, initializer)
    some_branches(facts, initializer, "glorot_uniform is what is left of it")
    alpha = number(arguments, "alpha", 1.0)
    found = stacks(facts)
    decisions = plain(facts, initializers.get("glorot_uniform"))
    for name, fact in facts.parameters.items():
        if is_weight(fact) and fact.branch is not None:
            stack = stack_of(found, fact)
            layer = stack.layer(fact.branch) if stack else fact.branch.index + 1
            decisions[name] = weight(fact, depth_scaled(layer, alpha), f"in layer {layer}")
    return decisions


def _found(facts: ModelFacts, initializer: Initializer) -> tuple[Stack, ...]:
    found = stacks(facts)
    if not found:
        raise refused(initializer, _NO_ATTENTION, "expected a transformer, seen to run")
    return found


def _scaled(
    facts: ModelFacts,
    initializer: Initializer,
    found: tuple[Stack, ...],
    rest: Initializer,
    choose: Callable[[Stack], tuple[Initializer, str]],
) -> dict[str, Decision]:
    """Draw the weights of a stack's branches as chosen, queries, keys and all others from ``rest``.

    Raises
    ------
    InvalidValueError
        If a packed projection cannot be cut into queries, keys and values.
    """
    decisions = plain(facts, rest)
    for name, fact in facts.parameters.items():
        stack = stack_of(found, fact)
        if not is_weight(fact) or stack is None:
            continue
        scaled, reason = choose(stack)
        pair = {"query": rest, "key": rest}
        drawn = by_role(fact, lambda role, pair=pair, scaled=scaled: pair.get(role, scaled), reason)
        if drawn is None:
            raise refused(
                initializer,
                f"{name} packs {', '.join(fact.attention.roles if fact.attention else ())} in a "
                "way that cannot be told apart",
                "expected them one after the other along the first axis",
            )
        decisions[name] = drawn
    return decisions


def _reader(facts: ModelFacts, fact: ParameterFact, found: tuple[Stack, ...]) -> Stack:
    """Return the stack that reads an embedding: that of the first branch to run after it."""
    order = -1 if fact.order is None else fact.order
    after = (one for one in facts.in_order() if one.order is not None and one.order > order)
    return next((stack for one in after if (stack := stack_of(found, one)) is not None), found[0])
