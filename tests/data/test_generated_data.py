"""The data sets that are drawn: the published numbers, shapes, geometry, noise and arguments."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.datasets import make_circles, make_moons

from initlab import data
from initlab._base.errors import InitlabError, InvalidValueError, UnknownNameError
from initlab.data import Dataset

DRAWN = ("circles", "moons", "spirals", "blobs", "xor")


def _same(one: Dataset, other: Dataset) -> bool:
    return all(
        np.array_equal(getattr(one, part), getattr(other, part))
        for part in ("train_x", "train_y", "test_x", "test_y")
    )


def test_circles_are_the_published_data():
    circles = data.load("circles")
    assert_array_equal(circles.train_x[0], [-0.07741354010048114, 0.8526022642742742])
    assert_array_equal(circles.train_y[:10], [1, 0, 1, 1, 0, 0, 1, 0, 1, 1])
    assert_allclose((circles.train_x**2).sum(), 249.13472743530082, rtol=1e-15)
    assert_array_equal(circles.test_x[0], [-0.5242373850862546, -0.6091036148461817])
    assert circles.train_x.shape == (300, 2)
    assert circles.test_x.shape == (100, 2)
    assert circles.task == "binary"
    assert "published with the course" in circles.notes[0]
    assert any("not standardised" in note for note in circles.notes)


@pytest.mark.parametrize(("n", "noise", "seed"), [(300, 0.05, 1), (37, 0.0, 7), (1000, 0.3, 0)])
def test_circles_are_those_of_scikit_learn_on_the_legacy_stream(n: int, noise: float, seed: int):
    circles = data.load(f"circles(n={n}, noise={noise}, seed={seed})")
    for x, y, size, stream in (
        (circles.train_x, circles.train_y, n, seed),
        (circles.test_x, circles.test_y, n // 3, seed + 1),
    ):
        expected_x, expected_y = make_circles(n_samples=size, noise=noise, random_state=stream)
        assert_array_equal(x, expected_x)
        assert_array_equal(y, expected_y)


def test_circles_with_other_arguments_are_not_called_published():
    for text in ("circles(n=301)", "circles(noise=0.1)", "circles(seed=2)"):
        assert "published" not in data.load(text).notes[0]


@pytest.mark.parametrize("name", [*DRAWN, "digits"])
def test_the_global_generator_is_neither_used_nor_changed(name: str):
    np.random.seed(11)  # noqa: NPY002 - the global generator is what is tested
    before = np.random.get_state()  # noqa: NPY002
    first = data.load(name)
    after = np.random.get_state()  # noqa: NPY002
    assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    np.random.seed(12)  # noqa: NPY002
    assert _same(first, data.load(name))


@pytest.mark.parametrize("name", DRAWN)
def test_sizes_types_and_balance(name: str):
    for n in (12, 100, 301):
        drawn = data.load(f"{name}(n={n})")
        assert drawn.train_x.shape == (n, 2)
        assert drawn.test_x.shape == (n // 3, 2)
        assert drawn.train_x.dtype == drawn.test_x.dtype == np.float64
        assert drawn.feature_names == ("x1", "x2")
        for y in (drawn.train_y, drawn.test_y):
            assert y.dtype == np.int64
            counts = np.bincount(y, minlength=len(drawn.classes))
            assert counts.size == len(drawn.classes)
            assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", DRAWN)
def test_the_points_come_in_random_order(name: str):
    y = data.load(f"{name}(n=1000)").train_y
    repeats = (y[1:] == y[:-1]).mean()
    expected = 1 / (y.max() + 1)
    assert abs(repeats - expected) < 5 * np.sqrt(expected * (1 - expected) / 999)


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_decides_everything(name: str):
    first = data.load(name)
    assert _same(first, data.load(f"{name}(seed=1)"))
    other = data.load(f"{name}(seed=3)")
    assert not np.isin(first.train_x, other.train_x).any()
    assert not np.isin(first.train_x, first.test_x).any()


def test_another_process_draws_the_same():
    code = (
        "import sys; from initlab import data; import numpy as np;"
        f"print(*(repr(float(data.load(n).test_x.sum())) for n in {DRAWN!r}));"
        "print(sorted({'sklearn', 'pandas', 'matplotlib', 'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    sums, heavy = done.stdout.splitlines()
    assert [float(s) for s in sums.split()] == [float(data.load(n).test_x.sum()) for n in DRAWN]
    assert heavy == "[]"  # drawing needs none of the packages that are slow to import


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("std", [0.02, 0.5])
def test_noise_is_gaussian_with_the_given_deviation(name: str, std: float):
    n = 3000
    noisy, clean = data.load(f"{name}({n}, {std})"), data.load(f"{name}({n}, 0)")
    assert_array_equal(noisy.train_y, clean.train_y)
    z = (noisy.train_x - clean.train_x).ravel() / std
    five_sigma = 5 / np.sqrt(z.size)
    assert abs(z.mean()) < five_sigma
    assert abs((z**2).mean() - 1) < five_sigma * np.sqrt(2)
    assert abs((z**4).mean() - 3) < five_sigma * np.sqrt(96)
    assert abs((z[::2] * z[1::2]).mean()) < five_sigma * np.sqrt(2)


def test_noise_free_circles_lie_on_their_radii():
    circles = data.load("circles(noise=0)")
    radii = np.hypot(*circles.train_x.T)
    assert_allclose(radii, np.where(circles.train_y == 0, 1.0, 0.8), rtol=1e-15)
    assert circles.classes == ("outer", "inner")


def test_noise_free_moons_are_those_of_scikit_learn():
    moons = data.load("moons(n=101, noise=0)")
    x, y = make_moons(n_samples=101, noise=None, shuffle=False)
    for label in (0, 1):
        ours = moons.train_x[moons.train_y == label]
        assert ours.shape == x[y == label].shape
        assert cdist(ours, x[y == label]).min(axis=1).max() < 1e-15


def test_the_arms_of_the_spirals_do_not_touch_and_mirror_each_other():
    spirals = data.load("spirals(n=2000, noise=0)")
    first, second = (spirals.train_x[spirals.train_y == label] for label in (0, 1))
    assert cdist(first, second).min() > 0.25
    assert cdist(first, -second).min(axis=1).max() < 1e-14


def test_the_arms_of_the_spirals_alternate_along_every_ray():
    spirals = data.load("spirals(n=6000, noise=0)")
    angle, radius = np.arctan2(*spirals.train_x.T[::-1]), np.hypot(*spirals.train_x.T)
    for ray in np.linspace(-3, 3, 25):
        near = np.abs(angle - ray) < 0.02
        order = np.argsort(radius[near])
        labels, radii = spirals.train_y[near][order], radius[near][order]
        turns = np.flatnonzero(np.diff(radii) > 0.1)  # from one arm to the next
        assert turns.size >= 1
        assert (labels[turns] != labels[turns + 1]).all()
        assert (np.diff(labels) != 0).sum() == turns.size


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_centres_of_blobs_are_two_apart(count: int):
    blobs = data.load(f"blobs(noise=0, centers={count})")
    centres = np.array([blobs.train_x[blobs.train_y == label][0] for label in range(count)])
    assert_array_equal(blobs.train_x, centres[blobs.train_y])
    distances = cdist(centres, centres) + 9 * np.eye(count)
    assert_allclose(distances.min(axis=1), 2, rtol=1e-12)
    assert_allclose(centres.mean(axis=0), 0, atol=1e-12)
    assert blobs.task == ("binary" if count == 2 else "multiclass")
    assert blobs.classes == tuple(map(str, range(count)))


def test_the_labels_of_xor_follow_the_quadrants():
    xor = data.load("xor(n=4000, noise=0)")
    assert_array_equal(xor.train_y, (xor.train_x.prod(axis=1) < 0).astype(int))
    quadrants = np.unique(np.sign(xor.train_x), axis=0, return_counts=True)[1]
    assert_array_equal(quadrants, [1000] * 4)
    folded = np.abs(xor.train_x).ravel()  # uniform on [0, 1]
    assert folded.max() <= 1
    assert abs(folded.mean() - 1 / 2) < 5 / np.sqrt(12 * folded.size)
    assert abs((folded**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / folded.size)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("circles", "circles"),
        (" Circles( ) ", "circles"),
        ("moons(300, 0.4)", "moons(noise=0.4)"),
        ("moons(noise=1.0, n=60)", "moons(n=60, noise=1)"),
        ("blobs(centers=3)", "blobs"),
        ("blobs(n=90, centers=4, seed=5)", "blobs(n=90, seed=5, centers=4)"),
        ("digits(seed=2)", "digits(seed=2)"),
    ],
)
def test_the_name_loads_the_same_data_again(text: str, name: str):
    loaded = data.load(text)
    assert loaded.name == name
    assert _same(loaded, data.load(loaded.name))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("circles(n=11)", "n=11 is not a whole number from 12"),
        ("moons(n=-5)", "n=-5 "),
        ("moons(n=300.0)", "n=300.0 "),
        ("moons(n=True)", "n=True "),
        ("moons(n='many')", "n='many' "),
        ("xor(n=1000000000000)", "n=1000000000000 "),
        ("spirals(noise=-0.1)", "noise=-0.1 is not a number from 0"),
        ("spirals(noise=1e999)", "noise=inf "),
        ("spirals(noise=None)", "noise=None "),
        ("spirals(noise=(1, 2))", r"noise=\(1, 2\) "),
        ("xor(noise=1" + 400 * "0" + ")", "noise=1000"),
        ("blobs(seed=-1)", "seed=-1 "),
        ("blobs(seed=1.5)", "seed=1.5 "),
        ("circles(seed=4294967295)", "seed=4294967295 "),
        ("digits(seed='a')", "seed='a' "),
        ("blobs(centers=1)", "centers=1 is not a whole number from 2 to 100"),
        ("blobs(n=14, centers=5)", "n=14 is not a whole number from 15"),
        ("circles(nose=1)", r"'nose'; accepted: circles\(n=300, noise=0.05, seed=1\)"),
        ("digits(n=5)", r"'n'; accepted: digits\(seed=1\)"),
        ("moons(1, 2, 3, 4)", "accepted: moons"),
        ("moons(5, n=5)", "multiple values for argument 'n'"),
        ("moons(", "cannot read data set"),
        ("", "cannot read data set"),
        ("moons and stars", "cannot read data set"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(text: str, said: str):
    with pytest.raises(InvalidValueError, match=said) as caught:
        data.load(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "nearest"), [("circels", "circles"), ("moon", "moons"), ("digit(seed=1)", "digits")]
)
def test_a_misspelt_name_is_answered_with_the_nearest(text: str, nearest: str):
    with pytest.raises(UnknownNameError, match=f"did you mean {nearest}"):
        data.load(text)


def test_target_and_task_go_with_files_only():
    with pytest.raises(InitlabError, match="target='y' goes with a data file"):
        data.load("moons", target="y")
    with pytest.raises(InitlabError, match="task='regression' goes with a data file"):
        data.load("moons", task="regression")
