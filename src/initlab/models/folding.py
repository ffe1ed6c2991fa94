"""Folds what repeats: ``layers.0.bias``, ``layers.1.bias``, ... become ``layers.{0-23}.bias``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Names:
    """Qualified names that differ in numbered parts alone.

    Attributes
    ----------
    parts
        What stands between the dots: a text, or the numbers that stand there.
    """

    parts: tuple[str | tuple[int, ...], ...]

    def __str__(self) -> str:
        return ".".join(
            part if isinstance(part, str) else f"{{{_runs(part)}}}" for part in self.parts
        )

    def all(self) -> list[str]:
        """Return every one of them."""
        choices = [
            (part,) if isinstance(part, str) else tuple(map(str, part)) for part in self.parts
        ]
        return [".".join(name) for name in itertools.product(*choices)]


def fold(names: Iterable[str]) -> list[Names]:
    """Fold names, in the order in which they first appear."""
    folded = [Names(tuple(name.split("."))) for name in names]
    longest = max((len(one.parts) for one in folded), default=0)
    for place in reversed(range(longest)):
        folded = _fold_at(folded, place)
    return folded


def _fold_at(names: Sequence[Names], place: int) -> list[Names]:
    """Fold names that differ in the number at one place only."""
    groups: dict[tuple[object, ...], list[int]] = {}
    kept: dict[tuple[object, ...], Names] = {}
    for one in names:
        part = one.parts[place] if place < len(one.parts) else ""
        if isinstance(part, str) and part.isdecimal() and str(int(part)) == part:
            key = (*one.parts[:place], None, *one.parts[place + 1 :])
            groups.setdefault(key, []).append(int(part))
        else:
            key = one.parts
        kept.setdefault(key, one)
    result: list[Names] = []
    for key, one in kept.items():
        numbers = groups.get(key, [])
        if len(numbers) > 1:
            own = tuple(sorted(numbers))
            result.append(Names((*one.parts[:place], own, *one.parts[place + 1 :])))
        else:
            result.append(one)
    return result


def _runs(numbers: Sequence[int]) -> str:
    """Write numbers as runs: ``0-3,5``."""
    texts: list[str] = []
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        own = [number for _, number in run]
        texts.append(f"{own[0]}-{own[-1]}" if len(own) > 1 else f"{own[0]}")
    return ",".join(texts)


def without_numbers(text: str) -> str:
    """Return a text with every number left out: what tells whether two say the same."""
    return _NUMBER.sub("#", text)


def merged(texts: Sequence[str]) -> str:
    """Merge texts that differ in numbers alone: ``branch 1 of 12``, ``2 of 12``: ``1-2 of 12``."""
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    spans = (_span(column) for column in columns)
    return _NUMBER.sub(lambda _: next(spans), texts[0])


def _span(numbers: Sequence[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if low == high else f"{low}-{high}"
