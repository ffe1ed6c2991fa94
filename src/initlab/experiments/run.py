"""Runs jobs: chunks of replicas over an executor, each run measured at both ends."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from initlab._base.errors import DataError, InvalidValueError
from initlab.data import Dataset
from initlab.engine.control import Control
from initlab.experiments.chunks import Chunk, Finished, Setting, run_chunk
from initlab.experiments.executors.local import run_chunks
from initlab.experiments.plan import Job, fingerprint
from initlab.experiments.records import RunRecord

# Called with runs done, runs in all, steps done, steps in all.
Progress = Callable[[int, int, int, int], None]

# A chunk is at most this many runs, so that the last one to finish does not keep others waiting,
# and at most this many parameters, so that memory stays at tens of megabytes a thread.
CHUNK_RUNS = 32
CHUNK_PARAMETERS = 1_000_000
CHUNKS_PER_THREAD = 4


@dataclass(frozen=True)
class Runs:
    """Finished runs, in the order of their jobs.

    Attributes
    ----------
    runs
        One a finished job.
    interrupted
        Whether Ctrl-C cut the work short; runs cut in the middle are left out.
    """

    runs: tuple[RunRecord, ...]
    interrupted: bool


def run(
    jobs: Sequence[Job],
    *,
    threads: int | None = None,
    chunk: int | None = None,
    progress: Progress | None = None,
    dataset: Dataset | None = None,
) -> Runs:
    """Train every job and measure it.

    A run's numbers (its ``seconds`` apart) do not depend on ``threads`` or ``chunk``. Ctrl-C stops
    the training; the finished runs are returned. The first seed of every start comes first, then
    the second, so that those are about as many of each start.

    Parameters
    ----------
    jobs
        From :func:`initlab.experiments.plan.plan`; several experiments may be mixed.
    threads
        Runs at once; the number of processors if not given.
    chunk
        Runs per call of the engine; chosen by the amount of work if not given.
    progress
        Called about ten times a second and at the end, in the calling thread.
    dataset
        The data of all jobs, where it is loaded already.

    Raises
    ------
    InvalidValueError
        If ``threads`` or ``chunk`` is below 1, or sizes do not fit the data.
    DataError
        If the data cannot be loaded, or is not what the jobs were planned for.
    """
    threads = _at_least_1("threads", threads) or _processors()
    chunks = _split(jobs, threads, _at_least_1("chunk", chunk), dataset)
    steps_in_all = sum(job.experiment.steps for job in jobs)
    collected = _Collected(jobs)

    def tick(controls: Sequence[Control]) -> None:
        if progress is not None:
            steps = [control.steps_done for control in controls]
            done = [n // part.setting.recipe.steps for n, part in zip(steps, chunks, strict=True)]
            progress(sum(done), len(jobs), sum(steps), steps_in_all)

    interrupted = run_chunks(run_chunk, chunks, threads=threads, collect=collected.add, tick=tick)
    return Runs(collected.in_order(), interrupted)


def _processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may grant fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _at_least_1(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InvalidValueError(f"{name}={value}; at least 1 is needed")
    return value


def _split(
    jobs: Sequence[Job], threads: int, size: int | None, dataset: Dataset | None
) -> list[Chunk]:
    """Cut the jobs of each experiment into chunks, which keep their places in the plan."""
    groups: dict[tuple[object, str], list[tuple[int, Job]]] = {}
    for place, job in _seed_by_seed(jobs):
        groups.setdefault((job.experiment, job.fingerprint), []).append((place, job))
    chunks: list[Chunk] = []
    for members in groups.values():
        setting = _setting(members[0][1], dataset)
        most = size or _chunk_size(len(members), threads, setting.network.parameter_count)
        chunks += [
            Chunk(setting, tuple(members[start : start + most]))
            for start in range(0, len(members), most)
        ]
    return chunks


def _seed_by_seed(jobs: Sequence[Job]) -> list[tuple[int, Job]]:
    """Sort jobs, with their places, by how many of their start come before them."""
    counts: Counter[str] = Counter()
    turns: list[int] = []
    for job in jobs:
        turns.append(counts[job.init])
        counts[job.init] += 1
    return sorted(enumerate(jobs), key=lambda each: turns[each[0]])


def _setting(job: Job, dataset: Dataset | None) -> Setting:
    dataset = dataset or job.experiment.load()
    if job.fingerprint and job.fingerprint != fingerprint(dataset):
        raise DataError(
            f"{job.experiment.data} is not the data that the jobs were planned for; plan again"
        )
    return Setting.of(job.experiment, dataset)


def _chunk_size(runs: int, threads: int, parameters: int) -> int:
    shared = math.ceil(runs / (threads * CHUNKS_PER_THREAD))
    return max(1, min(shared, CHUNK_RUNS, CHUNK_PARAMETERS // parameters))


class _Collected:
    """Finished runs as they come in, in any order and perhaps twice.

    Final parameters are kept for the first run of each start only, whichever comes in first.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.found: dict[int, RunRecord] = {}
        self.first: dict[tuple[object, str], int] = {}

    def add(self, finished: Finished) -> None:
        for place, record in finished:
            self.found[place] = record
            start = (self.jobs[place].experiment, self.jobs[place].init)
            other = self.first.setdefault(start, place)
            self.first[start] = min(place, other)
            if place != other:
                later = max(place, other)
                self.found[later] = replace(self.found[later], layers=None)

    def in_order(self) -> tuple[RunRecord, ...]:
        return tuple(self.found[place] for place in sorted(self.found))
