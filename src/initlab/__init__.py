"""The laboratory for neural-network weight initialisation.

>>> import initlab
>>> print(initlab.get("he_normal").name)
he_normal

Every public name is loaded when it is first used, so that ``import initlab`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from initlab._base.version import __version__

if TYPE_CHECKING:
    from initlab import (
        activations,
        course,
        data,
        diagnosis,
        engine,
        experiments,
        initializers,
        integrations,
        models,
        report,
        sampling,
        theory,
    )
    from initlab._base.errors import (
        DataError,
        InitlabError,
        InvalidValueError,
        MissingPackageError,
        OutputError,
        UnknownNameError,
    )
    from initlab.diagnosis import diagnose, treat
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.initializers import get
    from initlab.models import initialize, preview
    from initlab.report.comparison import Comparison, compare

__all__ = [
    "Comparison",
    "DataError",
    "Diagnosis",
    "InitlabError",
    "InvalidValueError",
    "MissingPackageError",
    "OutputError",
    "UnknownNameError",
    "__version__",
    "activations",
    "compare",
    "course",
    "data",
    "diagnose",
    "diagnosis",
    "engine",
    "experiments",
    "get",
    "initialize",
    "initializers",
    "integrations",
    "models",
    "preview",
    "report",
    "sampling",
    "theory",
    "treat",
]

# Where a public name lives; one that is not listed is a submodule.
_HOMES = {
    "Comparison": "initlab.report.comparison",
    "DataError": "initlab._base.errors",
    "InitlabError": "initlab._base.errors",
    "InvalidValueError": "initlab._base.errors",
    "MissingPackageError": "initlab._base.errors",
    "OutputError": "initlab._base.errors",
    "UnknownNameError": "initlab._base.errors",
    "compare": "initlab.report.comparison",
    "Diagnosis": "initlab.diagnosis.diagnosis",
    "diagnose": "initlab.diagnosis",
    "get": "initlab.initializers",
    "initialize": "initlab.models",
    "preview": "initlab.models",
    "treat": "initlab.diagnosis",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name)
    value = getattr(import_module(home), name) if home else import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
