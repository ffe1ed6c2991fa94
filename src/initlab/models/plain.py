"""One initialiser for every weight: what a catalogue name means for each kind of parameter."""

from __future__ import annotations

from dataclasses import replace

from initlab import initializers
from initlab.initializers import Elementwise, Initializer
from initlab.initializers.orthogonal import GateOrthogonal, Orthogonal
from initlab.initializers.scales import Fixed
from initlab.models.assignment import Assignment, Decision, Kept, Piece
from initlab.models.facts import WEIGHT_KINDS, ModelFacts, ParameterFact


def plain(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw every weight from the initialiser; give the other parameters their neutral values.

    Biases start at 0, normalisation at 1 and 0. Embeddings sum nothing, so a rule that follows the
    fans does not concern them: they are drawn as ``embedding``, or, where tied to the output, as
    ``tied_embedding``. One size for all, such as ``normal(std=0.02)``, is theirs as well.
    """
    return {name: decide(fact, initializer) for name, fact in facts.parameters.items()}


def decide(fact: ParameterFact, initializer: Initializer, why: str = "") -> Decision:
    """Decide about one parameter, as :func:`plain` does."""
    if fact.kind in WEIGHT_KINDS:
        return weight(fact, initializer, why or "a weight")
    if fact.kind in NEUTRAL:
        return neutral(fact)
    if fact.kind == "embedding":
        sized = isinstance(initializer.scale, Fixed) and isinstance(
            initializer.distribution, Elementwise
        )
        return embedding(fact, initializer if sized else None)
    return Kept(fact.name, f"its part in the model ({fact.kind}) is none that a rule is known for")


NEUTRAL = {
    "bias": ("zeros", "a bias"),
    "norm_scale": ("ones", "scale of a normalisation"),
    "norm_shift": ("zeros", "shift of a normalisation"),
    "slope": ("constant(0.25)", "slope of a PReLU"),
}


def neutral(fact: ParameterFact) -> Assignment:
    """Give a bias, a normalisation's scale or shift, or a slope the value that changes nothing.

    A scale that the model keeps as its distance from 1 gets 0.
    """
    text, reason = NEUTRAL[fact.kind]
    if fact.kind == "norm_scale" and fact.offset:
        text = "zeros" if fact.offset == 1 else f"constant({1 - fact.offset!r})"
        reason += f", to which the model adds {fact.offset:g}"
    return whole(fact, initializers.get(text), reason)


def weight(fact: ParameterFact, initializer: Initializer, reason: str) -> Assignment:
    """Draw each part of a weight by itself, with its own fans."""
    roles = len(fact.attention.roles) if fact.attention and fact.input_first else 1
    if roles > 1 and isinstance(initializer.distribution, Orthogonal):
        # Packed along the columns of (in, out): parts are no rows, but turned they are gates.
        initializer = replace(initializer, distribution=GateOrthogonal(roles))
    swapped = fact.input_first or (fact.kind == "transposed_convolution" and fact.groups == 1)
    pieces = tuple(
        Piece(initializer, part.start, part.stop, part.fans, swapped=swapped) for part in fact.parts
    )
    return Assignment(fact.name, pieces, reason)


def whole(fact: ParameterFact, initializer: Initializer, reason: str) -> Assignment:
    """Draw a parameter as one piece, whatever it is made of."""
    rows = fact.shape[0] if fact.shape else 1
    fans = fact.fans if len(fact.parts) == 1 else None
    return Assignment(fact.name, (Piece(initializer, 0, rows, fans),), reason)


def embedding(fact: ParameterFact, initializer: Initializer | None = None) -> Assignment:
    """Draw an embedding; its padding row stays 0."""
    tied = bool(fact.tied) or fact.output
    initializer = initializer or initializers.get("tied_embedding" if tied else "embedding")
    reason = "an embedding, tied to the output" if tied else "an embedding"
    rows, padding = fact.shape[0], fact.padding
    if padding is None:
        return Assignment(fact.name, (Piece(initializer, 0, rows, fact.fans),), reason)
    pieces = (
        Piece(initializer, 0, padding, fact.fans),
        Piece(initializers.get("zeros"), padding, padding + 1),
        Piece(initializer, padding + 1, rows, fact.fans),
    )
    kept = tuple(piece for piece in pieces if piece.stop > piece.start)
    return Assignment(fact.name, kept, f"{reason}; the padding row stays 0")
