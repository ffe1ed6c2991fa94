"""Orthogonal initialisers of matrices: random rotations, whole, rescaled, and one for each gate."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans, fans
from initlab._base.numbers import positive
from initlab._base.streams import Stream
from initlab.initializers._arguments import count, spec
from initlab.initializers._definition import (
    Array,
    Distribution,
    Initializer,
    Moments,
    Scale,
    Shape,
)
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.scales import Fixed

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


_ONE_AT_A_TIME = RLock()  # the number of BLAS threads is a setting of the whole process


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Compute with one BLAS thread: the last bits depend on how many share a product.

    SciPy brings a BLAS of its own: import ``scipy.linalg`` before, not within.
    """
    with _ONE_AT_A_TIME, _libraries("scipy.linalg" in sys.modules).limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries(_scipy: bool) -> ThreadpoolController:  # noqa: FBT001 - to look again once it is there
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - only these draws need it

    return ThreadpoolController()  # takes 1 ms


def rotation(rows: int, columns: int, stream: Stream) -> Array:
    """Draw a matrix with orthonormal rows (if wide) or columns (if tall), Haar-distributed.

    It is the Q of a Gaussian matrix's QR decomposition, with R's diagonal made positive: without
    the last step the distribution depends on the signs that LAPACK chooses (Mezzadri 2007, sec. 5).
    """
    gaussian = stream.standard_normal((max(rows, columns), min(rows, columns)))
    with one_blas_thread():
        q, r = np.linalg.qr(gaussian)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if rows >= columns else q.T)


@dataclass(frozen=True)
class Orthogonal:
    """A :func:`rotation`; a weight with more axes is one as the matrix (out, everything else)."""

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw the matrix."""
        return rotation(*_matrix(shape), stream).reshape(shape)

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 / max(rows, columns))."""
        return Moments(0.0, math.sqrt(1 / max(*_matrix(shape), 1)))


@dataclass(frozen=True)
class GateOrthogonal:
    """A :func:`rotation` for each of several matrices stacked along the first axis.

    Attributes
    ----------
    gates
        How many.
    """

    gates: int

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw one after the other."""
        rows, columns = self._gate(shape)
        if not rows * columns:
            return np.zeros(shape)
        blocks = [rotation(rows, columns, stream) for _ in range(self.gates)]
        return np.concatenate(blocks).reshape(shape)

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 / max(rows of a gate, columns))."""
        return Moments(0.0, math.sqrt(1 / max(*self._gate(shape), 1)))

    def _gate(self, shape: Shape) -> tuple[int, int]:
        rows, columns = _matrix(shape)
        if rows % self.gates:
            raise InvalidValueError(
                f"gates={self.gates} does not divide the {rows} rows of shape {shape}"
            )
        return rows // self.gates, columns


@dataclass(frozen=True)
class CentreOrthogonal:
    """A :func:`rotation` from inputs to outputs at the centre tap of a kernel, 0 at the others.

    The centre is that at size // 2; a matrix is all centre.
    """

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw the matrix of the centre tap."""
        matrix = rotation(*_channels(shape), stream)
        weight = np.zeros(shape)
        if weight.size:
            weight[(..., *(size // 2 for size in shape[2:]))] = matrix
        return weight

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 / (max(out, in) · receptive))."""
        return Moments(0.0, math.sqrt(1 / max(fans(shape).receptive * max(shape[:2]), 1)))


@dataclass(frozen=True)
class WideningScale:
    """gain · max(1, sqrt(out / in)): what a rotation into more outputs takes off each is restored.

    Attributes
    ----------
    gain
        A further factor.
    """

    gain: float

    def factor(self, shape: Shape, _fans: Fans | None, /) -> float:
        """Return the factor; it belongs to the matrix drawn, whatever the layer's fans are."""
        outputs, inputs = _channels(shape)
        return self.gain * math.sqrt(max(1.0, outputs / (inputs or 1)))


def _matrix(shape: Shape) -> tuple[int, int]:
    """Return the sizes of the matrix (out, everything else)."""
    outputs, inputs = _channels(shape)
    return outputs, inputs * math.prod(shape[2:])


def _channels(shape: Shape) -> tuple[int, int]:
    """Return outputs and inputs of a layer."""
    fans(shape)  # refuses a shape with fewer than two axes
    return shape[0], shape[1]


def of_gain(
    make: Callable[..., Initializer],
    distribution: Distribution,
    gain: float,
    scale: Callable[[float], Scale] = Fixed,
) -> Initializer:
    """Make what ``make``, whose only argument is the gain, stands for."""
    gain = positive("gain", gain)
    return Initializer(spec(make, gain=gain), distribution, scale(gain))


def orthogonal(gain: float = 1.0) -> Initializer:
    """Draw a random rotation, or rows or columns of one, times ``gain``.

    Every singular value of the weight, flattened to ``(out, everything else)``, is ``gain``.

    Parameters
    ----------
    gain
        Above 0; sqrt(2) makes up for ReLU.

    Raises
    ------
    InvalidValueError
        If the gain is out of range; on sampling, if the shape has fewer than two axes.

    Examples
    --------
    >>> import numpy as np
    >>> from initlab._base.streams import stream
    >>> w = orthogonal(gain=2).sample((3, 5), stream(seed=0, purpose="example"))
    >>> np.allclose(w @ w.T, 4 * np.eye(3))
    True
    """
    return of_gain(orthogonal, Orthogonal(), gain)


def scaled_orthogonal(gain: float = 1.0) -> Initializer:
    """Draw a random rotation times gain · max(1, sqrt(out / in)), at the centre tap of a kernel.

    The mean square of the outputs is gain² times that of the inputs: for every input where the
    layer widens, on average where it narrows. Argument and errors are :func:`orthogonal`'s.

    Examples
    --------
    >>> scaled_orthogonal().std((1024, 64)), scaled_orthogonal().std((32, 64))
    (0.125, 0.125)
    """
    return of_gain(scaled_orthogonal, CentreOrthogonal(), gain, WideningScale)


def gate_orthogonal(gates: int = 4, gain: float = 1.0) -> Initializer:
    """Draw a random rotation for each gate of a recurrent weight that packs them.

    Parameters
    ----------
    gates
        Matrices stacked along the first axis: 4 of an LSTM, 3 of a GRU.
    gain
        Above 0.

    Raises
    ------
    InvalidValueError
        If an argument is out of range; on sampling, if the gates do not divide the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from initlab._base.streams import stream
    >>> w = gate_orthogonal().sample((20, 5), stream(seed=0, purpose="example"))
    >>> forget = w[5:10]
    >>> np.allclose(forget @ forget.T, np.eye(5))
    True
    """
    gates, gain = count("gates", gates), positive("gain", gain)
    text = spec(gate_orthogonal, gates=gates, gain=gain)
    return Initializer(text, GateOrthogonal(gates), Fixed(gain))


ENTRIES = (
    Entry(
        make=orthogonal,
        family="orthogonal",
        formula="w = gain · Q, Q^T Q = I (tall) or Q Q^T = I (wide), Q Haar-distributed, as a "
        "matrix (out, everything else)",
        std="gain · sqrt(1 / max(rows, columns))",
        assumes="the weight acts as this one matrix: a dense layer",
        reference="Saxe, McClelland & Ganguli 2013, Exact Solutions to the Nonlinear Dynamics of "
        "Learning in Deep Linear Neural Networks, ICLR 2014; Mezzadri 2007, How to Generate Random "
        "Matrices from the Classical Compact Groups, Notices of the AMS 54(5) (the signs)",
        cites=("saxe2014exact", "mezzadri2007generate"),
        when="deep linear and tanh networks, recurrent weights, policy networks: every singular "
        "value is the gain, so depth neither shrinks nor stretches any direction",
        when_not="gates or QKV packed into one matrix, which are then not orthogonal one by one "
        "(gate_orthogonal); convolutions, whose flattened kernel is orthogonal while the operation "
        "is not (conv_orthogonal); layers that widen: the variance follows the longer side, not "
        "fan_in (scaled_orthogonal)",
        variants={
            "pytorch": Variant(
                "orthogonal_ is the same; it fails in half precision",
                "w = nn.init.orthogonal_(torch.empty(shape))",
            ),
            "keras": Variant(
                "Orthogonal is the same, on transposed weights",
                "w = keras.initializers.Orthogonal()(shape)",
            ),
            "jax": Variant(
                "orthogonal is the same, on transposed weights",
                "w = jax.nn.initializers.orthogonal()(key, shape)",
            ),
        },
        shape=(96, 64),
    ),
    Entry(
        make=scaled_orthogonal,
        family="orthogonal",
        formula="w = gain · max(1, sqrt(out / in)) · Q, Q Haar-distributed with orthonormal rows "
        "or columns; in a kernel at the centre tap, 0 elsewhere",
        std="gain · sqrt(1 / fan_in), fan_in with all taps",
        assumes="inputs of second moment 1 and an activation that keeps it, as the transformed "
        "ones of Deep Kernel Shaping do",
        reference="Martens, Ballard, Desjardins, Swirszcz, Dalibard, Sohl-Dickstein & Schoenholz "
        "2021, Rapid Training of Deep Neural Networks without Skip Connections or Normalization "
        "Layers using Deep Kernel Shaping (scale-corrected uniform orthogonal)",
        cites=("martens2021rapid",),
        when="deep networks of changing width without normalisation, whose activations are shaped "
        "to kernels of slope 1",
        when_not="weights read as (in, out): the factor is then 1 where it is needed, and the "
        "second moment falls by in / out; ReLU without a gain of sqrt(2)",
        variants={
            "pytorch": Variant(
                "none",
                "gain = max(1.0, math.sqrt(shape[0] / shape[1]))\n"
                "w = nn.init.orthogonal_(torch.empty(shape), gain=gain)",
            ),
            "keras": Variant(
                "none",
                "gain = max(1.0, math.sqrt(shape[1] / shape[0]))\n"
                "w = keras.initializers.Orthogonal(gain)(shape)",
            ),
            "jax": Variant(
                "none",
                "gain = max(1.0, math.sqrt(shape[1] / shape[0]))\n"
                "w = jax.nn.initializers.orthogonal(gain)(key, shape)",
            ),
        },
        shape=(96, 64),
    ),
    Entry(
        make=gate_orthogonal,
        family="orthogonal",
        formula="w = gain · (Q_1; ...; Q_gates) along the first axis, each Q_i Haar-distributed "
        "and independent, with orthonormal rows or columns",
        std="gain · sqrt(1 / max(rows / gates, columns))",
        assumes="the gates are stacked in equal blocks along the outputs",
        reference="Saxe, McClelland & Ganguli 2013, Exact Solutions to the Nonlinear Dynamics of "
        "Learning in Deep Linear Neural Networks, ICLR 2014; Vorontsov, Trabelsi, Kadoury & Pal "
        "2017, On Orthogonality and Learning Recurrent Networks with Long Term Dependencies, ICML",
        cites=("saxe2014exact", "vorontsov2017orthogonality"),
        when="the hidden-to-hidden weight of LSTM (4 gates) and GRU (3), packed QKV (3)",
        when_not="parts of unequal size, such as grouped-query attention: draw each by itself",
        variants={
            "pytorch": Variant(
                "none; orthogonal_ on weight_hh makes one matrix of all gates, whose blocks have "
                "singular values from about 0 to 1",
                "gate = torch.empty(4, shape[0] // 4, shape[1])\n"
                "w = torch.cat([nn.init.orthogonal_(block) for block in gate])",
            ),
            "keras": Variant(
                "none; recurrent_initializer='orthogonal', the default of LSTM and GRU, makes one "
                "matrix of all gates",
                "q = keras.initializers.Orthogonal\n"
                "w = ops.concatenate([q()((shape[0], shape[1] // 4)) for _ in range(4)], axis=1)",
            ),
            "jax": Variant(
                "none; Flax's cells draw each gate by itself",
                "q = jax.nn.initializers.orthogonal()\n"
                "gate = (shape[0], shape[1] // 4)\n"
                "w = jnp.concatenate([q(k, gate) for k in jax.random.split(key, 4)], axis=1)",
            ),
        },
        shape=(192, 48),
    ),
)
