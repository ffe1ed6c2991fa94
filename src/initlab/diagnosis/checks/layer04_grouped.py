"""LAYER04: a grouped convolution whose std follows a fan that was not divided by the groups.

Each output of a convolution in g groups sums in / g · k² terms, and each input reaches out / g · k²
outputs. ``torch.nn.init`` reads fan-out as out · k² from the shape ``(out, in / g, k, k)``, which
does not tell the groups: a depthwise 64-channel kernel of 3 · 3 gets 576 instead of 9.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number, redraw
from initlab.diagnosis.checks._recipes import Recipe, recognise
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer

# Depthwise kernels are small: 4 standard errors of 128 entries.
_LOOSEST = 0.5
# Variance over the wanted one, at most.
_OFF = 1 / 1.9


@dataclass(frozen=True)
class _Undivided:
    layer: Layer
    recipe: Recipe
    fan: str


def _applies(evidence: Evidence) -> bool:
    return any(_is_grouped(layer) for layer in evidence.layers)


def _is_grouped(layer: Layer) -> bool:
    return layer.fact.kind == "convolution" and layer.fact.groups > 1


def _find(evidence: Evidence) -> Iterator[Finding]:
    found = list(_undivided(evidence))
    for normalised in (False, True):
        group = [one for one in found if one.layer.normalised == normalised]
        if group:
            yield _finding(group, normalised=normalised)


def _undivided(evidence: Evidence) -> Iterator[_Undivided]:
    for layer in evidence.layers:
        if not _is_grouped(layer) or layer.name in evidence.pretrained or not layer.ratio <= _OFF:
            continue
        shape, groups = layer.fact.shape, layer.fact.groups
        kernel = math.prod(shape[2:])
        own, inputs, outputs = shape[1] * kernel, shape[1] * groups * kernel, shape[0] * kernel
        # What it is meant to be, or one size for all.
        meant = recognise(layer.sample, own, outputs / groups, _LOOSEST)
        # fan_out, fan_in as if there were no groups, Xavier's mean: they may be hard to tell apart.
        counted = ((0, outputs), (inputs, 0), (own, outputs), (inputs, outputs))
        tried = [recognise(layer.sample, *fans, _LOOSEST) for fans in counted]
        found = [one for one in tried if one is not None]
        best = min((one.off for one in found), default=0.0)
        recipe = next((one for one in found if one.off <= best + 1), None)
        if recipe is None or recipe.is_fixed or (meant is not None and meant.off <= recipe.off):
            continue
        yield _Undivided(layer, recipe, _fan(recipe, outputs))


def _fan(recipe: Recipe, outputs: float) -> str:
    if recipe.over == "fan_out":
        return f"out · k² = {recipe.fan:.4g}"
    if recipe.over == "fan_in":
        return f"in · k² = {recipe.fan:.4g}"
    return f"the mean of {2 * recipe.fan - outputs:.4g} and out · k² = {outputs:.4g}"


def _finding(group: list[_Undivided], *, normalised: bool) -> Finding:
    layers = [one.layer for one in group]
    names = tuple(layer.name for layer in layers)
    worst = min(group, key=lambda one: one.layer.ratio)
    part, groups = worst.layer.parts[0], worst.layer.fact.groups
    ending = ", and a normalisation follows" if normalised else ""
    return Finding(
        code="LAYER04",
        title=(
            f"fan of a convolution in {groups} groups not divided by them: 1/"
            f"{1 / worst.layer.ratio:.3g} of the variance that fits{ending}"
        ),
        severity="note" if normalised else "warning",
        where=names,
        evidence={
            "recipe": worst.recipe.name,
            "groups": {layer.name: layer.fact.groups for layer in layers},
            "counted_fan": {one.layer.name: number(one.recipe.fan) for one in group},
            "fan_in": {layer.name: number(layer.parts[0].fan_in) for layer in layers},
            "std": {layer.name: number(layer.std) for layer in layers},
            "wanted_std": {layer.name: number(layer.parts[0].wanted) for layer in layers},
            "variance_over_wanted": {layer.name: number(layer.ratio) for layer in layers},
        },
        cause=(
            f"{named(names)} {'has' if len(names) == 1 else 'have'} the variance of "
            f"{worst.recipe.name.partition(',')[0]} over {worst.fan}, as if there were no groups; "
            f"in {groups} of them an output value sums {part.fan_in:.4g} terms."
        ),
        fix=Fix(
            "Divide the fan by the groups, or go by fan-in, which the shape tells right.",
            redraw(layers),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset({"LAYER02", "SIG01", "SIG03", "OUT01"}),
    )


CHECK = Check("LAYER04", "Grouped or depthwise convolution with an undivided fan", _applies, _find)
