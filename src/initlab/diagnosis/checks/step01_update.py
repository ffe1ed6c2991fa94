"""STEP01: the first update is far too large or too small for the weights that it changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number, redraw
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.layers import Layer
from initlab.diagnosis.optimizers import Rate, Step

# Norm of the first update over that of the weight.
_RIGHT, _LEAST, _MOST = 1e-3, 1e-5, 0.1
# A step of this share of the weight leaves little of the start.
_ERROR = 0.3
# Losses whose size says nothing about the one that will be trained on.
_MADE_UP = "projection"


@dataclass(frozen=True)
class _Update:
    """The first update of one layer.

    Attributes
    ----------
    layer
        What is changed.
    ratio
        Norm of the update over that of the weight, or over what its place asks for if that is
        larger: a weight that starts small on purpose is not changed too fast.
    rate
        How it is updated.
    """

    layer: Layer
    ratio: float
    rate: Rate


def _applies(evidence: Evidence) -> bool:
    step, loss = evidence.optimizer, evidence.run.loss
    if not isinstance(step, Step) or not evidence.has_gradients() or loss is None:
        return False
    return (step.is_scale_free or loss.kind != _MADE_UP) and bool(_updates(evidence, step))


def _updates(evidence: Evidence, step: Step) -> list[_Update]:
    """Return the updates of all layers that start at some value and are changed."""
    held = dict(evidence.model.named_parameters(remove_duplicate=False))
    found: list[_Update] = []
    for layer in evidence.layers:
        parameter, gradient = held.get(layer.name), evidence.gradient(layer.name)
        if parameter is None or gradient is None or layer.fact.sources or not layer.nodes:
            continue
        rate = step.rate(parameter)
        size = _size(layer)
        if rate is None or rate.lr == 0 or size == 0:
            continue
        update = rate.norm(gradient)
        if 0 < update < math.inf:
            found.append(_Update(layer, update / size, rate))
    return found


def _size(layer: Layer) -> float:
    """Return the norm that an update is compared to; 0 for a weight that is 0 itself."""
    own = layer.std
    wanted = [part.wanted for part in layer.parts if part.wanted > 0]
    if own > 0 and wanted and not layer.normalised:
        own = max(own, math.sqrt(sum(w * w for w in wanted) / len(wanted)))
    return own * math.sqrt(layer.value.numel())


def _find(evidence: Evidence) -> Iterator[Finding]:
    step = evidence.optimizer
    if not isinstance(step, Step):
        return
    updates = _updates(evidence, step)
    for fast in (True, False):
        off = [one for one in updates if (one.ratio > _MOST if fast else one.ratio < _LEAST)]
        if len(off) > len(updates) / 2:
            yield _of_all(step, updates, off)
            continue
        # A branch that starts nearly closed, by a LayerScale of 1e-6, is slow on purpose.
        few = [one for one in off if fast or not _closed(one.layer)]
        if few:
            yield _of_few(step, updates, few)


def _closed(layer: Layer) -> bool:
    return layer.fact.branch is not None and _fits(layer, fast=False)


def _numbers(step: Step, updates: Sequence[_Update], off: Sequence[_Update]) -> dict[str, object]:
    return {
        "optimizer": step.name,
        "learning_rate": sorted({number(one.rate.lr) for one in off}, key=str),
        "update_over_weight": {one.layer.name: number(one.ratio) for one in off},
        "median": number(_middle(updates)),
        "wanted": _RIGHT,
        "layers": len(updates),
    }


def _middle(updates: Sequence[_Update]) -> float:
    return sorted(one.ratio for one in updates)[len(updates) // 2]


def _of_all(step: Step, updates: Sequence[_Update], off: Sequence[_Update]) -> Finding:
    ratio = _middle(off)
    fast = ratio > _RIGHT
    logs = [math.log(one.ratio) for one in updates]
    factor = _RIGHT / math.exp(sum(logs) / len(logs))
    factor = float(f"{factor:.1g}")
    lr = off[0].rate.lr
    does = "rewrites the weights" if fast else "hardly moves the weights"
    return Finding(
        code="STEP01",
        title=f"the first step changes weights by {ratio:.2g} of their norm; about 0.001 is right",
        severity="error" if ratio > _ERROR else "warning",
        where=tuple(one.layer.name for one in off),
        evidence=_numbers(step, updates, off) | {"learning_rate_times": factor},
        cause=(
            f"In {len(off)} of {len(updates)} layers a step of {step.name} with learning rate "
            f"{lr:.3g} {does}: the learning rate is {'too large' if fast else 'too small'}."
        ),
        fix=Fix(
            f"Multiply the learning rate by {factor:g}: {lr * factor:.3g} in place of {lr:.3g}.",
            f"for group in optimizer.param_groups:\n    group['lr'] *= {factor:g}"
            f"  # {lr:.3g} -> {lr * factor:.3g}",
            learning_rate=factor,
        ),
        explains=frozenset({"WIDTH01"}),
    )


def _of_few(step: Step, updates: Sequence[_Update], off: Sequence[_Update]) -> Finding:
    names = tuple(one.layer.name for one in off)
    ratio = _middle(off)
    fast = ratio > _RIGHT
    odd = [one.layer for one in off if not _fits(one.layer, fast=fast)]
    return Finding(
        code="STEP01",
        title=(
            f"the first step changes {named(names)} by {ratio:.2g} of the norm; the median layer "
            f"by {_middle(updates):.2g}"
        ),
        severity="error" if ratio > _ERROR else "warning",
        where=names,
        evidence=_numbers(step, updates, off)
        | {"std": {one.layer.name: number(one.layer.std) for one in off}},
        cause=_cause(names, odd, fast=fast),
        fix=_fix_few(off, odd, ratio),
    )


def _fits(layer: Layer, *, fast: bool) -> bool:
    """Tell whether a weight's size is not what makes its update too fast or too slow."""
    ratio = layer.ratio
    if not math.isfinite(ratio) or ratio <= 0:
        return True
    return ratio > 1 / 100 if fast else ratio < 100


def _cause(names: Sequence[str], odd: Sequence[Layer], *, fast: bool) -> str:
    speed = "fast" if fast else "slowly"
    if odd:
        size = "small" if fast else "large"
        return (
            f"{named([one.name for one in odd])} starts too {size}, so a step as long as that of "
            f"the other layers changes it too {speed}."
        )
    size = "larger" if fast else "smaller"
    return (
        f"The learning rate fits the other layers; the gradient of {named(names)}, or its own "
        f"learning rate, is much {size}, and it changes too {speed}."
    )


def _fix_few(off: Sequence[_Update], odd: Sequence[Layer], ratio: float) -> Fix:
    if odd:
        return Fix(
            "Draw these weights with the std that their place asks for.",
            redraw(odd),
            rules=tuple((one.name, "auto") for one in odd),
        )
    factor = float(f"{_RIGHT / ratio:.1g}")
    names = ", ".join(f'"{one.layer.name}"' for one in off)
    code = (
        f"slow = {{{names}}}\n"
        "own = [p for name, p in model.named_parameters() if name in slow]\n"
        "rest = [p for name, p in model.named_parameters() if name not in slow]\n"
        f"groups = [{{'params': own, 'lr': {off[0].rate.lr * factor:.3g}}}, {{'params': rest}}]"
    )
    return Fix(
        f"Give these layers a learning rate of their own, {factor:g} times as large.",
        code if ratio > _RIGHT else code.replace("slow", "fast"),
    )


CHECK = Check(
    "STEP01",
    "The first update is far too large or too small for the weights that it changes",
    _applies,
    _find,
)
