"""What every source of data returns: training and test set, and what was done to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A training and a test set, ready to be trained on.

    Attributes
    ----------
    name
        The text that loads it again, ``"moons(noise=0.3)"``, or the file's name.
    task
        What is to be learnt: one of two classes, one of several, or a number.
    train_x, test_x
        ``(samples, features)``, float64, all finite.
    train_y, test_y
        ``(samples,)``: classes as integers 0, 1, ..., or float64 numbers for regression.
    classes
        The name of class 0, 1, ...; empty for regression.
    feature_names
        One a column of ``train_x``.
    notes
        What was chosen and done on the way, in plain words, the most important first.
    """

    name: str
    task: Task
    train_x: Matrix
    train_y: NDArray[Any]
    test_x: Matrix
    test_y: NDArray[Any]
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def features(self) -> int:
        """Number of inputs of a network for this data."""
        return self.train_x.shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs of a network for this data: one a class, but one for two classes."""
        return len(self.classes) if self.task == "multiclass" else 1

    def train_matrices(self) -> tuple[Matrix, Matrix]:
        """Return the training set with samples as columns, the way the engine takes it.

        Returns
        -------
        inputs, targets
            ``(features, samples)`` and ``(outputs, samples)``, float64, C-ordered copies. Targets
            are 0 and 1 for two classes, one-hot columns for several, the numbers for regression.
        """
        return self._matrices(self.train_x, self.train_y)

    def test_matrices(self) -> tuple[Matrix, Matrix]:
        """Return the test set likewise; see :meth:`train_matrices`."""
        return self._matrices(self.test_x, self.test_y)

    def _matrices(self, x: Matrix, y: NDArray[Any]) -> tuple[Matrix, Matrix]:
        inputs = np.array(x.T, dtype=np.float64, order="C")
        if self.task == "multiclass":
            return inputs, (np.arange(self.outputs)[:, None] == y).astype(np.float64)
        return inputs, y.astype(np.float64)[None, :]

    def __repr__(self) -> str:
        return (
            f"<dataset {self.name}: {self.task}, {len(self.train_y)} training and "
            f"{len(self.test_y)} test samples, {self.features} features>"
        )
