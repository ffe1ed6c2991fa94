"""Summarises runs over seeds: medians, quartiles and bootstrap intervals of the median."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab._base import streams
from initlab.experiments.records import Interval, RunRecord, StartSummary

RESAMPLES = 2_000

# Indices drawn at a time, so that many runs do not take memory by the square.
_BLOCK = 4_000_000

# Numbers in a story that are not the number of a layer.
_COUNTS = re.compile(r"(?<!layer )\b\d[\d.e%-]*")

Ranks = NDArray[np.int64]


def summarise(runs: Iterable[RunRecord]) -> tuple[StartSummary, ...]:
    """Summarise the runs of each start, in the order in which the starts first occur."""
    starts: dict[str, list[RunRecord]] = {}
    for run in runs:
        starts.setdefault(run.init, []).append(run)
    return tuple(_summarise_start(init, same) for init, same in starts.items())


def _summarise_start(init: str, runs: Sequence[RunRecord]) -> StartSummary:
    ranks = resampled_ranks(len(runs))
    status = Counter(run.status for run in runs)
    never = math.inf

    def interval_of(values: list[float | None]) -> Interval | None:
        given = [value for value in values if value is not None]
        return interval(given, ranks) if len(given) == len(values) else None

    return StartSummary(
        init=init,
        runs=len(runs),
        converged=status["converged"],
        stalled=status["stalled"],
        diverged=status["diverged"],
        final_cost=interval([run.final_cost for run in runs], ranks),
        train_score=interval_of([run.train_score for run in runs]),
        test_score=interval_of([run.test_score for run in runs]),
        steps_to_target=interval(
            [never if run.steps_to_target is None else run.steps_to_target for run in runs], ranks
        ),
        what_happened=commonest([run.what_happened for run in runs]),
        notes=shared_notes([run.adaptation.notes if run.adaptation else () for run in runs]),
    )


def commonest(lines: Sequence[str]) -> str:
    """Return the line that most runs share, and how many, where it is not all.

    Lines that differ in their counts alone are one kind: "298 of 300 outputs saturated" and "300 of
    300 ...". The commonest kind is shown by its commonest line.
    """
    kinds = [_COUNTS.sub("#", line) for line in lines]
    kind, _ = Counter(kinds).most_common(1)[0]
    same = Counter(line for line, other in zip(lines, kinds, strict=True) if other == kind)
    return _counted(same, len(lines))


def shared_notes(notes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return each kind of note once, and how many of the runs have it, where it is not all.

    Parameters
    ----------
    notes
        Those of each run. Kinds are told apart as in :func:`commonest`.
    """
    kinds: dict[str, Counter[str]] = {}
    for own in notes:
        # One of each kind a run: it is runs that are counted.
        for kind, note in {_COUNTS.sub("#", note): note for note in own}.items():
            kinds.setdefault(kind, Counter())[note] += 1
    return tuple(_counted(same, len(notes)) for same in kinds.values())


def _counted(same: Counter[str], runs: int) -> str:
    """Return the commonest of lines of one kind, and how many of the runs have one."""
    line, exactly = same.most_common(1)[0]
    if exactly == runs:
        return line
    alike = same.total()
    return f"{line} ({'' if exactly == alike else 'or much alike, '}{alike} of {runs} runs)"


def interval(values: Sequence[float], ranks: Ranks | None = None) -> Interval:
    """Return median, quartiles and a 95 % percentile-bootstrap interval of the median.

    A value that is not a number counts as ``inf``; infinite values keep their place in the order
    and come out where they are the answer.

    Parameters
    ----------
    values
        One a run, at least one.
    ranks
        From :func:`resampled_ranks` of as many values, where several quantities share it.
    """
    given = np.asarray(values, dtype=np.float64)
    ordered = np.sort(np.where(np.isnan(given), np.inf, given))
    ranks = resampled_ranks(len(ordered)) if ranks is None else ranks
    medians = np.sort(_between(ordered[ranks[:, 0]], ordered[ranks[:, 1]], 0.5))
    return Interval(
        median=_quantile(ordered, 0.5),
        iqr=(_quantile(ordered, 0.25), _quantile(ordered, 0.75)),
        ci95=(_quantile(medians, 0.025), _quantile(medians, 0.975)),
    )


def resampled_ranks(count: int) -> Ranks:
    """Return which two of ``count`` ordered values frame the median of each bootstrap resample.

    The median of a resample depends on ranks alone, so one set serves every quantity of as many
    runs. Drawn from a stream of its own, which only ``count`` decides: the same runs always get the
    same interval.

    Returns
    -------
    array
        ``(resamples, 2)``: the lower and the upper middle rank, alike for an odd ``count``.
    """
    stream = streams.stream(0, "bootstrap", count)
    middle = ((count - 1) // 2, count // 2)
    blocks: list[Ranks] = []
    left = RESAMPLES
    while left:
        rows = min(left, max(1, _BLOCK // count))
        drawn = stream.integers(count, size=(rows, count))
        drawn.partition(middle, axis=1)
        blocks.append(drawn[:, middle])
        left -= rows
    return np.concatenate(blocks)


def _quantile(ordered: NDArray[np.float64], share: float) -> float:
    """Return a quantile of ordered values, linear between neighbours (Hyndman & Fan's type 7)."""
    place = share * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return float(_between(low, high, place - math.floor(place)))


def _between(low: NDArray[np.float64], high: NDArray[np.float64], share: float) -> Any:
    """Return ``low + (high - low) share``, with infinities kept where that would be nan."""
    with np.errstate(invalid="ignore"):
        return np.where((low == high) | np.isinf(low), low, low + (high - low) * share)
