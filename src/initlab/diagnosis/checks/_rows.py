"""Units of a weight as rows, and which of them are the same up to a factor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.diagnosis.checks._paths import onward
from initlab.diagnosis.evidence import Evidence
from initlab.models.facts import ParameterFact

# Rows of unit length that are closer than this are one; rounding makes them differ by 1e-7.
_CLOSE = 3e-6
# The same of gradients, whose sums are rounded more.
_GRADIENT = 1e-3
_DIRECTIONS = 4
# Entries of each row that are looked at first.
_LOOK = 64
_FEW_VALUES = 16


@dataclass(frozen=True)
class Alike:
    """How many units of a weight are the same up to a factor.

    Attributes
    ----------
    units
        How many there are, without those that are all zero.
    duplicates
        How many have another that is like them.
    groups
        Of those, how many different ones there are.
    constant
        True if all that are alike have entries of one value.
    same_gradient
        True if those of each group have the same gradient too.
    mirrored
        True if they come in pairs that the next layer reads with opposite signs.
    """

    units: int
    duplicates: int
    groups: int
    constant: bool = True
    same_gradient: bool = True
    mirrored: bool = False

    @property
    def share(self) -> float:
        """Share of the units that have another like them."""
        return self.duplicates / max(self.units, 1)

    @property
    def distinct(self) -> int:
        """Number of different units."""
        return self.units - self.duplicates + self.groups


@dataclass(frozen=True)
class _Match:
    """Neighbours that are alike: the rows in order, the pairs of places, signs and factors."""

    units: int
    first: Tensor
    second: Tensor
    sign: Tensor
    factor: Tensor


def matrices(fact: ParameterFact, value: Tensor) -> Iterator[Tensor]:
    """Yield what a weight, or its gradient, is made of, as (units, inputs): units read the same."""
    if fact.kind in {"embedding", "bilinear"}:
        yield value.flatten(1)
    elif fact.kind == "transposed_convolution":
        groups = max(fact.groups, 1)
        kernel = value.flatten(2)  # (in, out / groups, taps)
        for part in kernel.chunk(groups):
            yield part.transpose(0, 1).flatten(1)
    elif fact.kind == "convolution":
        yield from value.flatten(1).chunk(max(fact.groups, 1))
    elif fact.kind == "linear" and value.dim() == 2 and fact.input_first:
        yield value.t()
    elif fact.kind == "linear" and value.dim() > 2:
        yield from _stacked(fact, value)
    elif value.dim() == 2:
        parts = fact.parts or ()
        if len(parts) > 1:
            for part in parts:
                yield value[part.start : part.stop]
        else:
            yield value


def _stacked(fact: ParameterFact, value: Tensor) -> Iterator[Tensor]:
    """Yield the matrices of a stack, of which a sample takes one."""
    fan_in = fact.fans.fan_in if fact.fans is not None else value.shape[-1]
    for matrix in value.flatten(0, -3):
        yield matrix if matrix.shape[1] == fan_in else matrix.t()


def alike(evidence: Evidence, fact: ParameterFact) -> Alike | None:
    """Compare a weight's units; None if it has none that can be compared."""
    gradient = evidence.gradient(fact.name)
    value = evidence.values[fact.name]
    if gradient is not None and gradient.shape != value.shape:
        gradient = None
    pairs = list(matrices(fact, value))
    slopes = list(matrices(fact, gradient)) if gradient is not None else [None] * len(pairs)
    bias = _bias(evidence, fact) if len(pairs) == 1 else None
    total = Alike(0, 0, 0)
    for rows, slope in zip(pairs, slopes, strict=True):
        one = _compared(evidence, fact, rows, slope, bias)
        if one is None:
            continue
        total = Alike(
            total.units + one.units,
            total.duplicates + one.duplicates,
            total.groups + one.groups,
            constant=total.constant and one.constant,
            same_gradient=total.same_gradient and one.same_gradient,
            mirrored=one.mirrored,
        )
    return total if total.units else None


def _bias(evidence: Evidence, fact: ParameterFact) -> Tensor | None:
    name = next(
        (one.name for one in evidence.facts.parameters.values() if one.bias_of == fact.name), ""
    )
    return evidence.values.get(name)


def _compared(
    evidence: Evidence,
    fact: ParameterFact,
    rows: Tensor,
    slope: Tensor | None,
    bias: Tensor | None,
) -> Alike | None:
    if rows.shape[0] < 2:
        return None
    narrow = rows.shape[1] == 1
    if narrow:  # w·x: all are collinear; with the bias, units can be the same still
        if bias is None or bias.shape != rows.shape[:1] or not bool(bias.any()):
            bias = torch.zeros_like(rows[:, 0])
        rows = torch.stack([rows[:, 0], bias.to(rows.dtype)], dim=1)
    units = rows.shape[0]
    if not narrow and not _may_match(rows):
        return Alike(units, 0, 0)
    kept = rows.any(dim=1)
    if fact.padding is not None:
        kept[fact.padding] = False
    rows = rows[kept]
    if rows.shape[0] < 2:
        return None
    found = _matched(rows, scaled=not narrow)
    count = found.first.numel()
    if not count or _by_design(rows, count):
        return Alike(rows.shape[0], 0, 0)
    members = torch.unique(torch.cat([found.first, found.second]))
    same = _same_gradient(found, slope[kept] if slope is not None else None, fact)
    chosen = rows[members]
    return Alike(
        rows.shape[0],
        int(members.numel()),
        int(members.numel()) - count,
        constant=not narrow and bool((chosen == chosen[:, :1]).all()),
        same_gradient=same,
        mirrored=bool(kept.all()) and _mirrored(evidence, fact, found, count),
    )


def _may_match(rows: Tensor) -> bool:
    """Tell whether any rows can be alike, from a part of their entries: copies agree in it too."""
    if rows.shape[1] <= 2 * _LOOK:
        return True
    part = rows[:, :_LOOK]
    if not bool(part.any(dim=1).all()):
        return True  # what is 0 there may differ elsewhere
    return bool(_matched(part, scaled=True).first.numel())


def _matched(rows: Tensor, *, scaled: bool) -> _Match:
    """Return neighbours, in the order of a random projection, that are the same up to a factor."""
    wide = rows if rows.dtype == torch.float64 else rows.float()
    norms = torch.linalg.vector_norm(wide, dim=1)
    width = wide.shape[1]
    # Fixed directions: no random state is touched, and the answer is always the same.
    places = torch.arange(1, width + 1, device=wide.device, dtype=torch.float64)
    turns = torch.tensor([0.7548776662, 0.5698402910, 0.8191725134, 0.6710436067])
    turns = turns[:_DIRECTIONS].double().to(wide.device)
    directions = torch.frac(places[:, None].square() * turns + places[:, None] * turns.sqrt()) - 0.5
    unit = wide @ directions.to(wide.dtype) / norms[:, None]
    order = torch.argsort(unit[:, 0].abs())
    first, second = order[:-1], order[1:]
    sign = torch.where(unit[first, 0] * unit[second, 0] < 0, -1.0, 1.0).to(wide.dtype)
    limit = _CLOSE * width**0.5
    near = (unit[second] - sign[:, None] * unit[first]).abs().amax(1) < limit
    factor = norms[second] / norms[first]
    if not scaled:
        near &= (factor - 1).abs() < _CLOSE
    first, second, sign, factor = first[near], second[near], sign[near], factor[near]
    # The projections tell the candidates; the rows themselves decide.
    step = max(1, (1 << 22) // width)
    sure = [
        torch.linalg.vector_norm(
            wide[b] / norms[b][:, None] - s[:, None] * wide[a] / norms[a][:, None], dim=1
        )
        < _CLOSE
        for a, b, s in zip(first.split(step), second.split(step), sign.split(step), strict=True)
    ]
    mask = torch.cat(sure) if sure else torch.zeros(0, dtype=torch.bool)
    return _Match(rows.shape[0], first[mask], second[mask], sign[mask], factor[mask])


def _by_design(rows: Tensor, count: int) -> bool:
    """Tell whether so many are alike by chance, of few possible ones, or by a fixed pattern.

    Rows of few signs or numbers and few entries repeat; those of identity or Hadamard matrices
    with fewer columns than rows do so as well, while their columns are orthogonal.
    """
    sample = rows[:512]
    values = torch.unique(sample.abs())
    if values.numel() > _FEW_VALUES:
        return False
    kinds = torch.unique(sample).numel()
    units, width = rows.shape
    if kinds >= 2 and kinds**width < units**2 / 2 and width < 64:
        expected = units * (1 - (1 - 2.0 / kinds**width) ** (units - 1))
        if count < 1.5 * expected + 2:
            return True
    if values.numel() > 2 or width > 4096:
        return False
    used = rows.float()[:, rows.any(dim=0)]
    gram = used.t() @ used
    size = gram.diagonal().mean()
    return used.shape[1] > 1 and bool(
        (gram - torch.diag(gram.diagonal())).abs().amax() < 1e-4 * size
    )


def _same_gradient(found: _Match, slope: Tensor | None, fact: ParameterFact) -> bool:
    """Tell whether the gradients of units that are alike keep them alike.

    Of units that are the same but for a factor, gradients differ by that factor, either way.
    """
    if slope is None or fact.kind == "embedding":
        return False
    g = slope if slope.dtype == torch.float64 else slope.float()
    if g.shape[0] != found.units:
        return False
    a, b = g[found.first], found.sign[:, None] * g[found.second]
    size = torch.maximum(
        torch.linalg.vector_norm(a, dim=1), torch.linalg.vector_norm(b, dim=1)
    ).clamp(min=torch.finfo(g.dtype).tiny)
    apart = torch.full_like(size, torch.inf)
    for factor in (torch.ones_like(found.factor), found.factor, 1 / found.factor):
        scale = torch.maximum(size, size * factor)
        apart = torch.minimum(
            apart, torch.linalg.vector_norm(b - factor[:, None] * a, dim=1) / scale
        )
    return bool((apart < _GRADIENT).all())


def _mirrored(evidence: Evidence, fact: ParameterFact, found: _Match, count: int) -> bool:
    """Tell whether units come in pairs whose ways onward are each other's negatives."""
    both = torch.cat([found.first, found.second])
    if torch.unique(both).numel() != 2 * count:
        return False
    for following in _next_weights(evidence, fact):
        columns = _columns(evidence, following)
        if columns is None or columns.shape[0] != found.units:
            return False
        size = torch.linalg.vector_norm(columns.float(), dim=1)
        apart = columns[found.first].float() + columns[found.second].float()
        near = torch.linalg.vector_norm(apart, dim=1) < 1e-4 * size[found.first]
        return bool(near.all())
    return False


def _next_weights(evidence: Evidence, fact: ParameterFact) -> Iterator[str]:
    for start in evidence.uses.get(fact.name, ()):
        for node in onward(evidence, start):
            if node.kind == "layer" and node.weight is not None:
                name = evidence.canonical.get(node.weight.name)
                if name is not None:
                    yield name


def _columns(evidence: Evidence, name: str) -> Tensor | None:
    """Return a weight as (inputs, the rest)."""
    fact, value = evidence.facts.parameters[name], evidence.values[name]
    if fact.kind == "linear" and value.dim() == 2:
        return value if fact.input_first else value.t()
    if fact.kind == "convolution" and fact.groups == 1:
        return value.transpose(0, 1).flatten(1)
    return None
