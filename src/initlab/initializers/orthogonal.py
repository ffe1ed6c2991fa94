"""The orthogonal initialiser: a random rotation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from initlab._base.fans import fans
from initlab._base.streams import Stream
from initlab.initializers._arguments import positive, spec
from initlab.initializers._definition import Array, Entry, Initializer, Moments, Shape
from initlab.initializers.scales import Fixed


@dataclass(frozen=True)
class Orthogonal:
    """A matrix with orthonormal rows (if wide) or columns (if tall), Haar-distributed.

    A weight with more axes is drawn as the matrix ``(out, everything else)``.
    """

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Take the Q of a Gaussian matrix's QR decomposition, with R's diagonal made positive.

        Without the last step the distribution depends on the signs that LAPACK chooses
        (Mezzadri 2007, sec. 5).
        """
        rows, columns = _matrix(shape)
        gaussian = stream.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(gaussian)
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        matrix = q if rows >= columns else q.T
        return np.ascontiguousarray(matrix).reshape(shape)

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 / max(rows, columns))."""
        return Moments(0.0, math.sqrt(1 / max(*_matrix(shape), 1)))


def _matrix(shape: Shape) -> tuple[int, int]:
    columns = fans(shape).fan_in  # refuses a shape with fewer than two axes
    return shape[0], columns


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
    gain = positive("gain", gain)
    return Initializer(spec(orthogonal, gain=gain), Orthogonal(), Fixed(gain))


ENTRIES = (
    Entry(
        orthogonal,
        formula="w = gain · Q, Q^T Q = I (tall) or Q Q^T = I (wide), Q Haar-distributed, as a "
        "matrix (out, everything else)",
        std="gain · sqrt(1 / max(rows, columns))",
        reference="Saxe, McClelland & Ganguli 2013, Exact Solutions to the Nonlinear Dynamics of "
        "Learning in Deep Linear Neural Networks, ICLR 2014; Mezzadri 2007, How to Generate Random "
        "Matrices from the Classical Compact Groups, Notices of the AMS 54(5) (the signs)",
        when="deep linear and tanh networks, recurrent weights, policy networks: every singular "
        "value is the gain, so depth neither shrinks nor stretches any direction",
        when_not="gates or QKV packed into one matrix, which are then not orthogonal one by one; "
        "convolutions, whose flattened kernel is orthogonal while the operation is not; layers "
        "that widen: the variance follows the longer side, not fan_in",
        differs="the same in PyTorch (orthogonal_) and, on transposed weights, in Keras "
        "(Orthogonal) and JAX (orthogonal); PyTorch fails in half precision",
    ),
)
