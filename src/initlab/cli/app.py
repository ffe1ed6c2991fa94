"""The application: its commands, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from initlab._base.errors import InitlabError
from initlab._base.version import __version__
from initlab.cli.compare import EXAMPLES, compare

FINE, WRONG_INPUT, INTERNAL_FAULT, INTERRUPTED = 0, 2, 3, 130

app = typer.Typer(
    name="initlab",
    help="The laboratory for neural-network weight initialisation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=EXAMPLES)(compare)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if wanted:
        typer.echo(f"initlab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Declare the options of every command; a callback and :func:`main` act on them."""


# The public base of every complaint about the command line itself.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Words after the program's name; ``sys.argv[1:]`` if not given.

    Returns
    -------
    int
        Exit status: 0 fine, 2 wrong usage or input, 3 a fault of ours, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        status = app(words, prog_name="initlab", standalone_mode=False)
    except (InitlabError, _UsageError) as error:
        if debug:
            traceback.print_exc()
        return _complain(_one_line(error), WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader has left, as `head` does; nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except Exception as error:  # noqa: BLE001 - the last resort; the traceback is one option away
        if debug:
            traceback.print_exc()
        kind = type(error).__name__
        return _complain(
            f"a fault of initlab, not of yours: {kind}: {_one_line(error)}; "
            "run again with --debug for the traceback",
            INTERNAL_FAULT,
        )
    return status if isinstance(status, int) else FINE


def _one_line(error: BaseException) -> str:
    # Usage errors say their name and hint in a method of their own.
    said = getattr(error, "format_message", lambda: str(error))()
    return " ".join(said.split())


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"initlab: {message}\n")
    return status
