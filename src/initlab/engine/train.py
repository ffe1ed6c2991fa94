"""Training: one call for many replicas."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.engine import reference
from initlab.engine.control import Control
from initlab.engine.network import Array, Layer, Network, pack, unpack
from initlab.engine.recipe import LOSSES, OPTIMIZERS, Recipe, Trajectory

if TYPE_CHECKING:
    from initlab.engine.kernels import Outcome, Problem, Workspace
    from initlab.engine.simd import Kernel

# A kernel looks at the stop flag, and counts its steps, every few milliseconds: after so many
# steps, or so many products of a parameter with a sample.
_MOST_STEPS_UNSEEN = 256
_WORK_UNSEEN = 20_000_000

_ALIGNMENT = 64  # bytes of a cache line, and of the widest vector
_SPACING = 1 << 16  # bytes between the memory of two threads; closer, and they slow each other down


def train(
    network: Network,
    recipe: Recipe,
    layers: Sequence[Layer],
    inputs: Array,
    targets: Array,
    *,
    keys: Sequence[int] | None = None,
    control: Control | None = None,
    engine: Literal["fast", "reference"] = "fast",
    vector_bytes: int | None = None,
) -> Trajectory:
    """Train every replica of a network, one after the other, in the calling thread.

    The fast engine releases the GIL, so callers spread replicas over plain threads; the result of
    a replica depends on nothing but its own weights and key.

    Parameters
    ----------
    network, recipe
        What and how.
    layers
        Starting weights ``(replicas, fan_out, fan_in)`` and biases ``(replicas, fan_out)``; they
        are not changed.
    inputs, targets
        ``(features, samples)`` and ``(outputs, samples)``; classes as one-hot columns.
    keys
        One 64-bit key a replica for its batch order; 0, 1, ... if not given.
    control
        Counts steps as they are done, and can stop the training.
    engine
        ``"fast"`` for the compiled kernels, ``"reference"`` for plain NumPy.
    vector_bytes
        Width of the vectors of the fast engine: 64, 32 or 16; the machine's if not given.

    Raises
    ------
    InvalidValueError
        If the shapes of weights, inputs, targets and network do not fit each other, if there are
        no samples or replicas, or if a key or a vector width is none.
    UnknownNameError
        If there is no such engine.
    """
    replicas = _check(network, recipe, layers, inputs, targets)
    keys = range(replicas) if keys is None else keys
    _check_options(replicas, keys, engine, vector_bytes)
    control = control or Control()
    if engine == "fast":
        return _train_fast(
            network, recipe, pack(layers), inputs, targets, keys, control, vector_bytes
        )
    starts = [[Layer(w[i], b[i]) for w, b in layers] for i in range(replicas)]
    parts = [
        reference.train_one(network, recipe, start, inputs, targets, key, control)
        for start, key in zip(starts, keys, strict=True)
    ]
    return _join(parts)


def _check(
    network: Network, recipe: Recipe, layers: Sequence[Layer], inputs: Array, targets: Array
) -> int:
    """Return the number of replicas, or say what does not fit."""
    if inputs.ndim != 2 or targets.ndim != 2 or inputs.shape[1] != targets.shape[1]:
        raise InvalidValueError(
            f"inputs {inputs.shape} and targets {targets.shape} do not fit each other; expected "
            "(features, samples) and (outputs, samples)"
        )
    if inputs.shape[1] == 0:
        raise InvalidValueError("there are no samples to train on")
    if (inputs.shape[0], targets.shape[0]) != (network.sizes[0], network.sizes[-1]):
        raise InvalidValueError(
            f"a network of sizes {network.sizes} does not fit {inputs.shape[0]} features and "
            f"{targets.shape[0]} outputs"
        )
    if recipe.loss == "binary_cross_entropy" and network.sizes[-1] != 1:
        raise InvalidValueError(
            f"binary_cross_entropy needs one output, the network has {network.sizes[-1]}; "
            "use cross_entropy"
        )
    shapes = [(w.shape[1:], b.shape[1:]) for w, b in layers]
    if shapes != [((o, i), (o,)) for o, i in network.shapes]:
        raise InvalidValueError(
            f"weights and biases of shapes {shapes} a replica do not fit a network of sizes "
            f"{network.sizes}; expected (replicas, fan_out, fan_in) and (replicas, fan_out) a layer"
        )
    counts = {len(array) for layer in layers for array in layer}
    if len(counts) != 1:
        raise InvalidValueError(f"layers hold different numbers of replicas: {sorted(counts)}")
    return counts.pop()


def _check_options(
    replicas: int, keys: Sequence[int], engine: str, vector_bytes: int | None
) -> None:
    """Say what is not among the accepted values."""
    if replicas == 0:
        raise InvalidValueError("there are no replicas to train")
    if len(keys) != replicas:
        raise InvalidValueError(f"{len(keys)} keys for {replicas} replicas; expected one for each")
    for key in keys:
        if not 0 <= key < 2**64:
            raise InvalidValueError(f"key {key} does not fit into 64 bits; expected 0 to 2^64 - 1")
    if engine not in ("fast", "reference"):
        raise UnknownNameError("engine", engine, ("fast", "reference"))
    if vector_bytes not in (None, 16, 32, 64):
        raise InvalidValueError(f"there are no vectors of {vector_bytes} bytes; use 64, 32 or 16")


def _join(parts: Sequence[Trajectory]) -> Trajectory:
    """Put trajectories of single replicas together."""

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    courses = [part.course_cost for part in parts if part.course_cost is not None]
    return Trajectory(
        steps=parts[0].steps,
        cost=joined("cost"),
        course_cost=np.concatenate(courses) if courses else None,
        final_cost=joined("final_cost"),
        layers=tuple(
            Layer(
                np.concatenate([layer.weight for layer in same]),
                np.concatenate([layer.bias for layer in same]),
            )
            for same in zip(*(part.layers for part in parts), strict=True)
        ),
        snapshots=joined("snapshots"),
        seconds=joined("seconds"),
        steps_done=joined("steps_done"),
    )


class _Arena:
    """One piece of memory, cut into aligned arrays.

    Parameters
    ----------
    count
        How many numbers all arrays hold together, at most.
    arrays
        How many arrays there are.
    dtype
        Of the numbers.
    """

    def __init__(self, count: int, arrays: int, dtype: np.dtype[Any]) -> None:
        size = count * dtype.itemsize + (arrays + 1) * _ALIGNMENT + 2 * _SPACING
        self._bytes = np.zeros(size, dtype=np.uint8)
        self._dtype = dtype
        self._at = _SPACING

    def take(self, count: int) -> Array:
        """Return the next ``count`` numbers, zeroed, at a multiple of the alignment."""
        self._at += -(self._bytes.ctypes.data + self._at) % _ALIGNMENT
        end = self._at + count * self._dtype.itemsize
        array = self._bytes[self._at : end].view(self._dtype)
        self._at = end
        return array


def _train_fast(
    network: Network,
    recipe: Recipe,
    starts: Array,
    inputs: Array,
    targets: Array,
    keys: Sequence[int],
    control: Control,
    vector_bytes: int | None,
) -> Trajectory:
    """Run the compiled kernel on packed starts ``(replicas, parameters)``."""
    # Imported here: these bring Numba's compiler, which commands that do not train can spare.
    import numba as nb  # noqa: PLC0415

    from initlab.engine import kernels  # noqa: PLC0415
    from initlab.engine.simd import Kernel  # noqa: PLC0415

    kernel = Kernel(network.activation, vector_bytes)
    problem, work = _set_up(network, recipe, kernel, inputs, targets)
    outcomes = _outcomes(recipe, starts.shape, control)
    final = np.empty(starts.shape, dtype=work.parameters.dtype)
    seconds = np.zeros(len(starts))
    # Compiled before the clock starts; a kernel that is there already is taken as it is.
    first = (kernel, problem, work, _of_replica(outcomes, 0))
    kernels.train.compile(tuple(nb.typeof(argument) for argument in first))
    for i, key in enumerate(keys):
        started = time.perf_counter()
        work.parameters[:] = starts[i]
        work.first[:] = 0
        work.second[:] = 0
        this = problem._replace(key=np.uint64(key))
        kernels.train(kernel, this, work, _of_replica(outcomes, i))
        final[i] = work.parameters
        seconds[i] = time.perf_counter() - started
    return Trajectory(
        steps=problem.record_steps,
        cost=outcomes.cost,
        course_cost=outcomes.course_cost if recipe.loss == "binary_cross_entropy" else None,
        final_cost=outcomes.final_cost[:, 0],
        layers=unpack(network, final),
        snapshots=outcomes.snapshots,
        seconds=seconds,
        steps_done=outcomes.steps_done[:, 0],
    )


def _set_up(
    network: Network, recipe: Recipe, kernel: Kernel, inputs: Array, targets: Array
) -> tuple[Problem, Workspace]:
    """Put the problem in the kernel's terms, and allocate the memory of one replica."""
    from initlab.engine.kernels import Problem, Workspace  # noqa: PLC0415 - see _train_fast
    from initlab.engine.simd import block_limits  # noqa: PLC0415

    dtype = np.dtype(recipe.precision)
    samples, units = inputs.shape[1], sum(network.sizes)
    batch = min(recipe.batch_size or samples, samples)
    tile = kernel.tile(dtype)
    tiles = -(-batch // tile)
    rows = units + (sum(network.sizes[1:-1]) if kernel.keeps_slopes else 0)
    count = network.parameter_count
    moments = {"sgd": (0, 0), "momentum": (count, 0), "adam": (count, count)}[recipe.optimizer]
    lengths = [count, count, *moments, tiles * rows * tile, tiles * (network.sizes[-1] + 1) * tile]
    arena = _Arena(sum(lengths), len(lengths), dtype)
    first_rate = recipe.beta1 if recipe.optimizer == "adam" else recipe.momentum
    problem = Problem(
        sizes=np.array(network.sizes, dtype=np.int64),
        inputs=np.ascontiguousarray(inputs.T, dtype=dtype),
        targets=np.ascontiguousarray(targets.T, dtype=dtype),
        loss=LOSSES.index(recipe.loss),
        optimizer=OPTIMIZERS.index(recipe.optimizer),
        rates=np.array([recipe.learning_rate, first_rate, recipe.beta2, recipe.epsilon]),
        steps=recipe.steps,
        batch=batch,
        key=np.uint64(0),
        record_steps=np.array(recipe.record_steps, dtype=np.int64),
        snapshot_steps=np.array(recipe.snapshot_steps, dtype=np.int64),
        poll=max(1, min(_MOST_STEPS_UNSEEN, _WORK_UNSEEN // (batch * count))),
        limits=block_limits(kernel),
        tile=tile,
        tiles=tiles,
        stride=rows * tile,
        slopes=(units - network.sizes[0]) * tile if kernel.keeps_slopes else 0,
    )
    return problem, Workspace(*map(arena.take, lengths), order=np.arange(samples))


def _outcomes(recipe: Recipe, shape: tuple[int, ...], control: Control) -> Outcome:
    """Make room for what is kept of ``(replicas, parameters)``; nan where nothing is written."""
    from initlab.engine.kernels import Outcome  # noqa: PLC0415 - see _train_fast

    replicas, count = shape
    records, snapshots = len(recipe.record_steps), len(recipe.snapshot_steps)
    return Outcome(
        cost=np.full((replicas, records), np.nan),
        course_cost=np.full((replicas, records), np.nan),
        final_cost=np.full((replicas, 1), np.nan),
        snapshots=np.full((replicas, snapshots, count), np.nan, dtype=recipe.precision),
        steps_done=np.zeros((replicas, 1), dtype=np.int64),
        counter=control.steps,
        stop=control.flag,
    )


def _of_replica(outcomes: Outcome, replica: int) -> Outcome:
    """Return the room of one replica; counter and flag are shared."""
    kept = ("cost", "course_cost", "final_cost", "snapshots", "steps_done")
    return outcomes._replace(**{name: getattr(outcomes, name)[replica] for name in kept})
