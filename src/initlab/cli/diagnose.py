"""``initlab diagnose``: why a model does not train, and what to change."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from initlab._base.errors import InvalidValueError
from initlab.cli.imports import load
from initlab.cli.output import complain, rendered, say

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.job import Job, Remedy

DEFAULT_PAGE = Path("initlab-diagnosis.html")
_HEALTHY, _ILL, _STOPPED = 0, 1, 2

EXAMPLES = """
Examples:

- initlab diagnose my_project.models:build
- initlab diagnose my_project.models:build --loss cross_entropy --fix
- initlab diagnose my_project.models:build --optimizer "adam(lr=0.001)" --json
- initlab diagnose my_project.models:build --weights checkpoint.safetensors
- initlab diagnose my_project.models:build --widths 64,128,256,512

Exit status: 0 healthy, 1 errors or warnings (with --fix: that the fix leaves), 2 wrong input or a
model that does not run.
"""


def diagnose(  # noqa: PLR0913 - one parameter an option
    factory: Annotated[
        str,
        typer.Argument(
            help="Function that returns a model, (model, inputs) or (model, inputs, targets), as "
            "module:name.",
            show_default=False,
        ),
    ],
    *,
    loss: Annotated[
        str | None,
        typer.Option(
            help="cross_entropy, bce_with_logits, mse or l1. Default: by the shapes, or the "
            "model's own.",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help='What takes the first step, such as "sgd(lr=0.1)" or "adam(lr=0.001)".',
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to load first: .safetensors, or a state dictionary that torch.save "
            "wrote. No code in it is run.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option(
            help="Widths, such as 64,128,256: the function is called with width= for each, and "
            "what goes with the width is looked for.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the factory's weights, and of made-up inputs.")] = 0,
    fix: Annotated[
        bool, typer.Option("--fix", help="Fix it, diagnose again, and print the code of the fix.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every operation of a long model.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help=f"Page with table and charts. Default: {DEFAULT_PAGE}; with --json: none.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> Callable[[], int]:
    """Find out why a PyTorch model does not train: which starting weights are wrong, and the fix.

    The model runs forth and back once, on the inputs that the function returns, or on made-up ones.
    """
    page = _page(out, json=json)
    options: dict[str, object] = {
        "loss": loss,
        "optimizer": optimizer,
        "weights": str(weights.expanduser()) if weights is not None else None,
        "seed": seed,
        "widths": _widths(widths),
    }
    return functools.partial(
        _run, factory, options, page, fix=fix, json=json, everything=everything
    )


def _run(
    factory: str,
    options: dict[str, object],
    page: Path | None,
    *,
    fix: bool,
    json: bool,
    everything: bool,
) -> int:
    """Build, diagnose, print and save; returns the exit status."""
    # Imported here, so that --help and a mistyped option answer at once.
    from initlab._base.optional import require  # noqa: PLC0415 - not always needed

    require("torch", "diagnosing a model")
    found: Diagnosis | Remedy
    # What the user's code prints is none of the results.
    with contextlib.redirect_stdout(sys.stderr):
        job = _prepare(load(factory), options)
        found = report = job.diagnose()
        if fix:
            found = job.remedy(report)
            report = found.after
    _print(found, json=json, everything=everything)
    if page is not None:
        _save(found, page, json=json)
    if report.problem:
        complain(" ".join(report.problem.split()))
        return _STOPPED
    return _ILL if report.alarms else _HEALTHY


def _prepare(factory: Callable[..., object], options: dict[str, object]) -> Job:
    from initlab.diagnosis.job import prepare  # noqa: PLC0415 - PyTorch takes seconds to load

    typed: dict[str, Any] = options
    return prepare(factory, **typed)


def _print(found: Diagnosis | Remedy, *, json: bool, everything: bool) -> None:
    from initlab._base.records import dumps  # noqa: PLC0415 - heavy, and not always needed
    from initlab.report import diagnosis as report  # noqa: PLC0415 - the same

    if json:
        say(dumps(found.document(), indent=2))
    else:
        say(rendered([report.view(found, everything=everything)]).rstrip("\n"))


def _save(found: Diagnosis | Remedy, path: Path, *, json: bool) -> None:
    from initlab._base.records import write_file  # noqa: PLC0415 - heavy, and not always needed
    from initlab.report.diagnosis.page import page  # noqa: PLC0415 - the same

    write_file(path, page(found))
    if not json:
        say(f"Report: {path}")


def _widths(text: str | None) -> tuple[int, ...]:
    """Read ``64,128,256``."""
    if text is None:
        return ()
    try:
        found = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = ()
    if len(set(found)) < 2 or min(found) < 1:
        raise InvalidValueError(f"--widths {text!r}; accepted: two or more, such as 64,128,256")
    return found


def _page(out: Path | None, *, json: bool) -> Path | None:
    """Return where the page goes; refuse what could not be written, before anything runs."""
    if out is None:
        return None if json else DEFAULT_PAGE
    path = out.expanduser()
    if path.is_dir():
        raise InvalidValueError(
            f"--out {out}: this is a folder; accepted: a file such as {DEFAULT_PAGE}"
        )
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InvalidValueError(f"--out {out}; accepted: a file that ends in .html")
    if not path.parent.is_dir():
        raise InvalidValueError(f"--out {out}: there is no folder {path.parent}; make it first")
    return path
