"""Errors that say what was given and what would be accepted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InitlabError(Exception):
    """Base of every error that initlab raises on purpose.

    The message is one line, names what was given and what would be accepted, and is what the
    command line prints.
    """


class InvalidValueError(InitlabError, ValueError):
    """A value that is out of range, of the wrong kind, or does not fit another one."""


class UnknownNameError(InitlabError, LookupError):
    """A name that no catalogue entry carries.

    Parameters
    ----------
    kind
        What was looked for, in the singular: ``"initializer"``.
    given
        What the user wrote.
    known
        Every accepted name; the nearest ones are suggested.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {given!r}; {hint}")
        self.kind = kind
        self.given = given
        self.known = tuple(names)
        self.suggestions = tuple(near)

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, tuple[str, ...]]]:
        # Exceptions are pickled with their message as the only argument; this one takes three.
        return type(self), (self.kind, self.given, self.known)


class DataError(InitlabError, ValueError):
    """Data that cannot be trained on: missing values, text, one class, an empty file."""


class OutputError(InitlabError, OSError):
    """A result that cannot be written where it was asked for."""


class MissingPackageError(InitlabError, ImportError):
    """An optional package that the call needs is not installed."""
