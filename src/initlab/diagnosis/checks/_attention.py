"""Attention whose queries look at one key each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initlab.diagnosis.checks._code import number, redraw, with_rules
from initlab.diagnosis.checks._paths import is_move, makers, weights_of
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Rule
from initlab.diagnosis.layers import Layer
from initlab.models.graph import Node

# Shares of queries, of which one key has more than 0.9 of the weight.
_WARNING, _ERROR = 0.5, 0.9
_WIDE = 2.0


@dataclass(frozen=True)
class _Sharp:
    """An attention, its scores, and the projections that make them."""

    node: Node
    share: float
    std: float
    query: tuple[str, ...]
    key: tuple[str, ...]
    width: int
    scaled: bool


def has_attention(evidence: Evidence) -> bool:
    """Tell whether an attention was measured."""
    return any(True for _ in _attentions(evidence))


def _attentions(evidence: Evidence) -> Iterator[Node]:
    for node in evidence.graph.nodes:
        if node.index in evidence.run.scores or (
            node.kind == "softmax" and _weighs(evidence, node)
        ):
            yield node


def _weighs(evidence: Evidence, node: Node) -> bool:
    """Tell whether the probabilities weigh other signals, as a final softmax does not."""
    numbers = evidence.run.numbers.get(node.index)
    if numbers is None or numbers.saturated is None:
        return False
    reach = [node.index]
    for one in reach:
        for child in evidence.children[one]:
            reader = evidence.node(child)
            if reader.kind == "matmul":
                return True
            if is_move(reader) or reader.op == "masked_fill":
                reach.append(child)
    return False


def attention_finding(evidence: Evidence) -> Iterator[Finding]:
    """Yield the finding that most queries of an attention look at one key."""
    looked = (_look(evidence, node) for node in _attentions(evidence))
    sharp = [one for one in looked if one is not None]
    if not sharp:
        return
    names = list(dict.fromkeys(name for one in sharp for name in (*one.query, *one.key)))
    layers = [layer for layer in evidence.layers if layer.name in names]
    wide = [layer for layer in layers if layer.ratio > _WIDE]
    worst = max(sharp, key=lambda one: one.share)
    cause, fix = _too_wide(worst, wide) if wide else _remedy(evidence, worst, sharp)
    yield Finding(
        code="UNIT03",
        title=f"{worst.share:.0%} of the queries of an attention look at one key",
        severity="error" if worst.share > _ERROR else "warning",
        where=tuple(layer.name for layer in wide) or tuple(names) or (worst.node.module,),
        evidence={
            "saturated": number(worst.share),
            "score_std": number(worst.std),
            "expected_score_std": 1.0,
            "head_width": worst.width,
            "std": {layer.name: number(layer.std) for layer in layers},
            "expected_std": {layer.name: number(layer.parts[0].wanted) for layer in layers},
        },
        cause=cause,
        fix=fix,
        explains=frozenset({"SIG02", "SIG03", "SIG04", "SIG05", "LAYER02", "OUT01", "STEP01"}),
    )


def _too_wide(worst: _Sharp, wide: Sequence[Layer]) -> tuple[str, Fix]:
    where = [layer.name for layer in wide]
    ratio = max(layer.ratio for layer in wide)
    cause = (
        f"The projections {named(where)} have up to {math.sqrt(ratio):.3g} times the std that "
        f"their place asks for; the scores have std {worst.std:.3g} and should have about 1."
    )
    text = "Draw the projections with the std that keeps the variance of their input."
    return cause, Fix(text, redraw(wide), rules=tuple((name, "auto") for name in where))


def _remedy(evidence: Evidence, worst: _Sharp, sharp: Sequence[_Sharp]) -> tuple[str, Fix]:
    text, cause = _unscaled(worst)
    rules = _shrunk(evidence, sharp)
    code = "\n".join(with_rules([name], how) for name, how in rules)
    if not worst.scaled:
        code = f"scores = query @ key.transpose(-2, -1) / {worst.width} ** 0.5\n# or\n{code}"
    return cause, Fix(text, code, rules=tuple(rules))


def _look(evidence: Evidence, node: Node) -> _Sharp | None:
    scores = evidence.run.scores.get(node.index)
    if scores is not None:
        share, std, scaled = scores.saturated, scores.std, True
        query, key = node.parents[0], node.parents[1]
    else:
        product, scaled = _product(evidence, node)
        share = evidence.run.numbers[node.index].saturated or 0.0
        if product is None:
            return None
        numbers = evidence.numbers(product.index)
        std = math.sqrt(numbers.variance) if numbers is not None else math.nan
        query, key = product.parents[0], product.parents[-1]
    if share <= _WARNING:
        return None
    width = evidence.node(query).shape[-1] if evidence.node(query).shape else 1
    return _Sharp(
        node,
        share,
        std,
        tuple(weights_of(evidence, makers(evidence, query))),
        tuple(weights_of(evidence, makers(evidence, key))),
        int(width),
        scaled,
    )


def _product(evidence: Evidence, node: Node) -> tuple[Node | None, bool]:
    """Return the product of queries and keys before a softmax, and whether it is scaled."""
    index, scaled = node.parents[0], False
    while True:
        one = evidence.node(index)
        if one.kind == "matmul":
            before = [evidence.node(parent) for parent in one.parents]
            return one, scaled or any(_scales(evidence, each) for each in before)
        if not one.parents:
            return None, scaled
        scaled |= one.op in {"mul", "div"}
        index = one.parents[0]


def _scales(evidence: Evidence, node: Node) -> bool:
    """Tell whether a signal was multiplied by a number since its layer."""
    while node.parents and (node.kind == "shape" or node.op in {"mul", "div", "add"}):
        if node.op in {"mul", "div"} and len(node.parents) == 1:
            return True
        node = evidence.node(node.parents[0])
    return False


def _unscaled(worst: _Sharp) -> tuple[str, str]:
    """Return what to do, and why, where the projections themselves are not too wide."""
    std = f"have std {worst.std:.3g} and should have about 1"
    if worst.scaled:
        text = "Normalise what the projections read, or draw them smaller."
        return text, f"What the projections read is large: the scores {std}."
    text = (
        "Divide the scores by the root of the head's width, or draw the query projection smaller "
        "by as much."
    )
    cause = (
        f"The scores are dot products over {worst.width} features that are not divided by "
        f"sqrt({worst.width}) = {worst.width**0.5:.3g}; they {std}."
    )
    return text, cause


def _shrunk(evidence: Evidence, sharp: Sequence[_Sharp]) -> list[Rule]:
    """Return rules that make the scores' std 1: all on the query where it has its own weight."""
    rules: dict[str, str] = {}
    for one in sharp:
        alone = [name for name in one.query if name not in one.key]
        chosen = alone or list(one.query)
        for layer in evidence.layers:
            if layer.name in chosen and one.std > 0:
                power = 2 if alone else 1
                part = layer.parts[0]
                scale = part.fan_in * part.std**2 / one.std**power
                rules[layer.name] = f"variance_scaling(scale={float(f'{scale:.4g}')!r})"
    return list(rules.items())
