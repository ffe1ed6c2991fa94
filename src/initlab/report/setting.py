"""What was run, in words, and how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from initlab.experiments import Results
from initlab.experiments.plan import PUBLISHED_SEED, Experiment, resolve
from initlab.report.spread import by_start
from initlab.report.text import cost_text

# The command line's name of each field that has one of its own; the others are spelled alike.
_FLAGS = {"learning_rate": "lr", "batch_size": "batch"}

_LOSSES = {
    "binary_cross_entropy": "binary cross-entropy",
    "cross_entropy": "cross-entropy",
    "squared_error": "squared error",
}
_OPTIMIZERS = {"sgd": "gradient descent", "momentum": "momentum", "adam": "Adam"}

# What resolve() fills in.
_RESOLVED = ("loss", "record_every", "cost", "draw", "target_cost")


def title(results: Results) -> str:
    """Say how much was run, on what: ``"3 starts, 20 seeds each, on moons"``."""
    starts = by_start(results.runs)
    seeds = max(map(len, starts.values()), default=0)
    many = f", {seeds} seeds each," if seeds > 1 else ""
    return f"{_count(len(starts), 'start')}{many} on {results.dataset.name}"


def facts(results: Results) -> dict[str, str]:
    """Describe the network, its training and the data, a line each."""
    experiment, dataset = results.experiment, results.dataset
    sizes = "-".join(map(str, results.network.sizes))
    units = f"{experiment.activation} in the hidden layers" if experiment.hidden else "linear"
    rule = _OPTIMIZERS[experiment.optimizer]
    if experiment.optimizer == "momentum":
        rule += f" {experiment.momentum:g}"
    batch = experiment.batch_size
    batches = f"mini-batches of {batch}" if batch else "the full batch"
    rate = f"learning rate {experiment.learning_rate:g}"
    form = " in the course's form, which may be inf" if experiment.cost == "course" else ""
    counts = [_count(dataset.features, "feature")]
    if dataset.classes:
        counts.append(f"{len(dataset.classes)} classes")
    counts.append(_count(len(dataset.train_y), "training sample"))
    counts.append(_count(len(dataset.test_y), "test sample"))
    return {
        "Network": f"{sizes}, {units}",
        "Training": ", ".join(
            [f"{experiment.steps} steps of {rule} on {batches}", rate, experiment.precision]
        ),
        "Cost": f"{_LOSSES[experiment.recipe().loss]}{form}",
        "Data": f"{dataset.name}: {', '.join(counts)}",
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def status_words(results: Results) -> dict[str, str]:
    """Define the three ways in which a run ends, with this experiment's target."""
    target = cost_text(results.experiment.settled_target_cost)
    return {
        "converged": f"the final cost is at or below the target, {target}",
        "diverged": "the final cost is not finite, or clearly above both the first cost and the "
        "best constant prediction's",
        "stalled": "neither of the two",
    }


def command(results: Results) -> str | None:
    """Return the command line that runs the same again; ``None`` where only Python can."""
    chosen = _chosen(results)
    if "draw" in chosen:
        return None
    words = ["initlab", "compare", *by_start(results.runs)]
    for name, value in chosen.items():
        flag = f"--{_FLAGS.get(name, name).replace('_', '-')}"
        words += [flag, _listed(value) or "none" if isinstance(value, tuple) else f"{value}"]
    seeds = _seeds(results)
    if isinstance(seeds, list):
        # A single number would be read as how many.
        words += ["--seeds", f"{seeds[0]}," if len(seeds) == 1 else _listed(seeds)]
    elif seeds is not None:
        words += ["--seeds", f"{seeds}"]
    return shlex.join(words)


def _listed(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


def python(results: Results) -> str:
    """Return the Python code that runs the same again."""
    arguments = [_literal(list(by_start(results.runs)))]
    arguments += [f"{name}={_literal(value)}" for name, value in _chosen(results).items()]
    seeds = _seeds(results)
    if seeds is not None:
        arguments.append(f"seeds={seeds!r}")
    lines = ",\n    ".join(arguments)
    return f"import initlab\n\ncomparison = initlab.compare(\n    {lines},\n)"


def _literal(value: object) -> str:
    """Write a value as Python, strings in double quotes as the formatters have it."""
    if isinstance(value, list):
        return f"[{', '.join(_literal(item) for item in value)}]"
    if isinstance(value, str) and not {'"', "\\"} & {*value}:
        return f'"{value}"'
    return repr(value)


def _chosen(results: Results) -> dict[str, object]:
    """Return the fields that differ from what they would be by themselves."""
    experiment = results.experiment
    free = {k: v for k, v in experiment.model_dump().items() if k not in _RESOLVED}
    usual = resolve(Experiment(**free), results.dataset, published=_seeds(results) is None)
    default = {name: field.default for name, field in Experiment.model_fields.items()}
    default |= {name: getattr(usual, name) for name in _RESOLVED}
    return {k: v for k, v in experiment.model_dump().items() if v != default[k]}


def _seeds(results: Results) -> int | list[int] | None:
    """Return the seeds as they are asked for: none (the published one), a number, or a list."""
    seeds = list(dict.fromkeys(run.seed for run in results.runs))
    if seeds == [PUBLISHED_SEED] and results.experiment.draw == "published":
        return None
    return len(seeds) if seeds == list(range(len(seeds))) else seeds
