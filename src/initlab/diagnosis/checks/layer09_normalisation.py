"""LAYER09: normalisations that start away from the identity, padding rows that are not 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number, with_rules
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.samples import measured
from initlab.models.facts import ParameterFact
from initlab.models.residual import is_norm

# Spread of a scale over its mean, and of a shift beside the normalised std of 1. N(1, 0.02), as in
# DCGAN, is well below.
_SPREAD = 0.1
_FEWEST = 4


@dataclass(frozen=True)
class _Norm:
    fact: ParameterFact
    mean: float
    spread: float


def _applies(evidence: Evidence) -> bool:
    return bool(_norms(evidence) or _padded(evidence))


def _norms(evidence: Evidence) -> list[ParameterFact]:
    """Return the scales and shifts of normalisations, those that are written by hand as well."""
    return [
        fact
        for fact in evidence.of_kind("norm_scale", "norm_shift", "scale")
        if fact.kind != "scale" or _scales_a_norm(evidence, fact)
    ]


def _scales_a_norm(evidence: Evidence, fact: ParameterFact) -> bool:
    for index in evidence.uses.get(fact.name, ()):
        node = evidence.node(index)
        while node.parents:
            node = evidence.node(node.parents[0])
            if node.kind != "shape":
                break
        if is_norm(evidence.graph, node):
            return True
    return False


def _padded(evidence: Evidence) -> list[ParameterFact]:
    return [fact for fact in evidence.of_kind("embedding") if fact.padding is not None]


def _find(evidence: Evidence) -> Iterator[Finding]:
    facts = _norms(evidence)
    if not evidence.pretrained:
        found = [one for fact in facts if (one := _random(evidence, fact)) is not None]
        if found:
            found.sort(key=lambda one: one.fact.kind == "norm_shift")
            yield _norm_finding(found)
        rows = [fact for fact in _padded(evidence) if _padding_norm(evidence, fact) > 0]
        if rows:
            yield _padding_finding(evidence, rows)


def _random(evidence: Evidence, fact: ParameterFact) -> _Norm | None:
    """Return what a scale or shift is like, if its entries were drawn at random."""
    value = evidence.values[fact.name].float().reshape(-1)
    if value.numel() < _FEWEST or not bool(value.isfinite().all()):
        return None
    mean, spread = float(value.mean()) + fact.offset, float(value.std(unbiased=False))
    size = abs(mean) if fact.kind != "norm_shift" else 1.0
    # Blocks of one number each are somebody's choice.
    if spread <= _SPREAD * size or value.unique().numel() <= value.numel() // 2:
        return None
    if fact.kind == "norm_shift" and spread <= _SPREAD:
        return None
    return _Norm(fact, mean, spread)


def _norm_finding(found: Sequence[_Norm]) -> Finding:
    names = tuple(one.fact.name for one in found)
    first = found[0]
    scales = [one for one in found if one.fact.kind != "norm_shift"]
    shown = "γ" if scales else "β"
    meant = 1 if scales else 0
    return Finding(
        code="LAYER09",
        title=(
            f"{shown} of a normalisation is random, mean {first.mean:.2g} and spread "
            f"{first.spread:.2g}, instead of {meant}"
        ),
        severity="warning",
        where=names,
        evidence={
            "mean": {one.fact.name: number(one.mean) for one in found},
            "spread": {one.fact.name: number(one.spread) for one in found},
            "expected": {
                one.fact.name: 1.0 if one.fact.kind != "norm_shift" else 0.0 for one in found
            },
        },
        cause=(
            f"{named(names)} {'was' if len(names) == 1 else 'were'} drawn at random, as a weight "
            "is: what the normalisation has made equal is scaled apart again, or made small."
        ),
        fix=Fix(
            "Start normalisations at scale 1 and shift 0.",
            _code(found),
            rules=tuple((one.fact.name, _neutral(one.fact)) for one in found),
        ),
        explains=frozenset(
            {"SIG01", "SIG02", "SIG03", "SIG04", "LAYER06", "OUT01", "UNIT03", "STEP01"}
        ),
    )


def _code(found: Sequence[_Norm]) -> str:
    groups: dict[str, list[str]] = {}
    for one in found:
        groups.setdefault(_neutral(one.fact), []).append(one.fact.name)
    return "\n".join(
        line for text, held in groups.items() for line in each(held, f"nn.init.{_function(text)}")
    )


def _neutral(fact: ParameterFact) -> str:
    if fact.kind == "norm_shift":
        return "zeros"
    return {0.0: "ones", 1.0: "zeros"}.get(fact.offset, f"constant({1 - fact.offset!r})")


def _function(text: str) -> str:
    named_ = {"ones": "ones_({})", "zeros": "zeros_({})"}
    return named_.get(text) or f"constant_({{}}, {text[9:-1]})"


def _padding_norm(evidence: Evidence, fact: ParameterFact) -> float:
    return float(_row(evidence, fact).float().norm())


def _row(evidence: Evidence, fact: ParameterFact) -> Tensor:
    return evidence.values[fact.name][fact.padding]


def _padding_finding(evidence: Evidence, facts: Sequence[ParameterFact]) -> Finding:
    names = tuple(fact.name for fact in facts)
    norms = {fact.name: number(_padding_norm(evidence, fact)) for fact in facts}
    first = facts[0]
    rules = tuple((fact.name, _as_it_is(evidence, fact)) for fact in facts)
    lines = [line for fact in facts for line in each([fact.name], f"    {{}}[{fact.padding}] = 0")]
    return Finding(
        code="LAYER09",
        title=f"padding row {first.padding} is not 0 but has norm {norms[first.name]}",
        severity="warning",
        where=names,
        evidence={"padding_row": {fact.name: fact.padding for fact in facts}, "norm": norms},
        cause=(
            f"{named(names)} was drawn anew after nn.Embedding had set its padding row to 0. The "
            "row gets no gradient, so padding carries this signal for ever."
        ),
        fix=Fix(
            "Set the padding row back to 0 after the weights are drawn.",
            "\n".join(["with torch.no_grad():", *lines]) if lines else with_rules(names),
            rules=rules,
        ),
    )


def _as_it_is(evidence: Evidence, fact: ParameterFact) -> str:
    """Return the initialiser that draws the other rows as they are; the padding row gets 0."""
    value = evidence.values[fact.name]
    rest = value[fact.padding + 1 :] if fact.padding == 0 else value
    sample = measured(rest)
    if sample.distribution == "uniform":
        return f"uniform(bound={float(f'{sample.largest:.3g}')!r})"
    std = float(f"{sample.std:.3g}")
    return f"normal(std={std!r})" if std > 0 else "embedding"


CHECK = Check("LAYER09", "Normalisation not at identity, or padding row not zero", _applies, _find)
