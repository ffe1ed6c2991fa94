"""Names with arguments, ``"normal(std=10)"``: parsed without ``eval``, printed back the same."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from initlab._base.errors import InvalidValueError

Literal = bool | int | float | str | None | tuple["Literal", ...]


@dataclass(frozen=True)
class Call:
    """A name and the literal arguments that go with it."""

    name: str
    args: tuple[Literal, ...] = ()
    kwargs: tuple[tuple[str, Literal], ...] = ()

    def __str__(self) -> str:
        parts = [_literal_text(value) for value in self.args]
        parts += [f"{name}={_literal_text(value)}" for name, value in self.kwargs]
        return f"{self.name}({', '.join(parts)})" if parts else self.name


def parse_call(text: str, kind: str = "name", example: str = "normal(std=10)") -> Call:
    """Parse ``name`` or ``name(1, key=2.5)``; the arguments are Python literals.

    Parameters
    ----------
    text
        What the user wrote.
    kind
        What it stands for, used in the error: ``"initializer"``.
    example
        One with arguments, shown in the error.

    Raises
    ------
    InvalidValueError
        If the text is not a name, or a name with literal arguments in brackets.
    """
    refused = InvalidValueError(
        f"cannot read {kind} {text!r}; write a name, or a name with arguments such as {example!r}"
    )
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise refused
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refused from error
    if isinstance(node, ast.Name):
        return Call(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise refused
    args = tuple(_literal(value, text, kind) for value in node.args)
    kwargs: list[tuple[str, Literal]] = []
    for keyword in node.keywords:
        if keyword.arg is None:
            raise refused
        if keyword.arg in dict(kwargs):
            raise InvalidValueError(f"argument {keyword.arg} of {kind} {text!r} is given twice")
        kwargs.append((keyword.arg, _literal(keyword.value, text, kind)))
    return Call(node.func.id, args, tuple(kwargs))


def _literal(node: ast.expr, text: str, kind: str) -> Literal:
    try:
        return _checked(ast.literal_eval(node))
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidValueError(
            f"argument {ast.unparse(node)!r} of {kind} {text!r} is not a number, a string, "
            "True, False, None or a tuple of these"
        ) from error


def _checked(value: object) -> Literal:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return tuple(_checked(item) for item in value)
    raise ValueError(value)


def _literal_text(value: Literal) -> str:
    return repr(value)
