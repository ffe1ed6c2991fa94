"""Weights as PyTorch tensors, one at a time; ``initlab.initialize`` is for whole modules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.optional import require
from initlab.initializers import Initializer
from initlab.integrations import _weights, numpy

require("torch", "the PyTorch adapter")

import torch  # noqa: E402 - after the error that says how to install it
from torch import Tensor  # noqa: E402 - likewise


def draw(
    text: str | Initializer,
    shape: Sequence[int],
    *,
    name: str,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    fans: Fans | None = None,
) -> Tensor:
    """Draw the weight of a parameter from its name.

    Which weight, arguments and errors as in :func:`initlab.integrations.numpy.draw`.

    Examples
    --------
    >>> draw("he_normal", (64, 32), name="layers.0.weight", dtype=torch.float16).dtype
    torch.float16
    """
    _require_floating(dtype)
    values = numpy.draw(text, shape, name=name, seed=seed, fans=fans)
    _require_range(values, dtype)
    return torch.from_numpy(values).to(dtype)


def initializer_(
    tensor: Tensor,
    text: str | Initializer,
    *,
    name: str,
    seed: int = 0,
    fans: Fans | None = None,
) -> Tensor:
    """Fill a tensor in place, as the functions of ``torch.nn.init`` do, and return it.

    Parameters
    ----------
    tensor
        Of any floating type and device, contiguous or not; a parameter keeps being one.
    text, name, seed, fans
        As in :func:`initlab.integrations.numpy.draw`.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the tensor is not of a floating type, holds no values or is only a shard; else as in
        :func:`initlab.integrations.numpy.draw`.

    Examples
    --------
    >>> layer = torch.nn.Linear(32, 64)
    >>> initializer_(layer.weight, "he_normal", name="layers.0.weight", seed=1).shape
    torch.Size([64, 32])
    """
    _require_floating(tensor.dtype)
    if tensor.is_meta:
        raise InvalidValueError(
            f"tensor {name!r} is on the meta device and holds no values; call to_empty(device=...) "
            "first"
        )
    if hasattr(tensor, "placements"):
        raise InvalidValueError(
            f"tensor {name!r} is distributed over devices; give initlab.initialize its module"
        )
    values = draw(text, tuple(tensor.shape), name=name, seed=seed, dtype=tensor.dtype, fans=fans)
    with torch.no_grad():
        return tensor.copy_(values)


def _require_floating(dtype: object) -> None:
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InvalidValueError(f"dtype {dtype} is no floating type; weights need one")


def _require_range(values: NDArray[np.float32], dtype: torch.dtype) -> None:
    if dtype not in {torch.float32, torch.float64}:
        _weights.require_range(values, torch.finfo(dtype).max, str(dtype))
