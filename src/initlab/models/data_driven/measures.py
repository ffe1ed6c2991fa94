"""Numbers that the data-driven initialisers read off tensors, half precision in float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from initlab.engine.adaptive.rules import Spread
from initlab.models.data_driven.products import Product

_HALF = (torch.float16, torch.bfloat16)


def wide(tensor: Tensor) -> Tensor:
    """Return half precision as float32, anything else as it is."""
    return tensor.float() if tensor.dtype in _HALF else tensor


def norm(tensor: Tensor) -> float:
    """Return the 2-norm of all entries."""
    return float(torch.linalg.vector_norm(wide(tensor.detach())))


def root_mean_square(tensor: Tensor) -> float:
    """Return the root of the mean square of all entries."""
    return norm(tensor) / tensor.numel() ** 0.5


def without_bias(product: Product, out: Tensor) -> tuple[Tensor, Tensor]:
    """Return the product alone, one row a channel, and the bias, one number a channel."""
    rows = wide(product.channels(out))
    bias = product.bias
    if bias is None or bias.numel() != len(rows):
        return rows, rows.new_zeros(len(rows))
    bias = wide(bias.reshape(-1))
    return rows - bias[:, None], bias


def spread(product: Product, out: Tensor) -> Spread:
    """Measure how an output varies."""
    rows, bias = without_bias(product, out)
    covariance = (rows.mean(dim=1) * bias).mean() - rows.mean() * bias.mean()
    return Spread(
        product=float(rows.var(correction=0)),
        covariance=float(covariance),
        shift=float(bias.var(correction=0)),
        square=float(rows.square().mean()),
    )


def ratios(
    before: Mapping[str, float], parameters: Mapping[str, nn.Parameter], names: Iterable[str]
) -> dict[str, float]:
    """Return by how much norms have grown."""
    return {name: norm(parameters[name]) / before[name] for name in names if before[name] > 0}
