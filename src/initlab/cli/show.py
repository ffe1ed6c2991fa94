"""``initlab show``: all that there is to know about one initialiser."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Annotated

import typer

from initlab._base.errors import InvalidValueError
from initlab.cli.output import rendered, say

EXAMPLES = """
Examples:

- initlab show he_normal
- initlab show "normal(std=10)" --shape 512,256
- initlab show xavier_uniform --shape 64,32,3,3 --json
"""


def show(
    init: Annotated[
        str,
        typer.Argument(
            help='A name, such as he_normal or "normal(std=10)"; initlab list has them all.',
            show_default=False,
        ),
    ],
    *,
    shape: Annotated[
        str | None,
        typer.Option(
            help="Of the weight that is drawn: out,in or out,in,height,width. "
            "Default: one that suits it.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> Callable[[], int]:
    """Show one initialiser: definition, use, a draw, reference, and its code in other libraries."""
    return functools.partial(_run, init, _shape(shape), json=json)


def _run(init: str, shape: tuple[int, ...] | None, *, json: bool) -> int:
    # Imported here, so that --help and a mistyped option answer at once.
    from initlab.report.catalogue import record, terminal  # noqa: PLC0415 - heavy, and not always needed

    found = record.describe(init, shape)
    say(found.to_json() if json else rendered([terminal.Page(found)]).rstrip("\n"))
    return 0


def _shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``64,32,3,3``, with or without brackets."""
    if text is None:
        return None
    sizes = re.fullmatch(r"\s*[(\[]?\s*(\d+(?:\s*,\s*\d+)*)\s*,?\s*[)\]]?\s*", text, re.ASCII)
    if sizes is None:
        raise InvalidValueError(f"--shape {text!r}; accepted: sizes such as 512,256 or 64,32,3,3")
    return tuple(int(size) for size in sizes[1].split(","))
