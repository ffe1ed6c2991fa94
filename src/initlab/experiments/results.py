"""What an experiment returns: its runs, as records, tables and a document."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from initlab._base.records import to_plain
from initlab._base.version import __version__
from initlab.data import Dataset
from initlab.engine.network import Network
from initlab.experiments.outcome import best_constant_cost
from initlab.experiments.plan import Experiment, plan
from initlab.experiments.prediction import Prediction, predict
from initlab.experiments.records import (
    Interval,
    RunRecord,
    StartSummary,
    plain_interval,
)
from initlab.experiments.run import Progress, run
from initlab.experiments.summary import summarise
from initlab.initializers import Initializer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """The finished runs of one experiment.

    Attributes
    ----------
    experiment
        The setting, resolved.
    dataset
        What was trained on.
    inits, seeds
        What was planned: each of these starts with each of these seeds.
    runs
        In the order of the plan: start by start, seed by seed.
    interrupted
        Whether Ctrl-C cut the work short; the runs are those that were finished by then.
    seconds
        Wall-clock time of all runs.
    """

    experiment: Experiment
    dataset: Dataset
    inits: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunRecord, ...]
    interrupted: bool
    seconds: float

    @property
    def network(self) -> Network:
        """The network that every run trained."""
        return self.experiment.network(self.dataset)

    @property
    def score_name(self) -> str:
        """What the scores are: ``"accuracy"`` or ``"r2"``."""
        return "r2" if self.dataset.task == "regression" else "accuracy"

    def summaries(self) -> tuple[StartSummary, ...]:
        """Summarise each start over its seeds."""
        return self._summaries

    @cached_property
    def _summaries(self) -> tuple[StartSummary, ...]:
        return summarise(self.runs)  # thousands of resamples: once, for every table that shows them

    def predictions(self) -> tuple[Prediction, ...]:
        """Predict signals and gradients at the start for each start, whatever was run."""
        return self._predictions

    @cached_property
    def _predictions(self) -> tuple[Prediction, ...]:
        loss, matrices = self.experiment.recipe().loss, self.dataset.train_matrices()
        return tuple(predict(init, self.network, loss, *matrices) for init in self.inits)

    def summary(self) -> pd.DataFrame:
        """Return one row a start: counts, then median, quartiles and interval of each quantity."""
        import pandas as pd  # noqa: PLC0415 - slow to import, and needed for tables alone

        return pd.DataFrame([self._summary_row(each) for each in self.summaries()])

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a run, the columns of ``runs.csv``."""
        import pandas as pd  # noqa: PLC0415 - as above

        train, test = f"train_{self.score_name}", f"test_{self.score_name}"
        columns = {
            "init": [run.init for run in self.runs],
            "seed": [run.seed for run in self.runs],
            "status": [run.status for run in self.runs],
            "final_cost": [run.final_cost for run in self.runs],
            train: pd.Series([run.train_score for run in self.runs], dtype="float64"),
            test: pd.Series([run.test_score for run in self.runs], dtype="float64"),
            "steps_to_target": pd.Series([run.steps_to_target for run in self.runs], dtype="Int64"),
            "seconds": [run.seconds for run in self.runs],
            "what_happened": [run.what_happened for run in self.runs],
        }
        return pd.DataFrame(columns)

    def to_document(self) -> dict[str, Any]:
        """Return the document that ``--json`` prints, of plain values that strict JSON can hold."""
        return to_plain(
            {
                "initlab": __version__,
                "experiment": self._experiment_document(),
                "runs": [self._run_document(run) for run in self.runs],
                "summary": [self._summary_document(each) for each in self.summaries()],
                "interrupted": self.interrupted,
                "seconds": self.seconds,
            }
        )

    def _experiment_document(self) -> dict[str, Any]:
        experiment, dataset = self.experiment, self.dataset
        recipe = experiment.recipe()
        return {
            **experiment.model_dump(),
            "inits": self.inits,
            "seeds": self.seeds,
            "sizes": self.network.sizes,
            "parameters": self.network.parameter_count,
            "record_steps": recipe.record_steps,
            "best_constant_cost": best_constant_cost(recipe.loss, dataset.train_matrices()[1]),
            "dataset": {
                "name": dataset.name,
                "task": dataset.task,
                "train_samples": len(dataset.train_x),
                "test_samples": len(dataset.test_x),
                "features": dataset.feature_names,
                "classes": dataset.classes,
                "notes": dataset.notes,
            },
        }

    def _run_document(self, run: RunRecord) -> dict[str, Any]:
        careful = {"careful_cost": run.careful_cost} if self.experiment.cost == "course" else {}
        return {
            "init": run.init,
            "seed": run.seed,
            "steps": run.steps,
            "cost": run.cost,
            **careful,
            "final_cost": run.final_cost,
            f"train_{self.score_name}": run.train_score,
            f"test_{self.score_name}": run.test_score,
            "status": run.status,
            "what_happened": run.what_happened,
            "steps_to_target": run.steps_to_target,
            "evidence": run.evidence,
            "adaptation": run.adaptation,
            "seconds": run.seconds,
        }

    def _quantities(self, each: StartSummary) -> dict[str, Interval | None]:
        return {
            "final_cost": each.final_cost,
            f"train_{self.score_name}": each.train_score,
            f"test_{self.score_name}": each.test_score,
            "steps_to_target": each.steps_to_target,
        }

    def _summary_document(self, each: StartSummary) -> dict[str, Any]:
        predicted = next(p for p in self.predictions() if p.init == each.init)
        return {
            **_counts(each),
            **{name: plain_interval(value) for name, value in self._quantities(each).items()},
            "what_happened": each.what_happened,
            "notes": each.notes,
            "predicted": {"layers": predicted.layers, "why_not": predicted.why_not},
        }

    def _summary_row(self, each: StartSummary) -> dict[str, Any]:
        row = _counts(each)
        for name, value in self._quantities(each).items():
            if value is not None:
                row[name] = value.median
                row[f"{name}_q1"], row[f"{name}_q3"] = value.iqr
                row[f"{name}_low"], row[f"{name}_high"] = value.ci95
        return {**row, "what_happened": each.what_happened}


def _counts(each: StartSummary) -> dict[str, Any]:
    return {
        "init": each.init,
        "runs": each.runs,
        "converged": each.converged,
        "stalled": each.stalled,
        "diverged": each.diverged,
    }


def execute(
    inits: Iterable[str | Initializer],
    *,
    seeds: int | Iterable[int] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> Results:
    """Plan an experiment and run it.

    Parameters
    ----------
    inits, seeds
        See :func:`initlab.experiments.plan.plan`.
    threads, progress
        See :func:`initlab.experiments.run.run`.
    **fields
        Fields of :class:`initlab.experiments.plan.Experiment`.

    Raises
    ------
    InitlabError
        If a name is unknown, a value out of range, or the data cannot be loaded or do not fit.

    Examples
    --------
    >>> results = execute(["zeros", "he_normal"], steps=100)
    >>> [run.what_happened for run in results.runs][0]
    'hidden units identical (10 of 10 in layer 1, 5 of 5 in layer 2); gradients exactly zero'
    """
    experiment = Experiment(**fields)
    dataset = experiment.load()
    jobs = plan(inits, experiment, seeds, dataset)
    started = time.perf_counter()
    done = run(jobs, threads=threads, progress=progress, dataset=dataset)
    return Results(
        experiment=jobs[0].experiment,
        dataset=dataset,
        inits=tuple(dict.fromkeys(job.init for job in jobs)),
        seeds=tuple(dict.fromkeys(job.seed for job in jobs)),
        runs=done.runs,
        interrupted=done.interrupted,
        seconds=time.perf_counter() - started,
    )
