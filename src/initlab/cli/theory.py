"""``initlab theory``: what an initialisation should do, for any activation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from initlab._base.errors import InvalidValueError
from initlab.cli.imports import load
from initlab.cli.output import rendered, say

EXAMPLES = """
Examples:

- initlab theory gain gelu
- initlab theory point tanh --weight-var 1.5 --bias-var 0.05
- initlab theory edge tanh --bias-var 0.05
- initlab theory map tanh
- initlab theory signal relu --init he_normal --depth 50 --width 300
"""

_MOST = 100_000  # layers, or units of one

theory = typer.Typer(
    help="The mean-field theory: gains, fixed points, the edge of chaos, predicted signals.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXAMPLES,
)

Work = Callable[[], int]

Function = Annotated[
    str,
    typer.Argument(
        help='An activation, such as gelu or "leaky_relu(0.2)", or a function of an array as '
        "module:name.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
BiasVar = Annotated[float, typer.Option(help="Variance of the biases, σb².")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Where the figure is written. Default: a name of its own in this folder; with "
        "--json: nowhere.",
        show_default=False,
        readable=False,
    ),
]


@theory.command("gain")
def gain(f: Function, *, json: Json = False) -> Work:
    """Print the gain of an activation, in both conventions, beside PyTorch's number."""
    return functools.partial(_gain, f, json=json)


@theory.command("point")
def point(
    f: Function,
    *,
    weight_var: Annotated[
        float, typer.Option(help="σw²: weights have variance σw² / fan_in.", show_default=False)
    ],
    bias_var: BiasVar = 0.0,
    start: Annotated[
        float,
        typer.Option(help="Variance of the first pre-activations, where several ends are open."),
    ] = 1.0,
    json: Json = False,
) -> Work:
    """Print what a deep network becomes: q*, χ1, c*, stability, depth scales, regime."""
    options = {"weight_var": weight_var, "bias_var": bias_var, "start": start}
    return functools.partial(_point, f, options, json=json)


@theory.command("edge")
def edge(
    f: Function,
    *,
    bias_var: BiasVar = 0.0,
    largest_q: Annotated[
        float | None,
        typer.Option(
            help="Variance of pre-activations up to which an edge counts. "
            "Default: any, but for a function that saturates 25, or twice the bias variance.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> Work:
    """Print the critical weight variance, or why there is none."""
    return functools.partial(_edge, f, bias_var, largest_q, json=json)


@theory.command("map")
def phase_map(
    f: Function,
    *,
    weight_var: Annotated[str, typer.Option(help="Least and largest.")] = "0:4",
    bias_var: Annotated[str, typer.Option(help="Least and largest.")] = "0:0.5",
    size: Annotated[int, typer.Option(help="Points along each side.")] = 200,
    out: Out = None,
    json: Json = False,
) -> Work:
    """Draw the phase diagram over weight and bias variance, with the edge of chaos."""
    options: dict[str, Any] = {
        "weight_var": _ends("--weight-var", weight_var),
        "bias_var": _ends("--bias-var", bias_var),
        "size": (size, size),
    }
    return functools.partial(_map, f, options, out, json=json)


@theory.command("signal")
def signal(  # noqa: PLR0913 - one parameter an option
    f: Function,
    *,
    init: Annotated[str, typer.Option(help="Initialisation of the weights.")] = "he_normal",
    depth: Annotated[int, typer.Option(help="Layers.")] = 50,
    width: Annotated[int, typer.Option(help="Units of each, and inputs.")] = 300,
    bias_var: BiasVar = 0.0,
    correlation: Annotated[float, typer.Option(help="Of the two inputs.")] = 0.5,
    draws: Annotated[int, typer.Option(help="Random networks to measure.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the random networks.")] = 0,
    out: Out = None,
    json: Json = False,
) -> Work:
    """Predict moments, correlation and gradient by layer, and measure them on random networks."""
    options: dict[str, Any] = {"bias_var": bias_var, "input_correlation": correlation}
    return functools.partial(
        _signal, f, init, (depth, width), options, {"draws": draws, "seed": seed}, out, json=json
    )


# What follows is imported where it is used, so that --help and a mistyped option answer at once.


def _gain(f: str, *, json: bool) -> int:
    from initlab.report import theory as views  # noqa: PLC0415 - heavy, and not always needed
    from initlab.theory import as_activation, gain  # noqa: PLC0415 - heavy, and not always needed

    activation = as_activation(_function(f))
    found = gain(activation)
    view = views.GainView(found, activation.formula)
    return _print(view, views.gain_document(found), json=json)


def _point(f: str, options: dict[str, float], *, json: bool) -> int:
    from initlab.report import theory as views  # noqa: PLC0415 - heavy, and not always needed
    from initlab.theory import fixed_point  # noqa: PLC0415 - heavy, and not always needed

    found = fixed_point(_function(f), **options)
    return _print(views.PointView(found), views.point_document(found), json=json)


def _edge(f: str, bias_var: float, largest_q: float | None, *, json: bool) -> int:
    from initlab.report import theory as views  # noqa: PLC0415 - heavy, and not always needed
    from initlab.theory import edge_of_chaos  # noqa: PLC0415 - heavy, and not always needed

    found = edge_of_chaos(_function(f), bias_var=bias_var, largest_q=largest_q)
    return _print(views.EdgeView(found), views.edge_document(found), json=json)


def _map(f: str, options: dict[str, Any], out: Path | None, *, json: bool) -> int:
    from initlab.report import theory as views  # noqa: PLC0415 - heavy, and not always needed
    from initlab.report.figures import PhaseDisplay, style  # noqa: PLC0415 - heavy, and not always needed
    from initlab.theory import phase_diagram  # noqa: PLC0415 - heavy, and not always needed

    _require_place(out)
    found = phase_diagram(_function(f), **options)
    _print(views.MapView(found), views.map_document(found), json=json)
    path = _target(out, f"theory-map-{_slug(found.activation)}.png", json=json)
    if path is not None:
        _save(path, style.png(PhaseDisplay(found).figure()), json=json)
    return 0


def _signal(
    f: str,
    init: str,
    shape: tuple[int, int],
    options: dict[str, Any],
    measuring: dict[str, int],
    out: Path | None,
    *,
    json: bool,
) -> int:
    from initlab._base.whole import require_whole  # noqa: PLC0415 - heavy, and not always needed
    from initlab.experiments import measure_signal  # noqa: PLC0415 - heavy, and not always needed
    from initlab.report import theory as views  # noqa: PLC0415 - heavy, and not always needed
    from initlab.report.figures import PredictedSignalDisplay, style  # noqa: PLC0415 - heavy, and not always needed
    from initlab.theory import as_activation, fully_connected, signal  # noqa: PLC0415 - heavy, and not always needed

    depth, width = (
        require_whole(name, size, 1, _MOST)
        for name, size in zip(("depth", "width"), shape, strict=True)
    )
    _require_place(out)
    activation, sizes = as_activation(_function(f)), (width,) * (depth + 1)
    found = signal(fully_connected(sizes, activation), init, **options)
    measured = measure_signal(sizes, activation, init, **options, **measuring)
    title = f"{_many(depth, 'layer')} of {_many(width, 'unit')}, {activation.name}"
    view = views.SignalView(found, measured, title)
    _print(view, views.signal_document(found, measured), json=json)
    path = _target(out, f"theory-signal-{_slug(activation.name)}.png", json=json)
    if path is not None:
        figure = PredictedSignalDisplay(found, measured, title).figure()
        _save(path, style.png(figure), json=json)
    return 0


def _function(text: str) -> Any:
    """Return a name as it is, and what module:name names."""
    return load(text) if ":" in text else text


def _print(view: RenderableType, document: dict[str, Any], *, json: bool) -> int:
    from initlab._base.records import dumps  # noqa: PLC0415 - heavy, and not always needed

    say(dumps(document) if json else rendered([view]).rstrip("\n"))
    return 0


def _target(out: Path | None, name: str, *, json: bool) -> Path | None:
    """Return where a figure goes; nowhere if a document is asked for and no file."""
    return out.expanduser() if out is not None else None if json else Path(name)


def _require_place(out: Path | None) -> None:
    """Refuse a figure that could not be written, before anything is computed."""
    if out is None:
        return
    path = out.expanduser()
    if path.is_dir():
        raise InvalidValueError(f"--out {out}: this is a folder; accepted: a file such as map.png")
    if path.suffix.lower() != ".png":
        raise InvalidValueError(f"--out {out}; accepted: a file that ends in .png")
    if not path.parent.is_dir():
        raise InvalidValueError(f"--out {out}: there is no folder {path.parent}; make it first")


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _save(path: Path, png: bytes, *, json: bool) -> None:
    from initlab._base.records import write_file  # noqa: PLC0415 - heavy, and not always needed

    write_file(path, png)
    if not json:
        say(f"\nFigure: {path}")


def _slug(name: str) -> str:
    """Make a file's name of an activation's: ``leaky_relu(0.2)`` to ``leaky_relu-0.2``."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-")


def _ends(option: str, text: str) -> tuple[float, float]:
    """Read ``0.5:4`` as a range."""
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise InvalidValueError(
            f"{option} {text!r}; accepted: least and largest, such as 0.5:4"
        ) from None
    return low, high
