"""Scikit-learn's digits, split and standardised."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from initlab import data
from initlab._base import streams
from initlab.data.split import stratified


def test_every_image_is_in_one_of_the_two_sets_a_quarter_of_each_class_in_the_test_set():
    digits = data.load("digits")
    y = load_digits().target
    assert len(digits.train_y) + len(digits.test_y) == len(y) == 1797
    assert digits.task == "multiclass"
    assert digits.classes == tuple("0123456789")
    tested = np.bincount(digits.test_y)
    assert (np.abs(tested - np.bincount(y) / 4) <= 0.5).all()
    assert_array_equal(tested + np.bincount(digits.train_y), np.bincount(y))


def test_features_are_standardised_with_the_training_set():
    digits = data.load("digits(seed=5)")
    x, y = load_digits(return_X_y=True)
    train, test = stratified(y, streams.stream(5, "split", "digits"))
    assert_array_equal(digits.train_y, y[train])
    assert_array_equal(digits.test_y, y[test])
    scaler = StandardScaler().fit(x[train])
    constant = np.ptp(x[train], axis=0) == 0
    assert constant.any()
    assert_allclose(digits.train_x, scaler.transform(x[train]), rtol=0, atol=1e-12)
    assert_allclose(
        digits.test_x[:, ~constant], scaler.transform(x[test])[:, ~constant], rtol=0, atol=1e-12
    )
    assert not digits.test_x[:, constant].any()
    assert digits.feature_names[9] == load_digits().feature_names[9]


def test_the_notes_tell_the_split_its_seed_and_the_constant_pixels():
    notes = " ".join(data.load("digits(seed=5)").notes)
    for part in ("1346 training and 451 test", "seed 5", "stratified", "standardised", "pixel_0_0"):
        assert part in notes


def test_the_seed_decides_the_split():
    one, two = data.load("digits(seed=1)"), data.load("digits(seed=2)")
    assert one.train_x.shape == two.train_x.shape
    assert not np.array_equal(one.train_y, two.train_y)
