"""The application: its commands, and what becomes of an error."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, cast

import typer

from initlab._base.errors import InitlabError, UnknownNameError
from initlab._base.version import __version__
from initlab.cli.compare import EXAMPLES as COMPARE_EXAMPLES
from initlab.cli.compare import compare
from initlab.cli.diagnose import EXAMPLES as DIAGNOSE_EXAMPLES
from initlab.cli.diagnose import diagnose
from initlab.cli.interrupts import came_of_interrupt
from initlab.cli.listing import EXAMPLES as LIST_EXAMPLES
from initlab.cli.listing import list_initializers
from initlab.cli.output import complain
from initlab.cli.show import EXAMPLES as SHOW_EXAMPLES
from initlab.cli.show import show
from initlab.cli.theory import theory
from initlab.cli.usage import explain

FINE, WRONG_INPUT, INTERNAL_FAULT, INTERRUPTED = 0, 2, 3, 130

app = typer.Typer(
    name="initlab",
    help="The laboratory for neural-network weight initialisation.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Each returns a function that does the work. It is called outside of typer, which would turn an
# interrupt and a closed pipe into exits of its own.
_COMMANDS: dict[str, tuple[Callable[..., Callable[[], int]], str]] = {
    "compare": (compare, COMPARE_EXAMPLES),
    "diagnose": (diagnose, DIAGNOSE_EXAMPLES),
    "list": (list_initializers, LIST_EXAMPLES),
    "show": (show, SHOW_EXAMPLES),
}
for _name, (_command, _examples) in _COMMANDS.items():
    app.command(_name, epilog=_examples)(_command)

# Commands that hold others.
_GROUPS: dict[str, typer.Typer] = {"theory": theory}
for _name, _group in _GROUPS.items():
    app.add_typer(_group, name=_name)


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
    """Declare the options of every command; a callback and :func:`run` act on them."""


# The public base of every complaint about the command line itself.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(words: Sequence[str]) -> int:
    """Do what the words after the program's name say; returns the exit status.

    Raises
    ------
    KeyboardInterrupt
        Where Ctrl-C came before there was anything to report.
    """
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        return _dispatch(words)
    except Exception as error:  # the last resort; the traceback is one option away
        if debug:
            traceback.print_exc()
        if came_of_interrupt(error):
            raise KeyboardInterrupt from error
        return _complain(error, words)


def _complain(error: Exception, words: Sequence[str]) -> int:
    """Print one line about an error; returns the exit status."""
    problem, status = explain(error, words), WRONG_INPUT
    if isinstance(error, MemoryError):
        problem = f"not enough memory: {problem}; accepted: smaller layers, fewer recorded steps"
    elif isinstance(error, OSError) and not isinstance(error, InitlabError):
        about = f"{error.filename}: " if error.filename else ""
        problem = f"{about}{error.strerror or problem}"
    elif not isinstance(error, (InitlabError, _UsageError)):
        problem = (
            f"a fault of initlab, not of yours: {type(error).__name__}: {problem}; "
            "run again with --debug for the traceback"
        )
        status = INTERNAL_FAULT
    complain(problem)
    return status


def _dispatch(words: Sequence[str]) -> int:
    command, part, *_ = [*(word for word in words if not word.startswith("-")), None, None]
    if command is not None and command not in {*_COMMANDS, *_GROUPS}:
        raise UnknownNameError("command", command, [*_COMMANDS, *_GROUPS])
    if command in _GROUPS:
        known = [each.name or "" for each in _GROUPS[command].registered_commands]
        if part is not None and part not in known:
            raise UnknownNameError(f"{command} command", part, known)
        words = [*words, "--help"] if part is None else words
    try:
        answer = app(words, prog_name="initlab", standalone_mode=False)
        work = cast("Callable[[], int] | int | None", answer)
    except typer.Abort as error:  # what some versions of typer make of Ctrl-C
        raise KeyboardInterrupt from error
    except SystemExit:  # and of a reader that left while help was printed
        return FINE
    if work == INTERRUPTED:  # and others of Ctrl-C
        raise KeyboardInterrupt
    return work() if callable(work) else FINE
