"""What is to be run: an experiment, its starts and seeds, as jobs with one key each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import operator
import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, SupportsIndex, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from initlab import activations, initializers
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.data import Dataset, load
from initlab.data.labels import TaskChoice
from initlab.engine.network import Network
from initlab.engine.recipe import (
    LOSSES,
    OPTIMIZERS,
    PRECISIONS,
    LossName,
    OptimizerName,
    Precision,
    Recipe,
)
from initlab.experiments.outcome import TARGET_SHARE, best_constant_cost
from initlab.initializers import Initializer

Value = TypeVar("Value")
CostForm = Literal["careful", "course"]
Draw = Literal["published", "seeded"]

# The exercise draws its weights from NumPy's legacy stream with this seed.
PUBLISHED_SEED = 3

# Its data set, as Dataset.name has it.
PUBLISHED_DATA = "circles"

# The exercise prints its cost 15 times.
RECORDS = 15

# Beyond these a slip of the pen is likelier than a purpose, and memory or a counter would give out.
MOST_UNITS = 1_000_000
MOST_STEPS = 1_000_000_000_000
MOST_RECORDS = 1_000_000
MOST_SEEDS = 1_000_000

# Which losses fit a task; the first is the default.
FITTING: dict[str, tuple[LossName, ...]] = {
    "binary": ("binary_cross_entropy", "squared_error"),
    "multiclass": ("cross_entropy", "squared_error"),
    "regression": ("squared_error",),
}


def _one_of(kind: str, names: Sequence[str]) -> BeforeValidator:
    """Refuse a name that is not among ``names`` with the nearest one as a suggestion."""

    def check(value: object) -> object:
        if value is not None and value not in names:
            raise UnknownNameError(kind, str(value), names)
        return value

    return BeforeValidator(check)


def _path_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _one_layer(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise InvalidValueError(f"{value} is given where a number is expected")
    return value


Count = Annotated[int, Field(ge=1), BeforeValidator(_no_bool)]
Units = Annotated[Count, Field(le=MOST_UNITS)]
Steps = Annotated[Count, Field(le=MOST_STEPS)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
Cost = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_bool)]


class Experiment(BaseModel):
    """The setting that every start and seed shares; the defaults are the published exercise.

    A field that is ``None`` depends on the data or on the seeds; :func:`resolve` fills it in.

    Parameters
    ----------
    data, target, task
        What :func:`initlab.data.load` reads; the last two are for files alone.
    hidden
        Units per hidden layer, a single number for a single one; ``()`` for a linear model.
    activation
        Of the hidden layers.
    loss
        ``None``: ``binary_cross_entropy`` for two classes, ``cross_entropy`` for more,
        ``squared_error`` for regression. The squared error fits classes too.
    optimizer, learning_rate, steps, momentum, precision
        As in :class:`initlab.engine.recipe.Recipe`.
    batch_size
        Samples per step, ``None`` for all of them.
    record_every
        Steps between two records, the first at step 0. ``None``: a fifteenth of the steps, to the
        nearest of 1, 2, 5, 10, 20, 50, ...
    cost
        Form of the reported cost: ``careful``, or ``course`` (-log(a), which may be ``inf``; binary
        cross-entropy only). ``None``: ``course`` on the exercise's circles without seeds, else
        ``careful``.
    draw
        Where starting weights come from, see :mod:`initlab.experiments.starts`. ``None``:
        ``published`` where no seeds are given, else ``seeded``.
    target_cost
        A run whose final cost is at or below it has converged. ``None``: a quarter of the cost of
        the best constant prediction on the training set (:func:`best_constant_cost`).

    Raises
    ------
    InvalidValueError
        If a value is out of range or of the wrong kind.
    UnknownNameError
        If a name, or the name of a field, is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[str, BeforeValidator(_path_text)] = "circles"
    target: str | None = None
    task: Annotated[TaskChoice | None, _one_of("task", get_args(TaskChoice))] = None
    hidden: Annotated[tuple[Units, ...], BeforeValidator(_one_layer)] = (10, 5)
    activation: Annotated[str, AfterValidator(lambda v: activations.get(v).name)] = "relu"
    loss: Annotated[LossName | None, _one_of("loss", LOSSES)] = None
    optimizer: Annotated[OptimizerName, _one_of("optimizer", OPTIMIZERS)] = "sgd"
    learning_rate: Positive = 0.01
    steps: Steps = 15_000
    batch_size: Count | None = None
    momentum: Annotated[float, Field(ge=0, lt=1), BeforeValidator(_no_bool)] = 0.9
    record_every: Count | None = None
    cost: Annotated[CostForm | None, _one_of("cost form", get_args(CostForm))] = None
    precision: Annotated[Precision, _one_of("precision", PRECISIONS)] = "float64"
    draw: Annotated[Draw | None, _one_of("draw", get_args(Draw))] = None
    target_cost: Cost | None = None

    def __init__(self, **fields: Any) -> None:
        unknown = next((name for name in fields if name not in type(self).model_fields), None)
        if unknown is not None:
            raise UnknownNameError("experiment field", unknown, type(self).model_fields)
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise _one_line(error) from error

    def load(self) -> Dataset:
        """Load the data."""
        return load(self.data, self.target, self.task)

    def network(self, dataset: Dataset) -> Network:
        """Return the network between the data's features and outputs."""
        return Network((dataset.features, *self.hidden, dataset.outputs), self.activation)

    @property
    def settled_target_cost(self) -> float:
        """The target cost; the experiment must be resolved."""
        return _settled(self.target_cost)

    def recipe(self) -> Recipe:
        """Return how the network is trained; the experiment must be resolved."""
        return Recipe(
            loss=_settled(self.loss),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            steps=self.steps,
            batch_size=self.batch_size,
            momentum=self.momentum,
            record_steps=tuple(range(0, self.steps, _settled(self.record_every))),
            precision=self.precision,
        )


def _settled(value: Value | None) -> Value:
    if value is None:
        raise InvalidValueError("the experiment is not resolved; pass it through resolve() first")
    return value


def _one_line(error: ValidationError) -> InvalidValueError:
    """Return pydantic's first complaint as one line: field, what was given, what is accepted."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:1])
    said = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return InvalidValueError(f"{name}={first['input']!r} is refused: {said}")


def resolve(experiment: Experiment, dataset: Dataset, *, published: bool = False) -> Experiment:
    """Fill in the fields that depend on the data.

    Parameters
    ----------
    experiment
        What the user set.
    dataset
        The data that its ``data`` names.
    published
        Whether no seeds are given: the published stream is the default then, and on the exercise's
        own data its cost form.

    Raises
    ------
    InvalidValueError
        If the loss does not fit the task, the cost form not the loss, or the batch not the data, or
        there would be more than :data:`MOST_RECORDS` records.
    """
    fitting = FITTING[dataset.task]
    loss = experiment.loss or fitting[0]
    if loss not in fitting:
        kind = f"{len(dataset.classes)} classes" if dataset.classes else "values (regression)"
        raise InvalidValueError(
            f"loss {loss} does not fit the data {dataset.name}, which has {kind}; "
            f"accepted: {', '.join(fitting)}"
        )
    binary = loss == "binary_cross_entropy"
    exercise = published and binary and dataset.name == PUBLISHED_DATA
    if experiment.cost == "course" and not binary:
        raise InvalidValueError(
            f"cost='course' is a form of binary_cross_entropy, the loss is {loss}; "
            "accepted: 'careful'"
        )
    samples = len(dataset.train_x)
    if experiment.batch_size is not None and experiment.batch_size > samples:
        raise InvalidValueError(
            f"batch_size={experiment.batch_size} with {samples} training samples; accepted: 1 to "
            f"{samples}; all of them if it is left out"
        )
    record_every = experiment.record_every or _round_number(experiment.steps / RECORDS)
    if experiment.steps > MOST_RECORDS * record_every:
        raise InvalidValueError(
            f"record_every={record_every} with {experiment.steps} steps; accepted: "
            f"{-(-experiment.steps // MOST_RECORDS)} or more, for {MOST_RECORDS} records at most"
        )
    target_cost = experiment.target_cost
    if target_cost is None:
        target_cost = TARGET_SHARE * best_constant_cost(loss, dataset.train_matrices()[1])
    settled = {
        "loss": loss,
        "record_every": record_every,
        "cost": experiment.cost or ("course" if exercise else "careful"),
        "draw": experiment.draw or ("published" if published else "seeded"),
        "target_cost": target_cost,
    }
    return Experiment(**{**experiment.model_dump(), **settled})


def _round_number(value: float) -> int:
    """Return the nearest of 1, 2, 5, 10, 20, 50, ... by ratio."""
    if value <= 1:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda n: abs(math.log(n / value)))


@dataclasses.dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes
    ----------
    experiment
        The setting, resolved.
    init
        The start as :func:`initlab.initializers.get` prints it.
    seed
        Its seed.
    fingerprint
        Content hash of the data, so that a changed file makes another job.
    """

    experiment: Experiment
    init: str
    seed: int
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """Content hash of the job, 32 hexadecimal digits; the same in every process."""
        content = {
            "experiment": self.experiment.model_dump(mode="json"),
            "init": self.init,
            "seed": self.seed,
            "data": self.fingerprint,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def plan(
    inits: Iterable[str | Initializer],
    experiment: Experiment,
    seeds: int | Iterable[int] | None = None,
    dataset: Dataset | None = None,
) -> tuple[Job, ...]:
    """List the jobs of an experiment: for each start each seed, in the order given.

    Parameters
    ----------
    inits
        Starts; one given twice, also under an alias, is refused.
    experiment
        The setting; it is resolved here.
    seeds
        ``None`` for the published draw (seed 3, legacy stream), a number n for seeds 0 to
        n - 1, or the seeds themselves.
    dataset
        The data that the experiment names, where it is loaded already.

    Raises
    ------
    DataError
        If the data cannot be loaded.
    InvalidValueError
        If there is no start or no seed, one occurs twice, or a seed is out of range.
    UnknownNameError
        If a start is not in the catalogue.
    """
    specs = [initializers.get(init).spec for init in ([inits] if isinstance(inits, str) else inits)]
    if not specs:
        raise InvalidValueError("no initializer is given; at least one is needed")
    twice = next((spec for spec in specs if specs.count(spec) > 1), None)
    if twice is not None:
        raise InvalidValueError(f"initializer {twice} is given twice; name each start once")
    dataset = dataset or experiment.load()
    settled = resolve(experiment, dataset, published=seeds is None)
    numbers = _seeds(seeds, largest=2**32 - 1 if settled.draw == "published" else None)
    mark = fingerprint(dataset)
    return tuple(Job(settled, spec, seed, mark) for spec in specs for seed in numbers)


def _seeds(seeds: int | Iterable[int] | None, largest: int | None) -> tuple[int, ...]:
    if seeds is None:
        return (PUBLISHED_SEED,)
    accepted = f"a number of seeds (1 to {MOST_SEEDS}), or distinct whole numbers from 0"
    if largest is not None:
        accepted += f" to {largest} (all that the published stream takes)"
    try:
        single = not isinstance(seeds, Iterable)
        numbers = tuple(_first(_whole(seeds)) if single else map(_whole, seeds))
        fits = all(n >= 0 and (largest is None or n <= largest) for n in numbers)
    except TypeError:
        numbers, fits = (), False
    if not numbers or not fits or len(set(numbers)) < len(numbers):
        raise InvalidValueError(f"seeds={seeds!r}; accepted: {accepted}")
    return numbers


def _first(count: int) -> range:
    return range(count if count <= MOST_SEEDS else 0)


def _whole(value: object) -> int:
    """Return a whole number, also NumPy's, as ``int``."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(value)
    return operator.index(value)


def fingerprint(dataset: Dataset) -> str:
    """Return a content hash of task, training and test set, 32 hexadecimal digits."""
    digest = hashlib.blake2b(f"{dataset.task} {dataset.outputs}".encode(), digest_size=16)
    for array in (dataset.train_x, dataset.train_y, dataset.test_x, dataset.test_y):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
