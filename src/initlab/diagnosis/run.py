"""What a run of a model showed: one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from initlab.diagnosis.losses import Loss
from initlab.diagnosis.reductions import Numbers, Scores
from initlab.models.graph import Graph


@dataclass(frozen=True)
class Run:
    """What one forward and one backward pass showed.

    Attributes
    ----------
    graph
        The operations that ran; those up to the failure, if there was one.
    numbers, scores
        By node, see :class:`initlab.diagnosis.observer.Observer`.
    squares
        By node: Σ g², g the gradient of the loss by the node's output.
    gradients
        By parameter.
    loss
        None if the forward pass failed, or nothing could be differentiated.
    problem
        What stopped the run, and where; empty if nothing did.
    notes
        What was done to make it run.
    """

    graph: Graph
    numbers: Mapping[int, Numbers] = field(default_factory=dict[int, Numbers])
    scores: Mapping[int, Scores] = field(default_factory=dict[int, Scores])
    squares: Mapping[int, float] = field(default_factory=dict[int, float])
    gradients: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    loss: Loss | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()
