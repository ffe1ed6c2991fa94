"""How functions are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function with Numba at its first call, without the GIL, and keep it on disk.

    Division follows NumPy's rules: by zero it gives inf or nan. Where Numba finds no folder to keep
    the result in (neither the package's nor the user's can be written to), each process compiles
    anew.
    """
    try:
        return nb.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:
        return nb.njit(nogil=True, error_model="numpy")(function)
