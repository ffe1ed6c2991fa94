"""The data-driven initialisers and their arguments, whose defaults stand in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from initlab import initializers
from initlab.initializers import Initializer


@dataclass(frozen=True)
class Lsuv:
    """Layer-sequential unit variance (Mishkin & Matas 2016, alg. 1).

    Attributes
    ----------
    tolerance
        A layer is done when its output's variance is closer to the target than this.
    steps
        Rescalings of a layer at most.
    target
        Variance that is aimed at.
    """

    tolerance: float
    steps: int
    target: float


@dataclass(frozen=True)
class Krahenbuhl:
    """Data-dependent initialisation (Krähenbühl, Doersch, Donahue & Darrell 2016).

    Attributes
    ----------
    rounds
        Rounds of the equalisation between layers at most.
    tolerance
        It is done when no layer's rate is farther from the geometric mean than this, in logarithm.
    """

    rounds: int
    tolerance: float


@dataclass(frozen=True)
class MetaInit:
    """Signed descent of the gradient quotient (Dauphin & Schoenholz 2019).

    Attributes
    ----------
    steps
        Number of updates of the norms.
    rate
        By how much an update changes a norm, before momentum.
    momentum
        What is kept of the last change.
    """

    steps: int
    rate: float
    momentum: float


@dataclass(frozen=True)
class GradInit:
    """Descent of the loss after a first step of training (Zhu et al. 2021).

    Attributes
    ----------
    steps
        Number of updates of the factors.
    rate
        Adam's learning rate for the factors.
    gamma
        The gradient's norm stays below: its 2-norm for ``sgd``, its 1-norm for ``adam``.
    optimizer
        Which one takes the first step: ``sgd`` along the gradient, ``adam`` along its sign.
    """

    steps: int
    rate: float
    gamma: float
    optimizer: Literal["sgd", "adam"]

    @property
    def first_rate(self) -> float:
        """Learning rate of the first step: what each optimiser is usually run with."""
        return 0.1 if self.optimizer == "sgd" else 0.001


Settings = Lsuv | Krahenbuhl | MetaInit | GradInit

KINDS: Mapping[str, type[Settings]] = {
    "lsuv": Lsuv,
    "krahenbuhl": Krahenbuhl,
    "metainit": MetaInit,
    "gradinit": GradInit,
}


def settings(initializer: Initializer) -> Settings | None:
    """Read the arguments of a data-driven initialiser; None if it needs no data.

    Examples
    --------
    >>> from initlab.initializers import get
    >>> settings(get("he_normal")) is None
    True
    """
    kind = KINDS.get(initializer.name)
    if kind is None:
        return None
    # The catalogue has checked them when it made the initialiser.
    return kind(**cast("dict[str, Any]", initializers.arguments(initializer)))
