"""The theory for the terminal: renderables that fit the console and need no colour to be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from initlab.experiments import MeasuredSignal
from initlab.report.theory.documents import number
from initlab.report.theory.words import explain
from initlab.theory import Edge, FixedPoint, Gain, PhaseDiagram, Point, Signal

_ROWS = 16  # layers that a table shows
_QUANTITIES = {
    "variance": "E[z²]",
    "second_moment": "E[φ²]",
    "correlation": "correlation",
    "gradient": "gradient²",
}


class GainView:
    """Moments and gains of an activation."""

    def __init__(self, gain: Gain, formula: str) -> None:
        self.gain, self.formula = gain, formula

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        gain, found = self.gain, self.gain.moments
        yield _title(gain.activation, f"φ(x) = {self.formula}")
        yield ""
        yield Text("Moments of φ(z), z standard normal", style="bold")
        yield _fields(
            ("E[φ]", number(_rounded(found.f, found.f2**0.5)), ""),
            ("E[φ²]", number(found.f2), ""),
            ("Var φ", number(found.var), ""),
            ("E[φ'²]", number(found.df2), "gradients"),
            ("E[φ''²]", number(found.d2f2), "infinite where φ has kinks"),
            ("E[zφφ']", number(_rounded(found.zfdf, found.f2)), "stability"),
        )
        yield ""
        yield Text("Gain: std of the weights times sqrt(fan_in)", style="bold")
        torch = "nn.init.calculate_gain" + ("" if gain.torch_gain is not None else " has no number")
        yield _fields(
            (
                "E[φ²]^-1/2",
                number(gain.gain_second_moment),
                "keeps the second moment: usual weights",
            ),
            ("Var(φ)^-1/2", number(gain.gain_variance), "keeps the variance: centred weights"),
            ("PyTorch", number(gain.torch_gain), torch),
        )


class PointView:
    """What becomes of signals at a point, and every fixed point."""

    def __init__(self, point: Point) -> None:
        self.point = point

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        point = self.point
        at = f"weight variance {point.weight_var:g} / fan_in, bias variance {point.bias_var:g}"
        yield _title(point.activation, at)
        yield ""
        yield Text(explain(point))
        if point.q_star is not None and point.c_star is not None:
            stable = "stable" if point.stable else "unstable"
            limit = ", as biases become small" if point.q_star == 0 else ""
            yield ""
            yield _fields(
                ("q*", number(point.q_star), f"variance of the pre-activations, {stable}"),
                ("χ1", number(point.chi_1), "factor on the squared gradient, a layer"),
                (
                    "c*",
                    number(_rounded(point.c_star)),
                    f"correlation of two inputs, in the end{limit}",
                ),
                ("ξq", number(point.xi_q), "layers over which q comes nearer to q* by e"),
                ("ξc", number(point.xi_c), f"layers over which c comes nearer to c* by e{limit}"),
            )
        if len(point.fixed_points) > 1 or (point.q_star is None and point.fixed_points):
            yield ""
            yield Text("All fixed points of the variance", style="bold")
            yield _fixed_points(point.fixed_points)


class EdgeView:
    """The critical weight variance, or why there is none."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        edge = self.edge
        yield _title(edge.activation, f"edge of chaos at bias variance {edge.bias_var:g}")
        yield ""
        if edge.weight_var is None:
            yield Text(f"None: {edge.why}.")
            return
        yield _fields(
            ("σw²", number(edge.weight_var), "weights of variance σw² / fan_in"),
            ("σw", number(edge.weight_var**0.5), "weights of std σw / sqrt(fan_in)"),
            ("q*", number(edge.q_star), "variance of the pre-activations, stable"),
        )


class MapView:
    """What share of the map is in which phase."""

    def __init__(self, diagram: PhaseDiagram) -> None:
        self.diagram = diagram

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        diagram = self.diagram
        weights, biases = (
            f"{axis[0]:g} to {axis[-1]:g}" if len(axis) > 1 else f"{axis[0]:g}"
            for axis in (diagram.weight_var, diagram.bias_var)
        )
        yield _title(diagram.activation, f"weight variance {weights}, bias variance {biases}")
        diverges = np.isinf(diagram.q_star)
        with np.errstate(invalid="ignore"):
            shares = (
                ("ordered", (diagram.chi_1 < 1).mean()),
                ("critical", (diagram.chi_1 == 1).mean()),
                ("chaotic", (diagram.chi_1 > 1).mean()),
                ("diverges", diverges.mean()),
            )
        yield _fields(*((name, f"{100 * share:.1f} %", "") for name, share in shares))


class SignalView:
    """Predicted and measured moments, correlation and gradient by layer."""

    def __init__(self, signal: Signal, measured: MeasuredSignal, title: str) -> None:
        self.signal, self.measured, self.title = signal, measured, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        draws = len(self.measured.variance)
        yield _title(self.signal.init, self.title)
        over = f"mean of {draws} random networks" if draws > 1 else "one random network"
        yield Text(f"Predicted in the limit of great width; measured: {over}.", style="dim")
        for table in self._tables(console, options):
            yield ""
            yield table
        yield ""
        yield Text(
            "± is what single networks of this width differ by in E[z²]; gradient² is in units of "
            "that at the last layer.",
            style="dim",
        )

    def _tables(self, console: Console, options: ConsoleOptions) -> Sequence[Table]:
        """Lay out as many quantities beside each other as fit."""
        names, tables = list(_QUANTITIES), list[Table]()
        free = options.update(max_width=10 * options.max_width)  # measured as if there were room
        for beside in (4, 2, 1):
            groups = [names[at : at + beside] for at in range(0, len(names), beside)]
            tables = [self._table(group) for group in groups]
            widths = [console.measure(table, options=free).maximum for table in tables]
            if max(widths) <= options.max_width:
                break
        return tables

    def _table(self, names: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("layer", justify="right")
        for name in names:
            table.add_column(Text(f"{_QUANTITIES[name]}\npredicted"), justify="right")
            table.add_column("\nmeasured", justify="right", style="cyan")
            if name == "variance":
                table.add_column("±", justify="right")
        with np.errstate(over="ignore", invalid="ignore"):  # a signal that explodes
            measured = {name: getattr(self.measured, name).mean(axis=0) for name in names}
        layers = self.signal.layers
        for place in _shown(len(layers)):
            cells = [str(place + 1)]
            for name in names:
                if name == "second_moment" and place == len(layers) - 1:
                    cells += ["", ""]  # no activation follows
                    continue
                write = _plain if name == "correlation" else _short
                cells += [write(getattr(layers[place], name)), write(measured[name][place])]
                if name == "variance":
                    cells.append(_share(layers[place].fluctuation))
            table.add_row(*cells)
        return table


def _shown(layers: int) -> Sequence[int]:
    """Choose the layers of a table: all, or about sixteen, the first and the last among them."""
    if layers <= _ROWS:
        return range(layers)
    return sorted({round(place) for place in np.linspace(0, layers - 1, _ROWS)})


def _short(value: float) -> str:
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.2g}"


def _plain(value: float) -> str:
    return f"{round(float(value), 3) + 0.0:.3f}"  # not -0.000


def _share(value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.0f} %" if value < 10 else f"{100 * value:.0e} %"


def _rounded(value: float, size: float = 1.0) -> float:
    """Return 0 for what rounding leaves of a sum of terms of that size."""
    return 0.0 if abs(value) <= 1e-13 * size else value


def _title(name: str, text: str) -> Text:
    return Text.assemble((name, "bold"), f"   {text}")


def _fields(*rows: tuple[str, str, str]) -> Padding:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for row in rows:
        table.add_row(*map(Text, row))  # E[z] is no markup
    return Padding(table, (0, 0, 0, 2))


def _fixed_points(points: Sequence[FixedPoint]) -> Padding:
    table = Table.grid(padding=(0, 3, 0, 0))
    for heading in ("q", "V'(q)", "χ1", ""):
        table.add_column(heading, overflow="fold")
    table.add_row(*(Text(word, style="cyan") for word in ("q", "V'(q)", "χ1", "")))
    for each in points:
        word = "stable" if each.stable else "unstable"
        table.add_row(number(each.q), number(each.slope, 6), number(each.chi_1, 6), word)
    return Padding(table, (0, 0, 0, 2))
