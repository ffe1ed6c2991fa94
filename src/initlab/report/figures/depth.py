"""A diagnosed model from its first operation to its last: what each measured number does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from initlab.report.figures import style

Scale = Literal["log", "share", "cosine"]

_WIDTH, _HEIGHT = 11.9, 1.6  # inches: of the figure, of one panel
_LETTER = 0.066  # inches of a letter of these names, at most about
_LABELS = 60  # names below the lowest panel at most
_DECADES = 290  # from 1: what is drawn of a number that overflows
_MEASURED, _PREDICTED, _MARKED = "#0072b2", "#d55e00", "#b3001b"


@dataclass(frozen=True)
class Curve:
    """One number of the operations that have it.

    Attributes
    ----------
    label
        For the legend; empty where there is but one curve.
    places
        Which operations, from 0.
    values
        Of these.
    """

    label: str
    places: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One kind of number, through the model.

    Attributes
    ----------
    title
        What is drawn.
    scale
        Logarithmic, a share from 0 to 1, or a cosine from -1 to 1.
    curves
        The first as a line, any other as rings.
    marked
        Operations whose number a finding is about.
    reference
        Where a line is drawn across; None for nowhere.
    joined
        Whether a line joins the values; it would say nothing between one weight and the next.
    """

    title: str
    scale: Scale
    curves: tuple[Curve, ...]
    marked: frozenset[int] = frozenset()
    reference: float | None = None
    joined: bool = True


class DepthDisplay:
    """Panels above each other that share the operations, in the order in which they ran.

    Parameters
    ----------
    panels
        From top to bottom, at least one.
    names
        Of all operations.
    """

    def __init__(self, panels: Sequence[Panel], names: Sequence[str]) -> None:
        self.panels, self.names = tuple(panels), tuple(names)

    def figure(self) -> Figure:
        """Draw without pyplot."""
        every = math.ceil(len(self.names) / _LABELS)
        ticks = range(0, len(self.names), every)
        longest = max((len(self.names[place]) for place in ticks), default=1)
        below, above, left = 0.2 + _LETTER * longest, 0.35, 0.75
        height = below + above + len(self.panels) * (_HEIGHT + 0.35)
        figure = style.blank((_WIDTH, height))
        for number, panel in enumerate(self.panels):
            bottom = below + (len(self.panels) - 1 - number) * (_HEIGHT + 0.4)
            box = (
                left / _WIDTH,
                bottom / height,
                (_WIDTH - left - 0.15) / _WIDTH,
                _HEIGHT / height,
            )
            ax = figure.add_axes(box)
            _draw(ax, panel, len(self.names))
            last = number == len(self.panels) - 1
            ax.set_xticks(list(ticks))
            names = [self.names[place] for place in ticks] if last else []
            ax.set_xticklabels(names or [""] * len(ticks), rotation=90, fontsize=7.5)
        return figure


def _draw(ax: Axes, panel: Panel, operations: int) -> None:
    style.dress(ax)
    small = operations > 60
    for number, curve in enumerate(panel.curves):
        look: dict[str, Any] = {"color": _MEASURED, "marker": "o", "zorder": 3}
        look |= {"linewidth": 0.8 if small else 1.4, "markersize": 3 if small else 4.5}
        look |= {} if panel.joined else {"linestyle": "none"}
        if number:
            look = {"color": _PREDICTED, "linestyle": "none", "marker": "o", "zorder": 4}
            look |= {"markersize": 5 if small else 7.5, "markerfacecolor": "none"}
        values = [_drawn(value, panel.scale) for value in curve.values]
        ax.plot(curve.places, values, label=curve.label, clip_on=False, **look)
    if panel.reference is not None:
        ax.axhline(panel.reference, color=style.MUTED, linewidth=1, linestyle=(0, (4, 2)), zorder=2)
    _mark(ax, panel)
    _scale(ax, panel)
    ax.set_xlim(-0.6, operations - 0.4)
    ax.set_title(panel.title, loc="left", fontsize=9.5, color=style.INK)
    handles, labels = ax.get_legend_handles_labels()
    if any(labels):
        ax.legend(
            handles,
            labels,
            loc="lower right",
            bbox_to_anchor=(1, 0.99),
            ncols=len(labels),
            frameon=False,
            fontsize=8.5,
            borderaxespad=0.2,
        )


def _mark(ax: Axes, panel: Panel) -> None:
    """Put a cross on what a finding is about: a mark of its own, not a colour alone."""
    curve = panel.curves[0]
    pairs = [
        (place, _drawn(value, panel.scale))
        for place, value in zip(curve.places, curve.values, strict=True)
        if place in panel.marked
    ]
    if pairs:
        places, values = zip(*pairs, strict=True)
        ax.plot(
            *(places, values),
            linestyle="none",
            marker="x",
            markersize=7,
            markeredgewidth=1.8,
            color=_MARKED,
            label="a finding is about it",
            clip_on=False,
            zorder=5,
        )


def _drawn(value: float, scale: Scale) -> float:
    """Return what is drawn: nothing of a number that is none, or of 0 on a logarithmic axis."""
    if scale != "log":
        return value
    if math.isnan(value) or value <= 0:
        return math.nan
    return min(max(value, 10.0**-_DECADES), 10.0**_DECADES)


def _scale(ax: Axes, panel: Panel) -> None:
    if panel.scale != "log":
        low = _least(panel)
        ax.set_yticks([-1, -0.5, 0, 0.5, 1] if low < -0.25 else [0, 0.5, 1])
        ax.set_ylim(min(low, 0) - 0.04, 1.04)
        if panel.scale == "share":
            ax.set_yticklabels(["0 %", "50 %", "100 %"])
        return
    values = [_drawn(value, "log") for curve in panel.curves for value in curve.values]
    values = [value for value in values if value == value]  # noqa: PLR0124 - nan alone differs from itself
    if panel.reference is not None:
        values.append(panel.reference)
    low, high = min(values, default=0.1), max(values, default=10.0)
    # Half a decade at least: small differences are to look small.
    low, high = low / 1.3, high * 1.3
    if high < 10 * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(10), middle * math.sqrt(10)
    ax.set_ylim(low, high)  # before the scale: finding limits of its own, that would overflow
    ax.set_yscale("log")
    ticks = _ticks(low, high)
    ax.yaxis.set_major_locator(FixedLocator([value for value, _ in ticks]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticklabels([label for _, label in ticks])


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Choose at most six round numbers."""
    ticks = style.log_ticks(low, high)
    return ticks[:: math.ceil(len(ticks) / 6)] if len(ticks) > 6 else ticks


def _least(panel: Panel) -> float:
    return min((value for curve in panel.curves for value in curve.values), default=0.0)
