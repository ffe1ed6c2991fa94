"""Objects of the user's own, named on the command line as ``module:name``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from initlab._base.errors import InvalidValueError


def load(text: str) -> Any:
    """Return what ``my_package.my_module:name`` names; the current folder is looked in first.

    Raises
    ------
    InvalidValueError
        If the text is no such name, or the module or the name in it is not there, or importing it
        fails.
    """
    module, _, path = text.partition(":")
    if not module or not path:
        raise InvalidValueError(f"{text!r}; accepted: module:name, such as my_project.models:build")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise InvalidValueError(
            f"{text!r}: there is no module {error.name!r}; run in the folder that holds it, or "
            "install it"
        ) from error
    except AttributeError as error:
        raise InvalidValueError(f"{text!r}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        raise InvalidValueError(
            f"{text!r}: importing {module} fails: {type(error).__name__}: {error}"
        ) from error
    return found
