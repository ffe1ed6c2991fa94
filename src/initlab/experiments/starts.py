"""Draws the starting weights of a job, and adapts those that are to fit the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from initlab import initializers
from initlab._base import streams
from initlab.engine import adaptive
from initlab.engine.network import Array, Layer, Network
from initlab.experiments.plan import Job
from initlab.experiments.records import Adaptation

Data = tuple[Array, Array]


class Start(NamedTuple):
    """Where a run begins.

    Attributes
    ----------
    layers
        Weights ``(fan_out, fan_in)`` and biases ``(fan_out,)``.
    adaptation
        What a data-driven start did to what was drawn; ``None`` for any other.
    """

    layers: tuple[Layer, ...]
    adaptation: Adaptation | None = None


def draw(job: Job, network: Network, data: Data | None = None) -> Start:
    """Draw weights ``(fan_out, fan_in)`` and zero biases ``(fan_out,)``, layer by layer.

    ``published``: one legacy stream runs through all layers in order, as in the exercise.
    ``seeded``: each layer has a stream of its own, which follows from the seed and the layer's
    number, not from the start's name. So two starts with one seed get the same random numbers, and
    differ by their rule alone: comparisons are paired.

    A data-driven start (``lsuv``) then adapts what it has drawn to the training data.

    Parameters
    ----------
    job
        The start and its seed; its experiment is resolved if the start is data-driven.
    network
        The shapes.
    data
        Training inputs ``(features, samples)`` and targets ``(outputs, samples)``; loaded if a
        start needs them and they are not given.
    """
    initializer = initializers.get(job.init)
    published = streams.legacy(job.seed) if job.experiment.draw == "published" else None
    layers = tuple(
        Layer(
            initializer.sample(shape, published or streams.stream(job.seed, "weights", number)),
            np.zeros(shape[0]),
        )
        for number, shape in enumerate(network.shapes, start=1)
    )
    rule = adaptive.settings(initializer)
    if rule is None:
        return Start(layers)
    data = data or job.experiment.load().train_matrices()
    loss = job.experiment.recipe().loss
    done = adaptive.adapt(network, layers, rule, loss, data, job.seed)
    return Start(done.layers, Adaptation(done.before, done.after, done.steps, done.notes))


def stack(starts: Sequence[Sequence[Layer]]) -> tuple[Layer, ...]:
    """Stack networks along a leading replica axis."""
    return tuple(
        Layer(np.stack([layer.weight for layer in same]), np.stack([layer.bias for layer in same]))
        for same in zip(*starts, strict=True)
    )


def batch_key(seed: int) -> int:
    """Return the 64-bit key of the batch order, which every start with this seed shares."""
    return streams.derive_key(seed, "batches") & (2**64 - 1)
