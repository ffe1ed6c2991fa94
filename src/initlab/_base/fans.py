"""How many inputs and outputs a weight connects: the only place that reads a fan from a shape."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from initlab._base.errors import InvalidValueError
from initlab._base.whole import require_whole

PerDimension = int | Sequence[int]
"""One whole number for all spatial dimensions, or one for each."""

Padding = str | int | Sequence[int | Sequence[int]]
"""As :data:`PerDimension`, or a pair (before, after) for each; ``"same"`` and ``"valid"`` too."""


@dataclass(frozen=True)
class Fans:
    """Fan-in and fan-out of a weight.

    Weights of mean 0 and variance v make white noise of variance 1 into outputs of variance
    v · fan_in, and an output gradient of variance 1 into an input gradient of variance v · fan_out.
    Where positions differ, at borders and under strides, both are means over the positions:
    fan_in · outputs = fan_out · inputs, the number of connections.

    Attributes
    ----------
    fan_in
        Mean number of terms summed into one output value; an ``int`` wherever it is whole.
    fan_out
        Mean number of output values that one input value reaches; likewise.
    receptive
        Positions of the kernel; 1 for a dense layer.
    """

    fan_in: float
    fan_out: float
    receptive: int = 1

    @property
    def average(self) -> float:
        """Mean of fan-in and fan-out, as in Glorot & Bengio (2010)."""
        return (self.fan_in + self.fan_out) / 2


def fans(shape: Sequence[int], *, groups: int = 1) -> Fans:
    """Read the fans of a dense weight or a convolution kernel, by the textbook.

    A kernel's ``fan_out`` is that of stride 1; :func:`convolution` knows the stride and the
    borders.

    Parameters
    ----------
    shape
        ``(fan_out, fan_in)`` for a dense layer, ``(out, in / groups, *receptive)`` for a
        convolution: PyTorch's and the course's order.
    groups
        Groups of the convolution. An input channel reaches the outputs of its own group only, so
        ``fan_out`` is divided by it; ``fan_in`` already is, by the shape.

    Raises
    ------
    InvalidValueError
        If the shape has fewer than two axes or a negative one, or if ``groups`` does not divide
        the number of outputs.

    Examples
    --------
    >>> fans((64, 1, 3, 3), groups=64)
    Fans(fan_in=9, fan_out=9, receptive=9)
    """
    expected = "(fan_out, fan_in) or (out, in / groups, *receptive)"
    outputs, inputs, *kernel = _axes(shape, 2, expected)
    receptive = math.prod(kernel)
    return Fans(inputs * receptive, _divided(outputs, groups, "outputs") * receptive, receptive)


def convolution(
    shape: Sequence[int],
    *,
    groups: int = 1,
    stride: PerDimension = 1,
    dilation: PerDimension = 1,
    padding: Padding = 0,
    size: PerDimension | None = None,
) -> Fans:
    """Read the fans of a convolution from its kernel and its geometry.

    In the interior of an endless input, ``fan_in`` is in / groups · receptive, and ``fan_out`` is
    out / groups · receptive / stride (of all dimensions): the textbook's number, which
    :func:`fans` gives, leaves the stride out. On a map of a given size, taps that fall on padded
    zeros are counted out.

    Parameters
    ----------
    shape
        ``(out, in / groups, *receptive)``, with any number of spatial dimensions.
    groups
        Groups of the convolution, see :func:`fans`.
    stride, dilation
        One number for all dimensions, or one for each.
    padding
        Zeros around the input, likewise or as a pair (before, after) for each dimension; PyTorch's
        ``"same"`` and ``"valid"`` too. Without ``size`` it changes nothing. Padding with something
        else than zeros fills every tap: leave ``size`` out.
    size
        Spatial size of the input; ``None`` for the interior of an endless one.

    Raises
    ------
    InvalidValueError
        If an argument is out of range or does not fit the shape, or if the padded input is smaller
        than the kernel.

    Examples
    --------
    >>> convolution((8, 4, 3, 3), stride=2)
    Fans(fan_in=36, fan_out=18, receptive=9)
    >>> convolution((8, 4, 3), padding=1, size=4)  # 2, 3, 3 and 2 taps on the four positions
    Fans(fan_in=10, fan_out=20, receptive=3)
    """
    outputs, inputs, *kernel = _axes(shape, 2, "(out, in / groups, *receptive)")
    reached = _divided(outputs, groups, "outputs")
    strides = _per_dimension("stride", stride, kernel, least=1)
    dilations = _per_dimension("dilation", dilation, kernel, least=1)
    pads = _padding(padding, kernel, strides, dilations)
    fan_in, fan_out = Fraction(inputs), Fraction(reached)
    if size is None:
        fan_in *= math.prod(kernel)
        fan_out *= Fraction(math.prod(kernel), math.prod(strides))
    else:
        sizes = _per_dimension("size", size, kernel, least=1)
        for length, taps, step, spread, (before, after) in zip(
            sizes, kernel, strides, dilations, pads, strict=True
        ):
            made = (length + before + after - spread * (taps - 1) - 1) // step + 1
            _has_outputs(made, shape, size)
            connections = _connections(made, length, taps, step, spread, before)
            fan_in *= Fraction(connections, made)
            fan_out *= Fraction(connections, length)
    return Fans(_number(fan_in), _number(fan_out), math.prod(kernel))


def transposed_convolution(
    shape: Sequence[int],
    *,
    groups: int = 1,
    stride: PerDimension = 1,
    dilation: PerDimension = 1,
    padding: Padding = 0,
    output_padding: PerDimension = 0,
    size: PerDimension | None = None,
) -> Fans:
    """Read the fans of a transposed convolution from its kernel and its geometry.

    In the interior of an endless input, ``fan_in`` is in / groups · receptive / stride (of all
    dimensions), for a stride spreads the terms over more outputs, and ``fan_out`` is
    out / groups · receptive. A library that reads PyTorch's shape as that of a convolution swaps
    in and out.

    Parameters
    ----------
    shape
        ``(in, out / groups, *receptive)``, as PyTorch stores it.
    groups, stride, dilation
        As for :func:`convolution`.
    padding
        What is cut off the output, in the forms of :func:`convolution` but for ``"same"``.
    output_padding
        What is added to the output's end, one number for all dimensions or one for each.
    size
        Spatial size of the input; ``None`` for the interior of an endless one.

    Raises
    ------
    InvalidValueError
        If an argument is out of range or does not fit the shape, or if nothing is left of the
        output.

    Examples
    --------
    >>> transposed_convolution((16, 256, 4, 4), stride=2)
    Fans(fan_in=64, fan_out=4096, receptive=16)
    >>> transposed_convolution((16, 8, 1), stride=4).fan_in  # three outputs of four stay 0
    4
    """
    inputs, reached, *kernel = _axes(shape, 2, "(in, out / groups, *receptive)")
    summed = _divided(inputs, groups, "inputs")
    strides = _per_dimension("stride", stride, kernel, least=1)
    dilations = _per_dimension("dilation", dilation, kernel, least=1)
    added = _per_dimension("output_padding", output_padding, kernel, least=0)
    pads = _padding(padding, kernel)
    fan_in, fan_out = Fraction(summed), Fraction(reached)
    if size is None:
        fan_in *= Fraction(math.prod(kernel), math.prod(strides))
        fan_out *= math.prod(kernel)
    else:
        sizes = _per_dimension("size", size, kernel, least=1)
        for length, taps, step, spread, extra, (before, after) in zip(
            sizes, kernel, strides, dilations, added, pads, strict=True
        ):
            made = (length - 1) * step + spread * (taps - 1) + 1 + extra - before - after
            _has_outputs(made, shape, size)
            connections = _connections(length, made, taps, step, spread, before)
            fan_in *= Fraction(connections, made)
            fan_out *= Fraction(connections, length)
    return Fans(_number(fan_in), _number(fan_out), math.prod(kernel))


def embedding(shape: Sequence[int]) -> Fans:
    """Read the fans of an embedding: one row is looked up, nothing is summed.

    Parameters
    ----------
    shape
        ``(vocabulary, dimension)``. The input is a one-hot vector, not noise: ``fan_in`` is 1.

    Raises
    ------
    InvalidValueError
        If the shape has other than two axes, or a negative one.

    Examples
    --------
    >>> embedding((50257, 768))
    Fans(fan_in=1, fan_out=768, receptive=1)
    """
    return Fans(1, _axes(shape, 2, "(vocabulary, dimension)", most=2)[1])


def bilinear(shape: Sequence[int]) -> Fans:
    """Read the fans of a bilinear form, y_o = x1 · W_o · x2.

    Parameters
    ----------
    shape
        ``(out, in1, in2)``. ``fan_in`` is in1 · in2, where both inputs have variance 1; ``fan_out``
        is out · in2, for the gradient of the first input.

    Raises
    ------
    InvalidValueError
        If the shape has other than three axes, or a negative one.

    Examples
    --------
    >>> bilinear((5, 3, 4))
    Fans(fan_in=12, fan_out=20, receptive=1)
    """
    outputs, first, second = _axes(shape, 3, "(out, in1, in2)", most=3)
    return Fans(first * second, outputs * second)


def packed(shape: Sequence[int], parts: Sequence[int]) -> tuple[Fans, ...]:
    """Read the fans of each of several weights that are stacked along the first axis.

    Parameters
    ----------
    shape
        ``(sum of parts, fan_in)``: query, key and value in one matrix, ``(3 · width, width)``, or
        the gates of a recurrent layer, ``(4 · hidden, inputs)``.
    parts
        Size of each along the first axis.

    Raises
    ------
    InvalidValueError
        If the shape has fewer than two axes or a negative one, or if the parts do not add up.

    Examples
    --------
    >>> packed((1152, 768), (768, 192, 192))[1]  # the keys of grouped-query attention
    Fans(fan_in=768, fan_out=192, receptive=1)
    """
    rows, *rest = _axes(shape, 2, "(sum of parts, fan_in)")
    given = _several(parts)
    if given is None:
        raise InvalidValueError(f"parts={parts!r} is no sequence; expected the rows of each part")
    sizes = tuple(require_whole("parts", part) for part in given)
    if sum(sizes) != rows:
        raise InvalidValueError(
            f"parts={sizes} add up to {sum(sizes)}; expected the {rows} rows of shape "
            f"{tuple(shape)}"
        )
    return tuple(fans((size, *rest)) for size in sizes)


def _connections(coarse: int, fine: int, taps: int, stride: int, dilation: int, before: int) -> int:
    """Count the pairs of positions that a kernel connects along one dimension.

    Position c of the strided side (a convolution's output, a transposed one's input) meets position
    c · stride + tap · dilation - before of the other.
    """
    count = 0
    for tap in range(taps):
        offset = before - tap * dilation
        first = max(-(-offset // stride), 0)
        last = min((fine - 1 + offset) // stride, coarse - 1)
        count += max(last - first + 1, 0)
    return count


def _axes(shape: Sequence[int], least: int, expected: str, most: int | None = None) -> list[int]:
    """Return the axes of a shape, or refuse it."""
    given = _several(shape)
    if given is not None and len(given) >= least and (most is None or len(given) <= most):
        with contextlib.suppress(InvalidValueError):
            return [require_whole("axis", size) for size in given]
    shown = repr(shape) if given is None else given
    raise InvalidValueError(f"cannot read fans from shape {shown}; expected {expected}")


def _divided(channels: int, groups: int, kind: str) -> int:
    """Return the channels of one group."""
    groups = require_whole("groups", groups, 1)
    if channels % groups:
        raise InvalidValueError(
            f"groups={groups} does not divide the {channels} {kind}; expected a divisor"
        )
    return channels // groups


def _several(value: object) -> tuple[Any, ...] | None:
    """Return the members of a sequence or an array; None for a single number."""
    try:
        return tuple(cast("Iterable[Any]", value))
    except TypeError:
        return None


def _per_dimension(
    name: str, value: PerDimension, kernel: Sequence[int], *, least: int
) -> list[int]:
    """Return one whole number for each spatial dimension of the kernel."""
    given = _several(value)
    if given is None:
        return [require_whole(name, value, least)] * len(kernel)
    if len(given) != len(kernel):
        raise InvalidValueError(
            f"{name}={value!r} has {len(given)} numbers; expected one, or {len(kernel)} for the "
            f"receptive shape {tuple(kernel)}"
        )
    return [require_whole(name, number, least) for number in given]


def _padding(
    padding: Padding,
    kernel: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] = (),
) -> list[tuple[int, int]]:
    """Return (before, after) for each spatial dimension; ``strides`` where "same" has a meaning."""
    if isinstance(padding, str):
        if padding == "valid":
            return [(0, 0)] * len(kernel)
        if padding == "same" and strides is not None and all(step == 1 for step in strides):
            reach = zip(kernel, dilations, strict=True)
            totals = [spread * max(taps - 1, 0) for taps, spread in reach]
            return [(total // 2, total - total // 2) for total in totals]
        raise InvalidValueError(
            f"padding={padding!r} does not fit; expected a number, one or a pair for each "
            "dimension, 'valid', or, for a convolution of stride 1, 'same'"
        )
    given = _several(padding)
    if given is None:
        return [_pair(padding)] * len(kernel)
    if len(given) != len(kernel):
        raise InvalidValueError(
            f"padding={padding!r} has {len(given)} entries; expected one number, or one or a "
            f"pair for each of the {len(kernel)} dimensions of the receptive shape {tuple(kernel)}"
        )
    return [_pair(entry) for entry in given]


def _pair(entry: object) -> tuple[int, int]:
    """Return the padding (before, after) of one dimension."""
    given = _several(entry)
    if given is None:
        both = require_whole("padding", entry)
        return both, both
    if len(given) != 2:
        raise InvalidValueError(f"padding of one dimension is {entry!r}; expected (before, after)")
    return require_whole("padding", given[0]), require_whole("padding", given[1])


def _has_outputs(made: int, shape: Sequence[int], size: PerDimension) -> None:
    """Refuse a map on which the layer has no output."""
    if made < 1:
        raise InvalidValueError(
            f"size={size!r} leaves no output for a kernel of shape {tuple(shape)}; expected a "
            "larger one"
        )


def _number(value: Fraction) -> float:
    """Return a whole number as an int, which prints as one."""
    return value.numerator if value.denominator == 1 else float(value)
