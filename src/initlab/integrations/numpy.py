"""Weights as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.streams import require_seed
from initlab.initializers import Initializer, require_shape
from initlab.integrations import _weights
from initlab.sampling import Key


def draw(
    text: str | Initializer,
    shape: Sequence[int],
    *,
    name: str,
    seed: int = 0,
    dtype: DTypeLike | None = np.float32,
    fans: Fans | None = None,
) -> NDArray[Any]:
    """Draw the weight of a parameter from its name.

    Where the initialiser draws each weight by itself, as ``he_normal`` and ``orthogonal`` do, it is
    the weight that ``initlab.initialize(model, text, seed=seed)`` gives to the parameter of this
    name. Of one that treats parts of a model differently (``gpt2``, ``fixup``), it is the weight
    that its own arguments describe.

    Entries are drawn as float32 and then rounded, or widened, to ``dtype``: the same bits as
    :func:`initlab.integrations.torch.draw` and :func:`initlab.integrations.jax.draw`.

    Parameters
    ----------
    text
        Name of the initialiser, with arguments where it takes any, or the initialiser; none that
        looks at data (``lsuv``) or draws several weights together (``mimetic``).
    shape
        In PyTorch's order: ``(out, in)``, ``(out, in / groups, *receptive)``.
    name
        Qualified name of the parameter, ``"layers.0.weight"``.
    seed
        Of the model.
    dtype
        A floating type, None float32; also those of ``ml_dtypes``, such as bfloat16.
    fans
        By default those of the shape. For a convolution, ``initialize`` also reads stride, groups
        and the size of the map: its plan has them in ``facts.parameters[name].fans``.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the text cannot be read, the initialiser needs more than one weight, the name, shape,
        seed or dtype does not fit, or a value is beyond the largest number of the dtype.

    Examples
    --------
    >>> draw("he_normal", (64, 32), name="layers.0.weight").shape
    (64, 32)
    """
    initializer, wanted, sizes = _weights.single(text), _floating(dtype), require_shape(shape)
    out = np.empty(sizes, np.float32)
    key = Key.derive(require_seed(seed), _text(name))
    initializer.fill(out, key, shape=sizes, fans=fans)
    return _weights.rounded(out, wanted)


def _floating(dtype: DTypeLike | None) -> np.dtype[Any]:
    try:
        wanted = np.dtype(np.float32 if dtype is None else dtype)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"dtype {dtype!r} is none of NumPy's; give a floating one, such as 'float32'"
        ) from error
    return _weights.require_floating(wanted)


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidValueError(
            f"name={name!r} is no text; give the parameter's qualified name, 'layers.0.weight'"
        )
    return name
