"""The compiled training loop: generic over depth and widths, one variant an activation and format.

The arithmetic is in :mod:`initlab.engine.blocks`; here is what is computed in which order. Loss and
optimiser are chosen where a step runs: next to the work of a step such a choice costs nothing, and
it keeps the number of variants to compile small.
"""

# Numba infers the types of compiled functions; annotations would only repeat them less exactly.
# ruff: noqa: ANN001, ANN201, ANN202
# pyright: basic
from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from initlab._base.compiled import compiled
from initlab.engine.batches import shuffle
from initlab.engine.blocks import (
    activate,
    bias_gradients,
    block_size,
    delta_rows,
    hidden_rows,
    linear_delta,
    linear_rows,
    logistic_delta,
    softmax_delta,
    weight_gradients,
)

BINARY_CROSS_ENTROPY, CROSS_ENTROPY, SQUARED_ERROR = range(3)
SGD, MOMENTUM, ADAM = range(3)

# Inlined by Numba, so that LLVM sees (and compiles) one function once.
_inlined = nb.njit(inline="always", error_model="numpy")


class Problem(NamedTuple):
    """What is trained on what; arrays and numbers as the kernel takes them.

    Attributes
    ----------
    sizes
        ``(layers + 1,)``: units per layer, inputs first.
    inputs, targets
        ``(samples, features)`` and ``(samples, outputs)``.
    loss, optimizer
        Numbers from this module.
    rates
        Learning rate, momentum or β1, β2, ε, as float64.
    steps, batch
        Number of updates, samples per update (at most those there are).
    key
        Key of the batch order.
    record_steps, snapshot_steps
        Rising.
    poll
        Steps between two looks at the stop flag, and two counts.
    limits
        Most rows of a product block; most rows and columns of a gradient block.
    tile, tiles
        Samples in a tile; tiles of the panels.
    stride
        Numbers from one tile of the panel to the next.
    slopes
        Numbers from the row of an activation to that of its slope; 0 where slopes are not kept.
    """

    sizes: Any
    inputs: Any
    targets: Any
    loss: int
    optimizer: int
    rates: Any
    steps: int
    batch: int
    key: Any
    record_steps: Any
    snapshot_steps: Any
    poll: int
    limits: tuple[int, int, int]
    tile: int
    tiles: int
    stride: int
    slopes: int


class Workspace(NamedTuple):
    """Memory of one replica.

    Attributes
    ----------
    parameters, gradients
        Per layer a matrix ``(fan_out, fan_in + 1)``, bias last, end to end.
    first, second
        Moments of the optimiser, of the same length, or of length 0 where unused.
    panel
        ``(tiles, rows, tile)`` flat: inputs, activations, and slopes where they are kept.
    target_panel
        ``(tiles, outputs + 1, tile)`` flat: targets, then the samples' weights.
    order
        ``(samples,)``: the order of the current epoch.
    """

    parameters: Any
    gradients: Any
    first: Any
    second: Any
    panel: Any
    target_panel: Any
    order: Any


class Outcome(NamedTuple):
    """What the kernel leaves.

    Attributes
    ----------
    cost, course_cost
        ``(records,)``.
    final_cost, steps_done
        ``(1,)``.
    snapshots
        ``(snapshots, parameters)``.
    counter, stop
        ``(1,)``: the step counter and the stop flag of :class:`initlab.engine.control.Control`.
    """

    cost: Any
    course_cost: Any
    final_cost: Any
    snapshots: Any
    steps_done: Any
    counter: Any
    stop: Any


@_inlined
def _forward(kernel, problem, work, tiles):
    """Fill the panel's rows from the inputs upward; returns the offset of the logits."""
    sizes, tile, stride = problem.sizes, problem.tile, problem.stride
    layers = sizes.size - 1
    at, weight_at = 0, 0
    for layer in range(layers):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        width = fan_in + 1
        out = at + fan_in * tile
        row = 0
        while row < fan_out:
            rows = block_size(fan_out - row, problem.limits[0])
            first, target = weight_at + row * width, out + row * tile
            where = (first, width, 1, first + fan_in, at, stride, target, fan_in, tiles, rows)
            if layer + 1 < layers:
                hidden_rows(kernel, work.parameters, work.panel, where)
            else:
                linear_rows(kernel, work.parameters, work.panel, where)
            row += rows
        if layer + 1 < layers:
            where = (out, out + problem.slopes, stride, tiles, fan_out)
            activate(kernel, work.panel, work.panel, where)
        at, weight_at = out, weight_at + width * fan_out
    return at


@_inlined
def _output_delta(kernel, problem, work, tiles, at):
    """Replace the logits by the derivative of the loss."""
    outputs = problem.sizes[-1]
    where = (at, problem.stride, (outputs + 1) * problem.tile, tiles, outputs)
    if problem.loss == BINARY_CROSS_ENTROPY:
        logistic_delta(kernel, work.target_panel, work.panel, where)
    elif problem.loss == CROSS_ENTROPY:
        softmax_delta(kernel, work.target_panel, work.panel, where)
    else:
        linear_delta(kernel, work.target_panel, work.panel, where)


@_inlined
def _backward(kernel, problem, work, tiles, at):
    """Turn the output's delta, at ``at``, into the gradients of every parameter."""
    sizes, tile, stride = problem.sizes, problem.tile, problem.stride
    most_product_rows, most_rows, most_columns = problem.limits
    weight_at, delta_at = work.parameters.size, at
    for layer in range(sizes.size - 2, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        width = fan_in + 1
        weight_at -= width * fan_out
        at -= fan_in * tile
        row = 0
        while row < fan_out:
            rows = block_size(fan_out - row, most_rows)
            first, delta = weight_at + row * width, delta_at + row * tile
            column = 0
            while column < fan_in:
                columns = block_size(fan_in - column, most_columns)
                source = at + column * tile
                where = (first + column, width, delta, source, stride, tiles, rows, columns)
                weight_gradients(kernel, work.gradients, work.panel, where)
                column += columns
            where = (first + fan_in, width, delta, stride, tiles, rows)
            bias_gradients(kernel, work.gradients, work.panel, where)
            row += rows
        row = 0
        while layer > 0 and row < fan_in:
            # This overwrites the activations, which the gradients above have used.
            rows = block_size(fan_in - row, most_product_rows)
            target = at + problem.slopes + row * tile
            where = (weight_at + row, 1, width, delta_at, stride, target, fan_out, tiles, rows)
            delta_rows(kernel, work.parameters, work.panel, where)
            row += rows
        delta_at = at + problem.slopes


@_inlined
def _update(problem, work, step):
    """Apply the gradients: the update rule of :class:`initlab.engine.reference.Optimizer`."""
    p, g, first, second = work.parameters, work.gradients, work.first, work.second
    number = p.dtype.type
    rate, beta = number(problem.rates[0]), number(problem.rates[1])
    if problem.optimizer == SGD:
        for i in range(p.size):
            p[i] -= rate * g[i]
    elif problem.optimizer == MOMENTUM:
        for i in range(p.size):
            first[i] = beta * first[i] + g[i]
            p[i] -= rate * first[i]
    else:
        beta2, epsilon = number(problem.rates[2]), number(problem.rates[3])
        fresh, fresh2 = number(1 - problem.rates[1]), number(1 - problem.rates[2])
        mean_scale = number(1 / (1 - problem.rates[1] ** (step + 1)))
        spread_scale = number(1 / (1 - problem.rates[2] ** (step + 1)))
        for i in range(p.size):
            first[i] = beta * first[i] + fresh * g[i]
            second[i] = beta2 * second[i] + fresh2 * g[i] * g[i]
            spread = np.sqrt(second[i] * spread_scale) + epsilon
            p[i] -= rate * (first[i] * mean_scale) / spread


@_inlined
def _gather(problem, work, start, count, shuffled):
    """Copy ``count`` samples from ``start`` on into the panels; returns the tiles they fill.

    Lanes beyond them repeat the last sample with weight 0, so that they are finite whenever the
    batch is.
    """
    tile, outputs = problem.tile, problem.sizes[-1]
    inputs, targets = problem.inputs, problem.targets
    tiles = (count + tile - 1) // tile
    share = 2.0 / (count * outputs) if problem.loss == SQUARED_ERROR else 1.0 / count
    for t in range(tiles):
        for lane in range(tile):
            i = t * tile + lane
            sample = start + min(i, count - 1)
            if shuffled:
                sample = work.order[sample]
            at = t * problem.stride + lane
            for feature in range(inputs.shape[1]):
                work.panel[at + feature * tile] = inputs[sample, feature]
            at = t * (outputs + 1) * tile + lane
            for output in range(outputs):
                work.target_panel[at + output * tile] = targets[sample, output]
            work.target_panel[at + outputs * tile] = share if i < count else 0.0
    return tiles


@_inlined
def _load(problem, work, step, start, measuring):
    """Put the next batch into the panels: in order for a measurement, shuffled for a step.

    Returns its samples and tiles. One batch that holds all samples stays where it is.
    """
    samples = problem.inputs.shape[0]
    count, tiles = samples, problem.tiles
    if problem.batch < samples:
        per_epoch = (samples + problem.batch - 1) // problem.batch
        if not measuring:
            if step % per_epoch == 0:
                shuffle(problem.key, step // per_epoch, work.order)
            start = step % per_epoch * problem.batch
        count = min(problem.batch, samples - start)
        tiles = _gather(problem, work, start, count, not measuring)
    return count, tiles


@_inlined
def _load_all(problem, work):
    """Put all samples into the panels where one batch holds them: they stay there."""
    samples = problem.inputs.shape[0]
    if problem.batch == samples:
        _gather(problem, work, 0, samples, shuffled=False)


@_inlined
def _binary_costs(z, y):
    """Return the careful and the course's binary cross-entropy of one logit."""
    signed = (1 - 2 * y) * z
    careful = np.log1p(np.exp(-abs(signed)))
    if not signed < 0:  # true for nan as well, which the sum must show
        careful += signed
    a = 1 / (1 + np.exp(-z))
    course = -np.log(a) * y + -np.log(1 - a) * (1 - y)
    return careful, 0.0 if np.isnan(course) else course


@_inlined
def _sample_costs(problem, work, logit, target):
    """Return the careful and the course's cost of the sample at two places of the panels."""
    tile, outputs, panel, targets = problem.tile, problem.sizes[-1], work.panel, work.target_panel
    careful, course = 0.0, 0.0
    if problem.loss == BINARY_CROSS_ENTROPY:
        costs = _binary_costs(np.float64(panel[logit]), np.float64(targets[target]))
        careful, course = costs[0], costs[1]
    elif problem.loss == CROSS_ENTROPY:
        largest = np.float64(panel[logit])
        for output in range(1, outputs):
            largest = max(largest, np.float64(panel[logit + output * tile]))
        total, right = 0.0, 0.0
        for output in range(outputs):
            z = np.float64(panel[logit + output * tile])
            total += np.exp(z - largest)
            right += z * targets[target + output * tile]
        careful = largest + np.log(total) - right
    else:
        for output in range(outputs):
            y = np.float64(targets[target + output * tile])
            error = np.float64(panel[logit + output * tile]) - y
            careful += error * error / outputs
    return careful, course


@_inlined
def _batch_costs(problem, work, at, count):
    """Sum both costs of the first ``count`` samples; by tiles, as rounding grows with the terms."""
    tile = problem.tile
    careful, course = 0.0, 0.0
    for t in range((count + tile - 1) // tile):
        tile_careful, tile_course = 0.0, 0.0
        for lane in range(min(tile, count - t * tile)):
            logit = t * problem.stride + at + lane
            target = t * (problem.sizes[-1] + 1) * tile + lane
            costs = _sample_costs(problem, work, logit, target)
            tile_careful += costs[0]
            tile_course += costs[1]
        careful += tile_careful
        course += tile_course
    return careful, course


@_inlined
def _is_due(steps, index, step):
    """Whether the next of some rising steps is this one."""
    return index < steps.size and steps[index] == step


@compiled
def train(kernel, problem, work, outcome):
    """Train one replica, recording cost and parameters at the steps asked for.

    Each turn of the loop is one pass over a batch. It trains, or it measures the cost over all
    samples, which takes as many passes as there are batches; where that is one, it does both.

    Parameters
    ----------
    kernel
        :class:`initlab.engine.simd.Kernel`.
    problem, work, outcome
        See the classes of this module; ``work.parameters`` holds the start, and in the end the
        result.
    """
    samples = problem.inputs.shape[0]
    step, counted, record, snapshot = 0, 0, 0, 0
    seen, careful, course = 0, 0.0, 0.0
    measuring, ending, recording = False, False, False
    _load_all(problem, work)
    while True:
        if not measuring:
            if _is_due(problem.snapshot_steps, snapshot, step):
                outcome.snapshots[snapshot, :] = work.parameters
                snapshot += 1
            if step % problem.poll == 0 or step == problem.steps:
                outcome.counter[0] += step - counted
                counted = step
                ending = step == problem.steps or outcome.stop[0] != 0
            recording = _is_due(problem.record_steps, record, step)
            measuring = recording or ending
            seen, careful, course = 0, 0.0, 0.0
        count, tiles = _load(problem, work, step, seen, measuring)
        at = _forward(kernel, problem, work, tiles)
        if measuring:
            costs = _batch_costs(problem, work, at, count)
            careful += costs[0]
            course += costs[1]
            seen += count
            if seen < samples:
                continue
            if recording:
                outcome.cost[record] = careful / samples
                outcome.course_cost[record] = course / samples
                record += 1
            if ending:
                outcome.final_cost[0] = careful / samples
                outcome.steps_done[0] = step
                break
            measuring = False
            if problem.batch < samples:
                continue  # the step has a batch of its own; all samples are the batch otherwise
        _output_delta(kernel, problem, work, tiles, at)
        _backward(kernel, problem, work, tiles, at)
        _update(problem, work, step)
        step += 1
