"""Weights as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab.initializers import Initializer, get
from initlab.integrations.layouts import require_seed
from initlab.sampling import Key


def draw(
    text: str | Initializer,
    shape: Sequence[int],
    *,
    name: str,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
    fans: Fans | None = None,
) -> NDArray[Any]:
    """Draw the weight that ``initlab.initialize(model, text, seed=seed)`` gives to a parameter.

    Entries are drawn as float32 and then rounded, or widened, to ``dtype``: the same bits as
    :func:`initlab.integrations.torch.draw` and :func:`initlab.integrations.jax.draw`.

    Parameters
    ----------
    text
        Name of the initialiser, with arguments where it takes any, or the initialiser.
    shape
        In PyTorch's order: ``(out, in)``, ``(out, in / groups, *receptive)``.
    name
        Qualified name of the parameter, ``"layers.0.weight"``.
    seed
        Of the model.
    dtype
        A floating type; also those of ``ml_dtypes``, such as bfloat16.
    fans
        By default those of the shape. For a convolution, ``initialize`` also reads stride, groups
        and the size of the map: its plan has them in ``facts.parameters[name].fans``.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the text cannot be read, or the shape, seed or dtype does not fit.

    Examples
    --------
    >>> draw("he_normal", (64, 32), name="layers.0.weight").shape
    (64, 32)
    """
    initializer, wanted = get(text), np.dtype(dtype)
    if wanted.kind != "f" and "float" not in wanted.name:  # ml_dtypes' types are of another kind
        raise InvalidValueError(f"dtype {wanted.name} is no floating type; weights need one")
    sizes = tuple(shape)
    out = np.empty(sizes, np.float32)
    initializer.fill(out, Key.derive(require_seed(seed), name), shape=sizes, fans=fans)
    return out.astype(wanted, copy=False)
