"""Optional packages: imported where they are used, missed with a remedy."""

from __future__ import annotations

import importlib
from types import ModuleType

from initlab._base.errors import MissingPackageError

_EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "jax": "jax",
    "keras": "keras",
    "flax": "flax",
    "equinox": "equinox",
    "distributed": "dask",
    "fastapi": "web",
    "uvicorn": "web",
}


def require(package: str, why: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Parameters
    ----------
    package
        The importable name, for example ``"torch"``.
    why
        What needs it, as the beginning of a sentence: ``"diagnosing a model"``.

    Raises
    ------
    MissingPackageError
        If the package is not installed; the message holds the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        extra = _EXTRAS.get(package, package)
        raise MissingPackageError(
            f"{why} needs the package {package!r}: pip install 'initlab[{extra}]'"
        ) from error
