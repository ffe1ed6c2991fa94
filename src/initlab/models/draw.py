"""Draws the values of an assignment, whole or any block of them, from counter-based streams.

The stream of a parameter follows from (seed, its qualified name): not from the order of
registration, other layers, device, dtype or the number of threads. Values are drawn as float32;
whatever else a parameter is kept in, it gets these, rounded or widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab.initializers import Elementwise
from initlab.models.assignment import Assignment, Piece
from initlab.sampling import Key

Float32 = NDArray[np.float32]


def draw(assignment: Assignment, shape: Sequence[int], seed: int) -> Float32:
    """Draw a parameter of this shape."""
    out = np.empty(tuple(shape), np.float32)
    fill(out, assignment, seed)
    return out


def fill(out: Float32, assignment: Assignment, seed: int) -> None:
    """Draw a parameter in place; ``out`` is C-contiguous and has the parameter's shape."""
    flat = out.reshape(-1)
    width = _width(out.shape)
    for piece in assignment.pieces:
        part = flat[piece.start * width : piece.stop * width]
        _fill_piece(part, piece, assignment.stream, out.shape, seed)


def check(assignment: Assignment, shape: Sequence[int]) -> None:
    """Refuse what cannot be drawn, before anything is.

    Raises
    ------
    InvalidValueError
        If an initialiser does not fit the shape, or a number of it is out of range.
    """
    shape = tuple(shape)
    for piece in assignment.pieces:
        try:
            if is_elementwise(piece):
                _fill_slice(np.empty(0, np.float32), piece, assignment.stream, shape, 0, 0)
            else:
                drawn = _turned(_drawn_shape(piece, shape)) if piece.swapped else None
                piece.initializer.std(drawn or _drawn_shape(piece, shape), fans=piece.fans)
        except InvalidValueError as error:
            raise InvalidValueError(
                f"parameter {assignment.name!r}, {piece.initializer.spec}: {error}"
            ) from error


def is_elementwise(piece: Piece) -> bool:
    """Tell whether each entry can be drawn without the others."""
    return isinstance(piece.initializer.distribution, Elementwise)


def key(piece: Piece, stream: str, rows: int, seed: int) -> Key:
    """Return the key of a piece of a parameter with so many rows."""
    own = Key.derive(seed, piece.stream or stream)
    return own if is_alone(piece, rows) else own.child(piece.start)


def is_alone(piece: Piece, rows: int) -> bool:
    """Tell whether a piece has its stream to itself; else its first row tells it apart."""
    return piece.stream is not None or (piece.start == 0 and piece.stop == rows)


def block(
    assignment: Assignment,
    shape: Sequence[int],
    seed: int,
    offsets: Sequence[int],
    sizes: Sequence[int],
) -> Float32:
    """Draw a block of a parameter: it equals that block of the whole.

    Of a weight whose entries are independent, only the block is drawn.

    Parameters
    ----------
    assignment
        What the parameter gets.
    shape
        Of the whole parameter.
    seed
        As for the whole.
    offsets, sizes
        Where the block starts along each axis, and how far it goes.
    """
    shape, sizes = tuple(shape), tuple(sizes)
    inside = tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))
    if not all(is_elementwise(piece) for piece in assignment.pieces):
        return np.ascontiguousarray(draw(assignment, shape, seed)[inside])
    out = np.empty(sizes, np.float32)
    flat, width = out.reshape(-1), _width(shape)
    for place, start, length in _runs(shape, tuple(offsets), sizes):
        for piece in assignment.pieces:
            first, last = piece.start * width, piece.stop * width
            low, high = max(start, first), min(start + length, last)
            if low < high:
                part = flat[place + low - start : place + high - start]
                _fill_slice(part, piece, assignment.stream, shape, seed, low - first)
    return out


def _width(shape: Sequence[int]) -> int:
    return math.prod(shape[1:]) if len(shape) else 1


def _runs(
    shape: tuple[int, ...], offsets: tuple[int, ...], sizes: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    """Yield the contiguous runs of a block: where in the block, where in the whole, how long."""
    if 0 in sizes:
        return
    axis = len(shape)  # from here on, the block covers every axis whole
    while axis > 0 and sizes[axis - 1] == shape[axis - 1]:
        axis -= 1
    lead = max(axis - 1, 0)
    tail = math.prod(shape[lead + 1 :])
    length = sizes[lead] * tail if shape else 1
    for number, index in enumerate(np.ndindex(*sizes[:lead])):
        start = 0
        for place, (offset, size) in enumerate(zip(offsets[:lead], shape[:lead], strict=True)):
            start = start * size + offset + index[place]
        start = (start * shape[lead] + offsets[lead]) * tail if shape else 0
        yield number * length, start, length


def _fill_piece(part: Float32, piece: Piece, stream: str, shape: Sequence[int], seed: int) -> None:
    if not piece.swapped or is_elementwise(piece):
        # Independent entries need no turning: which is which makes no difference to them.
        _fill_slice(part, piece, stream, shape, seed, 0)
        return
    drawn = _drawn_shape(piece, shape)
    weight = np.empty(_turned(drawn), np.float32)
    piece.initializer.fill(
        weight, key(piece, stream, _rows(shape), seed), shape=weight.shape, fans=piece.fans
    )
    part[...] = np.swapaxes(weight, 0, 1).reshape(-1)


def _fill_slice(
    part: Float32, piece: Piece, stream: str, shape: Sequence[int], seed: int, start: int
) -> None:
    piece.initializer.fill(
        part,
        key(piece, stream, _rows(shape), seed),
        shape=_drawn_shape(piece, shape),
        start=start,
        fans=piece.fans,
    )


def _rows(shape: Sequence[int]) -> int:
    return shape[0] if len(shape) else 1


def _drawn_shape(piece: Piece, shape: Sequence[int]) -> tuple[int, ...]:
    return (piece.stop - piece.start, *shape[1:]) if len(shape) else ()


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[1], shape[0], *shape[2:])
