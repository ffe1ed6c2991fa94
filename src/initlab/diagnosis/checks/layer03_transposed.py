"""LAYER03: a transposed convolution whose std follows the fan of the other direction.

A transposed convolution keeps ``(in, out / groups, *kernel)`` and sums in · k² / stride² terms into
each output value. What reads fan-in as ``shape[1] · k²``, as ``torch.nn.init`` does, gets out · k²
and draws with Var(w) = gain / (out · k²).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number, redraw
from initlab.diagnosis.checks._recipes import Recipe, over_fan, reported
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer

# The two fans differ by this at least; fewer is no matter of taking one for the other.
_FANS = 2.0
# What comes out has a variance off by this at least. What PyTorch draws by itself is off by 6
# behind a rectifier anyway.
_OFF, _OFF_BY_DEFAULT = 2.5, 4.0
_FANS_BY_DEFAULT = 4.0


@dataclass(frozen=True)
class _Swapped:
    layer: Layer
    recipe: Recipe
    counted: float


def _applies(evidence: Evidence) -> bool:
    return bool(evidence.of_kind("transposed_convolution"))


def _find(evidence: Evidence) -> Iterator[Finding]:
    found = list(_swapped(evidence))
    for normalised in (False, True):
        group = [one for one in found if one.layer.normalised == normalised]
        if group:
            yield _finding(group, normalised=normalised)


def _swapped(evidence: Evidence) -> Iterator[_Swapped]:
    for layer in evidence.layers:
        if layer.fact.kind != "transposed_convolution" or layer.name in evidence.pretrained:
            continue
        counted, true = reported(layer)[0], layer.parts[0].fan_in
        if true <= 0 or not counted or max(counted / true, true / counted) < _FANS:
            continue
        recipe = over_fan(layer.sample, counted)
        if recipe is None or (recipe.is_default and layer.normalised):
            continue
        if recipe.is_default and max(counted / true, true / counted) < _FANS_BY_DEFAULT:
            continue  # the default itself makes more of it than the swap
        # More outputs than inputs are summed make it too small, and the other way round.
        off = 1 / layer.ratio if counted > true else layer.ratio
        if off >= (_OFF_BY_DEFAULT if recipe.is_default else _OFF):
            yield _Swapped(layer, recipe, counted)


def _finding(group: list[_Swapped], *, normalised: bool) -> Finding:
    layers = [one.layer for one in group]
    names = tuple(layer.name for layer in layers)
    worst = max(group, key=lambda one: max(one.layer.ratio, 1 / one.layer.ratio))
    true = worst.layer.parts[0].fan_in
    ratio = worst.layer.ratio
    ending = ", and a normalisation follows" if normalised else ""
    return Finding(
        code="LAYER03",
        title=(
            f"fans of a transposed convolution swapped: {worst.counted:.4g} counted, {true:.4g} "
            f"summed; {ratio:.3g} times the variance that fits{ending}"
        ),
        severity="note" if normalised else "warning",
        where=names,
        evidence={
            "recipe": worst.recipe.name,
            "counted_fan_in": {one.layer.name: number(one.counted) for one in group},
            "fan_in": {one.layer.name: number(one.layer.parts[0].fan_in) for one in group},
            "std": {layer.name: number(layer.std) for layer in layers},
            "wanted_std": {layer.name: number(layer.parts[0].wanted) for layer in layers},
            "variance_over_wanted": {layer.name: number(layer.ratio) for layer in layers},
        },
        cause=(
            f"{named(names)} {'has' if len(names) == 1 else 'have'} the variance of "
            f"{worst.recipe.name} over out · k² = {worst.counted:.4g}, which is what torch.nn.init "
            f"reads as fan-in from (in, out, k, k); an output value sums in · k² / stride² = "
            f"{true:.4g} terms."
        ),
        fix=Fix(
            "Draw these weights with the fan-in that a transposed convolution has.",
            redraw(layers),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset({"LAYER02", "SIG01", "SIG02", "SIG03", "SIG04", "UNIT03", "OUT01"}),
    )


CHECK = Check("LAYER03", "Transposed convolution with fans swapped", _applies, _find)
