"""The matrices that the engine takes, the split and the scaling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from initlab._base.errors import DataError
from initlab.data import Dataset
from initlab.data.dataset import Task
from initlab.data.scaling import standardise
from initlab.data.split import stratified, unstratified


def _dataset(task: Task, train_y: list[float], classes: tuple[str, ...]) -> Dataset:
    x = np.arange(2.0 * len(train_y)).reshape(-1, 2)
    y = np.array(train_y)
    return Dataset("mine", task, x, y, x[:1], y[:1], classes, ("a", "b"), ())


def test_two_classes_make_one_row_of_targets():
    binary = _dataset("binary", [0, 1, 1], ("no", "yes"))
    x, y = binary.train_matrices()
    assert_array_equal(x, [[0, 2, 4], [1, 3, 5]])
    assert_array_equal(y, [[0, 1, 1]])
    assert (binary.features, binary.outputs) == (2, 1)
    assert x.dtype == y.dtype == np.float64
    assert x.flags.c_contiguous
    assert y.flags.c_contiguous


def test_several_classes_make_one_hot_columns():
    several = _dataset("multiclass", [2, 0, 1, 2], ("a", "b", "c"))
    assert_array_equal(several.train_matrices()[1], [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]])
    assert several.outputs == 3
    x, y = several.test_matrices()
    assert_array_equal(x, [[0], [1]])
    assert_array_equal(y, [[0], [0], [1]])  # the class that the test set lacks has its row too


def test_numbers_stay_as_they_are():
    regression = _dataset("regression", [0.5, -2.0], ())
    assert_array_equal(regression.train_matrices()[1], [[0.5, -2.0]])
    assert regression.outputs == 1


def test_the_matrices_are_copies():
    one = _dataset("regression", [0.5, -2.0], ())
    for matrix, part in zip(one.train_matrices(), (one.train_x, one.train_y), strict=True):
        matrix[:] = 99
        assert not (part == 99).any()


def test_a_dataset_shows_itself_in_one_line():
    text = repr(_dataset("regression", [0.5, -2.0], ()))
    assert text == "<dataset mine: regression, 2 training and 1 test samples, 2 features>"


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=80), seed=st.integers(0, 2**32))
def test_a_stratified_split_takes_a_quarter_of_each_class(labels: list[int], seed: int):
    y = np.array(labels + sorted(set(labels)))  # two of each at least
    train, test = stratified(y, np.random.default_rng(seed))
    assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(y.size))
    for label in set(labels):
        size, tested = (y == label).sum(), (y[test] == label).sum()
        assert 1 <= tested < size
        assert abs(tested - size / 4) <= 0.5


@given(samples=st.integers(2, 200), seed=st.integers(0, 2**32))
def test_a_plain_split_takes_a_quarter(samples: int, seed: int):
    train, test = unstratified(samples, np.random.default_rng(seed))
    assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(samples))
    assert abs(test.size - samples / 4) <= 0.5


def test_every_sample_is_as_likely_to_be_tested():
    counts = np.zeros(8)
    for seed in range(2000):
        counts[unstratified(8, np.random.default_rng(seed))[1]] += 1
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_scaling_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    train, test = (random.normal(3, [1, 1e-6, 1e9], (50, 3)) for _ in range(2))
    scaled = standardise(train, test, ("a", "b", "c"), "'f'")
    reference = StandardScaler().fit(train)
    assert_allclose(scaled.train, reference.transform(train), rtol=1e-9)
    assert_allclose(scaled.test, reference.transform(test), rtol=1e-9)
    assert_allclose(scaled.mean, reference.mean_)
    assert_allclose(scaled.std, reference.scale_)
    assert not scaled.constant.any()


def test_a_constant_column_becomes_zero_in_both_sets():
    train, test = np.array([[0.1, 1], [0.1, 2], [0.1, 3]]), np.array([[7.0, 2]])
    scaled = standardise(train, test, ("a", "b"), "'f'")
    assert_array_equal(scaled.constant, [True, False])
    assert_array_equal(scaled.train[:, 0], 0)
    assert_array_equal(scaled.test, [[0, 0]])


@pytest.mark.parametrize(
    "column", [[0, 1e300, 2e300], [0, 1e-300, 2e-300], [0, 1e-162, 2e-162], [1e16, 1e16, 1e16 + 2]]
)
def test_what_double_precision_cannot_scale_is_refused(column: list[float]):
    x = np.array([[1, 2, 3], column]).T
    with pytest.raises(DataError, match="'f': b cannot be standardised"):
        standardise(x, x, ("a", "b"), "'f'")
