"""OUT03: an embedding that is the output layer too, or a head of its size, is drawn too wide."""

from __future__ import annotations

import math
from collections.abc import Iterator

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number, with_rules
from initlab.diagnosis.checks._heads import Head, heads, scores
from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding, Fix, Rule, Severity

# Std of the logits: of 1, they cost half a nat; of 3, four and a half.
_WIDE, _ERROR = 3.0, 8.0
# Times ln V.
_LOSS = 3.0
# A head is to blame if its own std is so many times that of logits of variance 1.
_OWN = 2.0


def _over_tokens(evidence: Evidence) -> list[Head]:
    """Return the output layers that are an embedding's table, or have the shape of one."""
    tables = {fact.shape for fact in evidence.of_kind("embedding")}
    return [
        head
        for head in heads(evidence)
        if head.weight.kind == "embedding"
        or any(evidence.facts.parameters[head.weight.name].tied)
        or (head.weight.shape in tables and len(head.weight.shape) == 2)
    ]


def _applies(evidence: Evidence) -> bool:
    return bool(_over_tokens(evidence))


def _find(evidence: Evidence) -> Iterator[Finding]:
    for head in _over_tokens(evidence):
        std = _spread(evidence, head)
        width = head.weight.shape[-1]
        own = float(evidence.values[head.weight.name].float().square().mean().sqrt())
        if std > _WIDE and own * math.sqrt(width) > _OWN:
            yield _finding(evidence, head, std, own)
            return


def _spread(evidence: Evidence, head: Head) -> float:
    """Return the std of the output over the tokens, after whatever scales it."""
    loss = evidence.run.loss
    told = scores(loss) if loss is not None else None
    if told is not None:
        return told.std
    numbers = evidence.numbers(head.end)
    if numbers is None or numbers.unit_mean.numel() != head.weight.shape[0]:
        numbers = evidence.numbers(head.node)
    return math.sqrt(numbers.variance) if numbers is not None else math.nan


def _severity(evidence: Evidence, head: Head, std: float) -> Severity:
    name = head.weight.name
    trained = dict(evidence.model.named_parameters(remove_duplicate=False)).get(name)
    if name in evidence.pretrained or (trained is not None and not trained.requires_grad):
        return "note"
    told = scores(evidence.run.loss)
    loses = told is not None and told.excess + told.uniform > _LOSS * told.uniform
    return "error" if std > _ERROR or loses else "warning"


def _finding(evidence: Evidence, head: Head, std: float, own: float) -> Finding:
    fact = head.weight
    tokens, width = fact.shape[0], fact.shape[-1]
    tied = fact.kind == "embedding" or bool(fact.tied)
    told = scores(evidence.run.loss)
    what = "an embedding that is the output layer too" if tied else "an output layer over tokens"
    numbers = {
        "std": number(own),
        "expected_std": number(width**-0.5),
        "logit_std": number(std),
        "tokens": tokens,
        "width": width,
    }
    costs = ""
    if told is not None:
        numbers |= {"loss": number(told.loss), "uniform_guess": number(told.uniform)}
        costs = f"; the loss starts at {told.loss:.3g} where ln {tokens} = {told.uniform:.3g}"
    rules = _rules(evidence, head, tied=tied)
    wanted = _tied_std(tokens, width) if tied else width**-0.5
    return Finding(
        code="OUT03",
        title=(
            f"logits start with a std of {std:.3g}: the head is drawn "
            f"{own * width**0.5:.3g} times too wide"
        ),
        severity=_severity(evidence, head, std),
        where=(fact.name,),
        evidence=numbers,
        cause=(
            f"{fact.name}, {what}, has entries of std {own:.3g}. A normalised signal of width "
            f"{width} times that gives logits of std {std:.3g}{costs}."
        ),
        fix=Fix(
            f"Draw it with std {wanted:.3g}, which gives logits of std 1 at most.",
            "\n".join(
                [
                    *each([fact.name], f"nn.init.normal_({{}}, std={wanted:.3g})"),
                    *(with_rules([name], how) for name, how in rules[1:]),
                ]
            ),
            rules=rules,
        ),
        explains=frozenset(
            {"OUT01", "LAYER02", "SIG01", "SIG02", "SIG03", "SIG04", "UNIT03", "STEP01"}
        ),
    )


def _rules(evidence: Evidence, head: Head, *, tied: bool) -> tuple[Rule, ...]:
    """Return the rules; positions that are added to a smaller table get smaller as well."""
    name = head.weight.name
    if not tied:
        return ((name, "auto"),)
    own = set(evidence.uses.get(name, ()))
    sums = {child for node in own for child in evidence.children[node]}
    beside = [
        fact.name
        for fact in evidence.of_kind("embedding")
        if fact.name != name
        and _std_of(evidence, fact.name) > _OWN * head.weight.shape[-1] ** -0.5
        and any(
            evidence.node(child).op == "add" and child in sums
            for node in evidence.uses.get(fact.name, ())
            for child in evidence.children[node]
        )
    ]
    std = _tied_std(*head.weight.shape)
    return ((name, f"normal(std={std:.3g})"), *((one, "auto") for one in beside))


def _tied_std(tokens: int, width: int) -> float:
    """Return 1 / √width, or less where each token would then be sure to come next itself.

    Behind a final normalisation, a token's own row gives it the logit width · std.
    """
    return min(width**-0.5, 0.75 * math.log(tokens) / width)


def _std_of(evidence: Evidence, name: str) -> float:
    return float(evidence.values[name].float().square().mean().sqrt())


CHECK = Check("OUT03", "An embedding or tied head is too wide for its use", _applies, _find)
