"""Tells in one line what happened to a run, from what was measured and nothing else.

The start's name is not known here. What is wrong comes in order of depth: numbers that broke, units
that are copies, units that are dead, gradients that are zero, signals that fade or explode on their
way, saturation. What follows from something named is left out; units that died in training are
told only where the start was in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from initlab.experiments.records import Evidence, LayerEvidence, Status

# Deep in a ReLU network, where all samples look alike, a unit is dead or alive by the toss of a
# coin, and the network trains all the same: only clearly more than half the layer is told.
DEAD_SHARE = 0.75

# With half the activations on a flat tail, most of the gradient through the layer is gone.
SATURATED_SHARE = 0.5

# A tenth of the outputs saturated, half of them wrong as chance has it, cost (each |z| > 6) about
# as much as the whole set would by guessing: 0.05 · 6 against ln 2.
SATURATED_OUTPUT_SHARE = 0.1

# The output bias stands still where the samples' derivatives cancel, up to rounding.
BALANCED = 1e-12

# A signal a hundred times weaker at one end of the network than at the other: no learning rate
# suits both. He starts of 2 to 30 layers keep within 0.05 and 2. Growth shows as saturation or
# divergence long before it is this large, and is named only beyond.
SHRUNK = 1e-2
GROWN = 1e3

# A hundredth of the targets' spread: for every practical purpose one answer to all samples.
CONSTANT_SPREAD = 0.01

# The cost fell by this share between the last record and the end (a fifteenth of the run, by
# default): at this pace a run ten times as long would take off a seventh, and plateaus end.
FALLING_SHARE = 0.001

# Layers named one by one in a list before the rest are counted.
NAMED_LAYERS = 3


def tell(
    evidence: Evidence,
    status: Status,
    steps: Sequence[int],
    costs: Sequence[float],
    final_cost: float,
) -> str:
    """Say what happened, parts joined by ``"; "``, the most fundamental cause first.

    Parameters
    ----------
    evidence
        What was measured at both ends of the run.
    status
        How it ended.
    steps, costs
        Recorded steps and careful costs.
    final_cost
        Careful cost after the last update.

    Returns
    -------
    str
        ``"healthy"`` for a converged run in which nothing was found.
    """
    start = _Start(evidence)
    not_finite = _not_finite(steps, costs, final_cost)
    if not_finite:  # the end is all nan: what was measured there means nothing
        return "; ".join([not_finite, *start.causes(lasting=True)])
    causes = start.causes(lasting=not _parted(start.copies, evidence.end))
    if not causes and status != "converged":  # units that died on the way to a good end: no matter
        causes = _died(evidence)
    if status == "diverged":
        causes = [f"cost rose from {costs[0]:.3g} to {final_cost:.3g}", *causes]
    return "; ".join(causes) or _without_cause(evidence, status, costs, final_cost)


def _not_finite(steps: Sequence[int], costs: Sequence[float], final_cost: float) -> str:
    for step, cost in zip(steps, costs, strict=True):
        if not math.isfinite(cost):
            return f"cost {cost} at step {step}"
    return "" if math.isfinite(final_cost) else f"cost {final_cost} after the last step"


class _Start:
    """What is wrong at step 0, without what merely follows from it."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.layers = evidence.start
        self.hidden = _fed(self.layers[:-1])
        self.copies = [la for la in self.hidden if la.identical_units]
        self.dead = [la for la in _mostly_dead(self.hidden) if la not in self.copies]

    def causes(self, *, lasting: bool) -> list[str]:
        """List the causes; ``lasting`` says whether copies were still copies at the end."""
        parts = (
            [_identical(self.copies, len(self.layers) - 1, lasting=lasting)] if self.copies else []
        )
        if self.dead:
            parts.append(_dead(self.dead))
        if all(layer.weight_gradient_norm == 0 for layer in self.layers):
            return [*parts, self._nothing_moves()]
        if any(layer.dead_units == layer.units for layer in self.hidden):
            return parts  # nothing passes: signals and gradients beyond it have no meaning
        return parts + self._signals()

    def _nothing_moves(self) -> str:
        output = self.layers[-1]
        if output.bias_gradient_norm <= BALANCED * output.gradient_std:
            return "gradients exactly zero"
        return "weight gradients exactly zero, only the output bias moves"

    def _signals(self) -> list[str]:
        first, last = self.layers[0], self.layers[-1]
        if len(self.layers) > 2:
            faded = _change("activations", first, self.layers[-2], "activation_std")
            if faded:
                return faded  # what saturates, and how gradients come back, follows from it
        parts = _saturated(self.hidden) or _change("gradient", last, first, "gradient_std")
        count, samples = self.evidence.saturated_outputs_start, self.evidence.samples
        if count >= SATURATED_OUTPUT_SHARE * samples:
            wrong = self.evidence.saturated_wrong_start
            parts.append(f"{count} of {samples} outputs saturated at step 0, {wrong} of them wrong")
        return parts


def _fed(hidden: Sequence[LayerEvidence]) -> Sequence[LayerEvidence]:
    """Return the layers that see their input: those up to the first whose every unit is dead.

    Behind it all inputs are zero, and units are copies and dead for that reason alone. A layer of
    copies hides nothing: the layers behind it are copies by their own weights.
    """
    for count, layer in enumerate(hidden, start=1):
        if layer.dead_units == layer.units and not layer.identical_units:
            return hidden[:count]
    return hidden


def _mostly_dead(layers: Iterable[LayerEvidence]) -> list[LayerEvidence]:
    return [la for la in layers if la.dead_units >= DEAD_SHARE * la.units]


def _parted(copies: Sequence[LayerEvidence], end: Sequence[LayerEvidence]) -> bool:
    return not any(end[la.layer - 1].identical_units for la in copies)


def _died(evidence: Evidence) -> list[str]:
    """Name the layers that died, or lost more units, in training."""
    dead = _mostly_dead(_fed(evidence.end[:-1]))
    lost = [la for la in dead if la.dead_units > evidence.start[la.layer - 1].dead_units]
    return [f"{_dead(lost)} at the end"] if lost else []


def _without_cause(
    evidence: Evidence, status: Status, costs: Sequence[float], final_cost: float
) -> str:
    if status == "converged":
        return "healthy"
    if evidence.output_spread_end < CONSTANT_SPREAD:
        return "same output for every sample at the end"
    fall = (costs[-1] - final_cost) / costs[-1]
    if fall >= FALLING_SHARE:
        return "still falling at the last step"
    if final_cost < min(costs):
        return f"hardly falling at cost {final_cost:.3g}, signals healthy"
    if final_cost < costs[0]:
        return f"cost unsteady, {final_cost:.3g} at the end, signals healthy"
    return f"stuck at cost {final_cost:.3g}, signals healthy"


def _identical(copies: Sequence[LayerEvidence], hidden: int, *, lasting: bool) -> str:
    when = "" if lasting else " at step 0"
    if hidden == 1:
        return f"hidden units identical{when} ({copies[0].identical_units} of {copies[0].units})"
    listed = _listed(f"{la.identical_units} of {la.units} in layer {la.layer}" for la in copies)
    return f"hidden units identical{when} ({listed})"


def _dead(layers: Sequence[LayerEvidence]) -> str:
    return _listed(f"layer {la.layer}: {la.dead_units} of {la.units} units dead" for la in layers)


def _saturated(hidden: Iterable[LayerEvidence]) -> list[str]:
    flat = [la for la in hidden if la.saturated >= SATURATED_SHARE]
    listed = _listed(f"{la.saturated:.0%} in layer {la.layer}" for la in flat)
    return [f"activations saturated at step 0 ({listed})"] if flat else []


def _change(what: str, begin: LayerEvidence, end: LayerEvidence, measure: str) -> list[str]:
    """Say by how much a signal changes on its way between two layers, where that is extreme."""
    before, after = getattr(begin, measure), getattr(end, measure)
    if not (before > 0 and math.isfinite(before) and math.isfinite(after)):
        return []
    ratio = after / before
    if SHRUNK < ratio < GROWN:
        return []
    verb = ("grow" if ratio > 1 else "shrink") + ("" if what.endswith("s") else "s")
    if ratio == 0:
        return [f"{what} {verb} to 0 from layer {begin.layer} to layer {end.layer}"]
    size = f"{ratio:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return [f"{what} {verb} {size} from layer {begin.layer} to layer {end.layer}"]


def _listed(items: Iterable[str]) -> str:
    """Join items with commas; beyond a few, say how many more layers there are."""
    texts = list(items)
    more = len(texts) - NAMED_LAYERS
    if more <= 0:
        return ", ".join(texts)
    return ", ".join([*texts[:NAMED_LAYERS], f"and {more} more layer{'s' * (more > 1)}"])
