"""One model to be diagnosed, and what is to be found in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from initlab.diagnosis import diagnose
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.factory import Built, build


@dataclass(frozen=True)
class Case:
    """A model and its diagnosis.

    Attributes
    ----------
    code
        Of the check that it is about.
    name
        What it is.
    factory
        Returns a model, ``(model, inputs)`` or ``(model, inputs, targets)``; called with PyTorch's
        generator at seed 0.
    found
        Codes of all errors and warnings; without the check's own code, the case is a look-alike.
    where
        Names that the finding of this code gives.
    notes
        Codes that are found as notes, among others.
    arguments
        Of :func:`initlab.diagnose`.
    optimizer
        Makes the optimizer of the model, once: what is changed in it stays changed.
    treatable
        False where no change to the weights or the optimizer clears the finding: the model's code
        has to change.
    """

    code: str
    name: str
    factory: Callable[[], Any]
    found: frozenset[str] = frozenset()
    where: tuple[str, ...] = ()
    notes: frozenset[str] = frozenset()
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None
    treatable: bool = True
    _made: WeakKeyDictionary[nn.Module, torch.optim.Optimizer] = field(
        default_factory=WeakKeyDictionary, repr=False, compare=False
    )

    @property
    def is_positive(self) -> bool:
        return self.code in self.found

    def build(self) -> Built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(self.factory)

    def diagnose(self, built: Built) -> Diagnosis:
        arguments = dict(self.arguments)
        if self.optimizer is not None:
            if built.model not in self._made:
                self._made[built.model] = self.optimizer(built.model)
            arguments["optimizer"] = self._made[built.model]
        return diagnose(built.model, built.inputs, built.targets, making=built.making, **arguments)
