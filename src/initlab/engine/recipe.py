"""How a network is trained, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.engine.network import Array, Layer

LossName = Literal["binary_cross_entropy", "cross_entropy", "squared_error"]
OptimizerName = Literal["sgd", "momentum", "adam"]
Precision = Literal["float64", "float32"]

LOSSES: tuple[LossName, ...] = get_args(LossName)
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Recipe:
    """Loss, optimiser, length, and the steps to record at.

    Attributes
    ----------
    loss
        ``binary_cross_entropy`` (one sigmoid output), ``cross_entropy`` (softmax over the outputs)
        or ``squared_error``; each is the mean over samples, the last over outputs too.
    optimizer
        ``sgd`` (plain gradient descent), ``momentum`` (v ← μ v + g; w ← w - η v) or ``adam``
        (Kingma & Ba 2015, bias-corrected); the update rules are PyTorch's.
    learning_rate
        η.
    steps
        Number of updates.
    batch_size
        Samples per step; ``None`` trains on all of them at each step. Each epoch visits every
        sample once in an order of its own; its last batch may be smaller.
    momentum, beta1, beta2, epsilon
        Constants of the optimisers.
    record_steps
        Steps at which the cost over all training samples is recorded, before that step's update.
    snapshot_steps
        Steps at which the parameters are kept, likewise; ``steps`` itself is the end.
    precision
        Number format of the training; costs are accumulated in float64 in any case.
    """

    loss: LossName = "binary_cross_entropy"
    optimizer: OptimizerName = "sgd"
    learning_rate: float = 0.01
    steps: int = 15_000
    batch_size: int | None = None
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    record_steps: tuple[int, ...] = ()
    snapshot_steps: tuple[int, ...] = ()
    precision: Precision = "float64"

    def __post_init__(self) -> None:
        _known("loss", self.loss, LOSSES)
        _known("optimizer", self.optimizer, OPTIMIZERS)
        _known("precision", self.precision, PRECISIONS)
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InvalidValueError(
                f"learning rate {self.learning_rate} is not a positive finite number"
            )
        if self.steps < 1:
            raise InvalidValueError(f"steps={self.steps}; at least 1 is needed")
        if self.batch_size is not None and self.batch_size < 1:
            raise InvalidValueError(f"batch size {self.batch_size}; at least 1 is needed")
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidValueError(f"{name}={getattr(self, name)} is not in [0, 1)")
        if not self.epsilon > 0:
            raise InvalidValueError(f"epsilon={self.epsilon} is not positive")
        for name in ("record_steps", "snapshot_steps"):
            steps = getattr(self, name)
            if list(steps) != sorted(set(steps)) or (
                steps and not 0 <= steps[0] <= steps[-1] <= self.steps
            ):
                raise InvalidValueError(
                    f"{name} must rise from 0 or more to {self.steps} at most, without repeats"
                )


def _known(kind: str, given: str, accepted: Iterable[str]) -> None:
    if given not in accepted:
        raise UnknownNameError(kind, given, accepted)


@dataclass(frozen=True)
class Trajectory:
    """What is kept of training ``replicas`` networks.

    Attributes
    ----------
    steps
        ``(records,)``: the recorded steps.
    cost
        ``(replicas, records)``: numerically careful cost over the training set.
    course_cost
        The same in the form the course prints, -log(a), where a saturated output gives ``inf``;
        ``None`` unless the loss is binary cross-entropy.
    final_cost
        ``(replicas,)``: careful cost after the last update.
    layers
        Parameters after the last update, with a leading replica axis.
    snapshots
        ``(replicas, snapshots, parameters)``, packed as :func:`initlab.engine.network.pack` does.
    seconds
        ``(replicas,)``: training time of each.
    steps_done
        ``(replicas,)``: fewer than asked where training was cancelled; costs not reached are nan.
    """

    steps: NDArray[np.int64]
    cost: NDArray[np.float64]
    course_cost: NDArray[np.float64] | None
    final_cost: NDArray[np.float64]
    layers: tuple[Layer, ...]
    snapshots: Array
    seconds: NDArray[np.float64]
    steps_done: NDArray[np.int64]
