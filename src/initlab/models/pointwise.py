"""Runs a pointwise operation of a traced model on the grid: what it makes of its signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from initlab.models.gaussian import (
    NODES,
    PAIR_NODES,
    Signal,
    coarse,
    constant,
    distributed,
    gaussian,
    grid,
    of_values,
    ratio,
)
from initlab.models.graph import Node, Slot

Known = Callable[[str], Tensor | None]
"""Looks up the values of a parameter or buffer; None if it has none."""


def first(node: Node, parents: Mapping[int, Signal]) -> Signal:
    """Return the signal of the first parent: for an operation of which nothing else is known."""
    return parents[node.parents[0]] if parents else gaussian(0.0, 1.0, node.index)


def pointwise(node: Node, parents: Mapping[int, Signal], known: Known) -> Signal:
    """Run the operation on the grid, or combine independent signals."""
    if not parents or node.replay is None:
        return first(node, parents)
    sources = {signal.source for signal in parents.values() if signal.source is not None}
    with torch.no_grad():
        if len(sources) > 1:
            combined = _independent(node, parents)
            return combined if combined is not None else _on_pairs(node, parents, known)
        return _on_grid(node, parents, known)


def _on_grid(node: Node, parents: Mapping[int, Signal], known: Known) -> Signal:
    source = next((s.source for s in parents.values() if s.source is not None), None)
    if source is None:
        value = _run(node, {i: torch.tensor([s.mean]).double() for i, s in parents.items()}, known)
        return constant(float(value.mean())) if value is not None else first(node, parents)
    values = {
        index: signal.values
        if signal.values is not None
        else torch.full((NODES,), signal.mean, dtype=torch.float64)
        for index, signal in parents.items()
    }
    result = _run(node, values, known)
    if result is None or result.shape != (NODES,):
        return first(node, parents)
    alike = max(signal.alike for signal in parents.values())
    return of_values(result, source, alike) or first(node, parents)


def _independent(node: Node, parents: Mapping[int, Signal]) -> Signal | None:
    """Sum and product of two independent signals, exactly; None for any other operation."""
    assert node.replay is not None  # noqa: S101 - the caller has looked
    slots = [value for value in node.replay.args[:2] if isinstance(value, Slot)]
    if len(slots) != 2 or node.op not in {"add", "sub", "mul"}:
        return None
    a, b = parents[slots[0].parent], parents[slots[1].parent]
    if node.op == "mul":
        mean = a.mean * b.mean
        variance = a.second * b.second - mean**2
        alike = ratio(a.pair * b.pair - mean**2, variance)
        return gaussian(mean, variance, node.index, alike)
    third = node.replay.args[2] if len(node.replay.args) > 2 else 1.0
    alpha = float(node.replay.kwargs.get("alpha", third))
    alpha = -alpha if node.op == "sub" else alpha
    variance = a.variance + alpha**2 * b.variance
    alike = ratio(a.covariance + alpha**2 * b.covariance, variance)
    if a.is_gaussian and b.is_gaussian:
        return gaussian(a.mean + alpha * b.mean, variance, node.index, alike)
    first, second = coarse(a)[:, None], coarse(b)[None, :]
    return distributed(first + alpha * second, node.index, alike)


def _on_pairs(node: Node, parents: Mapping[int, Signal], known: Known) -> Signal:
    """Run the operation on all pairs of two Gaussians; further sources join the second."""
    _, weights = grid(PAIR_NODES)
    sources = list({s.source: None for s in parents.values() if s.source is not None})
    values: dict[int, Tensor] = {}
    for index, signal in parents.items():
        own = signal.source == sources[0]
        values[index] = coarse(signal)[:, None] if own else coarse(signal)[None, :]
    result = _run(node, values, known)
    if result is None or result.shape != (PAIR_NODES, PAIR_NODES):
        return first(node, parents)
    mass = weights[:, None] * weights[None, :]
    mean, second = float((mass * result).sum()), float((mass * result * result).sum())
    return gaussian(mean, second - mean**2, node.index)


def _run(node: Node, values: Mapping[int, Tensor], known: Known) -> Tensor | None:
    """Run a pointwise operation on grid values; None where it cannot be."""
    assert node.replay is not None  # noqa: S101 - the caller has looked
    missing = False
    mask = {"where": 0, "masked_fill": 1}.get(node.op)
    slot = node.replay.args[mask] if mask is not None else None
    if isinstance(slot, Slot):
        values = {**values, slot.parent: values[slot.parent] != 0}

    def look_up(name: str) -> Any:
        nonlocal missing
        value = known(name) if name else None
        if value is None or value.numel() == 0:
            missing = True
            return torch.zeros(())
        return _typical(value)

    try:
        result = node.replay.run(values, look_up)
    except Exception:  # noqa: BLE001 - an operation that takes no such arguments
        return None
    if isinstance(result, (tuple, list)):
        result = result[node.part]
    if missing or not isinstance(result, Tensor) or result.is_complex():
        return None
    return result.double()


def _typical(value: Tensor) -> Tensor:
    """Replace a tensor of values by one that has their size: the root of their mean square."""
    if not value.is_floating_point():
        return value.reshape(-1)[0]
    value = value.detach().double()
    root = value.square().mean().sqrt()
    return -root if value.mean() < 0 else root
