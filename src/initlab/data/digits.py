"""Scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np

from initlab._base import streams
from initlab.data.arguments import seed_of
from initlab.data.dataset import Dataset
from initlab.data.scaling import scaling_notes, standardise
from initlab.data.split import stratified


def digits(seed: int = 1) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels, ten classes, standardised and split 75/25.

    Parameters
    ----------
    seed
        Decides which quarter of each class is the test set, 0 or more.

    Raises
    ------
    InvalidValueError
        If the seed is out of range.

    References
    ----------
    Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository; its test set, as scikit-learn ships it.
    """
    seed = seed_of(seed)
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second, for this data set only

    x, y = (np.asarray(part) for part in load_digits(return_X_y=True))
    names = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    train, test = stratified(y, streams.stream(seed, "split", "digits"))
    scaled = standardise(x[train], x[test], names, "digits")
    return Dataset(
        name="digits" if seed == 1 else f"digits(seed={seed})",
        task="multiclass",
        train_x=scaled.train,
        train_y=y[train],
        test_x=scaled.test,
        test_y=y[test],
        classes=tuple(map(str, range(10))),
        feature_names=names,
        notes=(
            "scikit-learn's handwritten digits, 8 x 8 pixels",
            f"stratified split into {train.size} training and {test.size} test images, seed {seed}",
            *scaling_notes(scaled, names),
        ),
    )
