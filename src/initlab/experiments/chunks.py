"""A chunk of jobs, and what a worker does with it: draw, measure, train, measure, write records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from initlab.data import Dataset
from initlab.engine import losses, reference
from initlab.engine.control import Control
from initlab.engine.network import Array, Layer, Network
from initlab.engine.recipe import Recipe, Trajectory
from initlab.engine.train import train
from initlab.experiments import outcome, starts
from initlab.experiments.evidence import Moment, combine, measure
from initlab.experiments.plan import Experiment, Job
from initlab.experiments.records import RunRecord
from initlab.experiments.story import tell

# Finished runs with their place in the plan.
Finished = list[tuple[int, RunRecord]]


@dataclass(frozen=True)
class Setting:
    """What every run of an experiment shares, worked out once.

    Attributes
    ----------
    network, recipe
        What is trained and how.
    train, test
        ``(inputs, targets)``: ``(features, samples)`` and ``(outputs, samples)``.
    regression
        Whether the score is R².
    course
        Whether the reported cost is in the course's form.
    target_cost, constant_cost
        What the final cost is held to.
    """

    network: Network
    recipe: Recipe
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    regression: bool
    course: bool
    target_cost: float
    constant_cost: float

    @classmethod
    def of(cls, experiment: Experiment, dataset: Dataset) -> Setting:
        """Work out the setting of a resolved experiment."""
        recipe = experiment.recipe()
        matrices = dataset.train_matrices()
        constant_cost = outcome.best_constant_cost(recipe.loss, matrices[1])
        return cls(
            network=experiment.network(dataset),
            recipe=recipe,
            train=matrices,
            test=dataset.test_matrices(),
            regression=dataset.task == "regression",
            course=experiment.cost == "course",
            target_cost=experiment.settled_target_cost,
            constant_cost=constant_cost,
        )

    def measure(self, layers: tuple[Layer, ...]) -> Moment:
        """Measure a network on the training set."""
        return measure(self.network, self.recipe.loss, layers, *self.train)

    def score(self, layers: tuple[Layer, ...], matrices: tuple[Array, Array]) -> float | None:
        """Return the accuracy in [0, 1] or R² of a network; ``None`` without samples."""
        inputs, targets = matrices
        logits = reference.forward(self.network, layers, inputs).logits
        score = outcome.r2 if self.regression else outcome.accuracy
        return score(losses.output(self.recipe.loss, logits), targets)


@dataclass(frozen=True)
class Chunk:
    """Jobs of one setting, with their places in the plan, that one call of the engine trains."""

    setting: Setting
    jobs: tuple[tuple[int, Job], ...]


def run_chunk(chunk: Chunk, control: Control) -> Finished:
    """Run the jobs of a chunk and return the finished ones; those cut short are left out.

    The first finished run of each start has its final parameters with it.
    """
    if control.stopped:
        return []
    setting = chunk.setting
    drawn = [starts.draw(job, setting.network, setting.train) for _, job in chunk.jobs]
    before = [setting.measure(start.layers) for start in drawn]
    trajectory = train(
        setting.network,
        setting.recipe,
        starts.stack([start.layers for start in drawn]),
        *setting.train,
        keys=[starts.batch_key(job.seed) for _, job in chunk.jobs],
        control=control,
    )
    finished: Finished = []
    seen: set[str] = set()
    for replica, (place, job) in enumerate(chunk.jobs):
        if trajectory.steps_done[replica] == setting.recipe.steps:
            record = _record(setting, job, before[replica], _Trained.of(trajectory, replica))
            record = replace(record, adaptation=drawn[replica].adaptation)
            finished.append((place, replace(record, layers=None) if job.init in seen else record))
            seen.add(job.init)
    return finished


class _Trained(NamedTuple):
    """One replica of a trajectory, in plain Python numbers; see :class:`Trajectory`."""

    steps: tuple[int, ...]
    cost: tuple[float, ...]
    course_cost: tuple[float, ...] | None
    final_cost: float
    layers: tuple[Layer, ...]
    seconds: float

    @classmethod
    def of(cls, trajectory: Trajectory, replica: int) -> _Trained:
        course = trajectory.course_cost
        return cls(
            steps=tuple(trajectory.steps.tolist()),
            cost=tuple(trajectory.cost[replica].tolist()),
            course_cost=None if course is None else tuple(course[replica].tolist()),
            final_cost=float(trajectory.final_cost[replica]),
            # Copies: a view would keep the whole chunk's parameters alive.
            layers=tuple(
                Layer(w[replica].astype(np.float64), b[replica].astype(np.float64))
                for w, b in trajectory.layers
            ),
            seconds=float(trajectory.seconds[replica]),
        )


def _record(setting: Setting, job: Job, before: Moment, trained: _Trained) -> RunRecord:
    evidence = combine(before, setting.measure(trained.layers))
    steps, careful, final = trained.steps, trained.cost, trained.final_cost
    status = outcome.status(
        final,
        careful[0],
        target_cost=setting.target_cost,
        constant_cost=setting.constant_cost,
    )
    return RunRecord(
        init=job.init,
        seed=job.seed,
        steps=steps,
        cost=trained.course_cost if setting.course and trained.course_cost else careful,
        careful_cost=careful,
        final_cost=final,
        train_score=setting.score(trained.layers, setting.train),
        test_score=setting.score(trained.layers, setting.test),
        status=status,
        what_happened=tell(evidence, status, steps, careful, final),
        steps_to_target=outcome.steps_to_target(
            # What has converged has reached the target, be it at the very end.
            (*steps, setting.recipe.steps),
            (*careful, final),
            setting.target_cost,
        ),
        evidence=evidence,
        seconds=trained.seconds,
        layers=trained.layers,
    )
