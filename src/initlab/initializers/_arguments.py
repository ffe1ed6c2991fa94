"""The arguments of an initialiser: checked on the way in, printed on the way out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TypeVar

from initlab._base.errors import InvalidValueError
from initlab._base.spec import Call, Literal
from initlab._base.whole import require_whole
from initlab.initializers._definition import Initializer, plain

Word = TypeVar("Word", bound=str)

MOST = 2**53


def count(name: str, value: object, least: int = 1) -> int:
    """Return a whole number from ``least`` to 2^53, which floats hold.

    Raises
    ------
    InvalidValueError
        If the value is none; the message carries the argument's name.
    """
    return require_whole(name, value, least, MOST)


def flag(name: str, value: object) -> bool:
    """Return True or False; raise as :func:`count` does."""
    if not isinstance(value, bool):
        raise InvalidValueError(f"{name}={value!r} is neither True nor False")
    return value


def one_of(name: str, value: object, accepted: Sequence[Word]) -> Word:
    """Return one of the accepted words; raise as :func:`count` does."""
    for word in accepted:
        if word == value:
            return word
    raise InvalidValueError(f"{name}={value!r} is not one of {', '.join(map(repr, accepted))}")


def spec(make: Callable[..., Initializer], **arguments: float | str | None) -> str:
    """Print the call of ``make`` with these arguments; those at their defaults are left out.

    Arguments without a default stand first and unnamed: ``"constant(0.5)"``, ``"normal(std=10)"``.
    """
    args: list[Literal] = []
    kwargs: list[tuple[str, Literal]] = []
    for name, parameter in inspect.signature(make).parameters.items():
        value = arguments[name]
        text = value if value is None else plain(value)
        if parameter.default is parameter.empty:
            args.append(text)
        elif value != parameter.default:
            kwargs.append((name, text))
    return str(Call(make.__name__, tuple(args), tuple(kwargs)))
