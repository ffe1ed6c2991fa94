"""Orthogonal convolutions: kernels whose operation, not whose flattened matrix, keeps norms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from initlab._base.fans import fans
from initlab._base.streams import Stream
from initlab.initializers._definition import Array, Initializer, Moments, Shape
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.orthogonal import CentreOrthogonal, of_gain, one_blas_thread, rotation


@dataclass(frozen=True)
class ConvolutionOrthogonal:
    """A kernel of orthonormal columns (or rows) as a circular convolution of stride 1.

    Xiao et al. (2018) multiply small orthogonal kernels: for a projection P, the two taps
    (P, I - P) are one, P + (I - P) z with the shift z, and so are products of such along several
    axes, and of them with a rotation.
    """

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw the rotation, then lengthen each axis of the kernel tap by tap."""
        fans(shape)  # refuses a shape with fewer than two axes
        outputs, inputs, *receptive = shape
        if not math.prod(shape):
            return np.zeros(shape)
        channels = max(outputs, inputs)
        # Taps lead, so that a projection is applied to all of them by one product.
        kernel = rotation(channels, min(outputs, inputs), stream)
        kernel = kernel.reshape(*[1] * len(receptive), *kernel.shape)
        for step in range(1, max(receptive, default=1)):
            for axis, size in enumerate(receptive):
                if step < size:
                    kernel = _lengthened(kernel, axis, _projection(channels, stream))
        weight = np.moveaxis(kernel, (-2, -1), (0, 1) if outputs >= inputs else (1, 0))
        return np.ascontiguousarray(weight)

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0, std sqrt(1 / (max(out, in) · receptive))."""
        return Moments(0.0, math.sqrt(1 / max(fans(shape).receptive * max(shape[:2]), 1)))


def _projection(channels: int, stream: Stream) -> Array:
    """Draw an orthogonal projection onto a random subspace, each direction kept or not alike."""
    q = rotation(channels, channels, stream)
    kept = q[:, stream.uniform(-1.0, 1.0, (channels,)) < 0]
    with one_blas_thread():
        return kept @ kept.T


def _lengthened(kernel: Array, axis: int, projection: Array) -> Array:
    """Return the kernel followed by the two taps (P, I - P) along an axis."""
    with one_blas_thread():
        kept = projection @ kernel
    nothing = np.zeros_like(kernel.take([0], axis))
    first = np.concatenate([kept, nothing], axis)
    second = np.concatenate([nothing, kernel - kept], axis)
    return first + second


def delta_orthogonal(gain: float = 1.0) -> Initializer:
    """Draw a random rotation, times ``gain``, at the centre tap of a convolution kernel.

    Argument and errors are :func:`initlab.initializers.orthogonal.orthogonal`'s.

    Examples
    --------
    >>> import numpy as np
    >>> from initlab._base.streams import stream
    >>> w = delta_orthogonal().sample((4, 4, 3, 3), stream(seed=0, purpose="example"))
    >>> bool(np.allclose(w[:, :, 1, 1] @ w[:, :, 1, 1].T, np.eye(4))), int((w != 0).sum())
    (True, 16)
    """
    return of_gain(delta_orthogonal, CentreOrthogonal(), gain)


def conv_orthogonal(gain: float = 1.0) -> Initializer:
    """Draw a kernel whose circular convolution of stride 1 keeps norms, times ``gain``.

    Of a layer with fewer outputs than inputs, the transposed convolution keeps them. ``gain`` is
    every singular value of the convolution; argument and errors are
    :func:`initlab.initializers.orthogonal.orthogonal`'s.

    Examples
    --------
    >>> import numpy as np
    >>> from initlab._base.streams import stream
    >>> w = conv_orthogonal().sample((4, 3, 2), stream(seed=0, purpose="example"))
    >>> for z in (1, -1):
    ...     step = w[:, :, 0] + z * w[:, :, 1]
    ...     print(np.allclose(step.T @ step, np.eye(3)))
    True
    True
    """
    return of_gain(conv_orthogonal, ConvolutionOrthogonal(), gain)


_XIAO = (
    "Xiao, Bahri, Sohl-Dickstein, Schoenholz & Pennington 2018, Dynamical Isometry and a Mean "
    "Field Theory of CNNs: How to Train 10,000-Layer Vanilla Convolutional Neural Networks, ICML"
)

ENTRIES = (
    Entry(
        make=delta_orthogonal,
        family="orthogonal",
        formula="w = gain · Q at the centre tap, Q from in to out Haar-distributed with "
        "orthonormal rows or columns; 0 elsewhere",
        std="gain · sqrt(1 / (max(out, in) · receptive))",
        assumes="stride 1 and one group; the layer starts without looking at neighbours",
        reference=f"{_XIAO}, algorithm 2",
        cites=("xiao2018dynamical",),
        when="very deep plain convolution networks of tanh or hard-tanh kind, near criticality: "
        "all singular values are the gain, and signals reach any depth",
        when_not="shallow networks, which lose the random filters; strides, grouped and depthwise "
        "convolutions; layers that widen: the second moment falls by in / out (scaled_orthogonal)",
        variants={
            "pytorch": Variant(
                "none",
                "w = torch.zeros(shape)\n"
                "centre = tuple(size // 2 for size in shape[2:])\n"
                "w[(..., *centre)] = nn.init.orthogonal_(torch.empty(shape[:2]))",
            ),
            "keras": Variant(
                "none",
                "w = np.zeros(shape, 'float32')\n"
                "centre = tuple(size // 2 for size in shape[:-2])\n"
                "w[centre] = ops.convert_to_numpy(keras.initializers.Orthogonal()(shape[-2:]))\n"
                "w = ops.convert_to_tensor(w)",
            ),
            "jax": Variant(
                "delta_orthogonal refuses more inputs than outputs; of an even kernel it takes the "
                "tap at (size - 1) // 2",
                "w = jax.nn.initializers.delta_orthogonal()(key, shape)",
            ),
        },
        shape=(24, 16, 3, 3),
    ),
    Entry(
        make=conv_orthogonal,
        family="orthogonal",
        formula="w (z) = gain · Π_j Π_axes (P + (I - P) z_axis) · Q, the kernel as a polynomial in "
        "the shifts z; Q a rotation, each P a random projection of max(out, in) channels",
        std="gain · sqrt(1 / (max(out, in) · receptive))",
        assumes="stride 1, one group and circular padding; zero padding loses norm at the borders",
        reference=f"{_XIAO}, algorithm 1",
        cites=("xiao2018dynamical",),
        when="deep convolution networks that should start as isometries and still look at their "
        "neighbours; Lipschitz-bounded networks",
        when_not="strides, grouped and depthwise convolutions; layers that widen: the second "
        "moment falls by in / out; very deep plain networks, where signals that are not constant "
        "over the map fade, as they do not under delta_orthogonal",
        variants={
            "pytorch": Variant(
                "none; nn.init.orthogonal_ makes the flattened kernel orthogonal, not the "
                "convolution",
                "out, inputs, *kernel = shape  # out >= inputs\n"
                "w = nn.init.orthogonal_(torch.empty(out, inputs))\n"
                "w = w.reshape(out, inputs, *[1] * len(kernel))\n"
                "for step in range(1, max(kernel)):\n"
                "    for axis, size in enumerate(kernel, start=2):\n"
                "        if step < size:\n"
                "            q = nn.init.orthogonal_(torch.empty(out, out))\n"
                "            q = q[:, torch.rand(out) < 0.5]\n"
                "            kept = torch.einsum('op,pi...->oi...', q @ q.T, w)\n"
                "            zero = torch.zeros_like(w.narrow(axis, 0, 1))\n"
                "            w = torch.cat([kept, zero], axis) + torch.cat([zero, w - kept], axis)",
            ),
            "keras": Variant(
                "none; TensorFlow 1 had it as convolutional_orthogonal_2d",
                "*kernel, inputs, out = shape  # out >= inputs\n"
                "w = keras.initializers.Orthogonal()((inputs, out))\n"
                "w = ops.reshape(w, (*[1] * len(kernel), inputs, out))\n"
                "for step in range(1, max(kernel)):\n"
                "    for axis, size in enumerate(kernel):\n"
                "        if step < size:\n"
                "            q = keras.initializers.Orthogonal()((out, out))\n"
                "            q = q * ops.cast(keras.random.uniform((out,)) < 0.5, q.dtype)\n"
                "            kept = w @ (q @ ops.transpose(q))\n"
                "            zero = ops.zeros_like(ops.take(w, [0], axis=axis))\n"
                "            w = ops.concatenate([kept, zero], axis) + ops.concatenate(\n"
                "                [zero, w - kept], axis\n"
                "            )",
            ),
            "jax": Variant(
                "none",
                "*kernel, inputs, out = shape  # out >= inputs\n"
                "orthogonal = jax.nn.initializers.orthogonal()\n"
                "key, rotation = jax.random.split(key)\n"
                "w = orthogonal(rotation, (inputs, out)).reshape(*[1] * len(kernel), inputs, out)\n"
                "for step in range(1, max(kernel)):\n"
                "    for axis, size in enumerate(kernel):\n"
                "        if step < size:\n"
                "            key, rotation, choice = jax.random.split(key, 3)\n"
                "            q = orthogonal(rotation, (out, out))\n"
                "            q = q * (jax.random.uniform(choice, (out,)) < 0.5)\n"
                "            kept = w @ (q @ q.T)\n"
                "            zero = jnp.zeros_like(w.take(jnp.array([0]), axis))\n"
                "            w = jnp.concatenate([kept, zero], axis) + jnp.concatenate(\n"
                "                [zero, w - kept], axis\n"
                "            )",
            ),
        },
        shape=(24, 16, 3, 3),
    ),
)
