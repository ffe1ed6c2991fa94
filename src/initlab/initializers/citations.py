"""The references of the catalogue, read from ``references.bib``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from initlab._base.errors import InvalidValueError, UnknownNameError

_ACCENTS = {
    '"': "\u0308",
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    "c": "\u0327",
    "v": "\u030c",
}
_LETTERS = {r"\L": "Ł", r"\l": "ł", r"\O": "Ø", r"\o": "ø", r"\ss": "ß", r"\i": "ı"}


@dataclass(frozen=True)
class Citation:
    """One entry of a BibTeX file.

    Attributes
    ----------
    key
        What it is cited by.
    kind
        ``"article"``, ``"inproceedings"`` and so on.
    fields
        Name and value, in the order of the file; values as they stand there, without outer braces.
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def bibtex(self) -> str:
        """The entry as BibTeX, one field a line."""
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}\n}}"

    @property
    def short(self) -> str:
        """Authors and year: ``"He et al. 2015"``, ``"Glorot & Bengio 2010"``."""
        people = [name.split(",")[0].strip() for name in self.fields["author"].split(" and ")]
        names = [plain_text(name) for name in people]
        text = f"{names[0]} et al." if len(names) > 2 else " & ".join(names)
        return f"{text} {self.fields['year']}"


def citation(key: str) -> Citation:
    """Return the reference of a key.

    Raises
    ------
    UnknownNameError
        If the file has none of this key.

    Examples
    --------
    >>> citation("he2015delving").short
    'He et al. 2015'
    """
    known = citations()
    if key not in known:
        raise UnknownNameError("citation", key, known)
    return known[key]


@cache
def citations() -> Mapping[str, Citation]:
    """Return every reference of the catalogue by its key, in the order of the file."""
    text = (files("initlab.initializers") / "references.bib").read_text("utf-8")
    return MappingProxyType({each.key: each for each in read_bibtex(text)})


def read_bibtex(text: str) -> list[Citation]:
    """Read entries whose values stand in braces, ``name = {value}``.

    Raises
    ------
    InvalidValueError
        If it is written otherwise, a brace is left open, or an entry has no author, title or year,
        or a key that was there before.

    Examples
    --------
    >>> read_bibtex("@book{a, author = {Knuth, D.}, title = {{T}eX}, year = {1984}}")[0].short
    'Knuth 1984'
    """
    found: dict[str, Citation] = {}
    for kind, body in _entries(text):
        key, _, rest = body.partition(",")
        key = key.strip()
        fields = dict(_fields(rest, key))
        missing = [name for name in ("author", "title", "year") if not fields.get(name)]
        if missing:
            raise InvalidValueError(f"reference {key!r} has no {' and no '.join(missing)}")
        if key in found:
            raise InvalidValueError(f"reference {key!r} is there twice")
        found[key] = Citation(key, kind.lower(), MappingProxyType(fields))
    return list(found.values())


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield kind and content of what stands in ``@kind{...}``; nothing may stand between."""
    place = 0
    while rest := text[place:].strip():
        start = re.match(r"\s*@(\w+)\s*\{", text[place:])
        if start is None:
            raise InvalidValueError(f"{_shown(rest)} is no reference; expected @kind{{key, ...}}")
        first = place + start.end()
        place = _closing(text, first) + 1
        yield start[1], text[first : place - 1]


def _fields(text: str, key: str) -> Iterator[tuple[str, str]]:
    place = 0
    while rest := text[place:].strip(" \n\t,"):
        start = re.match(r"[\s,]*([\w-]+)\s*=\s*\{", text[place:])
        if start is None:
            raise InvalidValueError(f"{_shown(rest)} in reference {key!r} is no name = {{value}}")
        first = place + start.end()
        place = _closing(text, first) + 1
        yield start[1].lower(), " ".join(text[first : place - 1].split())


def _closing(text: str, first: int) -> int:
    """Return the place of the brace that closes the one before ``first``."""
    depth = 1
    for place in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise InvalidValueError(f"a brace is left open before {_shown(text[first:])}")


def _shown(text: str) -> str:
    return repr(text.split("\n", 1)[0][:40])


def plain_text(value: str) -> str:
    r"""Write LaTeX's accents and letters as Unicode, and leave its braces out.

    Examples
    --------
    >>> plain_text(r"Kr{\"a}henb{\"u}hl and {\L}ukasz")
    'Krähenbühl and Łukasz'
    """
    for command, letter in _LETTERS.items():
        value = re.sub(rf"{re.escape(command)}(?![A-Za-z])", letter, value)
    value = re.sub(r"\\([\"'`^~=]|[cv](?![A-Za-z]))\s*\{?([^\W\d_])\}?", _accented, value)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", value))


def _accented(found: re.Match[str]) -> str:
    return found[2].replace("ı", "i") + _ACCENTS[found[1]]


def short_reference(keys: Iterable[str]) -> str:
    """Return authors and year of the first of these citations; empty where there is none."""
    return next((citation(key).short for key in keys), "")
