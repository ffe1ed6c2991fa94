"""A catalogue: entries under their names and aliases, misses answered with the nearest name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from initlab._base.errors import UnknownNameError

Entry = TypeVar("Entry")


class Catalogue(Generic[Entry]):
    """Entries by canonical name or alias, in any letter case.

    Iteration and length cover canonical names only, in the order given. It is no ``Mapping``: a
    name that is not there is an error that suggests others, never a default.

    Parameters
    ----------
    kind
        What the entries are, in the singular; part of the error for an unknown name.
    entries
        The entries by canonical name.
    aliases
        Alias to canonical name.
    """

    def __init__(
        self, kind: str, entries: Mapping[str, Entry], aliases: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self.aliases = dict(aliases or {})

    def canonical(self, name: str) -> str:
        """Return the canonical name for a name or an alias, in any letter case.

        Raises
        ------
        UnknownNameError
            If no entry carries the name; the message suggests the nearest.
        """
        key = name.strip().lower()
        key = self.aliases.get(key, key)
        if key not in self._entries:
            raise UnknownNameError(self.kind, name, self.names())
        return key

    def names(self) -> tuple[str, ...]:
        """Every name that is accepted: canonical names, then aliases."""
        return (*self._entries, *self.aliases)

    def __getitem__(self, name: str) -> Entry:
        return self._entries[self.canonical(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.strip().lower() in self.names()

    def items(self) -> Iterable[tuple[str, Entry]]:
        """Canonical names with their entries."""
        return self._entries.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
