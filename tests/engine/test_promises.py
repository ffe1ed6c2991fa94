"""What a result may not depend on, and how a run is watched and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from initlab.engine import losses, reference
from initlab.engine.control import Control
from initlab.engine.network import Layer, pack
from initlab.engine.recipe import PRECISIONS, Trajectory

MakeProblem = Callable[..., Any]


# What a result may not depend on.


def assert_identical(ours: Trajectory, theirs: Trajectory) -> None:
    """Compare bit for bit, timings aside."""
    for name in ("steps", "cost", "course_cost", "final_cost", "snapshots", "steps_done"):
        assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert_array_equal(mine.weight, other.weight)
        assert_array_equal(mine.bias, other.bias)


def part_of(trained: Trajectory, chosen: slice) -> Trajectory:
    """Return some replicas of a trajectory."""
    assert trained.course_cost is not None
    return Trajectory(
        trained.steps,
        trained.cost[chosen],
        trained.course_cost[chosen],
        trained.final_cost[chosen],
        tuple(Layer(w[chosen], b[chosen]) for w, b in trained.layers),
        trained.snapshots[chosen],
        trained.seconds[chosen],
        trained.steps_done[chosen],
    )


def replicas_of(problem: Any, chosen: slice) -> Any:
    """Return the problem of some replicas."""
    layers = tuple(Layer(w[chosen], b[chosen]) for w, b in problem.layers)
    return problem._replace(layers=layers, keys=problem.keys[chosen])


ways = pytest.mark.parametrize(
    ("optimizer", "batch_size"), [("sgd", None), ("momentum", 7), ("adam", 64), ("adam", None)]
)


@ways
@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_replica_does_not_depend_on_its_company(
    problem_of: MakeProblem, optimizer: str, batch_size: int | None, engine: str
):
    problem = problem_of(
        (3, 9, 6, 1),
        replicas=4,
        optimizer=optimizer,
        batch_size=batch_size,
        steps=40,
        record_steps=(0, 13, 40),
        snapshot_steps=(20,),
    )
    together = problem.train(engine=engine)
    for chosen in (slice(0, 1), slice(1, 3), slice(3, 4), slice(None, None, -1)):
        alone = replicas_of(problem, chosen).train(engine=engine)
        assert_identical(alone, part_of(together, chosen))


@ways
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_looking_does_not_change_the_run(
    problem_of: MakeProblem, activation: str, optimizer: str, batch_size: int | None
):
    problem = problem_of(
        (3, 9, 6, 1), activation, optimizer=optimizer, batch_size=batch_size, steps=300
    )
    everything = tuple(range(301))
    watched = problem._replace(
        recipe=replace(problem.recipe, record_steps=everything, snapshot_steps=everything)
    ).train()
    alone = problem.train()
    assert_array_equal(pack(watched.layers), pack(alone.layers))
    assert_array_equal(watched.final_cost, alone.final_cost)
    assert_array_equal(watched.cost[:, -1], alone.final_cost)
    assert_array_equal(watched.snapshots[:, -1], pack(alone.layers))
    assert_array_equal(watched.snapshots[:, 0], pack(problem.layers))
    # Each step asked for by itself gives what was seen among all.
    recipe = replace(problem.recipe, record_steps=(17, 256), snapshot_steps=(16, 255))
    some = problem._replace(recipe=recipe).train()
    assert_array_equal(some.cost, watched.cost[:, [17, 256]])
    assert_array_equal(some.snapshots, watched.snapshots[:, [16, 255]])


@ways
def test_run_is_the_prefix_of_a_longer_one(
    problem_of: MakeProblem, optimizer: str, batch_size: int | None
):
    problem = problem_of((3, 9, 1), optimizer=optimizer, batch_size=batch_size, steps=23)
    longer = problem._replace(recipe=replace(problem.recipe, steps=50, snapshot_steps=(23,)))
    assert_array_equal(problem.train().snapshots.shape, (1, 0, problem.network.parameter_count))
    assert_array_equal(pack(problem.train().layers), longer.train().snapshots[:, 0])


def test_threads_at_once_give_the_same_bits(problem_of: MakeProblem):
    problem = problem_of(
        (2, 10, 5, 1), replicas=9, batch_size=32, steps=4000, record_steps=(0, 2000, 4000)
    )
    together = problem.train()
    chunks = [slice(0, 3), slice(3, 6), slice(6, 9)]
    begin = threading.Barrier(len(chunks))

    def run(chosen: slice) -> Trajectory:
        begin.wait(timeout=60)
        return replicas_of(problem, chosen).train()

    with ThreadPoolExecutor(len(chunks)) as pool:
        for chosen, found in zip(chunks, pool.map(run, chunks), strict=True):
            assert_identical(found, part_of(together, chosen))


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_goes_in_is_left_alone(problem_of: MakeProblem, engine: str, precision: str):
    problem = problem_of((3, 4, 1), replicas=2, batch_size=7, precision=precision)
    before = [array.copy() for layer in problem.layers for array in layer]
    before += [problem.inputs.copy(), problem.targets.copy()]
    trained = problem.train(engine=engine)
    after = [*(array for layer in problem.layers for array in layer), *problem[3:5]]
    for old, new in zip(before, after, strict=True):
        assert_array_equal(old, new)
    for start, end in zip(problem.layers, trained.layers, strict=True):
        assert not np.shares_memory(start.weight, end.weight)


def test_order_in_memory_and_integers_do_not_matter(problem_of: MakeProblem):
    problem = problem_of((3, 4, 1))
    layers = tuple(Layer(np.asfortranarray(w), b) for w, b in problem.layers)
    turned = problem._replace(
        layers=layers,
        inputs=np.asfortranarray(problem.inputs),
        targets=problem.targets.astype(np.int64),
    )
    assert_identical(turned.train(), problem.train())


# Progress and cancellation.


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("steps", [1, 255, 256, 257, 700])
def test_control_counts_every_step_of_every_replica(
    problem_of: MakeProblem, engine: str, steps: int
):
    control = Control()
    problem = problem_of((2, 2, 1), samples=4, replicas=3, steps=steps)
    trained = problem.train(control=control, engine=engine)
    assert control.steps_done == 3 * steps
    assert not control.stopped
    assert_array_equal(trained.steps_done, [steps] * 3)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_stop_from_another_thread_ends_the_run_early(
    problem_of: MakeProblem, batch_size: int | None
):
    steps = 20_000_000  # some seconds, should the stop be missed
    problem = problem_of(
        (2, 2, 1),
        samples=8,
        replicas=2,
        steps=steps,
        batch_size=batch_size,
        learning_rate=1e-6,
        record_steps=(0, 256, steps),
        snapshot_steps=(0, steps),
    )
    control = Control()
    started = problem_of((2, 2, 1), steps=1)
    started.train()  # compiled before the clock runs
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(problem.train, control=control)
        try:
            while control.steps_done < 10_000 and not future.done():
                pass
        finally:
            control.stop()
        found = future.result(timeout=60)
    assert found.course_cost is not None
    assert 10_000 <= found.steps_done[0] < steps
    assert found.steps_done[1] == 0
    assert control.steps_done == found.steps_done.sum()
    assert_array_equal(np.isfinite(found.cost), [[True, True, False], [True, False, False]])
    assert_array_equal(np.isfinite(found.course_cost), np.isfinite(found.cost))
    assert np.isnan(found.cost[0, 2])
    assert np.isnan(found.snapshots[:, 1]).all()
    assert_array_equal(found.snapshots[:, 0], pack(problem.layers))
    # What was reached is whole: the final cost is that of the final parameters.
    assert_array_equal(pack(found.layers)[1], pack(problem.layers)[1])
    for replica in range(2):
        layers = [Layer(w[replica], b[replica]) for w, b in found.layers]
        logits = reference.forward(problem.network, layers, problem.inputs).logits
        cost = losses.cost(problem.recipe.loss, logits, problem.targets)
        assert_allclose(found.final_cost[replica], cost, rtol=1e-12)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_stop_before_the_start_leaves_the_start(problem_of: MakeProblem, engine: str):
    problem = problem_of((2, 3, 1), steps=50, record_steps=(0, 1), snapshot_steps=(0, 1))
    control = Control()
    control.stop()
    found = problem.train(control=control, engine=engine)
    assert_array_equal(found.steps_done, [0])
    assert_array_equal(pack(found.layers), pack(problem.layers))
    assert_array_equal(np.isnan(found.cost), [[False, True]])
    assert_array_equal(found.final_cost, found.cost[:, 0])
    assert_array_equal(found.snapshots[:, 0], pack(problem.layers))
    assert np.isnan(found.snapshots[:, 1]).all()
