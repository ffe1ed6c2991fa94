"""Experiments are checked and resolved, jobs have keys that hold in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from initlab._base.errors import DataError, InvalidValueError, UnknownNameError
from initlab.data import load
from initlab.experiments.plan import Experiment, Job, plan, resolve


def test_the_defaults_are_the_published_exercise():
    (job,) = plan(["he_normal"], Experiment())
    experiment = job.experiment
    assert (job.init, job.seed) == ("he_normal", 3)
    assert experiment.network(load("circles")).sizes == (2, 10, 5, 1)
    assert experiment.draw == "published"
    assert experiment.cost == "course"
    recipe = experiment.recipe()
    assert recipe.loss == "binary_cross_entropy"
    assert recipe.record_steps == tuple(range(0, 15_000, 1_000))
    assert recipe.batch_size is None


def test_seeds_of_ones_own_bring_seeded_streams_and_the_careful_cost():
    jobs = plan(["zeros", "he_normal"], Experiment(), seeds=2)
    assert [(job.init, job.seed) for job in jobs] == [
        ("zeros", 0),
        ("zeros", 1),
        ("he_normal", 0),
        ("he_normal", 1),
    ]
    assert {(job.experiment.draw, job.experiment.cost) for job in jobs} == {("seeded", "careful")}


def test_what_the_user_set_stays():
    experiment = Experiment(
        draw="published", cost="course", record_every=7, target_cost=0.5, loss="squared_error"
    )
    with pytest.raises(InvalidValueError, match="cost='course' is a form of binary_cross_entropy"):
        plan(["zeros"], experiment, seeds=1)
    kept = plan(["zeros"], Experiment(draw="published", record_every=7, target_cost=0.5), seeds=1)
    settled = kept[0].experiment
    assert (settled.draw, settled.record_every, settled.target_cost) == ("published", 7, 0.5)


def test_seeds_may_be_numpys():
    jobs = plan(["zeros"], Experiment(), seeds=np.array([5, 2]))
    assert [job.seed for job in jobs] == [5, 2]
    assert all(type(job.seed) is int for job in jobs)


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], [-1], [0.5], True, "12", 1.5, [True]])
def test_bad_seeds_are_refused(seeds: object):
    with pytest.raises(InvalidValueError, match=r"seeds=.*accepted: a number of seeds"):
        plan(["zeros"], Experiment(), seeds=seeds)  # pyright: ignore[reportArgumentType]


def test_the_published_stream_takes_32_bits():
    with pytest.raises(InvalidValueError, match="0 to 4294967295"):
        plan(["zeros"], Experiment(draw="published"), seeds=[2**32])
    assert plan(["zeros"], Experiment(), seeds=[2**32])[0].seed == 2**32


def test_a_start_given_twice_is_refused_also_under_an_alias():
    with pytest.raises(InvalidValueError, match="he_normal is given twice"):
        plan(["he_normal", "zeros", "kaiming_normal"], Experiment())
    with pytest.raises(InvalidValueError, match="no initializer"):
        plan([], Experiment())
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        plan(["he_norml"], Experiment())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps=0 is refused: it should be greater than or equal to 1"),
        ({"steps": True}, "steps=True is refused: True is given where a number is expected"),
        ({"steps": "many"}, "steps='many' is refused: it should be a valid integer"),
        ({"learning_rate": 0}, "learning_rate=0 is refused: it should be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is refused"),
        ({"momentum": 1.0}, "momentum=1.0 is refused: it should be less than 1"),
        ({"hidden": (10, 0)}, "hidden=0 is refused: it should be greater than or equal to 1"),
        ({"target_cost": -1}, "target_cost=-1 is refused"),
        ({"data": 3}, "data=3 is refused: it should be a valid string"),
        ({"activation": 5}, "activation=5 is refused: it should be a valid string"),
    ],
)
def test_a_bad_value_is_one_line_that_says_what_is_accepted(
    fields: dict[str, object], message: str
):
    with pytest.raises(InvalidValueError) as caught:
        Experiment(**fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean adam?"),
        ({"loss": "cross_entropi"}, "did you mean cross_entropy"),
        ({"activation": "rellu"}, "unknown activation 'rellu'; did you mean relu"),
        ({"learning_rte": 1}, "unknown experiment field 'learning_rte'; did you mean learning_ra"),
        ({"cost": "naive"}, "unknown cost form 'naive'; known: careful, course"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(fields: dict[str, object], message: str):
    with pytest.raises(UnknownNameError) as caught:
        Experiment(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "loss", "default", "refused", "message"),
    [
        ("circles", "squared_error", "binary_cross_entropy", "cross_entropy", "2 classes"),
        ("digits", "squared_error", "cross_entropy", "binary_cross_entropy", "10 classes"),
    ],
)
def test_a_loss_must_fit_the_data(data: str, loss: str, default: str, refused: str, message: str):
    dataset = load(data)
    assert resolve(Experiment(data=data), dataset).loss == default
    assert resolve(Experiment(data=data, loss=loss), dataset).loss == loss
    with pytest.raises(InvalidValueError, match=f"{refused} does not fit .*{message}; accepted: "):
        resolve(Experiment(data=data, loss=refused), dataset)


def test_a_batch_must_fit_the_data():
    experiment = Experiment(batch_size=301)
    with pytest.raises(InvalidValueError, match="batch_size=301 with 300 training samples"):
        plan(["zeros"], experiment)


@pytest.mark.parametrize(
    ("steps", "every"),
    [(15_000, 1_000), (5_000, 500), (30_000, 2_000), (1, 1), (14, 1), (60_000, 5_000), (150, 10)],
)
def test_records_come_at_round_steps(steps: int, every: int):
    assert resolve(Experiment(steps=steps), load("circles")).record_every == every


def test_the_target_is_a_quarter_of_what_the_best_constant_leaves():
    digits = load("digits")
    shares = np.bincount(digits.train_y) / len(digits.train_y)
    entropy = -np.sum(shares * np.log(shares))
    assert resolve(Experiment(), digits).target_cost == pytest.approx(entropy / 4)
    circles = resolve(Experiment(), load("circles"))
    assert circles.target_cost == pytest.approx(np.log(2) / 4)


def test_an_unresolved_experiment_does_not_train():
    with pytest.raises(InvalidValueError, match="not resolved"):
        Experiment().recipe()


def test_resolving_twice_changes_nothing():
    once = resolve(Experiment(), load("circles"), published=True)
    assert resolve(once, load("circles")) == once


def test_keys_tell_jobs_apart():
    jobs = [
        *plan(["zeros", "he_normal"], Experiment(), seeds=3),
        *plan(["he_normal"], Experiment(steps=100), seeds=3),
        *plan(["he_normal"], Experiment(data="circles(seed=5)"), seeds=3),
    ]
    assert len({job.key for job in jobs}) == len(set(jobs)) == len(jobs)
    again = plan(["he_normal"], Experiment(), seeds=[1])[0]
    assert again in jobs
    assert again.key == next(job.key for job in jobs if job == again)


def test_a_changed_file_makes_another_job(tmp_path: Path):
    keys: set[str] = set()
    for first in (1, 2):
        file = tmp_path / "mine.csv"
        rows = [f"{i * first % 7},{i},{i % 2}" for i in range(40)]
        file.write_text("\n".join(["a,b,label", *rows]))
        (job,) = plan(["zeros"], Experiment(data=file), seeds=1)
        keys.add(job.key)
    assert len(keys) == 2


def test_a_missing_file_is_the_datas_error(tmp_path: Path):
    with pytest.raises((DataError, UnknownNameError)):
        plan(["zeros"], Experiment(data=tmp_path / "absent.csv"))


def test_keys_are_the_same_in_another_process():
    job = plan(["normal(std=10)"], Experiment(hidden=[4], learning_rate=0.1), seeds=[7])[0]
    code = (
        "from initlab.experiments.plan import Experiment, plan\n"
        "jobs = plan(['normal(10)'], Experiment(learning_rate=1e-1, hidden=(4,)), seeds=[7])\n"
        "print(jobs[0].key)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert printed.decode().strip() == job.key
    assert len(job.key) == 32


def test_a_job_cannot_be_changed():
    job = Job(Experiment(), "zeros", 0)
    with pytest.raises(AttributeError):
        job.seed = 1  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="frozen"):
        job.experiment.steps = 1
