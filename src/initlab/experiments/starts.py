"""Draws the starting weights of a job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from initlab import initializers
from initlab._base import streams
from initlab.engine.network import Layer, Network
from initlab.experiments.plan import Job


def draw(job: Job, network: Network) -> tuple[Layer, ...]:
    """Draw weights ``(fan_out, fan_in)`` and zero biases ``(fan_out,)``, layer by layer.

    ``published``: one legacy stream runs through all layers in order, as in the exercise.
    ``seeded``: each layer has a stream of its own, which follows from the seed and the layer's
    number, not from the start's name. So two starts with one seed get the same random numbers, and
    differ by their rule alone: comparisons are paired.
    """
    initializer = initializers.get(job.init)
    published = streams.legacy(job.seed) if job.experiment.draw == "published" else None
    return tuple(
        Layer(
            initializer.sample(shape, published or streams.stream(job.seed, "weights", number)),
            np.zeros(shape[0]),
        )
        for number, shape in enumerate(network.shapes, start=1)
    )


def stack(starts: Sequence[Sequence[Layer]]) -> tuple[Layer, ...]:
    """Stack networks along a leading replica axis."""
    return tuple(
        Layer(np.stack([layer.weight for layer in same]), np.stack([layer.bias for layer in same]))
        for same in zip(*starts, strict=True)
    )


def batch_key(seed: int) -> int:
    """Return the 64-bit key of the batch order, which every start with this seed shares."""
    return streams.derive_key(seed, "batches") & (2**64 - 1)
