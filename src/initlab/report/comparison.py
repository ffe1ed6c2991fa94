"""``initlab.compare`` and what it returns."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initlab._base.errors import InvalidValueError, OutputError
from initlab._base.records import dumps
from initlab.experiments import Progress, Results, RunRecord, execute
from initlab.initializers import Initializer
from initlab.report.cells import happened

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from initlab.report.figures import BoundaryDisplay, CostDisplay, SignalDisplay

# The three starts of the published exercise.
DEFAULT_INITS = ("zeros", "normal(std=10)", "he_normal")

FILES = ("report.html", "costs.png", "boundaries.png", "signals.png", "runs.csv")


@dataclass(frozen=True, repr=False)
class Comparison:
    """What became of each start: runs, tables, figures, a report.

    Attributes
    ----------
    results
        The experiment, its data and its finished runs.
    """

    results: Results

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """The finished runs, start by start, seed by seed."""
        return self.results.runs

    def summary(self) -> pd.DataFrame:
        """Return one row a start: counts, medians, quartiles and 95 % intervals over seeds."""
        return self.results.summary()

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a run, the content of ``runs.csv``."""
        return self.results.to_dataframe()

    def to_json(self) -> str:
        """Return everything as one strict JSON document, what ``initlab compare --json`` prints."""
        return dumps(self.results.to_document())

    def plot_costs(self, ax: Axes | None = None) -> CostDisplay:
        """Draw cost against step, into ``ax`` or a new pyplot figure."""
        from initlab.report.figures import CostDisplay  # noqa: PLC0415 - matplotlib takes 0.4 s

        return CostDisplay.from_results(self.results).plot(ax)

    def plot_boundaries(self) -> BoundaryDisplay:
        """Draw what one network of each start predicts, in a new pyplot figure."""
        from initlab.report.figures import BoundaryDisplay  # noqa: PLC0415 - as above

        return BoundaryDisplay.from_results(self.results).plot()

    def plot_signals(self) -> SignalDisplay:
        """Draw the spread of activations and gradients per layer, in a new pyplot figure."""
        from initlab.report.figures import SignalDisplay  # noqa: PLC0415 - as above

        return SignalDisplay.from_results(self.results).plot()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``report.html``, ``costs.png``, ``boundaries.png``, ``signals.png``, ``runs.csv``.

        All are made before the first is put in its place, so a failure leaves the folder as it was.
        Other files in it stay.

        Parameters
        ----------
        folder
            Made where it does not exist.

        Returns
        -------
        Path
            Of ``report.html``.

        Raises
        ------
        InvalidValueError
            If there is no run to report.
        OutputError
            If the folder cannot be written to.
        """
        if not self.runs:
            raise InvalidValueError("there is no finished run to report")
        target = Path(folder)
        check_folder(target)
        _write_together(target, self._files())
        return target / "report.html"

    def _files(self) -> dict[str, bytes]:
        # Imported here, as they take a second that a comparison without a report does not need.
        from initlab.report import html  # noqa: PLC0415
        from initlab.report.figures import render  # noqa: PLC0415

        figures = render(self.results)
        return {
            **{f"{name}.png": image for name, image in figures.items()},
            # A path may hold bytes that are no text; they come through as escapes.
            "runs.csv": _csv(self.results).encode(errors="backslashreplace"),
            "report.html": html.page(self.results, figures).encode(errors="backslashreplace"),
        }

    def __repr__(self) -> str:
        lines = [
            f"{each.init}: {line}" for each in self.results.summaries() for line in happened(each)
        ]
        cut = ", interrupted" if self.results.interrupted else ""
        return "\n".join([f"<Comparison of {len(self.runs)} runs{cut}>", *lines])

    def _repr_html_(self) -> str:
        from initlab.report import html  # noqa: PLC0415 - for notebooks alone

        return html.fragment(self.results)


def compare(  # noqa: PLR0913 - one parameter a setting
    inits: str | Initializer | Iterable[str | Initializer] | None = None,
    *,
    data: str | os.PathLike[str] = "circles",
    target: str | None = None,
    task: str | None = None,
    seeds: int | Iterable[int] | None = None,
    hidden: Iterable[int] = (10, 5),
    activation: str = "relu",
    loss: str | None = None,
    optimizer: str = "sgd",
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    steps: int = 15_000,
    batch_size: int | None = None,
    precision: str = "float64",
    cost: str | None = None,
    draw: str | None = None,
    record_every: int | None = None,
    target_cost: float | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Train the same network from several starts, and see what each does.

    Without arguments: the published exercise, 2-10-5-1 on two circles from zeros, ``randn * 10``
    and He's rule, with the published weights.

    Parameters
    ----------
    inits
        Starts by name, ``"he_normal"`` or ``"normal(std=10)"``, or as initializers.
    data
        ``"circles"``, ``"moons"``, ``"spirals"``, ``"blobs"``, ``"xor"``, ``"digits"``, with
        arguments where they take any, ``"moons(noise=0.3)"``; or a CSV or NPZ file.
    target, task
        Of a file: the column to predict, and ``"classification"`` or ``"regression"`` where its
        values leave that open.
    seeds
        How many (0 to n - 1), or which. ``None``: the published seed and random stream.
    hidden
        Units per hidden layer; empty for a linear model.
    activation
        Of the hidden layers.
    loss
        ``"binary_cross_entropy"``, ``"cross_entropy"`` or ``"squared_error"``; ``None``: by the
        data.
    optimizer
        ``"sgd"``, ``"momentum"`` or ``"adam"``.
    learning_rate, momentum, steps, batch_size, precision
        As in :class:`initlab.engine.recipe.Recipe`.
    cost
        ``"careful"``, or ``"course"``: -log(a), ``inf`` where the output saturates. ``None``:
        ``"course"`` on the exercise's circles without seeds.
    draw
        ``"published"`` for NumPy's legacy stream, ``"seeded"`` for one of each seed's own.
        ``None``: ``"published"`` where no seeds are given.
    record_every
        Steps between recorded costs; ``None``: about a fifteenth of all.
    target_cost
        Final cost that counts as converged; ``None``: a quarter of the best constant prediction's.
    jobs
        Runs at once; ``None``: one a processor. The results do not depend on it.
    progress
        Called about ten times a second with runs done, runs, steps done, steps.

    Raises
    ------
    InitlabError
        If a name is unknown, a value out of range, or the data cannot be loaded or do not fit.

    Examples
    --------
    >>> comparison = compare(["zeros", "he_normal"], steps=1000, seeds=[0])
    >>> [run.init for run in comparison.runs]
    ['zeros', 'he_normal']
    >>> comparison.runs[0].what_happened
    'hidden units identical (10 of 10 in layer 1, 5 of 5 in layer 2); gradients exactly zero'
    """
    starts = DEFAULT_INITS if inits is None else inits
    return Comparison(
        execute(
            [starts] if isinstance(starts, (str, Initializer)) else starts,
            seeds=seeds,
            threads=jobs,
            progress=progress,
            data=data,
            target=target,
            task=task,
            hidden=hidden,
            activation=activation,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            momentum=momentum,
            steps=steps,
            batch_size=batch_size,
            precision=precision,
            cost=cost,
            draw=draw,
            record_every=record_every,
            target_cost=target_cost,
        )
    )


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Say at once whether a report could be written into ``folder``; nothing is left there.

    Raises
    ------
    OutputError
        If it could not: a file or a folder is in the way, or permission is missing.
    """
    target = Path(folder)
    try:
        blocked = next((target / name for name in FILES if (target / name).is_dir()), None)
        existing = next(path for path in (target, *target.absolute().parents) if path.exists())
    except OSError as error:
        raise OutputError(f"cannot write to {target}: {error.strerror or error}") from error
    if blocked is not None:
        raise OutputError(f"cannot write {blocked}: a folder of this name is in the way")
    if not existing.is_dir():
        raise OutputError(f"cannot write to {target}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to {target}: no permission to write in {existing}")
    _write_together(target, {})  # permission is not all: the disk may be full, the name too long


def _write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files under temporary names, then move them into place."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]  # innermost first
    moved: list[Path] = []
    staging: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".initlab-", dir=folder))
        for name, content in files.items():
            (staging / name).write_bytes(content)
        moved.extend((staging / name).replace(folder / name) for name in files)
    except OSError as error:
        for path in moved if made else ():
            path.unlink()
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for path in made:  # goes where it is empty: nothing was put there
            with contextlib.suppress(OSError):
                path.rmdir()


def _csv(results: Results) -> str:
    """Write what ``to_dataframe().to_csv(index=False)`` does, without the time to import pandas."""
    score = results.score_name
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            *("init", "seed", "status", "final_cost", f"train_{score}", f"test_{score}"),
            *("steps_to_target", "seconds", "what_happened"),
        ]
    )
    for run in results.runs:
        writer.writerow(
            [
                *(run.init, run.seed, run.status, run.final_cost, run.train_score, run.test_score),
                *(run.steps_to_target, run.seconds, run.what_happened),
            ]
        )
    return text.getvalue()
