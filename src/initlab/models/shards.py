"""Where this process's block of a distributed parameter lies in the whole."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from initlab._base.errors import InvalidValueError


def is_sharded(value: Tensor) -> bool:
    """Tell whether a parameter is distributed over processes (a DTensor)."""
    return hasattr(value, "placements") and hasattr(value, "to_local")


def local(value: Tensor) -> Tensor:
    """Return what this process holds, as a view; of an ordinary tensor, all of it."""
    tensor: Any = value
    return cast("Tensor", tensor.to_local()) if is_sharded(value) else value


def place(value: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return offsets and sizes of the block that this process holds.

    A ``Shard`` cuts its axis into chunks of ``ceil(size / processes)`` along one axis of the mesh
    after the other, as ``torch.chunk`` does; a ``Replicate`` cuts nothing.

    Raises
    ------
    InvalidValueError
        If a placement is of another kind, or the block is not of the size that is held.
    """
    tensor: Any = value
    offsets, sizes = [0] * value.dim(), list(value.shape)
    mesh = tensor.device_mesh
    coordinate = mesh.get_coordinate()
    if coordinate is None:  # this process takes no part
        return tuple(offsets), tuple(local(value).shape)
    for axis, placement in enumerate(tensor.placements):
        kind = type(placement).__name__
        if kind == "Replicate":
            continue
        if kind != "Shard":
            raise InvalidValueError(
                f"a parameter is placed as {placement}; accepted: Shard and Replicate, or "
                "initialise before distributing"
            )
        cut = placement.dim % value.dim()
        chunk = -(-sizes[cut] // mesh.size(axis))
        first = min(chunk * coordinate[axis], sizes[cut])
        offsets[cut], sizes[cut] = offsets[cut] + first, min(chunk, sizes[cut] - first)
    if tuple(sizes) != tuple(local(value).shape):
        raise InvalidValueError(
            f"this process holds {tuple(local(value).shape)} of a parameter of shape "
            f"{tuple(value.shape)}, not {tuple(sizes)} as {tensor.placements} say; initialise "
            "before distributing"
        )
    return tuple(offsets), tuple(sizes)
