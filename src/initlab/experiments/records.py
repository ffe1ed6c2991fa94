"""The records that pass between planning, running, summarising and drawing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from initlab.engine.network import Layer

Status = Literal["converged", "stalled", "diverged"]


@dataclass(frozen=True)
class LayerEvidence:
    """What was measured at one layer over the training set, at one moment.

    Attributes
    ----------
    layer
        Counted from 1; the last is the output layer.
    units
        Units of the layer.
    weight_std, activation_mean, activation_std
        Over all weights; over all units and samples of φ(z) (of the logits, at the output layer).
    gradient_std
        Root mean square over units and samples of the cost's derivative by the pre-activations,
        times the number of samples: comparable between layers and sample counts.
    weight_gradient_norm, bias_gradient_norm
        Euclidean norm of the cost's derivative by the layer's weights, by its biases.
    identical_units
        Units whose pre-activation equals another unit's of the layer on every sample: they compute
        the same function. (Units that merely give the same output, as dead ones do, do not count.)
    dead_units
        Hidden units whose φ' is exactly 0 on every sample.
    saturated
        Share of (unit, sample) pairs on a flat tail of a bounded function: the output layer's
        sigmoid or softmax, or a hidden sigmoid, tanh, erf, softsign or hardtanh. Flat means a slope
        below 1 % of the function's steepest (:data:`initlab.experiments.evidence.FLAT_SLOPE`).
    """

    layer: int
    units: int
    weight_std: float
    activation_mean: float
    activation_std: float
    gradient_std: float
    weight_gradient_norm: float
    bias_gradient_norm: float
    identical_units: int
    dead_units: int
    saturated: float


@dataclass(frozen=True)
class Evidence:
    """What was measured at the start and at the end of a run.

    Attributes
    ----------
    start, end
        One entry a layer.
    saturated_outputs_start, saturated_outputs_end
        Samples whose every output sits on a flat tail; 0 where the output is linear.
    saturated_wrong_start, saturated_wrong_end
        Those among them whose prediction is wrong.
    output_spread_start, output_spread_end
        Standard deviation over samples of the outputs (probabilities, or values) in units of the
        targets': 0 where every sample gets the same answer, 1 where answers vary as targets do.
    samples
        Training samples, what the counts are out of.
    """

    start: tuple[LayerEvidence, ...]
    end: tuple[LayerEvidence, ...]
    saturated_outputs_start: int
    saturated_outputs_end: int
    saturated_wrong_start: int
    saturated_wrong_end: int
    output_spread_start: float
    output_spread_end: float
    samples: int


@dataclass(frozen=True)
class Adaptation:
    """What a data-driven start did to the weights that it had drawn.

    Attributes
    ----------
    before, after
        What it lowers, before and after; see :class:`initlab.engine.adaptive.Adapted`.
    steps
        How many rescalings, rounds or updates.
    notes
        What could not be done, and why, each one line.
    """

    before: float
    after: float
    steps: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """One network trained from one start with one seed.

    Attributes
    ----------
    init
        The start as parsed and printed back: ``"normal(std=10)"``.
    seed
        Its seed.
    steps, cost
        Recorded steps and the cost before each of those updates, in the experiment's cost form.
    careful_cost
        The numerically careful cost at the same steps.
    final_cost
        Careful cost after the last update.
    train_score, test_score
        Accuracy in [0, 1], or R² for regression, after the last update; ``None`` without test data.
    status
        ``converged``: the final cost is at or below the target. ``diverged``: it is not finite, or
        clearly above both the start's cost and the best constant prediction's. ``stalled``: the
        rest.
    what_happened
        One line, from the evidence.
    steps_to_target
        First recorded step at or below the target cost, or the number of steps where the final cost
        is the first; ``None`` if it was never reached.
    evidence
        What the line rests on.
    seconds
        Training time.
    adaptation
        What a data-driven start did before training; ``None`` for any other.
    layers
        Final parameters, kept for the first seed of each start only (the decision boundary).
    """

    init: str
    seed: int
    steps: tuple[int, ...]
    cost: tuple[float, ...]
    careful_cost: tuple[float, ...]
    final_cost: float
    train_score: float | None
    test_score: float | None
    status: Status
    what_happened: str
    steps_to_target: int | None
    evidence: Evidence
    seconds: float
    adaptation: Adaptation | None = None
    layers: tuple[Layer, ...] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Interval:
    """A quantity over seeds.

    Non-finite values keep their place in the order: a cost that is not a number counts as infinite.

    Attributes
    ----------
    median
        Over the runs.
    iqr
        First and third quartile.
    ci95
        95 % bootstrap confidence interval of the median; equal to the median for a single run.
    """

    median: float
    iqr: tuple[float, float]
    ci95: tuple[float, float]


@dataclass(frozen=True)
class StartSummary:
    """The runs of one start, over seeds.

    Attributes
    ----------
    init
        The start.
    runs, converged, stalled, diverged
        Counts.
    final_cost, train_score, test_score, steps_to_target
        Over seeds; a score is ``None`` where there is none. A run that never reached the target
        counts as ``inf`` steps, so ``inf`` as the median says that fewer than half reached it.
    what_happened
        The commonest line, and how many of the runs it holds for where not for all.
    notes
        What a data-driven start could not do, likewise; most often empty.
    """

    init: str
    runs: int
    converged: int
    stalled: int
    diverged: int
    final_cost: Interval
    train_score: Interval | None
    test_score: Interval | None
    steps_to_target: Interval
    what_happened: str
    notes: tuple[str, ...] = ()


def plain_interval(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval as the dictionary that ``--json`` prints."""
    if interval is None:
        return None
    return {"median": interval.median, "iqr": list(interval.iqr), "ci95": list(interval.ci95)}
