"""Initialisers of recurrent layers: the identity, and an open forget gate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import finite, positive
from initlab._base.streams import Stream
from initlab.initializers._arguments import spec
from initlab.initializers._definition import Array, Initializer, Moments, Shape
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.scales import Fixed


@dataclass(frozen=True)
class SquareIdentity:
    """The identity matrix; nothing is drawn from the stream."""

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return the identity."""
        return np.eye(self._size(shape))

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 1/n, std sqrt(1/n - 1/n²)."""
        share = 1 / max(self._size(shape), 1)
        return Moments(share, math.sqrt(share - share * share))

    def _size(self, shape: Shape) -> int:
        if len(shape) != 2 or shape[0] != shape[1]:
            raise InvalidValueError(
                f"shape {shape} is not that of a recurrent weight without gates; expected "
                "(hidden, hidden)"
            )
        return shape[0]


@dataclass(frozen=True)
class SecondQuarter:
    """1 in the second of four gates, 0 in the others; nothing is drawn from the stream."""

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return the bias."""
        hidden = self._hidden(shape)
        bias = np.zeros(shape)
        bias[hidden : 2 * hidden] = 1.0
        return bias

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 1/4, std sqrt(3) / 4."""
        self._hidden(shape)
        return Moments(0.25, math.sqrt(3) / 4)

    def _hidden(self, shape: Shape) -> int:
        if len(shape) != 1 or shape[0] % 4:
            raise InvalidValueError(
                f"shape {shape} is not that of an LSTM's bias; expected (4 · hidden,)"
            )
        return shape[0] // 4


def irnn(scale: float = 1.0) -> Initializer:
    """Set a recurrent weight to ``scale`` times the identity.

    Parameters
    ----------
    scale
        Above 0; below 1 the network forgets.

    Raises
    ------
    InvalidValueError
        If the scale is out of range; on sampling, if the shape is not square.
    """
    scale = positive("scale", scale)
    return Initializer(spec(irnn, scale=scale), SquareIdentity(), Fixed(scale))


def forget_bias(value: float = 1.0) -> Initializer:
    """Set the forget gate's bias of an LSTM, gates in the order input, forget, cell, output.

    PyTorch and cuDNN add two biases: one of them gets this, the other stays 0.

    Parameters
    ----------
    value
        Of the forget gate; the other gates get 0.

    Raises
    ------
    InvalidValueError
        If the value is not finite; on sampling, if the shape is not ``(4 · hidden,)``.

    Examples
    --------
    >>> from initlab._base.streams import stream
    >>> forget_bias().sample((8,), stream(seed=0, purpose="unused"))
    array([0., 0., 1., 1., 0., 0., 0., 0.])
    """
    value = finite("value", value)
    return Initializer(spec(forget_bias, value=value), SecondQuarter(), Fixed(value))


ENTRIES = (
    Entry(
        make=irnn,
        family="structured",
        formula="w = scale · I",
        std="scale · sqrt(1/n - 1/n²)",
        assumes="a recurrent layer of ReLU units without gates; small input weights",
        reference="Le, Jaitly & Hinton 2015, A Simple Way to Initialize Recurrent Networks of "
        "Rectified Linear Units, arXiv 1504.00941",
        cites=("le2015simple",),
        when="plain recurrent networks over long sequences: a hidden state that nothing is added "
        "to stays as it is",
        when_not="LSTM and GRU, whose gates keep the state already; tanh, which shrinks it",
        variants={
            "pytorch": Variant(
                "eye_; nn.RNN's default is U(-1/sqrt(n), 1/sqrt(n))",
                "w = nn.init.eye_(torch.empty(shape))",
            ),
            "keras": Variant(
                "Identity(gain); SimpleRNN's default is Orthogonal",
                "w = keras.initializers.Identity()(shape)",
            ),
            "jax": Variant(
                "Flax's SimpleCell draws its recurrent kernel from orthogonal",
                "w = jnp.eye(*shape)",
            ),
        },
        shape=(64, 64),
        model="sets the recurrent weights of layers without gates so, draws their input weights "
        "from N(0, 0.001²) as the paper does, their biases 0; leaves all else as it is; refuses a "
        "model that has none",
    ),
    Entry(
        make=forget_bias,
        family="structured",
        formula="w = value in the forget gate, w = 0 in the other three",
        std="|value| sqrt(3) / 4",
        assumes="gates in the order input, forget, cell, output: PyTorch's and Keras'",
        reference="Gers, Schmidhuber & Cummins 2000, Learning to Forget: Continual Prediction with "
        "LSTM, Neural Computation 12(10); Jozefowicz, Zaremba & Sutskever 2015, An Empirical "
        "Exploration of Recurrent Network Architectures, ICML, sec. 3.2 (value 1)",
        cites=("gers2000learning", "jozefowicz2015empirical"),
        when="every LSTM that has to remember over more than a few steps",
        when_not="GRU, whose update gate has the other sign and another place",
        variants={
            "pytorch": Variant(
                "has none: nn.LSTM draws both biases from U(-1/sqrt(n), 1/sqrt(n)), and the forget "
                "gate's are added",
                "w = torch.zeros(shape)\nw[shape[0] // 4 : shape[0] // 2] = 1.0",
            ),
            "keras": Variant(
                "LSTM(unit_forget_bias=True), the default",
                "w = ops.repeat(ops.convert_to_tensor([0.0, 1.0, 0.0, 0.0]), shape[0] // 4)",
            ),
            "jax": Variant(
                "Flax's OptimizedLSTMCell starts at 0 and has a bias for each gate",
                "w = jnp.zeros(shape).at[shape[0] // 4 : shape[0] // 2].set(1.0)",
            ),
        },
        shape=(256,),
        model="sets the input bias of each LSTM so and its other bias to 0; leaves all else as it "
        "is; refuses a model that has none",
    ),
)
