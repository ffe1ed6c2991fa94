"""The networks that the engine trains, and how their weights are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from initlab import activations
from initlab._base.errors import InvalidValueError

Array = NDArray[np.floating[Any]]


class Layer(NamedTuple):
    """Weight and bias of one layer, with or without leading replica axes.

    Attributes
    ----------
    weight
        ``(..., fan_out, fan_in)``.
    bias
        ``(..., fan_out)``.
    """

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Network:
    """A fully-connected network: hidden layers with one activation, a linear output layer.

    What follows the output layer (sigmoid, softmax, nothing) belongs to the loss.

    Attributes
    ----------
    sizes
        Units per layer, inputs first: ``(2, 10, 5, 1)``.
    activation
        Name of the hidden activation, as :func:`initlab.activations.get` reads it.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or any(size < 1 for size in self.sizes):
            raise InvalidValueError(
                f"layer sizes {self.sizes} do not make a network; expected at least an input and "
                "an output size, each 1 or more"
            )
        object.__setattr__(self, "activation", activations.get(self.activation).name)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape ``(fan_out, fan_in)`` of each layer's weight."""
        return tuple((fan_out, fan_in) for fan_in, fan_out in pairwise(self.sizes))

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(fan_out * (fan_in + 1) for fan_out, fan_in in self.shapes)


def pack(layers: Sequence[Layer]) -> Array:
    """Lay weights and biases end to end: per layer a matrix ``(fan_out, fan_in + 1)``, bias last.

    Parameters
    ----------
    layers
        Weights ``(..., fan_out, fan_in)`` and biases ``(..., fan_out)``.

    Returns
    -------
    array
        ``(..., parameters)``.
    """
    rows = [np.concatenate([weight, bias[..., None]], axis=-1) for weight, bias in layers]
    return np.concatenate([row.reshape(*row.shape[:-2], -1) for row in rows], axis=-1)


def unpack(network: Network, flat: Array) -> tuple[Layer, ...]:
    """Undo :func:`pack`; the layers are views of ``flat``.

    Parameters
    ----------
    network
        Gives the shapes.
    flat
        ``(..., parameters)``.
    """
    layers: list[Layer] = []
    start = 0
    for fan_out, fan_in in network.shapes:
        stop = start + fan_out * (fan_in + 1)
        rows = flat[..., start:stop].reshape(*flat.shape[:-1], fan_out, fan_in + 1)
        layers.append(Layer(rows[..., :fan_in], rows[..., fan_in]))
        start = stop
    return tuple(layers)
