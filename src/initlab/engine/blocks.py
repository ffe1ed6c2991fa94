"""Building blocks of the training kernels: products, gradients and output derivatives of panels.

Each block computes a few rows at a time with its sums held in registers. How many is chosen where
a block starts, so each block is emitted once for every number of rows it may get.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba as nb
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from initlab import activations
from initlab.engine.simd import VECTORS, Emitter, Sum
from initlab.engine.vector import Vector, VectorOperations

_OPS = VectorOperations()


def _block(emit: Callable[..., None]) -> Callable[..., None]:
    """Turn an emitting function into a Numba intrinsic ``block(kernel, first, second, indices)``.

    ``first`` and ``second`` are arrays of one number format and ``indices`` a tuple of integers;
    the emitting function gets an :class:`Emitter`, pointers to the arrays' data, and the integers.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kernel, first, second, _ = signature.args
        emitter = Emitter(context, builder, kernel, second.dtype)
        indices = cgutils.unpack_tuple(builder, arguments[3])
        emit(
            emitter, emitter.data(first, arguments[1]), emitter.data(second, arguments[2]), *indices
        )
        return context.get_dummy_value()

    def block(_context: Any, kernel: Any, first: Any, second: Any, indices: Any) -> Any:
        integers = types.UniTuple(types.int64, len(indices))
        return types.void(kernel, first, second, integers), codegen

    block.__name__ = emit.__name__
    return intrinsic(block)


def _product(
    e: Emitter,
    weights: Any,
    panel: Any,
    indices: Sequence[Any],
    finish: Callable[[Vector, Any], Vector],
) -> None:
    """Multiply a matrix by a panel, a few output rows at a time held in registers.

    ``finish(sum, place)`` turns a finished sum into what is stored at that place. The indices are
    those of :func:`linear_rows`, with ``None`` for sums that start at 0.
    """
    weight_at, row_stride, term_stride, bias_at, in_at, tile_stride, out_at, terms, tiles, rows = (
        indices
    )
    with e.cases(rows, e.most_rows) as sizes:
        for size in sizes:
            starts = [e.times(row_stride, j) for j in range(size)]
            with e.loop(tiles) as tile:
                source = e.at(in_at, e.times(tile, tile_stride))
                target = e.at(out_at, e.times(tile, tile_stride))
                first = [
                    e.zero() if bias_at is None else e.splat(weights, e.at(bias_at, start))
                    for start in starts
                ]
                sums = e.sums(size * VECTORS, [start for start in first for _ in range(VECTORS)])
                with e.loop(terms) as term:
                    row = e.at(source, e.times(term, e.tile))
                    values = [e.load(panel, e.at(row, v * e.lanes)) for v in range(VECTORS)]
                    column = e.at(weight_at, e.times(term, term_stride))
                    for j, start in enumerate(starts):
                        weight = e.splat(weights, e.at(column, start))
                        for total, value in zip(sums[j * VECTORS :], values, strict=False):
                            total.set(weight.fma(value, total.get()))
                for k, total in enumerate(sums):
                    place = e.at(target, k // VECTORS * e.tile + k % VECTORS * e.lanes)
                    e.store(finish(total.get(), place), panel, place)


@_block
def linear_rows(e: Emitter, weights: Any, panel: Any, *indices: Any) -> None:
    """Compute ``rows`` rows of z = W a + b.

    Indices: weight_at, row_stride, term_stride (in the flat parameters), bias_at, in_at,
    tile_stride, out_at (in the panel), terms, tiles, rows (at most ``Emitter.most_rows``).
    """
    _product(e, weights, panel, indices, lambda total, _place: total)


@_block
def hidden_rows(e: Emitter, weights: Any, panel: Any, *indices: Any) -> None:
    """Compute ``rows`` rows of φ(W a + b) where φ is cheap, else of W a + b.

    Indices as in :func:`linear_rows`.
    """

    def finish(total: Vector, _place: Any) -> Vector:
        return e.activation.value(total, _OPS) if fuses(e.activation) else total

    _product(e, weights, panel, indices, finish)


@_block
def delta_rows(e: Emitter, weights: Any, panel: Any, *indices: Any) -> None:
    """Compute ``rows`` rows of φ'(z) ⊙ Wᵀ δ over the rows that hold φ(z), or φ'(z) where kept.

    Indices: weight_at, row_stride, term_stride, in_at, tile_stride, out_at, terms, tiles, rows.
    """
    from_value = e.activation.derivative_from_value

    def finish(total: Vector, place: Any) -> Vector:
        kept = e.load(panel, place)
        slope = kept if from_value is None else from_value(kept, _OPS)
        return total.scaled_by(slope)

    _product(e, weights, panel, (*indices[:3], None, *indices[3:]), finish)


def fuses(activation: activations.Activation) -> bool:
    """Whether φ is applied where the sums are still in registers, and not in a pass of its own."""
    return activation.piecewise_linear and activation.derivative_from_value is not None


@_block
def activate(e: Emitter, _unused: Any, panel: Any, *indices: Any) -> None:
    """Apply φ to rows of z in place, and leave φ'(z) in other rows where it has to be kept.

    Emits nothing for an activation that :func:`hidden_rows` has applied already. Indices: at,
    slope_at, tile_stride, tiles, rows.
    """
    at, slope_at, tile_stride, tiles, rows = indices
    activation = e.activation
    if fuses(activation):
        return
    with e.loop(tiles) as tile, e.loop(e.times(rows, VECTORS)) as vector:
        offset = e.at(e.times(tile, tile_stride), e.times(vector, e.lanes))
        z = e.load(panel, e.at(at, offset))
        e.store(z.lift(activation.value(z, _OPS)), panel, e.at(at, offset))
        if activation.derivative_from_value is None:
            slope = z.lift(activation.derivative(z, _OPS))
            e.store(slope, panel, e.at(slope_at, offset))


def _store_sums(e: Emitter, sums: Sequence[Sum], target: Any, offsets: Sequence[Any]) -> None:
    """Add up each running sum over its lanes, and store it at its offset."""
    for first in range(0, len(sums), e.lanes):
        added = e.add_up_lanes([total.get() for total in sums[first : first + e.lanes]])
        for lane, offset in enumerate(offsets[first : first + e.lanes]):
            e.store_lane(added, lane, target, offset)


@_block
def weight_gradients(e: Emitter, gradients: Any, panel: Any, *indices: Any) -> None:
    """Compute a ``rows`` x ``columns`` block of δ aᵀ, summed over the samples.

    Indices: gradient_at, row_stride, delta_at, in_at, tile_stride, tiles, rows, columns (at most
    ``Emitter.most_gradients``).
    """
    gradient_at, row_stride, delta_at, in_at, tile_stride, tiles, rows, columns = indices
    most_rows, most_columns = e.most_gradients

    def emit(height: int, width: int) -> None:
        sums = e.sums(height * width)
        with e.loop(tiles) as tile:
            shift = e.times(tile, tile_stride)
            for v in range(VECTORS):
                deltas = e.load_rows(panel, e.at(delta_at, shift, v * e.lanes), height)
                values = e.load_rows(panel, e.at(in_at, shift, v * e.lanes), width)
                pairs = [(d, a) for d in deltas for a in values]
                for total, (d, a) in zip(sums, pairs, strict=True):
                    total.set(d.fma(a, total.get()))
        starts = [e.at(gradient_at, e.times(row_stride, j)) for j in range(height)]
        offsets = [e.at(start, i) for start in starts for i in range(width)]
        _store_sums(e, sums, gradients, offsets)

    with e.cases(rows, most_rows) as heights:
        for height in heights:
            with e.cases(columns, most_columns) as widths:
                for width in widths:
                    emit(height, width)


@_block
def bias_gradients(e: Emitter, gradients: Any, panel: Any, *indices: Any) -> None:
    """Sum ``rows`` rows of δ over the samples.

    Indices: gradient_at, row_stride, delta_at, tile_stride, tiles, rows (at most the first of
    ``Emitter.most_gradients``).
    """
    gradient_at, row_stride, delta_at, tile_stride, tiles, rows = indices
    with e.cases(rows, e.most_gradients[0]) as heights:
        for height in heights:
            sums = e.sums(height)
            with e.loop(tiles) as tile:
                shift = e.times(tile, tile_stride)
                for v in range(VECTORS):
                    deltas = e.load_rows(panel, e.at(delta_at, shift, v * e.lanes), height)
                    for total, delta in zip(sums, deltas, strict=True):
                        total.set(total.get() + delta)
            starts = [e.at(gradient_at, e.times(row_stride, j)) for j in range(height)]
            _store_sums(e, sums, gradients, starts)


def _each_output(
    e: Emitter,
    targets: Any,
    panel: Any,
    indices: Sequence[Any],
    delta: Callable[[Vector, Vector], Vector],
) -> None:
    """Replace logits z by delta(z, y) times the sample's weight.

    The target panel holds one row an output, then the samples' weights, 0 for padding.
    """
    at, tile_stride, target_stride, tiles, outputs = indices
    with e.loop(tiles) as tile:
        for v in range(VECTORS):
            shift = e.at(e.times(tile, target_stride), v * e.lanes)
            weight = e.load(targets, e.at(shift, e.times(outputs, e.tile)))
            with e.loop(outputs) as output:
                row = e.times(output, e.tile)
                place = e.at(at, e.times(tile, tile_stride), row, v * e.lanes)
                target = e.load(targets, e.at(shift, row))
                e.store(delta(e.load(panel, place), target) * weight, panel, place)


@_block
def logistic_delta(e: Emitter, targets: Any, panel: Any, *indices: Any) -> None:
    """Replace logits by the derivative of binary cross-entropy, (σ(z) - y) / samples.

    Indices: at, tile_stride (panel), target_stride, tiles, outputs.
    """
    _each_output(e, targets, panel, indices, lambda z, y: _OPS.sigmoid(z) - y)


@_block
def linear_delta(e: Emitter, targets: Any, panel: Any, *indices: Any) -> None:
    """Replace outputs by (z - y) times the sample's weight, for the squared error.

    Indices as in :func:`logistic_delta`.
    """
    _each_output(e, targets, panel, indices, lambda z, y: z - y)


@_block
def softmax_delta(e: Emitter, targets: Any, panel: Any, *indices: Any) -> None:
    """Replace logits by the derivative of softmax cross-entropy, (softmax(z) - y) / samples.

    Indices as in :func:`logistic_delta`.
    """
    at, tile_stride, _, tiles, outputs = indices
    with e.loop(tiles) as tile:
        for v in range(VECTORS):
            start = e.at(at, e.times(tile, tile_stride), v * e.lanes)
            (largest,) = e.sums(1, [e.load(panel, start)])
            with e.loop(outputs) as output:
                z = e.load(panel, e.at(start, e.times(output, e.tile)))
                largest.set(_OPS.where(z > largest.get(), z, largest.get()))
            (total,) = e.sums(1)
            with e.loop(outputs) as output:
                place = e.at(start, e.times(output, e.tile))
                power = _OPS.exp(e.load(panel, place) - largest.get())
                e.store(power, panel, place)
                total.set(total.get() + power)
            share = 1.0 / total.get()
            with e.loop(outputs) as output:
                place = e.at(start, e.times(output, e.tile))
                e.store(e.load(panel, place) * share, panel, place)
    _each_output(e, targets, panel, indices, lambda p, y: p - y)


@nb.njit(inline="always")
def block_size(left: int, most: int) -> int:
    """Return the next of the fewest, most even pieces of at most ``most`` that make up ``left``."""
    pieces = (left + most - 1) // most
    return (left + pieces - 1) // pieces
