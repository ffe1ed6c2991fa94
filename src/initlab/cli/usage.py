"""Errors in one line, and in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from initlab._base.errors import InitlabError, UnknownNameError

# Options that are not called what the value is called elsewhere.
_OPTIONS = {
    "learning_rate": "--lr",
    "batch_size": "--batch",
    "threads": "--jobs",
    "input_correlation": "--correlation",
}


def explain(error: BaseException, words: Sequence[str]) -> str:
    """Say in one line what an error says.

    Parameters
    ----------
    error
        An error of initlab's, of typer's, or any other.
    words
        The command line: what is given there is called as it is called there.
    """
    if isinstance(error, InitlabError):
        said = _with_option(str(error), words)
    elif hasattr(error, "format_message"):
        said = _usage(error, words)
    else:
        said = str(error)
    return " ".join(said.split())


def _with_option(message: str, words: Sequence[str]) -> str:
    """Turn "learning_rate=0.0 is refused" into "--lr 0.0 is refused".

    And "for a quantity, give task='regression'" into "for a quantity, give --task regression".
    """
    message = re.sub(r"(?<=give )task='(\w+)'|(?<=as )target=", _advice, message)
    name, equals, rest = message.partition("=")
    option = _OPTIONS.get(name) or f"--{name.replace('_', '-')}"
    if equals and (name in _OPTIONS or _given((option,), words) is not None):
        return f"{option} {rest}"
    return message


def _advice(found: re.Match[str]) -> str:
    return f"--task {found[1]}" if found[1] else "--target "


def _usage(error: Any, words: Sequence[str]) -> str:
    """Say what typer says; its errors tell neither what was given nor what would be accepted."""
    said: str = error.format_message()
    if hasattr(error, "possibilities"):  # there is no such option
        parameters = error.ctx.command.get_params(error.ctx)
        known = [name for each in parameters for name in each.opts if name.startswith("-")]
        return str(UnknownNameError("option", error.option_name, known))
    parameter: Any = getattr(error, "param", None)
    names: list[str] = list(parameter.opts) if parameter else []
    given = _given(names, words)
    if given is None:
        return said
    # "Input should be a valid number, unable to parse string as a number"
    reason = str(error).replace("Input should", "it should").partition(", unable to")[0]
    return f"{names[0]} {given!r} is refused: {reason}"


def _given(names: Sequence[str], words: Sequence[str]) -> str | None:
    """Return the value that follows an option, the last one where it is there twice."""
    found = None
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names and equals:
            found = value
        elif word in names and place + 1 < len(words):
            found = words[place + 1]
    return found
