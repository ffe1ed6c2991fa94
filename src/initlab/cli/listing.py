"""``initlab list``: the catalogue of initialisers, by family."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated

import typer

from initlab.cli.output import rendered, say

EXAMPLES = """
Examples:

- initlab list
- initlab list relu
- initlab list --family depth-aware transformer
- initlab list --json
"""


def list_initializers(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Those that mention these words: relu, lstm, transformer, a name, an author.",
            show_default=False,
        ),
    ] = None,
    *,
    family: Annotated[
        str | None,
        typer.Option(
            help="elementary, variance-scaling, orthogonal, depth-aware, structured "
            "or data-driven.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> Callable[[], int]:
    """List the initialisers: signature, formula, reference."""
    return functools.partial(_run, words or [], family, json=json)


def _run(words: list[str], family: str | None, *, json: bool) -> int:
    # Imported here, so that --help and a mistyped option answer at once.
    from initlab.report.catalogue import record, terminal  # noqa: PLC0415 - heavy, and not always needed

    found = record.find(words, family)
    say(record.list_json(found) if json else rendered([terminal.Listing(found)]).rstrip("\n"))
    return 0
