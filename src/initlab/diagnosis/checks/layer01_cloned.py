"""LAYER01: sibling layers that start with the very same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each
from initlab.diagnosis.checks._paths import trains
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Rule
from initlab.models.facts import WEIGHT_KINDS, ParameterFact

# Entries that are compared before the whole is, and looked at to tell numbers that were drawn.
_FIRST, _LOOK = 8, 1024
# Fewer different ones make a pattern: identity, Hadamard, one constant.
_DIFFERENT = 0.25
_MANY = 128
_FEWEST = 4


def _applies(evidence: Evidence) -> bool:
    shapes: set[tuple[int, ...]] = set()
    for fact in _candidates(evidence):
        if fact.shape in shapes:
            return True
        shapes.add(fact.shape)
    return False


def _candidates(evidence: Evidence) -> Iterator[ParameterFact]:
    """Yield the weights that are trained: copies that are not follow the others by intent."""
    for fact in evidence.facts.in_order():
        value = evidence.values[fact.name]
        usable = not value.is_meta and value.is_floating_point() and value.numel() >= _FEWEST
        if fact.kind not in WEIGHT_KINDS or not usable or not trains(evidence, fact):
            continue
        if evidence.has_gradients() and evidence.gradient(fact.name) is None and not fact.sources:
            continue
        yield fact


def _find(evidence: Evidence) -> Iterator[Finding]:
    groups = list(_same(evidence))
    if not groups:
        return
    modules = list(dict.fromkeys(name for group in groups for name in _siblings(group)))
    copies = [name for group in groups for name in group[1:]]
    trained = all(name in evidence.pretrained for name in copies)
    first = groups[0]
    yield Finding(
        code="LAYER01",
        title=f"{len(modules)} layers start with the very same numbers: {named(modules)}",
        severity="note" if trained else "warning",
        where=tuple(modules),
        evidence={
            "identical_weights": len(copies) + len(groups),
            "distinct_weights": len(groups),
            "entries": sum(evidence.values[group[0]].numel() for group in groups),
            "first_group": list(first),
        },
        cause=(
            f"The weights of {named(modules)} are equal to the last bit: they were copied from one "
            "layer (copy.deepcopy, as nn.TransformerEncoder does), or drawn with one seed each. "
            "What such layers learn first is the same."
        ),
        fix=Fix(
            "Draw all but the first anew, of the same size, each from its own random numbers.",
            _code(evidence, copies),
            rules=tuple(_own(evidence, name) for name in copies),
        ),
        explains=frozenset({"SIG05"}),
    )


def _code(evidence: Evidence, names: Sequence[str]) -> str:
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(f"{_std(evidence, name):.4g}", []).append(name)
    lines = (each(group, f"nn.init.normal_({{}}, std={std})") for std, group in alike.items())
    return "\n".join(line for group in lines for line in group)


def _std(evidence: Evidence, name: str) -> float:
    return float(evidence.values[name].double().square().mean().sqrt())


def _own(evidence: Evidence, name: str) -> Rule:
    """Return the rule that gives a weight numbers of its own, of the size that it has."""
    return name, f"normal(std={_std(evidence, name):.4g})"


def _same(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    """Yield the weights that are equal to the last bit, in execution order."""
    heads: dict[tuple[object, ...], list[str]] = {}
    for fact in _candidates(evidence):
        value = evidence.values[fact.name]
        key = (tuple(value.shape), value.dtype, str(value.device), *_head(value))
        heads.setdefault(key, []).append(fact.name)
    for names in heads.values():
        left = list(names)
        while len(left) > 1:
            base = evidence.values[left[0]]
            group = [name for name in left if torch.equal(evidence.values[name], base)]
            group = group or left[:1]
            if len(group) > 1 and _is_drawn(base):
                yield tuple(group)
            left = [name for name in left if name not in group]


def _head(value: Tensor) -> list[float]:
    """Return a few entries, from all over: different weights differ in them already."""
    flat = value.reshape(-1)
    step = max(flat.numel() // _FIRST, 1)
    return flat[::step][:_FIRST].double().tolist()


def _is_drawn(value: Tensor) -> bool:
    """Tell whether the entries look random: hardly any two are equal, in size."""
    flat = value.reshape(-1)
    step = max(flat.numel() // _LOOK, 1)
    sample = flat[::step][:_LOOK].abs()
    different = int(torch.unique(sample).numel())
    return different >= _FEWEST and (different > _MANY or different > _DIFFERENT * sample.numel())


def _siblings(names: Sequence[str]) -> list[str]:
    """Return the modules, or parameters, at the level where the names first differ."""
    split = [name.split(".") for name in names]
    level = next(
        (place for place, parts in enumerate(zip(*split, strict=False)) if len(set(parts)) > 1),
        min(map(len, split)) - 1,
    )
    return list(dict.fromkeys(".".join(parts[: level + 1]) for parts in split))


CHECK = Check("LAYER01", "Sibling layers start with the very same numbers", _applies, _find)
