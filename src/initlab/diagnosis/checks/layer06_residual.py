"""LAYER06: residual branches not scaled with depth, or only some, or at the wrong place."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number, redraw, times
from initlab.diagnosis.checks._signals import severity_of
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer
from initlab.models.residual import Addition

# Growth of a stream's E[x²] that no normalisation in its branches takes care of; and with one.
_WARNING, _ERROR, _NORMALISED = 100.0, 1e6, 1e6
_FEWEST = 6
# Two stds are the same if they differ by less, beside chance.
_SAME = 0.06


def _applies(evidence: Evidence) -> bool:
    return bool(evidence.additions)


def _find(evidence: Evidence) -> Iterator[Finding]:
    grown: set[int] = set()
    for stream, members in _streams(evidence).items():
        for finding in _growth(evidence, members):
            grown.add(stream)
            yield finding
    yield from _outliers(evidence)
    told: set[str] = set()
    for finding in _lost(evidence):  # what was drawn twice is told as that
        told.update(finding.where)
        yield finding
    for stream, members in _streams(evidence).items():
        if stream not in grown and len(members) >= _FEWEST:
            yield from (one for one in _meant(evidence, members) if not told.issuperset(one.where))


def _streams(evidence: Evidence) -> Mapping[int, list[Addition]]:
    found: dict[int, list[Addition]] = {}
    for one in evidence.additions:
        found.setdefault(one.stream, []).append(one)
    return found


def _growth(evidence: Evidence, members: Sequence[Addition]) -> Iterator[Finding]:
    """Yield the finding that a stream grows with depth, each branch adding its multiple."""
    if any(one.post_norm for one in members):
        return
    start, end = evidence.second(members[0].start), evidence.second(members[-1].node)
    if not start > 0 or math.isnan(end):
        return
    growth = end / start
    normalised = any(one.normalised for one in members)
    if growth < (_NORMALISED if normalised else _WARNING):
        return
    ends = _ends(evidence, members)
    names = tuple(layer.name for layer in ends)
    if not names or any(name in evidence.pretrained for name in names):
        return
    count = len(members)
    yield Finding(
        code="LAYER06",
        title=f"the residual stream grows {times(growth)} times over {count} branches",
        severity=severity_of(growth, _WARNING, _ERROR),
        where=names,
        evidence={
            "branches": count,
            "second_moment_ratio": number(growth),
            "ratio_per_branch": number(growth ** (1 / count)),
            "wanted_ratio": 2.0,
            "std": {layer.name: number(layer.std) for layer in ends},
            "wanted_std": {layer.name: number(layer.parts[0].wanted) for layer in ends},
        },
        cause=(
            f"Each branch adds about {growth ** (1 / count) - 1:.2g} times the stream's second "
            f"moment: {named(names)} {'is' if len(names) == 1 else 'are'} not scaled with depth."
        ),
        fix=Fix(
            "Scale the last weight of each branch so that all branches together add as much as "
            "the stream starts with (by 1/√N in its std, N the number of branches).",
            redraw(ends),
            rules=tuple((name, "auto") for name in names),
        ),
        explains=frozenset(
            {"SIG01", "SIG02", "SIG03", "SIG04", "SIG05", "LAYER02", "OUT01", "UNIT02", "STEP01"}
        ),
    )


def _ends(evidence: Evidence, members: Sequence[Addition]) -> list[Layer]:
    """Return the last weights of the branches, in execution order."""
    ends = {one.end for one in members if one.end is not None}
    return [layer for layer in evidence.layers if ends & set(layer.nodes)]


@dataclass(frozen=True)
class _Base:
    """What the weights of a stream's branches were drawn with.

    Attributes
    ----------
    std
        Of most of the weights.
    scaled
        The same, scaled for the number of branches: over √N, or over √(N/2) where layers of two
        branches each were counted.

    gain
        Variance times fan_in: a weight with the same gain has its size from its fan, not its depth.
    """

    std: float
    scaled: tuple[float, ...]
    gain: float

    def is_base(self, layer: Layer) -> bool:
        return _same(layer, self.std)

    def is_scaled(self, layer: Layer) -> bool:
        by_fan = abs(layer.parts[0].fan_in * layer.std**2 / self.gain - 1) < 2 * _SAME
        return not by_fan and any(_same(layer, std) for std in self.scaled)


def _same(layer: Layer, std: float) -> bool:
    return abs(layer.std / std - 1) < _SAME / 2 + 2 * layer.error


# A weight is out of line if its std is so many times that of its siblings, and matters if its
# branch is so many times as large in E[x²] as theirs.
_LINE, _MATTERS = 5.0, 10.0


def _outliers(evidence: Evidence) -> Iterator[Finding]:
    """Yield the finding that a weight is far larger than its siblings in other branches."""
    roles: dict[str, list[Layer]] = {}
    for layer in evidence.layers:
        if layer.fact.branch is not None and layer.name not in evidence.pretrained:
            roles.setdefault(re.sub(r"\d+", "*", layer.name), []).append(layer)
    found: dict[str, tuple[Layer, float]] = {}
    for layers in roles.values():
        usual = statistics.median(layer.std for layer in layers)
        for layer in layers if len(layers) > 2 and usual > 0 else ():
            if layer.std > _LINE * usual and _stands_out(evidence, layer, layers):
                found[layer.name] = layer, usual
    if not found:
        return
    names = tuple(found)
    rules = tuple((name, f"normal(std={usual:.3g})") for name, (_, usual) in found.items())
    code = [
        line
        for name, (_, usual) in found.items()
        for line in each([name], f"nn.init.normal_({{}}, std={usual:.3g})")
    ]
    most = max(layer.std / usual for layer, usual in found.values())
    yield Finding(
        code="LAYER06",
        title=f"{named(names)}: {times(most)} times the std of its siblings in other branches",
        severity="error" if most > _LINE**2 else "warning",
        where=names,
        evidence={
            "std": {name: number(layer.std) for name, (layer, _) in found.items()},
            "std_of_siblings": {name: number(usual) for name, (_, usual) in found.items()},
        },
        cause=(
            f"What the branch of {named(names)} adds outweighs the rest of the stream: the "
            "other branches, and the gradient before it, hardly count."
        ),
        fix=Fix("Draw it with the std of its siblings.", "\n".join(code), rules),
        explains=frozenset({"SIG02", "SIG03", "SIG04", "SIG05", "OUT01", "STEP01", "UNIT03"}),
    )


def _stands_out(evidence: Evidence, layer: Layer, siblings: Sequence[Layer]) -> bool:
    sizes = {one.name: max(map(evidence.second, one.nodes), default=0.0) for one in siblings}
    return sizes[layer.name] > _MATTERS * statistics.median(sizes.values())


def _meant(evidence: Evidence, members: Sequence[Addition]) -> Iterator[Finding]:
    """Yield the finding that a scaling by depth reached some weights only, or the wrong ones."""
    ends = _ends(evidence, members)
    names = {one.name for one in ends}
    inner = [
        layer
        for layer in evidence.layers
        if layer.name not in names and any(set(layer.nodes) & set(one.inside) for one in members)
    ]
    base = _base(inner, len(members))
    if base is None or len(ends) < _FEWEST:
        return
    scaled = [layer for layer in ends if base.is_scaled(layer)]
    plain = [layer for layer in ends if base.is_base(layer)]
    wrong = [layer for layer in inner if base.is_scaled(layer)]
    if scaled and plain:
        yield _finding(plain, base, len(members), [layer.name for layer in scaled])
    elif plain and len(wrong) >= len(members) // 4 and len(wrong) < len(inner):
        yield _wrong_place(wrong, plain, base, len(members))


def _base(inner: Sequence[Layer], count: int) -> _Base | None:
    """Return the std that most of the inner weights share; None if there is no such."""
    best: list[Layer] = []
    for one in inner:
        alike = [other for other in inner if one.std > 0 and _same(other, one.std)]
        if len(alike) > len(best):
            best = alike
    if len(best) < 0.5 * len(inner) or not best:
        return None
    std = sum(layer.std for layer in best) / len(best)
    gain = sum(layer.parts[0].fan_in * layer.std**2 for layer in best) / len(best)
    return _Base(std, (std / math.sqrt(count), std / math.sqrt(count / 2)), gain)


def _finding(plain: Sequence[Layer], base: _Base, count: int, scaled: Sequence[str]) -> Finding:
    names = tuple(layer.name for layer in plain)
    wanted = base.scaled[0]
    return Finding(
        code="LAYER06",
        title=(
            f"{len(names)} of {len(names) + len(scaled)} residual projections lack the scaling "
            f"by depth: std {base.std:.3g} instead of {wanted:.3g}"
        ),
        severity="warning",
        where=names,
        evidence={
            "branches": count,
            "std": {layer.name: number(layer.std) for layer in plain},
            "expected_std": number(wanted),
            "scaled": list(scaled),
        },
        cause=(
            f"{named(list(scaled))} have the std of the other weights over √{count}, as is meant "
            f"for {count} branches; {named(names)} do not."
        ),
        fix=_drawn(names, wanted, "Draw these with the std of the others of their kind."),
        explains=frozenset({"SIG02", "SIG04"}),
    )


def _wrong_place(wrong: Sequence[Layer], ends: Sequence[Layer], base: _Base, count: int) -> Finding:
    names = tuple(layer.name for layer in ends)
    inside = tuple(layer.name for layer in wrong)
    fix = _drawn(names, base.scaled[0], "Scale the last weight of each branch, not an inner one.")
    back = _drawn(inside, base.std, "")
    return Finding(
        code="LAYER06",
        title="the scaling by depth is on inner weights, not on those that end the branches",
        severity="warning",
        where=(*names, *inside),
        evidence={
            "branches": count,
            "std": {layer.name: number(layer.std) for layer in (*ends, *wrong)},
            "expected_std": number(base.scaled[0]),
        },
        cause=(
            f"{named(inside)} have the std of the other weights over √{count}; the sums of the "
            f"stream see {named(names)}, which have not."
        ),
        fix=Fix(fix.text, f"{fix.code}\n{back.code}", (*fix.rules, *back.rules)),
    )


def _lost(evidence: Evidence) -> Iterator[Finding]:
    """Yield the finding that weights were scaled by depth when made, and drawn again later."""
    if evidence.making is None:
        return
    count = len(evidence.additions)
    found: dict[str, float] = {}
    for layer in evidence.layers:
        draws = evidence.making.draws.get(layer.name, ())
        stds = [draw.std for draw in draws if draw.std > 0]
        if len(stds) < 2 or layer.fact.branch is None or count < _FEWEST:
            continue
        scaled = [std for std in stds[:-1] if _is_depth_factor(stds[-1] / std, count)]
        if scaled and _same(layer, stds[-1]):
            found[layer.name] = scaled[-1]
    if not found:
        return
    names = tuple(found)
    wanted = next(iter(found.values()))
    yield Finding(
        code="LAYER06",
        title=f"the scaling by depth was lost: {len(names)} weights were drawn again after it",
        severity="warning",
        where=names,
        evidence={"branches": count, "drawn_first": {k: number(v) for k, v in found.items()}},
        cause=(
            f"{named(names)} were drawn with the scaled std first, and again without it later: the "
            "last draw counts."
        ),
        fix=_drawn(names, wanted, "Scale them after the last initialisation, or not draw again."),
    )


def _is_depth_factor(ratio: float, count: int) -> bool:
    return any(abs(ratio / math.sqrt(n) - 1) < _SAME for n in (count, count / 2, 2 * count))


def _drawn(names: Sequence[str], std: float, text: str) -> Fix:
    rounded = float(f"{std:.3g}")
    code = "\n".join(each(names, f"nn.init.normal_({{}}, std={rounded!r})"))
    return Fix(text, code, tuple((name, f"normal(std={rounded!r})") for name in names))


CHECK = Check(
    "LAYER06", "Residual branches are not scaled by depth, or not all of them", _applies, _find
)
