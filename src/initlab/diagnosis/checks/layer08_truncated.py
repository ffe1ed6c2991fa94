"""LAYER08: a truncated normal whose bounds cut nothing, or whose std was not corrected.

``nn.init.trunc_normal_(w, std=0.02)`` cuts at -2 and 2, which are 100 std away. Cut at ±2 std, a
normal distribution has 0.8796 of its std left; what is to give Var(w) = gain / fan divides by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number
from initlab.diagnosis.checks._recipes import recipe_of
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer
from initlab.diagnosis.making import Draw
from initlab.diagnosis.samples import CUT, CUT_STD, measured

# Bounds this many std away cut one of 10⁹ entries.
_FAR = 6.0
# Nothing that is cut at 2 std goes beyond this, its std corrected for the cut or not.
_BEYOND = 1.02 * CUT / CUT_STD
# The nominal std is what the place asks for, as a share.
_MEANT = 0.03


@dataclass(frozen=True)
class _Uncut:
    name: str
    std: float
    draw: Draw
    largest: float


@dataclass(frozen=True)
class _Uncorrected:
    layer: Layer
    meant: float
    recipe: str


def _applies(evidence: Evidence) -> bool:
    made = evidence.making is not None and any(
        draw.distribution == "truncated_normal"
        for draws in evidence.making.draws.values()
        for draw in draws
    )
    return made or any(_is_cut(layer) for layer in evidence.layers)


def _is_cut(layer: Layer) -> bool:
    return layer.sample.distribution == "truncated normal"


def _find(evidence: Evidence) -> Iterator[Finding]:
    uncut = list(_uncut(evidence))
    if uncut:
        yield _uncut_finding(uncut)
    uncorrected = list(_uncorrected(evidence))
    if uncorrected:
        yield _uncorrected_finding(uncorrected)


def _last(evidence: Evidence, name: str) -> Draw | None:
    """Return the truncated draw that a parameter was made by, if it was."""
    fact = evidence.facts.parameters[name]
    draw = evidence.making.last(*fact.names) if evidence.making is not None else None
    return draw if draw is not None and draw.distribution == "truncated_normal" else None


def _uncut(evidence: Evidence) -> Iterator[_Uncut]:
    for name in evidence.facts.parameters:
        draw = _last(evidence, name)
        if draw is None or draw.std <= 0 or name in evidence.pretrained:
            continue
        near = min(draw.high - draw.mean, draw.mean - draw.low)
        value = evidence.values[name]
        if near > _FAR * draw.std and _shows(value, draw):
            largest = float((value.detach().float() - draw.mean).abs().max())
            yield _Uncut(name, draw.std, draw, largest)


def _shows(value: Tensor, draw: Draw) -> bool:
    """Tell whether the entries still are what was drawn, and some lie beyond any cut."""
    sample = measured(value)
    spread = math.sqrt(max(sample.std**2 - sample.mean**2, 0.0))
    chance = 0.03 + 4 * math.sqrt(0.5 / max(sample.count, 1))
    # In half precision, a few entries are thrown to the very bounds.
    thrown = value.itemsize < 4 and sample.largest > _FAR * draw.std
    fits = thrown or abs(spread / draw.std - 1) < chance
    return fits and sample.largest > abs(draw.mean) + _BEYOND * draw.std


def _uncut_finding(found: Sequence[_Uncut]) -> Finding:
    names = tuple(one.name for one in found)
    worst = max(found, key=lambda one: one.largest / one.std)
    draw = worst.draw
    stds = sorted({f"{one.std:.4g}" for one in found})
    return Finding(
        code="LAYER08",
        title=(
            f"truncated normal with std {worst.std:.4g} is cut at {draw.low:g} and {draw.high:g}: "
            f"its largest entry is {worst.largest / worst.std:.2g} std"
        ),
        severity="warning",
        where=names,
        evidence={
            "std": number(worst.std),
            "bounds": [number(draw.low), number(draw.high)],
            "bounds_in_std": number((draw.high - draw.mean) / worst.std),
            "largest": number(worst.largest),
            "largest_in_std": number(worst.largest / worst.std),
            "expected_largest_in_std": CUT,
        },
        cause=(
            f"The bounds of trunc_normal_ are absolute, a = {draw.low:g} and b = {draw.high:g}, "
            f"not in std: {named(names)} with std {', '.join(stds[:3])} "
            f"{'was' if len(names) == 1 else 'were'} not truncated at all."
        ),
        fix=Fix(
            "Give the bounds as multiples of the std, and divide the std by what the cut takes.",
            "\n".join(
                line
                for std in stds
                for line in _cut_code([one.name for one in found if f"{one.std:.4g}" == std], std)
            ),
            rules=tuple((one.name, _rule(one.std)) for one in found),
        ),
    )


def _uncorrected(evidence: Evidence) -> Iterator[_Uncorrected]:
    for layer in evidence.layers:
        if layer.normalised or layer.name in evidence.pretrained or len(layer.parts) != 1:
            continue
        draw = _last(evidence, layer.name)
        if not _is_cut(layer) or (draw is not None and draw.std <= 0):
            continue
        recipe = recipe_of(layer)
        if recipe is not None and recipe.distribution == "truncated normal" and not recipe.is_fixed:
            if not recipe.corrected:
                yield _Uncorrected(layer, recipe.std, recipe.name.partition(",")[0])
            continue
        nominal, wanted = layer.sample.largest / CUT, layer.parts[0].wanted
        fixed = recipe is not None and recipe.is_fixed
        if not fixed and wanted > 0 and abs(nominal / wanted - 1) < _MEANT:
            yield _Uncorrected(layer, wanted, "the std that its place asks for")


def _uncorrected_finding(found: Sequence[_Uncorrected]) -> Finding:
    names = tuple(one.layer.name for one in found)
    recipes = list(dict.fromkeys(one.recipe for one in found))
    return Finding(
        code="LAYER08",
        title=f"truncated normal not corrected for the cut: {CUT_STD:.3g} of the std that is meant",
        severity="warning",
        where=names,
        evidence={
            "recipe": recipes,
            "std": {one.layer.name: number(one.layer.std) for one in found},
            "expected_std": {one.layer.name: number(one.meant) for one in found},
            "share_of_std": number(CUT_STD),
            "share_of_variance": number(CUT_STD**2),
        },
        cause=(
            f"{named(names)} {'ends' if len(names) == 1 else 'end'} at 2 std of {recipes[0]}; the "
            "cut takes 12 % of the std and 23 % of the variance, in every layer anew."
        ),
        fix=Fix(
            f"Divide the std by {CUT_STD:.4f} before the cut.",
            "\n".join(
                line for one in found for line in _cut_code([one.layer.name], f"{one.meant:.4g}")
            ),
            rules=tuple((one.layer.name, _rule(one.meant)) for one in found),
        ),
        explains=frozenset({"LAYER02", "SIG01", "SIG03"}),
    )


def _rule(std: float) -> str:
    return f"truncated_normal(std={float(f'{std:.6g}')!r}, corrected=True)"


def _cut_code(names: Sequence[str], std: str) -> list[str]:
    return [
        f"std = {std} / {CUT_STD:.4f}  # a cut at 2 std leaves {CUT_STD:.4f} of it",
        *each(names, "nn.init.trunc_normal_({}, std=std, a=-2 * std, b=2 * std)"),
    ]


CHECK = Check(
    "LAYER08", "Truncated normal that cuts nothing, or whose std was not corrected", _applies, _find
)
