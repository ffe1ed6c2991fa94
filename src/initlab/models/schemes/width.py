"""muP on a model: starts and learning rates by how each weight grows with the width."""

from __future__ import annotations

from dataclasses import replace

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.initializers import Initializer
from initlab.initializers._arguments import count
from initlab.initializers.mup import Optimizer, WidthKind, mup, mup_learning_rate
from initlab.models.assignment import Decision
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.plain import embedding, plain, weight
from initlab.models.schemes._common import (
    given,
    is_readout,
    is_weight,
    number,
    of_output,
    refused,
)

_VECTORS = {"bias", "norm_scale", "norm_shift", "embedding", "position"}


def mup_scheme(facts: ModelFacts, initializer: Initializer) -> dict[str, Decision]:
    """Draw hidden and input weights by their fan-in, readouts by that and the base width.

    Raises
    ------
    InvalidValueError
        If a base width is given and the model has no readout, and so no width.
    """
    arguments = given(initializer)
    if "kind" in arguments:
        return plain(facts, initializer)
    base, gain = arguments.get("base_width"), number(arguments, "gain", 1.0)
    zero = arguments.get("zero") is True
    if isinstance(base, int) and model_width(facts) is None:
        raise refused(
            initializer,
            "no output layer was seen in it, so its width is not known",
            "leave base_width out: only readouts start differently for it",
        )
    decisions = plain(facts, initializers.get("lecun_normal"))
    for name, fact in facts.parameters.items():
        if isinstance(base, int) and fact.kind == "embedding" and (fact.output or fact.tied):
            decisions[name] = _tied(facts, fact, base)
        if not is_weight(fact):
            continue
        kind = width_kind(facts, fact)
        width = _readout_base(facts, fact, base) if kind == "readout" else None
        chosen = mup(kind, width, gain, zero=zero and kind == "readout")
        learning = (
            "" if not isinstance(base, int) else "; its learning rate has a factor of its own"
        )
        decisions[name] = weight(fact, chosen, f"{_article(kind)} weight{learning}")
    return decisions


def _tied(facts: ModelFacts, fact: ParameterFact, base: int) -> Decision:
    """Draw an embedding that is the output layer too: as large at every width as in the base."""
    drawn = embedding(fact, initializers.get(f"embedding(std={base**-0.5!r})"))
    factor = base / (model_width(facts) or base)
    reason = f"{drawn.reason}; the model has to multiply its logits by {factor:.6g}"
    return replace(drawn, reason=reason)


def _article(kind: WidthKind) -> str:
    return f"an {kind}" if kind == "input" else f"a {kind}"


def _readout_base(facts: ModelFacts, fact: ParameterFact, base: object) -> int | None:
    """Return the fan-in of a readout in the base model."""
    width = model_width(facts)
    if not isinstance(base, int) or width is None or fact.fans is None:
        return None
    return max(round(fact.fans.fan_in * base / width), 1)


def width_kind(facts: ModelFacts, fact: ParameterFact) -> WidthKind:
    """Tell how a weight grows with the model's width.

    A weight that computes the output grows by its inputs alone. One that runs before all others,
    with no embedding before it, reads the data and grows by its outputs alone. The rest is hidden.
    """
    if is_readout(fact):
        return "readout"
    first = next(
        (one for one in facts.in_order() if is_weight(one) or one.kind == "embedding"), None
    )
    return "input" if first is not None and first.name == fact.name else "hidden"


def model_width(facts: ModelFacts) -> int | None:
    """Return the width of the signal that the output layer reads; None if none was seen."""
    for fact in reversed(facts.in_order()):
        if is_readout(fact) and fact.fans is not None:
            return int(fact.fans.fan_in)
    for fact in facts.parameters.values():
        if fact.kind == "embedding" and (fact.output or fact.tied):
            return fact.shape[1]
    return None


def mup_learning_rates(
    facts: ModelFacts, base_width: int, optimizer: Optimizer = "adam"
) -> dict[str, float]:
    """Return what the base model's learning rate is multiplied by, for each parameter.

    Parameters
    ----------
    facts
        The model, as read by :mod:`initlab.models`.
    base_width
        Width of the base model: of the signal that its output layer reads. All other widths are
        taken to have grown by the same ratio.
    optimizer
        ``"sgd"``, or ``"adam"`` for any that normalises each entry's gradient.

    Returns
    -------
    dict
        One factor for each parameter. An embedding that is the output layer too counts as an
        embedding: its logits need the factor 1 / ratio in the forward pass.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, or the model has no output layer to tell its width.
    """
    base_width = count("base_width", base_width)
    width = model_width(facts)
    if width is None:
        raise InvalidValueError(
            "the model's width is not known: no output layer was seen; expected a model that was "
            "traced with an input"
        )
    ratio = width / base_width
    return {
        name: _learning_rate(facts, fact, ratio, optimizer)
        for name, fact in facts.parameters.items()
    }


def _learning_rate(
    facts: ModelFacts, fact: ParameterFact, ratio: float, optimizer: Optimizer
) -> float:
    if is_weight(fact):
        kind = width_kind(facts, fact)
        into, out = (1.0 if kind == "input" else ratio), (1.0 if kind == "readout" else ratio)
        return mup_learning_rate(kind, optimizer, into=into, out=out)
    grows = fact.kind in _VECTORS and not of_output(facts, fact)
    return mup_learning_rate("input", optimizer, into=1.0, out=ratio if grows else 1.0)
