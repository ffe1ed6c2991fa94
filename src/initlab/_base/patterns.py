"""Patterns of qualified names, as in ``"*.attn.*"``."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches(pattern: str, *names: str) -> bool:
    """Tell whether a pattern fits one of a parameter's names, or a module that it stands in.

    ``*`` stands for any text, dots included.

    Examples
    --------
    >>> matches("layers.0", "layers.0.weight"), matches("*.bias", "layers.0.weight")
    (True, False)
    """
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for name in names)
