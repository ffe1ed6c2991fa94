"""Initialisers that place entries: identity, Dirac kernels, sparse connections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.fans import fans
from initlab._base.numbers import positive
from initlab._base.streams import Stream
from initlab.initializers._arguments import count as whole
from initlab.initializers._arguments import spec
from initlab.initializers._definition import Array, Initializer, Moments, Shape
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.scales import Fixed


@dataclass(frozen=True)
class Eye:
    """Ones on the main diagonal of a matrix of any two sizes; nothing is drawn from the stream."""

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return the matrix."""
        _require_matrix(shape)
        return np.eye(shape[0], shape[1])

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean and std of an entry picked at random."""
        _require_matrix(shape)
        return _share(min(shape), shape)


@dataclass(frozen=True)
class Dirac:
    """A convolution kernel that copies the inputs to the first outputs of each group.

    Attributes
    ----------
    groups
        Groups of the convolution; they share out the outputs.
    """

    groups: int

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Set the centre tap, that at size // 2, to 1 from input i to output i of each group."""
        each, copied = self._sizes(shape)
        weight = np.zeros(shape)
        if weight.size:
            centre = tuple(size // 2 for size in shape[2:])
            inputs = np.arange(copied)
            for group in range(self.groups):
                weight[(group * each + inputs, inputs, *centre)] = 1.0
        return weight

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean and std of an entry picked at random."""
        return _share(self.groups * self._sizes(shape)[1], shape)

    def _sizes(self, shape: Shape) -> tuple[int, int]:
        """Return the outputs of a group, and how many inputs it copies."""
        if len(shape) < 3:
            raise InvalidValueError(
                f"shape {shape} is no convolution kernel; expected (out, in / groups, *receptive), "
                "and identity for a matrix"
            )
        if shape[0] % self.groups:
            raise InvalidValueError(
                f"groups={self.groups} does not divide the {shape[0]} outputs of shape {shape}"
            )
        each = shape[0] // self.groups
        return each, min(each, shape[1])


@dataclass(frozen=True)
class Sparse:
    """N(0, 1) at ``count`` places of each row, drawn without replacement; 0 elsewhere.

    A weight with more axes is drawn as the matrix ``(out, everything else)``.

    Attributes
    ----------
    count
        Incoming connections of a unit; all of them where it has no more.
    """

    count: int

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw a uniform number for each entry; those of the smallest are connected."""
        columns, rows = fans(shape).receptive * shape[1], shape[0]
        kept = min(self.count, columns)
        order = stream.uniform(-1.0, 1.0, (rows, columns))
        values = stream.standard_normal((rows, kept))
        weight = np.zeros((rows, columns))
        if 0 < kept < columns:
            # Sorted: what order argpartition leaves them in is up to the machine.
            places = np.sort(np.argpartition(order, kept - 1, axis=1)[:, :kept], axis=1)
            np.put_along_axis(weight, places, values, axis=1)
        elif kept:
            weight[...] = values
        return weight.reshape(shape)

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0 and the root of the connected share."""
        columns = fans(shape).receptive * shape[1]
        return Moments(0.0, math.sqrt(min(self.count, columns) / max(columns, 1)))


def _require_matrix(shape: Shape) -> None:
    if len(shape) != 2:
        raise InvalidValueError(
            f"shape {shape} is no matrix; expected (fan_out, fan_in), and dirac for a convolution"
        )


def _share(connected: int, shape: Shape) -> Moments:
    """Return mean and std of an entry picked at random, of which so many are 1 and the rest 0."""
    size = math.prod(shape)
    share = connected / size if size else 0.0
    return Moments(share, math.sqrt(share * (1 - share)))


def identity(gain: float = 1.0) -> Initializer:
    """Set the main diagonal of a matrix of any two sizes to ``gain``, the rest to 0.

    Parameters
    ----------
    gain
        Above 0.

    Raises
    ------
    InvalidValueError
        If the gain is out of range; on sampling, if the shape has other than two axes.

    Examples
    --------
    >>> from initlab._base.streams import stream
    >>> identity().sample((2, 3), stream(seed=0, purpose="example"))
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    gain = positive("gain", gain)
    return Initializer(spec(identity, gain=gain), Eye(), Fixed(gain))


def dirac(groups: int = 1, gain: float = 1.0) -> Initializer:
    """Make a convolution kernel that copies as many inputs as there are outputs for.

    Parameters
    ----------
    groups
        Groups of the convolution; input i of each is copied to output i of it.
    gain
        Factor of the copy, above 0.

    Raises
    ------
    InvalidValueError
        If an argument is out of range; on sampling, if the shape has fewer than three axes, or the
        groups do not divide its outputs.

    Examples
    --------
    >>> from initlab._base.streams import stream
    >>> dirac().sample((2, 2, 3), stream(seed=0, purpose="example"))[1]
    array([[0., 0., 0.],
           [0., 1., 0.]])
    """
    groups, gain = whole("groups", groups), positive("gain", gain)
    return Initializer(spec(dirac, groups=groups, gain=gain), Dirac(groups), Fixed(gain))


def sparse(count: int = 15, std: float = 1.0) -> Initializer:
    """Give each unit ``count`` incoming weights from N(0, std²), and 0 for the rest.

    Parameters
    ----------
    count
        Non-zero entries of each row of the weight, flattened to ``(out, everything else)``.
    std
        Standard deviation of the non-zero entries, above 0.

    Raises
    ------
    InvalidValueError
        If an argument is out of range; on sampling, if the shape has fewer than two axes.

    Examples
    --------
    >>> sparse(count=9).std((50, 900))
    0.1
    """
    connections, std = whole("count", count), positive("std", std)
    return Initializer(spec(sparse, count=connections, std=std), Sparse(connections), Fixed(std))


ENTRIES = (
    Entry(
        make=identity,
        family="elementary",
        formula="w = gain where row = column, else 0",
        std="gain · sqrt(s (1 - s)), s = min(rows, columns) / (rows · columns), for an entry "
        "picked at random",
        assumes="the layer's output may start as its input: equal meaning of unit i on both sides",
        reference="Hardt & Ma 2017, Identity Matters in Deep Learning, ICLR",
        cites=("hardt2017identity",),
        when="linear layers inserted into a working network; recurrent weights of rectified units; "
        "as a control for a layer that changes nothing",
        when_not="hidden layers that widen: the added units start, and stay, without input; a "
        "stack of such layers starts as one layer",
        variants={
            "pytorch": Variant("eye_ is the same", "w = nn.init.eye_(torch.empty(shape))"),
            "keras": Variant("Identity is the same", "w = keras.initializers.Identity()(shape)"),
            "jax": Variant("no initialiser, but jnp.eye", "w = jnp.eye(*shape)"),
        },
        shape=(48, 32),
    ),
    Entry(
        make=dirac,
        family="elementary",
        formula="w = gain at the centre tap from input i to output i of each group, else 0",
        std="gain · sqrt(s (1 - s)), s = groups · min(out / groups, in) / number of entries, for "
        "an entry picked at random",
        assumes="stride 1 and odd kernels padded by half: only then is the output the input",
        reference="Zagoruyko & Komodakis 2017, DiracNets: Training Very Deep Neural Networks "
        "Without Skip-Connections, sec. 3",
        cites=("zagoruyko2017diracnets",),
        when="convolutions that should start as the identity: those inserted into a working "
        "network, or added to a learned kernel as in DiracNets",
        when_not="on its own in layers that widen: outputs beyond the inputs start at 0 and alike",
        variants={
            "pytorch": Variant(
                "dirac_ is the same, without gain and for 3 to 5 axes",
                "w = nn.init.dirac_(torch.empty(shape))",
            ),
            "keras": Variant(
                "none for kernels; Identity is for matrices",
                "w = np.zeros(shape, 'float32')\n"
                "d = np.arange(min(shape[-2:]))\n"
                "w[(*(size // 2 for size in shape[:-2]), d, d)] = 1.0\n"
                "w = ops.convert_to_tensor(w)",
            ),
            "jax": Variant(
                "none; delta_orthogonal is a random rotation at the same tap",
                "d = jnp.arange(min(shape[-2:]))\n"
                "centre = (size // 2 for size in shape[:-2])\n"
                "w = jnp.zeros(shape).at[(*centre, d, d)].set(1.0)",
            ),
        },
        shape=(24, 16, 3, 3),
    ),
    Entry(
        make=sparse,
        family="elementary",
        formula="w ~ N(0, std²) at count places of each unit's inputs, else 0",
        std="std · sqrt(min(count, fan_in) / fan_in)",
        assumes="units that saturate: the size of their input does not depend on the fan-in",
        reference="Martens 2010, Deep Learning via Hessian-Free Optimization, ICML, sec. 5 (15 "
        "connections of std 1)",
        cites=("martens2010deep",),
        when="sigmoid and tanh networks, and recurrent ones, where units should start unlike each "
        "other and unsaturated at any width",
        when_not="ReLU networks and convolutions, for which the variance count · std² of a "
        "pre-activation is too large; where the hardware makes no use of zeros it saves nothing",
        variants={
            "pytorch": Variant(
                "sparse_ fixes the zeros of each column instead, a share of it, so that each "
                "input has as many outgoing connections and a unit may have none; std 0.01; 2 axes",
                "keep = torch.rand(shape).argsort(dim=1) < 15\nw = torch.randn(shape) * keep",
            ),
            "keras": Variant(
                "none",
                "keep = ops.argsort(keras.random.uniform(shape), axis=0) < 15\n"
                "w = ops.where(keep, keras.random.normal(shape), 0.0)",
            ),
            "jax": Variant(
                "none",
                "places, values = jax.random.split(key)\n"
                "keep = jax.random.uniform(places, shape).argsort(axis=0) < 15\n"
                "w = jnp.where(keep, jax.random.normal(values, shape), 0.0)",
            ),
        },
        shape=(128, 96),
    ),
)
