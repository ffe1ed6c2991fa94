"""``initlab compare``: train from several starts, and see what each does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from initlab._base.errors import InvalidValueError, OutputError
from initlab.cli.interrupts import held_back
from initlab.cli.output import complain, rendered, say

if TYPE_CHECKING:
    from initlab.report.comparison import Comparison

DEFAULT_FOLDER = Path("initlab-report")

EXAMPLES = """
Examples:

- initlab compare
- initlab compare zeros "normal(std=10)" he_normal glorot_uniform orthogonal --seeds 50
- initlab compare --data moons --hidden 32,32,32 --activation tanh --optimizer adam --lr 1e-3
- initlab compare --data my.csv --target label --out results
"""

_DATA, _TRAINING, _RUNS, _OUTPUT = "Data", "Network and training", "Runs", "Output"


def compare(  # noqa: PLR0913 - one parameter an option
    inits: Annotated[
        list[str] | None,
        typer.Argument(
            help='Starts, such as he_normal or "normal(std=10)". '
            'Default: zeros "normal(std=10)" he_normal.',
            show_default=False,
        ),
    ] = None,
    *,
    data: Annotated[
        str,
        typer.Option(
            help='circles, moons, spirals, blobs, xor, digits, "circles(n=500, noise=0.1)", '
            "or a .csv or .npz file.",
            rich_help_panel=_DATA,
        ),
    ] = "circles",
    target: Annotated[
        str | None,
        typer.Option(help="Column of the file to predict.", rich_help_panel=_DATA),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="classification or regression, where the file leaves it open.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    hidden: Annotated[
        str,
        typer.Option(
            help='Units per hidden layer, "none" for a linear model.', rich_help_panel=_TRAINING
        ),
    ] = "10,5",
    activation: Annotated[
        str, typer.Option(help="Of the hidden layers.", rich_help_panel=_TRAINING)
    ] = "relu",
    loss: Annotated[
        str | None,
        typer.Option(
            help="binary_cross_entropy, cross_entropy or squared_error. Default: by the data.",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help="sgd, momentum or adam.", rich_help_panel=_TRAINING)
    ] = "sgd",
    lr: Annotated[float, typer.Option(help="Learning rate.", rich_help_panel=_TRAINING)] = 0.01,
    momentum: Annotated[
        float, typer.Option(help="Of the optimizer momentum.", rich_help_panel=_TRAINING)
    ] = 0.9,
    steps: Annotated[int, typer.Option(help="Updates.", rich_help_panel=_TRAINING)] = 15_000,
    batch: Annotated[
        int | None,
        typer.Option(
            help="Samples per step. Default: all.", show_default=False, rich_help_panel=_TRAINING
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float64 or float32.", rich_help_panel=_TRAINING)
    ] = "float64",
    seeds: Annotated[
        str | None,
        typer.Option(
            help="How many seeds (50), or which (3,7). "
            "Default: the published exercise's one, from its random stream.",
            show_default=False,
            rich_help_panel=_RUNS,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            help="Runs at once. Default: one a processor.",
            show_default=False,
            rich_help_panel=_RUNS,
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="careful, or course (-log(a), inf where the output saturates). "
            "Default: course on the exercise's circles without --seeds.",
            show_default=False,
            rich_help_panel=_RUNS,
        ),
    ] = None,
    record_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between recorded costs. Default: about a fifteenth.",
            show_default=False,
            rich_help_panel=_RUNS,
        ),
    ] = None,
    target_cost: Annotated[
        float | None,
        typer.Option(
            help="Final cost that counts as converged. "
            "Default: a quarter of the best constant prediction's.",
            show_default=False,
            rich_help_panel=_RUNS,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help=f"Folder for the report. Default: {DEFAULT_FOLDER}; with --json: none.",
            show_default=False,
            readable=False,  # by typer, that is; whether it can be written is asked before a run
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=_OUTPUT)
    ] = False,
) -> Callable[[], int]:
    """Train the same network from several starts, and see what each does.

    Without options: the course exercise, 2-10-5-1 on two circles, from zeros, large random weights
    and He's rule, as published.
    """
    settings = {
        "inits": inits or None,
        "data": data,
        "target": target,
        "task": task,
        "seeds": _seeds(seeds),
        "hidden": _hidden(hidden),
        "activation": activation,
        "loss": loss,
        "optimizer": optimizer,
        "learning_rate": lr,
        "momentum": momentum,
        "steps": steps,
        "batch_size": batch,
        "precision": precision,
        "cost": cost,
        "record_every": record_every,
        "target_cost": target_cost,
        "jobs": jobs,
    }
    folder = out or (None if json else DEFAULT_FOLDER)
    return functools.partial(_run, settings, folder and _at_home(folder), json=json)


def _run(settings: dict[str, Any], folder: Path | None, *, json: bool) -> int:
    """Train, print and save; returns the exit status."""
    # Imported here, so that --help and a mistyped option answer at once.
    from initlab.cli.progress import RunProgress  # noqa: PLC0415 - heavy, and not always needed
    from initlab.report import comparison as report  # noqa: PLC0415 - heavy, and not always needed

    if folder is not None:
        report.check_folder(folder)
        _spare_data(_at_home(Path(settings["data"])), folder, report.FILES)
    with RunProgress() as progress, held_back(2, progress.stopping):
        result = report.compare(**settings, progress=progress)
    if not result.runs:  # Ctrl-C came before the first was finished
        raise KeyboardInterrupt
    with held_back(1) as interrupted:
        _present(result, folder, json=json)
    if not (interrupted or result.results.interrupted):
        return 0
    done = f"{len(result.runs):,} of {progress.runs:,} runs"
    complain(f"interrupted after {done}")
    return 130


def _present(result: Comparison, folder: Path | None, *, json: bool) -> None:
    """Print first: that is there at once, and stays if the report cannot be written."""
    say(result.to_json() if json else _tables(result))
    if folder is not None:
        page = result.save(folder)
        if not json:
            say(f"Report: {page}")


def _at_home(path: Path) -> Path:
    """Replace a leading ``~``; the shell leaves the one in ``--out=~/results``."""
    try:
        return path.expanduser()
    except RuntimeError:  # there is no such user: it is a name like any other
        return path


def _spare_data(data: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Refuse to write a report over the data it is about."""
    for name in names:
        if data.name == name and data.resolve() == (folder / name).resolve():
            raise OutputError(f"cannot write {folder / name}: it is the data; give another --out")


def _tables(result: Comparison) -> str:
    from initlab.report.tables import CostTable, HappenedTable, SummaryTable  # noqa: PLC0415 - heavy, and not always needed

    return rendered(table(result.results) for table in (CostTable, SummaryTable, HappenedTable))


def _seeds(text: str | None) -> int | list[int] | None:
    """Read ``50`` as a number of seeds, ``3,7`` as the seeds themselves."""
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers:
        raise InvalidValueError(
            f"--seeds {text!r}; accepted: a number of seeds such as 50, or seeds such as 3,7"
        )
    return numbers if "," in text else numbers[0]


def _hidden(text: str) -> tuple[int, ...]:
    """Read ``32,32`` as sizes, ``none`` as no hidden layer."""
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"--hidden {text!r}; accepted: sizes such as 10,5, or none for a linear model"
        ) from None
