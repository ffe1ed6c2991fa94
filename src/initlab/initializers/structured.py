"""Initialisers of one kind of network each: deterministic, periodic, and a random walk in depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from initlab._base.fans import Fans
from initlab._base.fans import fans as read_fans
from initlab._base.numbers import positive
from initlab._base.streams import Stream
from initlab.initializers._arguments import flag, one_of, spec
from initlab.initializers._definition import Array, Initializer, Moments, Shape
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.distributions import Normal, Uniform
from initlab.initializers.scales import FanScale, Fixed

WalkActivation = Literal["relu", "linear"]

WALK_ACTIVATIONS: tuple[WalkActivation, ...] = get_args(WalkActivation)


@dataclass(frozen=True)
class ZeroHadamard:
    """The identity, a part of it, or, for a layer that widens, a part of a Hadamard matrix.

    A convolution has it at the kernel's centre, zeros elsewhere. Nothing is drawn from the stream.
    """

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return the weight of algorithms 1 and 2 of the paper."""
        read_fans(shape)  # refuses a shape with fewer than two axes
        weight = np.zeros(shape)
        if weight.size:
            centre = tuple(size // 2 for size in shape[2:])
            weight[(slice(None), slice(None), *centre)] = _zero_matrix(*shape[:2])
        return weight

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean and std over the entries."""
        read_fans(shape)
        size = math.prod(shape)
        if not size:
            return Moments(0.0, 0.0)
        rows, columns = shape[:2]
        if rows <= columns:
            entries, total, factor = rows, rows, 1.0
        else:
            entries, total, factor = rows * columns, _signs(rows, columns), _hadamard_factor(rows)
        # Of entries 1 and -1, in whole numbers until the end: nothing cancels.
        variance = (size * entries - total * total) / size**2
        return Moments(factor * total / size, factor * math.sqrt(variance))


def _zero_matrix(rows: int, columns: int) -> Array:
    if rows <= columns:
        return np.eye(rows, columns)
    return _hadamard_factor(rows) * _hadamard(rows, columns)


def _hadamard_factor(rows: int) -> float:
    """Return 2^(-(m-1)/2), 2^m the order of the Hadamard matrix."""
    return 2 ** (-((rows - 1).bit_length() - 1) / 2)


def _hadamard(rows: int, columns: int) -> Array:
    """Return the upper left block of a Hadamard matrix, no larger part of which is made."""
    block = np.ones((rows, columns))
    size = 1
    while size < rows:
        done, after = slice(size), slice(size, 2 * size)
        right, below, both = block[done, after], block[after, done], block[after, after]
        right[...] = block[done, : right.shape[1]]
        below[...] = block[: below.shape[0], done]
        both[...] = -block[: both.shape[0], : both.shape[1]]
        size *= 2
    return block


def _signs(rows: int, columns: int) -> int:
    """Return the sum over that block: a whole matrix of order n has n in all, by its first row."""
    if rows < columns:
        rows, columns = columns, rows  # it is symmetric
    if columns <= 1:
        return rows * columns
    half = 1 << ((rows - 1).bit_length() - 1)
    if columns <= half:
        return half + _signs(rows - half, columns)
    return 3 * half - _signs(rows - half, columns - half)


@dataclass(frozen=True)
class WalkScale:
    """g / sqrt(fan_in), with the g that keeps the mean log-norm of a gradient through a layer.

    Attributes
    ----------
    activation
        What follows the layer.
    """

    activation: WalkActivation

    def factor(self, shape: Shape, fans: Fans | None, /) -> float:
        """Return the factor; an empty weight, whose fan may be 0, counts as fan 1."""
        fan = (fans or read_fans(shape)).fan_in or 1
        if self.activation == "linear":
            return math.exp(1 / (2 * fan)) / math.sqrt(fan)
        return math.sqrt(2 / fan) * math.exp(1.2 / (max(fan, 6) - 2.4))


def zero_hadamard() -> Initializer:
    """Set the weight to the identity, or to a Hadamard matrix where the layer widens (ZerO).

    Examples
    --------
    >>> from initlab._base.streams import stream
    >>> zero_hadamard().sample((4, 2), stream(seed=0, purpose="unused"))
    array([[ 0.70710678,  0.70710678],
           [ 0.70710678, -0.70710678],
           [ 0.70710678,  0.70710678],
           [ 0.70710678, -0.70710678]])
    """
    return Initializer(spec(zero_hadamard), ZeroHadamard(), Fixed(1.0))


def siren(omega: float = 30.0, *, first: bool = False) -> Initializer:
    """Draw a weight of a network whose layers are sin(omega · (W x + b)).

    Parameters
    ----------
    omega
        Angular frequency, above 0.
    first
        True for the layer that reads the coordinates, in [-1, 1].

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    omega, first = positive("omega", omega), flag("first", first)
    text = spec(siren, omega=omega, first=first)
    if first:
        return Initializer(text, Uniform(), _InverseFan())
    return Initializer(text, Uniform(), FanScale(6.0, "fan_in", 1 / omega))


@dataclass(frozen=True)
class _InverseFan:
    """1 / fan_in."""

    def factor(self, shape: Shape, fans: Fans | None, /) -> float:
        """Return the factor; an empty weight, whose fan may be 0, counts as fan 1."""
        return 1 / ((fans or read_fans(shape)).fan_in or 1)


def random_walk(activation: WalkActivation = "relu") -> Initializer:
    """Draw from N(0, g² / fan_in) so that the log-norm of a gradient drifts neither up nor down.

    Parameters
    ----------
    activation
        ``"relu"`` or ``"linear"``; the latter is meant for tanh and its like too.

    Raises
    ------
    InvalidValueError
        If it is neither.
    """
    activation = one_of("activation", activation, WALK_ACTIVATIONS)
    return Initializer(spec(random_walk, activation=activation), Normal(), WalkScale(activation))


ENTRIES = (
    Entry(
        make=zero_hadamard,
        family="structured",
        formula="w = I (as many outputs as inputs), the first rows of I (fewer outputs), or "
        "2^(-(m-1)/2) H[:out, :in] (more), H the Hadamard matrix of order 2^m >= out; a "
        "convolution has it at the centre of the kernel",
        std="sqrt(q - mean²), q = min(out, in) / size, or 2^(1-m) out · in / size for more outputs",
        assumes="residual branches around layers of one width, which break the symmetry of the "
        "identity; inputs scaled to the network",
        reference="Zhao, Schäfer & Anandkumar 2022, ZerO Initialization: Initializing Neural "
        "Networks with only Zeros and Ones, TMLR (arXiv 2021), algorithms 1 and 2",
        cites=("zhao2022zero",),
        when="bit-wise reproducible starts; very deep residual networks",
        when_not="plain networks that narrow: a partial identity drops the inputs beyond; heads "
        "that should not start alike",
        variants={
            "pytorch": Variant(
                "has none (eye_ and dirac_ are the identity); the authors' notebook divides the "
                "Hadamard part by sqrt(2) once more than the paper",
                "from scipy.linalg import hadamard\n"
                "m = (shape[0] - 1).bit_length()\n"
                "h = torch.tensor(hadamard(2**m), dtype=torch.float32)\n"
                "w = 2 ** (-(m - 1) / 2) * h[: shape[0], : shape[1]]",
            ),
            "keras": Variant(
                "has none; Identity is the part for layers that do not widen",
                "from scipy.linalg import hadamard\n"
                "m = (shape[1] - 1).bit_length()\n"
                "h = ops.convert_to_tensor(hadamard(2**m), dtype='float32')\n"
                "w = 2 ** (-(m - 1) / 2) * h[: shape[0], : shape[1]]",
            ),
            "jax": Variant(
                "has none",
                "from scipy.linalg import hadamard\n"
                "m = (shape[1] - 1).bit_length()\n"
                "h = jnp.asarray(hadamard(2**m), jnp.float32)\n"
                "w = 2 ** (-(m - 1) / 2) * h[: shape[0], : shape[1]]",
            ),
        },
        shape=(96, 64),
        model="sets every weight so, and the last weight of each residual branch to 0; biases 0",
    ),
    Entry(
        make=siren,
        family="structured",
        formula="w ~ U(-b, b), b = sqrt(6 / fan_in) / omega; first layer: b = 1 / fan_in",
        std="sqrt(2 / fan_in) / omega; first: 1 / (sqrt(3) fan_in)",
        assumes="layers sin(omega (W x + b)), the first one fed coordinates uniform in [-1, 1]",
        reference="Sitzmann, Martel, Bergman, Lindell & Wetzstein 2020, Implicit Neural "
        "Representations with Periodic Activation Functions, NeurIPS, sec. 3.2",
        cites=("sitzmann2020implicit",),
        when="networks of sines that represent an image, a sound, a field",
        when_not="other activations; omega left out of the forward pass",
        variants={
            "pytorch": Variant(
                "has none; the authors leave biases at nn.Linear's U(-1/sqrt(fan_in), "
                "1/sqrt(fan_in))",
                "b = math.sqrt(6 / shape[1]) / 30\nw = nn.init.uniform_(torch.empty(shape), -b, b)",
            ),
            "keras": Variant(
                "has none; VarianceScaling does it with scale = 2 / omega²",
                'w = keras.initializers.VarianceScaling(2 / 30**2, "fan_in", "uniform")(shape)',
            ),
            "jax": Variant(
                "has none; variance_scaling does it with scale = 2 / omega²",
                'w = jax.nn.initializers.variance_scaling(2 / 30**2, "fan_in", "uniform")'
                "(key, shape)",
            ),
        },
        shape=(256, 256),
        model="draws the first weight to run as the first layer; biases, on which the paper is "
        "silent, start at 0",
    ),
    Entry(
        make=random_walk,
        family="structured",
        formula="w ~ N(0, g² / fan_in), g = sqrt(2) exp(1.2 / (max(fan_in, 6) - 2.4)) for ReLU, "
        "exp(1 / (2 fan_in)) for linear",
        std="g / sqrt(fan_in)",
        assumes="layers of one width; gradients independent of the weights they pass",
        reference="Sussillo & Abbott 2014, Random Walk Initialization for Training Very Deep "
        "Feedforward Networks, arXiv 1412.6558",
        cites=("sussillo2014random",),
        when="narrow and very deep plain networks, where He's rule keeps the mean of a squared "
        "norm but lets the typical norm fall",
        when_not="wide networks, where it is he_normal; residual and normalised ones",
        variants={
            "pytorch": Variant(
                "has none; normal_ with that std",
                "g = math.sqrt(2) * math.exp(1.2 / (max(shape[1], 6) - 2.4))\n"
                "w = nn.init.normal_(torch.empty(shape), std=g / math.sqrt(shape[1]))",
            ),
            "keras": Variant(
                "has none; RandomNormal with that std",
                "g = math.sqrt(2) * math.exp(1.2 / (max(shape[0], 6) - 2.4))\n"
                "w = keras.initializers.RandomNormal(stddev=g / math.sqrt(shape[0]))(shape)",
            ),
            "jax": Variant(
                "has none; normal with that std",
                "g = math.sqrt(2) * math.exp(1.2 / (max(shape[0], 6) - 2.4))\n"
                "w = jax.nn.initializers.normal(g / math.sqrt(shape[0]))(key, shape)",
            ),
        },
        shape=(32, 32),
        model="draws every weight so, but the output layer as for linear; biases 0",
    ),
)
