"""OUT01: the loss at the start is far above that of a uniform guess."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number
from initlab.diagnosis.checks._heads import (
    Head,
    Scores,
    heads,
    scores,
    sources,
    spread_over_classes,
)
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Rule, Severity
from initlab.models.facts import WEIGHT_KINDS

# Nats above ln C. Scores of variance 1 cost 1/2.
_EXCESS = 1.0
# Times ln C.
_ERROR = 3.0
# By so much the scores' variance may differ from 1 for "auto" to be the remedy.
_NEAR = 3.0


def _applies(evidence: Evidence) -> bool:
    return scores(evidence.run.loss) is not None and bool(heads(evidence) or sources(evidence))


def _find(evidence: Evidence) -> Iterator[Finding]:
    found = scores(evidence.run.loss)
    if found is None or not math.isfinite(found.loss) or not math.isfinite(found.std):
        return
    if found.excess - 2 * found.error <= _EXCESS:
        return
    layers = heads(evidence)
    if not layers:
        yield _of_factors(evidence, found)
        return
    biases = _biases(evidence, layers, found)
    yield _of_bias(evidence, found, biases) if biases else _of_weight(evidence, found, layers)


def _biases(evidence: Evidence, layers: Sequence[Head], found: Scores) -> list[str]:
    """Return the output biases that make most of the scores' spread."""
    return [
        head.bias.name
        for head in layers
        if head.bias is not None
        and spread_over_classes(evidence.values[head.bias.name]) ** 2 > found.std**2 / 2
    ]


def _severity(evidence: Evidence, found: Scores, names: Sequence[str]) -> Severity:
    held = evidence.facts.parameters
    meant = all(name in evidence.pretrained for name in names) or not any(
        parameter.requires_grad
        for name, parameter in evidence.model.named_parameters()
        if any(name in held[one].stored or name in held[one].names for one in names)
    )
    if meant:
        return "note"
    return "error" if found.excess + found.uniform > _ERROR * found.uniform else "warning"


def _numbers(found: Scores) -> dict[str, object]:
    return {
        "loss": number(found.loss),
        "uniform_guess": number(found.uniform),
        "classes": found.classes,
        "logit_std": number(found.std),
        "wanted_logit_std": 1.0,
        "logits_too_large_by": number(found.std),
    }


def _title(found: Scores) -> str:
    guess = f"ln {found.classes} = {found.uniform:.3g}"
    return f"the loss starts at {found.loss:.3g}, a uniform guess has {guess}"


def _of_bias(evidence: Evidence, found: Scores, names: Sequence[str]) -> Finding:
    severity = _severity(evidence, found, names)
    return Finding(
        code="OUT01",
        title=_title(found),
        severity=severity,
        where=tuple(names),
        evidence=_numbers(found),
        cause=(
            f"The output's bias, {named(names)}, prefers some classes before anything is learned: "
            f"it makes most of the logits' std of {found.std:.3g}. The first steps only undo that."
        ),
        fix=Fix(
            "Start the output's bias at 0, or at the log frequencies of the classes.",
            "\n".join(each(names, "nn.init.zeros_({})")),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset({"OUT02", "STEP01"}),
    )


def _of_weight(evidence: Evidence, found: Scores, layers: Sequence[Head]) -> Finding:
    names = list(dict.fromkeys(head.weight.name for head in layers))
    return Finding(
        code="OUT01",
        title=_title(found),
        severity=_severity(evidence, found, names),
        where=tuple(names),
        evidence=_numbers(found),
        cause=(
            f"The logits of {named(names)} have a std of {found.std:.3g}, {found.std:.3g} times "
            "what keeps the first guess open: the model starts sure of random answers, and "
            "the first steps only shrink its logits."
        ),
        fix=Fix(
            f"Draw the output layer smaller, by {found.std:.3g}, so that the logits have a std "
            "of 1 or less.",
            "\n".join(
                line for one in names for line in each([one], _smaller(evidence, found, one))
            ),
            rules=tuple(_rule(evidence, found, head) for head in layers),
        ),
        explains=frozenset({"STEP01"}),
    )


def _of_factors(evidence: Evidence, found: Scores) -> Finding:
    names = sources(evidence)
    return Finding(
        code="OUT01",
        title=_title(found),
        severity=_severity(evidence, found, names),
        where=names,
        evidence=_numbers(found),
        cause=(
            f"The logits have a std of {found.std:.3g}, {found.std:.3g} times what keeps the first "
            f"guess open; they are last computed with {named(names)}."
        ),
        fix=Fix(f"Divide the logits by {found.std:.3g}: start {named(names)} smaller."),
        explains=frozenset({"STEP01"}),
    )


def _std(evidence: Evidence, found: Scores, name: str) -> float:
    value = evidence.values[name]
    return float(value.float().square().mean().sqrt()) / found.std


def _smaller(evidence: Evidence, found: Scores, name: str) -> str:
    return f"nn.init.normal_({{}}, std={_std(evidence, found, name):.3g})"


def _rule(evidence: Evidence, found: Scores, head: Head) -> Rule:
    """Return the rule of the model's place where that gives logits of variance about 1."""
    name = head.weight.name
    new = _std(evidence, found, name)
    wanted = next((one.parts[0].wanted for one in evidence.layers if one.name == name), 0.0)
    if head.weight.kind in WEIGHT_KINDS and wanted > 0 and wanted < new * math.sqrt(_NEAR):
        return (name, "auto")
    return (name, f"normal(std={new:.4g})")


CHECK = Check(
    "OUT01",
    "The loss at the start is far above that of a uniform guess",
    _applies,
    _find,
)
