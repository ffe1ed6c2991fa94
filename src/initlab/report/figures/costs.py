"""Cost against step, one line a start."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray

from initlab.experiments import Results
from initlab.report.figures import style
from initlab.report.spread import Spread, by_start, spread

# Costs this many times the middle start's first cost, or below this value, are drawn at the edge:
# one start on its way to 1e300 would press all others into one flat line.
_OFF_THE_TOP = 10.0
_OFF_THE_BOTTOM = 1e-12
# A straight scale hides what happens below a thirtieth of its top.
_LOG_FROM = 30.0
_LANE = 11  # points between the starts that are marked above the top edge


@dataclass(frozen=True)
class CostCurve:
    """The cost of one start.

    Attributes
    ----------
    init
        The start.
    steps
        ``(points,)``: the recorded steps, then the number of updates in all.
    cost
        Over seeds: the recorded costs in the experiment's cost form, then the final cost, which is
        always the careful one.
    """

    init: str
    steps: NDArray[np.int64]
    cost: Spread


class Limits(NamedTuple):
    """The range of the cost axis, and whether its scale is logarithmic."""

    low: float
    high: float
    log: bool


class CostDisplay:
    """Cost against step for each start: the median over seeds with its interquartile band.

    What a scale cannot show is shown beside it: a cost of ``inf`` or ``nan``, or one far above
    what the starts begin with, is marked above the top edge with its value in words; a cost of 0
    on a logarithmic scale at the bottom edge.

    Parameters
    ----------
    curves
        One a start, in the order of the legend.

    Attributes
    ----------
    ax_, figure_
        Where :meth:`plot` drew.
    lines_
        The median lines, one a curve; they hold the values as recorded, ``inf`` included.
    """

    def __init__(self, curves: Sequence[CostCurve]) -> None:
        self.curves = tuple(curves)

    @classmethod
    def from_results(cls, results: Results) -> CostDisplay:
        """Take the curves from finished runs."""
        return cls(
            [
                CostCurve(
                    init,
                    np.array([*runs[0].steps, results.experiment.steps]),
                    spread([[*run.cost, run.final_cost] for run in runs]),
                )
                for init, runs in by_start(results.runs).items()
            ]
        )

    def plot(self, ax: Axes | None = None) -> CostDisplay:
        """Draw into ``ax``, or into a new pyplot figure; nothing is shown or saved."""
        if ax is None:
            self._compose(style.interactive(self.size))
            return self
        self._draw(ax)
        ax.legend(fontsize=9, framealpha=0.85, edgecolor="none", handlelength=3.2)
        return self

    def figure(self) -> Figure:
        """Draw on a new figure that pyplot knows nothing of."""
        figure = style.blank(self.size)
        self._compose(figure)
        return figure

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches that hold the legend."""
        return 8.6, max(4.2, style.legend_height([curve.init for curve in self.curves]))

    def _compose(self, figure: Figure) -> None:
        ax = figure.add_subplot()
        lanes = self._draw(ax)
        right = style.legend_beside(figure, self.lines_, [curve.init for curve in self.curves])
        style.place(figure, 0.75, 0.55, right + 0.1, 0.45 + lanes * _LANE / 72)
        several = max((curve.cost.seeds for curve in self.curves), default=1)
        style.heading(
            figure,
            f"Cost over training: median of {several} seeds, band between the quartiles"
            if several > 1
            else "Cost over training",
        )

    def _draw(self, ax: Axes) -> int:
        """Draw everything but legend and heading; return how many starts needed a lane on top."""
        limits = cost_limits(self.curves)
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        self.lines_ = [_line(ax, i, curve, limits) for i, curve in enumerate(self.curves)]
        style.dress(ax)
        if limits.log:
            ax.set_yscale("log")
            ticks = style.log_ticks(limits.low, limits.high)
            ax.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
            ax.yaxis.minorticks_off()
        ax.set_ylim(limits.low, limits.high)
        ax.margins(x=0.03)
        ax.set_xlabel("step", color=style.INK)
        ax.set_ylabel("cost", color=style.INK)
        lanes = 0
        for index, curve in enumerate(self.curves):
            lanes += _mark_above(ax, index, curve, limits, lanes)
            _mark_below(ax, index, curve, limits)
        return lanes


def cost_limits(curves: Sequence[CostCurve]) -> Limits:
    """Choose the cost axis by the range of the medians; see :class:`CostDisplay`."""
    values = np.concatenate([curve.cost.median for curve in curves] or [np.ones(1)])
    values = values[np.isfinite(values)]
    first = [_first_finite(curve.cost.median) for curve in curves]
    firsts = [value for value in first if value is not None]
    top = _OFF_THE_TOP * statistics.median(firsts or [1.0])
    shown = values[(values > _OFF_THE_BOTTOM) & (values <= top)]
    if not shown.size:
        return Limits(0.0, 1.0, log=False)
    low, high = float(shown.min()), float(shown.max())
    if high < _LOG_FROM * low:
        return Limits(0.0, 1.08 * high, log=False)
    room = (high / low) ** 0.05
    return Limits(low / room, high * room, log=True)


def _first_finite(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite[0]) if finite.size else None


def _line(ax: Axes, index: int, curve: CostCurve, limits: Limits) -> Any:
    """Draw the band and the median of one start; return the median's line."""
    look = style.look(index)
    if curve.cost.seeds > 1:
        low, high = (
            np.where(np.isfinite(edge), edge, 10 * limits.high)
            for edge in (curve.cost.low, curve.cost.high)
        )
        ax.fill_between(curve.steps, low, high, color=look.colour, alpha=0.13, linewidth=0)
    every = max(1, len(curve.steps) // 8)
    (line,) = ax.plot(
        curve.steps,
        curve.cost.median,
        label=curve.init,
        markevery=(index % every, every),
        **look.line(),
    )
    ax.plot(
        curve.steps[-1:],
        curve.cost.median[-1:],
        marker=look.marker,
        markersize=8,
        color=look.colour,
        markeredgecolor="white",
        zorder=4,
    )
    return line


def _mark_above(ax: Axes, index: int, curve: CostCurve, limits: Limits, lane: int) -> bool:
    """Mark each stretch above the scale in a lane of its own; return whether there was one."""
    values, steps = curve.cost.median, curve.steps
    above = ~(values <= limits.high)  # nan too
    if not above.any():
        return False
    look = style.look(index)
    across = offset_copy(
        ax.get_xaxis_transform(), ax.get_figure(root=True), y=6 + _LANE * lane, units="points"
    )
    drawn: dict[str, Any] = {
        "color": look.colour,
        "transform": across,
        "clip_on": False,
        "zorder": 5,
    }
    for first, last in _stretches(above):
        ends = [first, last] if last > first else [first]
        ax.plot(steps[ends], np.ones(len(ends)), marker=look.marker, markersize=6, **drawn)
        ax.annotate(
            _words(values[first], values[last]),
            (steps[first], 1),
            xycoords=across,
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=style.INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            annotation_clip=False,
            zorder=6,
        )
        for inside, outside in ((first - 1, first), (last + 1, last)):
            if 0 <= inside < len(values) and not np.isfinite(values[outside]):
                ax.plot(
                    steps[[outside, inside]],
                    [limits.high, values[inside]],
                    color=look.colour,
                    linestyle=":",
                    linewidth=1.2,
                )
    return True


def _mark_below(ax: Axes, index: int, curve: CostCurve, limits: Limits) -> None:
    """Mark costs at or near 0 at the bottom edge of a logarithmic scale."""
    below = curve.cost.median < limits.low
    if not (limits.log and below.any()):
        return
    look = style.look(index)
    ax.plot(
        curve.steps[below],
        np.zeros(below.sum()),
        color=look.colour,
        marker=look.marker,
        markersize=6,
        transform=ax.get_xaxis_transform(),
        clip_on=False,
        zorder=5,
    )
    values, steps = curve.cost.median[below], curve.steps[below]
    ax.annotate(
        _words(values[0], values[-1]),
        (steps[0], 0),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color=style.INK,
    )


def _stretches(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield first and last index of each run of true values."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2):
        yield int(start), int(stop) - 1


def _words(first: float, last: float) -> str:
    begin, end = f"{first:.3g}", f"{last:.3g}"
    return begin if begin == end else f"{begin} to {end}"
