"""Medians, quartiles and bootstrap intervals, against NumPy and SciPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from initlab.experiments.plan import Experiment, plan
from initlab.experiments.records import RunRecord
from initlab.experiments.run import run
from initlab.experiments.summary import (
    RESAMPLES,
    commonest,
    interval,
    resampled_ranks,
    shared_notes,
    summarise,
)

INF = math.inf


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return run(plan(["he_normal"], Experiment(steps=1))).runs[0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_quantiles_are_numpys(values: list[float]):
    found = interval(values)
    expected = np.quantile(values, [0.5, 0.25, 0.75])
    assert np.allclose([found.median, *found.iqr], expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("count", [5, 20, 31, 200])
def test_the_interval_is_that_of_an_independent_bootstrap(count: int):
    """Each end is the 2.5 % point of SciPy's resampled medians, up to the noise of 2,000 resamples.

    Four standard errors of a share of 2.5 % in 2,000 draws are 1.4 %.
    """
    values = np.random.default_rng(count).lognormal(size=count)
    theirs = stats.bootstrap(
        (values,),
        np.median,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).bootstrap_distribution
    low, high = interval(values.tolist()).ci95
    slack, touch = 0.014, 1e-9
    assert (theirs < low - touch).mean() - slack <= 0.025 <= (theirs <= low + touch).mean() + slack
    assert (theirs > high + touch).mean() - slack <= 0.025
    assert (theirs >= high - touch).mean() + slack >= 0.025


def test_resampled_ranks_are_those_of_medians():
    ranks = resampled_ranks(6)
    assert ranks.shape == (RESAMPLES, 2)
    assert (ranks[:, 0] <= ranks[:, 1]).all()
    assert 0 <= ranks.min() <= ranks.max() <= 5
    odd = resampled_ranks(7)
    assert (odd[:, 0] == odd[:, 1]).all()
    # The rank of the median of 7 draws of 7: P(rank <= k) = P(at least 4 of 7 draws are <= k).
    for k in range(7):
        expected = stats.binom.sf(3, 7, (k + 1) / 7)
        assert (odd[:, 0] <= k).mean() == pytest.approx(expected, abs=4 * 0.5 / RESAMPLES**0.5)


def test_the_interval_narrows_as_runs_are_added():
    rng = np.random.default_rng(5)
    few, many = (interval(rng.standard_normal(n).tolist()).ci95 for n in (20, 20_000))
    assert few[1] - few[0] > 10 * (many[1] - many[0]) > 0
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * 1.2533 / 20_000**0.5, rel=0.25)


def test_a_single_run_is_its_own_interval():
    found = interval([0.25])
    assert (found.median, found.iqr, found.ci95) == (0.25, (0.25, 0.25), (0.25, 0.25))
    assert interval([INF]).ci95 == (INF, INF)


def test_infinite_values_keep_their_place():
    found = interval([1.0, INF, 2.0, 3.0, math.nan])
    assert (found.median, found.iqr) == (3.0, (2.0, INF))
    assert found.ci95[1] == INF
    assert interval([1.0, 2.0, INF, INF]).median == INF
    assert interval([1.0, 2.0, 3.0, INF]).median == 2.5
    worst = interval([-INF, 0.5, 0.75, 1.0])
    assert (worst.median, worst.iqr[0]) == (0.625, -INF)


def test_intervals_are_the_same_each_time():
    values = np.random.default_rng(0).random(30).tolist()
    assert interval(values) == interval(values[::-1]) == interval(values)


def test_starts_are_summarised_apart_in_order(record: RunRecord):
    runs = [
        replace(record, init="b", seed=0, status="converged", final_cost=0.1, steps_to_target=50),
        replace(record, init="b", seed=1, status="diverged", final_cost=INF, steps_to_target=None),
        replace(record, init="b", seed=2, status="stalled", final_cost=0.7, steps_to_target=90),
        replace(record, init="a", seed=0, status="diverged", final_cost=math.nan, test_score=None),
    ]
    b, a = summarise(runs)
    assert (b.init, b.runs, b.converged, b.stalled, b.diverged) == ("b", 3, 1, 1, 1)
    assert b.final_cost.median == 0.7
    assert b.steps_to_target.median == 90
    assert b.steps_to_target.ci95[1] == INF
    assert b.train_score is not None
    assert b.train_score.median == record.train_score
    assert a.init == "a"
    assert a.final_cost.median == INF
    assert a.test_score is None


def test_nothing_summarises_to_nothing():
    assert summarise([]) == ()


def test_the_commonest_line_counts_its_like():
    assert commonest(["healthy"] * 3) == "healthy"
    assert commonest(["healthy", "healthy", "cost nan at step 10"]) == "healthy (2 of 3 runs)"
    lines = [f"{n} of 300 outputs saturated" for n in (300, 298, 300)]
    expected = "300 of 300 outputs saturated (or much alike, 3 of 4 runs)"
    assert commonest([*lines, "healthy"]) == expected
    assert commonest(["layer 1: 4 of 5 units dead", "layer 2: 4 of 5 units dead"]).endswith(
        "(1 of 2 runs)"
    )
    shrinks = [f"gradient shrinks {size} from layer 8 to layer 1" for size in ("1e-6", "3e-6")]
    assert commonest(shrinks).endswith("(or much alike, 2 of 2 runs)")


def test_the_notes_of_runs_are_told_once_each_with_their_number():
    dead = "layer 2: left as it is: its output does not vary"
    notes = [(dead,), (dead, "layer 1: 3 of 9 channels do not vary; left"), (dead,)]
    assert shared_notes(notes) == (
        dead,
        "layer 1: 3 of 9 channels do not vary; left (1 of 3 runs)",
    )
    apart = [(f"came within a factor {size} only",) for size in (3, 4, 4)]
    assert shared_notes([*apart, ()]) == (
        "came within a factor 4 only (or much alike, 3 of 4 runs)",
    )
    assert shared_notes([(), ()]) == ()
