"""WIDTH01: activations grow or shrink with the width, at the start or in the first steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Rule
from initlab.diagnosis.widths import Coordinates, Trend
from initlab.models.schemes.width import width_kind

# Steepest slope of log rms against log width that is taken for none.
_STEEP = 0.25


def _applies(evidence: Evidence) -> bool:
    return evidence.coordinates is not None


def _find(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.coordinates
    if found is None:
        return
    ends = {fact.module for fact in evidence.facts.parameters.values() if fact.output}
    start = [
        one
        for one in found.start
        if one.leans(_STEEP) and not (one.slope < 0 and one.module in ends)
    ]
    change = [one for one in found.change if one.leans(_STEEP)]
    if start or change:
        yield _finding(evidence, found, _with_weights(start), _with_weights(change))


def _with_weights(trends: Sequence[Trend]) -> list[Trend]:
    """Leave out the modules that only pass on what a layer before them gives."""
    return [one for one in trends if one.weights] or list(trends)


def _finding(
    evidence: Evidence, found: Coordinates, start: list[Trend], change: list[Trend]
) -> Finding:
    where = tuple(dict.fromkeys(one.module or "the model" for one in (*start, *change)))
    steepest = max((*start, *change), key=lambda one: abs(one.slope))
    what = "size" if steepest in start else "change"
    return Finding(
        code="WIDTH01",
        title=(
            f"the {what} of {steepest.module or 'the output'} goes with width to the power of "
            f"{steepest.slope:.2g}"
        ),
        severity="warning",
        where=where,
        evidence={
            "widths": list(found.widths),
            "steps": found.steps,
            "optimizer": found.optimizer,
            "slope_at_start": {one.module: number(one.slope) for one in start},
            "slope_of_change": {one.module: number(one.slope) for one in change},
            "standard_error": number(steepest.error),
            "sizes": {str(width): number(size) for width, size in steepest.sizes.items()},
        },
        cause=_cause(found, start, change),
        fix=_fix(evidence, found, start, change),
    )


def _cause(found: Coordinates, start: Sequence[Trend], change: Sequence[Trend]) -> str:
    words: list[str] = []
    if start:
        words.append(
            f"At the start, {named([_told(one) for one in start])}: the std of the weights does "
            "not follow the fan-in."
        )
    if change:
        words.append(
            f"In {found.steps} steps of {found.optimizer}, the change of "
            f"{named([_told(one) for one in change])}: a learning rate found at one width does "
            "not hold for another."
        )
    return " ".join(words)


def _told(one: Trend) -> str:
    return f"{one.module or 'the output'} goes with width^{one.slope:.2g}"


def _fix(
    evidence: Evidence, found: Coordinates, start: Sequence[Trend], change: Sequence[Trend]
) -> Fix:
    base = found.widths[0]
    sgd = found.optimizer.startswith(("sgd", "momentum"))
    rule = "sgd" if sgd else "adam"
    lines = [f'initlab.initialize(model, "mup(base_width={base})", seed=0)']
    text = f"Start as muP says, with the narrowest width, {base}, as base."
    if change:
        times = (
            "times r for input weights and biases and 1 / r for the output layer"
            if sgd
            else "times 1 / r for hidden weights and the output layer"
        )
        text = (
            f"Start as muP says and give each weight its own learning rate, {times}, r the width "
            f"over {base}; weights alone do not clear this."
        )
        lines += [
            "from initlab.models.schemes import mup_learning_rates",
            "from initlab.models.walk import walk",
            f'times = mup_learning_rates(walk(model).facts, base_width={base}, optimizer="{rule}")',
            "groups = [{'params': [model.get_parameter(name)], 'lr': lr * factor}",
            "          for name, factor in times.items()]",
        ]
    return Fix(text, "\n".join(lines), rules=tuple(_rules(evidence, start, base)))


def _rules(evidence: Evidence, start: Sequence[Trend], base: int) -> Iterator[Rule]:
    """Yield the weights whose size at the start goes with the width, and what muP draws."""
    for one in start:
        for name in one.weights:
            fact = evidence.facts.parameters.get(evidence.canonical.get(name, ""))
            if fact is None or fact.kind == "embedding" or fact.fans is None:
                continue
            kind = width_kind(evidence.facts, fact)
            extra = f", base_width={base}" if kind == "readout" else ""
            yield (fact.name, f"mup(kind='{kind}'{extra})")


CHECK = Check("WIDTH01", "Activations grow or shrink with the width", _applies, _find)
