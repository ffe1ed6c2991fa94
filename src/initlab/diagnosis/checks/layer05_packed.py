"""LAYER05: query, key and value kept as one matrix, and drawn as one.

Xavier's std over the packed (3E, E) is √(2 / (E + 3E)), so that Var(w) · E = 1/2; over each of the
three, (E, E), it is 1. An orthogonal draw over (3E, E) makes the columns of the whole orthogonal,
and none of the three.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number
from initlab.diagnosis.checks._recipes import is_orthogonal, recognise, reported
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer

# Variance over the wanted one, at most: a place that asks for less has what it asks for.
_OFF = 0.75


@dataclass(frozen=True)
class _Packed:
    layer: Layer
    how: Literal["xavier", "orthogonal"]
    product: float  # Var(w) · fan_in


def _applies(evidence: Evidence) -> bool:
    return any(_is_packed(layer) for layer in evidence.layers)


def _is_packed(layer: Layer) -> bool:
    attention = layer.fact.attention
    return (
        attention is not None
        and len(attention.roles) > 1
        and len(layer.fact.shape) == 2
        and layer.fact.kind == "linear"
    )


def _find(evidence: Evidence) -> Iterator[Finding]:
    found = list(_drawn_as_one(evidence))
    for how in ("xavier", "orthogonal"):
        group = [one for one in found if one.how == how]
        if group:
            yield _finding(group)


def _drawn_as_one(evidence: Evidence) -> Iterator[_Packed]:
    for layer in evidence.layers:
        if not _is_packed(layer) or layer.name in evidence.pretrained:
            continue
        fan_in = reported(layer)[0]
        fan_out = float(layer.fact.shape[1 if layer.fact.input_first else 0])
        product = layer.sample.std**2 * fan_in
        if is_orthogonal(layer.value):
            if not any(is_orthogonal(block) for block in _blocks(layer)):
                yield _Packed(layer, "orthogonal", product)
            continue
        ratios = [part.ratio for part in layer.parts if not math.isnan(part.ratio)]
        recipe = recognise(layer.sample, fan_in, fan_out)
        if (
            recipe is not None
            and recipe.name.startswith("Xavier")
            and min(ratios, default=0) < _OFF
        ):
            yield _Packed(layer, "xavier", product)


def _blocks(layer: Layer) -> list[Tensor]:
    """Return the matrices that make query, key and value."""
    if len(layer.parts) > 1:
        return [layer.value[part.start : part.stop] for part in layer.parts]
    count = len(layer.fact.attention.roles) if layer.fact.attention is not None else 1
    return list(layer.value.chunk(count, dim=1 if layer.fact.input_first else 0))


def _finding(group: list[_Packed]) -> Finding:
    names = tuple(one.layer.name for one in group)
    first = group[0]
    orthogonal = first.how == "orthogonal"
    shape = tuple(first.layer.fact.shape)
    dim = 1 if first.layer.fact.input_first else 0
    draw = "orthogonal_" if orthogonal else "xavier_uniform_"
    count = len(_blocks(first.layer))
    start = (
        f"orthogonal over the packed {shape}: none of the {count} projections is"
        if orthogonal
        else f"packed {shape} drawn as one matrix: Var(w) · fan_in is {first.product:.3g}, not 1"
    )
    what = (
        "orthogonal as a whole, which makes none of its blocks so and shrinks most directions of "
        "each"
        if orthogonal
        else "drawn by Xavier's rule over the whole, whose fan-out is that of all projections"
    )
    return Finding(
        code="LAYER05",
        title=start,
        severity="warning",
        where=names,
        evidence={
            "shape": list(shape),
            "std": {one.layer.name: number(one.layer.std) for one in group},
            "wanted_std": {one.layer.name: number(one.layer.parts[0].wanted) for one in group},
            "variance_times_fan_in": {one.layer.name: number(one.product) for one in group},
        },
        cause=f"{named(names)} {'is' if len(names) == 1 else 'are'} {what}.",
        fix=Fix(
            "Draw the projections one by one.",
            "\n".join(
                each(names, f"[nn.init.{draw}(part) for part in {{}}.data.chunk({count}, {dim})]")
            ),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset({"LAYER02", "SIG01", "SIG03"}),
    )


CHECK = Check("LAYER05", "Packed query, key and value drawn as one matrix", _applies, _find)
