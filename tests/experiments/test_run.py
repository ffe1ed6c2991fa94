"""Jobs run to their published figures, whatever the threads and chunks, and stop on Ctrl-C."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import linear_model

from initlab._base.errors import DataError, InvalidValueError
from initlab._base.records import dumps
from initlab.data import load
from initlab.engine.control import Control
from initlab.experiments import chunks, starts
from initlab.experiments.executors.local import run_chunks
from initlab.experiments.plan import Experiment, plan
from initlab.experiments.records import RunRecord
from initlab.experiments.run import Runs, run

# Printed by the exercise.
LARGE_FIRST_COST, LARGE_LAST_COST = np.inf, 0.38278
HE_FIRST_COST, HE_LAST_COST = 0.8830537463419761, 0.07357895962677369


@pytest.fixture(scope="module")
def published() -> dict[str, RunRecord]:
    runs = run(plan(["zeros", "normal(std=10)", "he_normal"], Experiment())).runs
    return {record.init: record for record in runs}


def test_the_published_zeros(published: dict[str, RunRecord]):
    record = published["zeros"]
    np.testing.assert_allclose(record.cost, 0.6931471805599453, rtol=1e-13)
    assert (record.train_score, record.test_score, record.status) == (0.5, 0.5, "stalled")
    assert record.steps_to_target is None


def test_the_published_large_start(published: dict[str, RunRecord]):
    record = published["normal(std=10)"]
    assert record.steps == tuple(range(0, 15_000, 1_000))
    assert record.cost[0] == LARGE_FIRST_COST
    assert record.cost[-1] == pytest.approx(LARGE_LAST_COST, abs=1e-3)
    assert np.isfinite(record.careful_cost).all()
    assert (record.train_score, record.test_score) == (0.83, 0.86)
    assert "300 of 300 outputs saturated at step 0, 150 of them wrong" in record.what_happened


def test_the_published_he_start(published: dict[str, RunRecord]):
    record = published["he_normal"]
    assert record.cost[0] == pytest.approx(HE_FIRST_COST, rel=1e-9)
    assert record.cost[-1] == pytest.approx(HE_LAST_COST, rel=1e-9)
    assert record.train_score == pytest.approx(0.9933333333333333)
    assert record.test_score == 0.96
    assert (record.status, record.what_happened) == ("converged", "healthy")
    assert record.final_cost < record.cost[-1]
    reached = record.steps.index(record.steps_to_target or 0)
    assert record.careful_cost[reached] <= np.log(2) / 4 < record.careful_cost[reached - 1]


def test_the_kept_parameters_are_the_final_ones(published: dict[str, RunRecord]):
    record = published["he_normal"]
    assert record.layers is not None
    dataset = load("circles")
    signal_ = dataset.test_x.T
    for layer in record.layers[:-1]:
        signal_ = np.maximum(layer.weight @ signal_ + layer.bias[:, None], 0)
    logits = (record.layers[-1].weight @ signal_)[0] + record.layers[-1].bias
    assert ((logits > 0) == dataset.test_y).mean() == record.test_score


def without_times(runs: Runs) -> str:
    return dumps([replace(record, seconds=0.0) for record in runs.runs])


def test_threads_and_chunks_change_nothing():
    experiment = Experiment(steps=300, batch_size=64, optimizer="momentum")
    jobs = plan(["he_normal", "normal(std=10)", "zeros"], experiment, seeds=3)
    expected = run(jobs, threads=1, chunk=len(jobs))
    assert [(r.init, r.seed) for r in expected.runs] == [(job.init, job.seed) for job in jobs]
    assert len({record.final_cost for record in expected.runs}) > 6
    for threads, chunk in itertools.product((1, 2, 3), (1, 3, None)):
        found = run(jobs, threads=threads, chunk=chunk)
        assert without_times(found) == without_times(expected)


def test_parameters_are_kept_for_the_first_seed_of_each_start():
    jobs = plan(["he_normal", "zeros"], Experiment(steps=5), seeds=[4, 1, 7])
    for chunk in (1, 2, 6):
        runs = run(jobs, threads=3, chunk=chunk).runs
        assert [r.layers is not None for r in runs] == [True, False, False, True, False, False]


def test_several_experiments_run_together():
    jobs = [
        *plan(["he_normal"], Experiment(steps=5), seeds=2),
        *plan(["he_normal"], Experiment(steps=9, hidden=(4,), data="moons"), seeds=2),
        *plan(["zeros"], Experiment(steps=5), seeds=2),
    ]
    runs = run(jobs, threads=2, chunk=2).runs
    assert [r.init for r in runs] == ["he_normal"] * 4 + ["zeros"] * 2
    assert [len(r.evidence.start) for r in runs] == [3, 3, 2, 2, 3, 3]
    assert [r.layers is not None for r in runs] == [True, False, True, False, True, False]


def test_progress_rises_to_all():
    seen: list[tuple[int, int, int, int]] = []
    jobs = plan(["he_normal"], Experiment(steps=2_000), seeds=4)
    run(jobs, threads=2, chunk=1, progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (4, 4, 8_000, 8_000)
    assert seen == sorted(seen)


def test_nothing_to_run():
    assert run([]) == Runs((), interrupted=False)


@pytest.mark.parametrize("bad", [{"threads": 0}, {"chunk": -1}])
def test_bad_sizes_are_refused(bad: dict[str, int]):
    with pytest.raises(InvalidValueError, match="at least 1 is needed"):
        run(plan(["zeros"], Experiment(steps=1)), **bad)


def test_data_that_changed_since_the_plan_is_refused(tmp_path: Path):
    file = tmp_path / "mine.csv"
    rows = [f"{i * i % 7},{i},{i % 2}" for i in range(40)]
    file.write_text("\n".join(["a,b,label", *rows]))
    jobs = plan(["zeros"], Experiment(data=file, steps=1), seeds=1)
    file.write_text("\n".join(["a,b,label", *rows[:-4]]))
    with pytest.raises(DataError, match="not the data that the jobs were planned for"):
        run(jobs)


# --- other tasks, held to what scikit-learn's linear models find -----------------------------


def test_several_classes(tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    y = (x @ rng.standard_normal((3, 4)) + 0.5 * rng.standard_normal((200, 4))).argmax(axis=1)
    np.savez(tmp_path / "mine.npz", X=x, y=y)
    experiment = Experiment(
        data=tmp_path / "mine.npz", hidden=(), learning_rate=1.0, steps=3_000, record_every=1_000
    )
    (record,) = run(plan(["zeros"], experiment, seeds=1)).runs
    dataset = experiment.load()
    model = linear_model.LogisticRegression(C=np.inf, tol=1e-8, max_iter=10_000)
    model.fit(dataset.train_x, dataset.train_y)
    found = model.predict_proba(dataset.train_x)
    cost = -np.log(found[np.arange(len(found)), dataset.train_y]).mean()
    assert record.final_cost == pytest.approx(cost, rel=1e-3)
    assert record.test_score == pytest.approx(
        model.score(dataset.test_x, dataset.test_y), abs=1.5 / len(dataset.test_y)
    )
    assert record.cost == record.careful_cost


def test_regression(tmp_path: Path):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((120, 2))
    np.savez(tmp_path / "mine.npz", X=x, y=x @ [2.0, -1.0] + 0.3 * rng.standard_normal(120))
    experiment = Experiment(data=tmp_path / "mine.npz", hidden=(), learning_rate=0.3, steps=500)
    (record,) = run(plan(["he_normal"], experiment, seeds=1)).runs
    dataset = experiment.load()
    model = linear_model.LinearRegression().fit(dataset.train_x, dataset.train_y)
    assert record.train_score == pytest.approx(model.score(dataset.train_x, dataset.train_y))
    assert record.test_score == pytest.approx(model.score(dataset.test_x, dataset.test_y))
    assert (record.status, record.what_happened) == ("converged", "healthy")


def test_mini_batches_of_one_seed_are_shared_by_every_start():
    """A linear model forgets its start, so two of them end alike if their batches were alike."""
    experiment = Experiment(hidden=(), batch_size=7, learning_rate=0.5, steps=2_000)
    jobs = plan(["normal(std=0.1)", "glorot_uniform"], experiment, seeds=2)
    costs = [record.final_cost for record in run(jobs).runs]
    assert costs[0] == pytest.approx(costs[2], rel=1e-9)
    assert costs[1] == pytest.approx(costs[3], rel=1e-9)
    assert costs[0] != pytest.approx(costs[1], rel=1e-6)


# --- interrupts and failures -----------------------------------------------------------------


def interrupt_when(runs_done: int) -> Callable[[int, int, int, int], None]:
    """Send this process Ctrl-C once, when so many runs are done."""
    sent = threading.Event()

    def progress(done: int, *_: int) -> None:
        if done >= runs_done and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    return progress


@pytest.mark.parametrize("chunk", [1, 50])
def test_an_interrupt_keeps_the_finished_runs(chunk: int):
    jobs = plan(["he_normal"], Experiment(steps=20_000), seeds=600)
    cut = run(jobs, threads=2, chunk=chunk, progress=interrupt_when(3))
    assert cut.interrupted
    assert 3 <= len(cut.runs) < 600
    seeds = [record.seed for record in cut.runs]
    assert seeds == sorted(seeds)
    alone = run([jobs[seed] for seed in seeds[:3]])
    assert not alone.interrupted
    assert without_times(Runs(cut.runs[:3], interrupted=False)) == without_times(alone)
    assert cut.runs[0].layers is not None
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("initlab")]


def test_a_failing_run_ends_the_others_and_is_raised(monkeypatch: pytest.MonkeyPatch):
    draw = chunks.starts.draw

    def fail(job: chunks.Job, network: chunks.Network, data: starts.Data) -> starts.Start:
        if job.seed == 5:
            raise ZeroDivisionError("seed 5")
        return draw(job, network, data)

    monkeypatch.setattr(chunks.starts, "draw", fail)
    jobs = plan(["he_normal"], Experiment(steps=20_000), seeds=600)
    with pytest.raises(ZeroDivisionError, match="seed 5"):
        run(jobs, threads=2, chunk=1)


def test_the_executor_stops_what_waits_on_a_failure():
    """The other chunk would wait for ever if nobody stopped it."""
    started = threading.Event()

    def work(chunk: str, control: Control) -> None:
        if chunk == "fails":
            started.wait()
            raise RuntimeError("broken")
        started.set()
        while not control.stopped:
            pass

    with pytest.raises(RuntimeError, match="broken"):
        run_chunks(
            work,
            ["waits", "fails"],
            threads=2,
            collect=lambda _result: None,
            tick=lambda _controls: None,
        )


def test_a_failing_progress_display_stops_the_work():
    def progress(*_: int) -> None:
        raise OSError("no terminal")

    jobs = plan(["he_normal"], Experiment(steps=20_000), seeds=600)
    with pytest.raises(OSError, match="no terminal"):
        run(jobs, threads=2, chunk=1, progress=progress)


def test_a_result_that_was_collected_is_let_go():
    class Large:
        pass

    alive: weakref.WeakSet[Large] = weakref.WeakSet()
    uncollected = threading.Semaphore(3)
    counts: list[int] = []

    def work(_: int, __: Control) -> Large:
        assert uncollected.acquire(timeout=30)
        result = Large()
        alive.add(result)
        return result

    def collect(_: Large) -> None:
        gc.collect()
        counts.append(len(alive))
        uncollected.release()

    run_chunks(work, range(30), threads=1, collect=collect, tick=lambda _: None)
    assert len(counts) == 30
    # Three that wait, the one at hand, and those of the same round that a name still holds.
    assert max(counts) <= 8
