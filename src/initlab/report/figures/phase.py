"""The phase diagram: order, chaos and the edge between them, over weight and bias variance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from initlab.report.figures import style
from initlab.theory import PhaseDiagram

Floats = NDArray[np.float64]

_SIZE = (7.6, 5.4)
_ORDER, _CHAOS = "#0072b2", "#d55e00"
_COLOURS = LinearSegmentedColormap.from_list("order to chaos", [_ORDER, "#ffffff", _CHAOS])
_FURTHEST = math.log(1 / 0.6)  # |ln χ1| from which on the colour is full
_SCALES = (3, 10, 30)  # layers
_LEAST = 0.02  # share of the map from which on a phase is named
_SHORT = 0.1  # share of the map's side: shorter contours are ragged ends
_WORD = np.array([0.06, 0.035])  # half the width and height of a name, likewise
_DEPTH: dict[str, Any] = {"color": style.MUTED, "linewidth": 0.8, "linestyle": "dashed"}
_THIN = 1e-6  # a row or a column at 0 that is the only one, to either side
_FEWEST = 4  # points that a cubic needs
_SMOOTH = 5  # points of a contour over which its direction is taken


class PhaseDisplay:
    """χ1 as colour, depth scales as lines, and the edge of chaos.

    Parameters
    ----------
    diagram
        From :func:`initlab.theory.phase_diagram`.

    Attributes
    ----------
    ax_, figure_
        Where it was drawn.
    """

    def __init__(self, diagram: PhaseDiagram) -> None:
        self.diagram = diagram

    def plot(self, ax: Axes | None = None) -> PhaseDisplay:
        """Draw into ``ax``, or into a new pyplot figure; nothing is shown or saved."""
        if ax is None:
            ax = style.interactive(_SIZE).add_subplot()
        self.ax_ = ax
        root = ax.get_figure(root=True)
        assert root is not None  # noqa: S101 - an axes that is drawn into has a figure
        self.figure_ = root
        diagram = self.diagram
        ax.set_xlim(_ends(diagram.weight_var))
        ax.set_ylim(_ends(diagram.bias_var))
        self._colour(ax, root)
        self._depths(ax, np.concatenate([self._name(ax), self._edge(ax)]))
        ax.set_xlabel("weight variance σw² (times 1 / fan_in)", color=style.INK)
        ax.set_ylabel("bias variance σb²", color=style.INK)
        for axis, values in ((ax.xaxis, diagram.weight_var), (ax.yaxis, diagram.bias_var)):
            if len(values) == 1:
                axis.set_ticks(values, [f"{values[0]:g}"])
        legend = bool(ax.get_legend_handles_labels()[0])
        ax.set_title(
            f"Phases of deep {diagram.activation} networks",
            loc="left",
            fontsize=10,
            color=style.INK,
            pad=26 if legend else 8,
        )
        if legend:
            ax.legend(
                loc="lower left",
                bbox_to_anchor=(0, 1),
                borderaxespad=0.3,
                borderpad=0.2,
                ncols=3,
                frameon=False,
                fontsize=9,
                labelcolor=style.INK,
            )
        ax.tick_params(colors=style.INK, labelsize=9, length=3, color=style.MUTED)
        return self

    def figure(self) -> Figure:
        """Draw on a new figure that pyplot knows nothing of."""
        figure = style.blank(_SIZE)
        self.plot(figure.add_subplot())
        style.place(figure, 0.75, 0.6, 0.05, 0.65)
        return figure

    def _colour(self, ax: Axes, figure: Figure) -> None:
        diagram = self.diagram
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.clip(np.log(diagram.chi_1), -_FURTHEST, _FURTHEST)
        x, y = (_edges(axis) for axis in (diagram.weight_var, diagram.bias_var))
        norm = Normalize(-_FURTHEST, _FURTHEST)
        mesh = ax.pcolormesh(x, y, level, cmap=_COLOURS, norm=norm, rasterized=True, zorder=0)
        bar = figure.colorbar(mesh, ax=ax, fraction=0.09, pad=0.03, aspect=30, extend="both")
        ticks = np.log([0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.4, 1.6])
        bar.set_ticks(ticks.tolist(), labels=[f"{v:.3g}" for v in np.exp(ticks)])
        bar.set_label("χ1, factor on the squared gradient, a layer", color=style.INK)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - a spine, typed as a method
        bar.ax.tick_params(labelsize=8, length=2, color=style.MUTED)
        if np.isinf(diagram.q_star).any():  # seen where there is no colour above it
            ax.add_patch(
                Rectangle(
                    (x[0], y[0]),
                    x[-1] - x[0],
                    y[-1] - y[0],
                    facecolor="#f3f4f6",
                    edgecolor=style.FAINT,
                    hatch="////",
                    linewidth=0,
                    zorder=-1,
                )
            )

    def _name(self, ax: Axes) -> Floats:
        """Write in each phase what it is called; returns points of the words, ``(points, 2)``."""
        diagram = self.diagram
        with np.errstate(invalid="ignore"):
            phases = {
                "ordered": diagram.chi_1 < 1,
                "chaotic": diagram.chi_1 > 1,
                "the variance\ndiverges": np.isinf(diagram.q_star),
            }
        size = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
        corners = _WORD * np.array([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]]) * size
        places = np.empty((0, 2))
        for name, where in phases.items():
            if where.mean() >= _LEAST:
                rows, columns = np.nonzero(where)
                at = (
                    float(np.median(diagram.weight_var[columns])),
                    float(np.median(diagram.bias_var[rows])),
                )
                ax.text(
                    *at,
                    name,
                    ha="center",
                    va="center",
                    fontsize=11,
                    color=style.INK,
                    bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 2.5},
                )
                places = np.vstack([places, np.array(at) + corners])
        return places

    def _depths(self, ax: Axes, taken: Floats) -> None:
        """Draw where ξc has round values; name each line, far from ``taken`` ``(points, 2)``."""
        diagram = self.diagram
        if min(diagram.xi_c.shape) == 1:
            return
        drawn = len(ax.lines)
        # On the edge ξc is infinite; a contour line needs a number to stay short of.
        scales = np.log(np.clip(np.nan_to_num(diagram.xi_c, posinf=1e6), 1e-3, 1e6))
        scales = np.where(np.isinf(diagram.q_star), np.nan, scales)
        for phase in (diagram.chi_1 < 1, diagram.chi_1 > 1):
            part = np.where(phase, scales, np.nan)
            known = part[np.isfinite(part)]
            if known.size <= 100:
                continue
            inside = [s for s in _SCALES if known.min() < math.log(s) < known.max()]
            for scale in inside:
                lines = ax.contour(
                    diagram.weight_var, diagram.bias_var, part, levels=[math.log(scale)]
                )
                pieces: list[Floats] = lines.allsegs[0]
                lines.remove()
                taken = np.vstack([taken, _draw_line(ax, pieces, f"ξc = {scale}", taken)])
        for line in ax.lines[drawn : drawn + 1]:
            line.set_label("depth scale ξc, in layers")

    def _edge(self, ax: Axes) -> Floats:
        """Draw the edge of chaos, dotted where no network stays on it; returns its points."""
        diagram = self.diagram
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        if all(abs(each.bias_var) <= 1e-9 * each.q for each in diagram.edge):
            at = np.array([[diagram.edge[0].weight_var, 0.0]])
            if not (left <= at[0, 0] <= right and bottom <= 0):
                return at[:0]
            ax.plot(
                *at.T,
                "o",
                color=style.INK,
                markersize=8,
                clip_on=False,
                zorder=5,
                label="edge of chaos: one point",
            )
            return at
        if len(diagram.edge) < _FEWEST:
            return np.empty((0, 2))
        q, weight, bias, slope = np.array(diagram.edge).T
        t = np.linspace(math.log(q[0]), math.log(q[-1]), 8000)
        x, y, steep = (CubicSpline(np.log(q), each)(t) for each in (weight, bias, slope))
        seen = (left <= x) & (x <= right) & (bottom <= y + 1e-12) & (y <= top)
        for wanted, dashes, label in (
            (np.abs(steep) <= 1 + 1e-9, "-", "edge of chaos"),
            (np.abs(steep) > 1 + 1e-9, ":", "edge of chaos, q unstable"),
        ):
            if (wanted & seen).any():
                line = np.where(wanted & (y >= -1e-12), x, np.nan)  # there is no variance below 0
                ax.plot(line, y, color=style.INK, linewidth=2.2, linestyle=dashes, label=label)
        return np.stack([x[seen], y[seen]], axis=1)


def _draw_line(ax: Axes, pieces: list[Floats], text: str, taken: Floats) -> Floats:
    """Draw the pieces ``(points, 2)`` of a contour; returns where it is named, ``(0 or 1, 2)``."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    origin, size = np.array([left, bottom]), np.array([right - left, top - bottom])
    shares = [(piece - origin) / size for piece in pieces]
    lengths = [float(np.linalg.norm(np.diff(each, axis=0), axis=1).sum()) for each in shares]
    for piece, length in zip(pieces, lengths, strict=True):
        if length >= _SHORT:
            ax.plot(*piece.T, **_DEPTH)
    if max(lengths, default=0.0) < 2 * _SHORT:
        return np.empty((0, 2))
    line = shares[int(np.argmax(lengths))]
    others = (taken - origin) / size
    room = np.linalg.norm(line[:, None] - others, axis=2).min(axis=1, initial=1.0)
    room[np.minimum(line, 1 - line).min(axis=1) < _SHORT] -= 2  # the sides are the last resort
    best = int(np.argmax(room))
    ahead = line[min(best + _SMOOTH, len(line) - 1)] - line[max(best - _SMOOTH, 0)]
    across, up = (float(each) for each in ahead * size)
    turned = 180.0 if ahead[0] + 0.2 * ahead[1] < 0 else 0.0  # read from the left, or upward
    ax.text(
        *(float(each) for each in line[best] * size + origin),
        s=text,
        ha="center",
        va="center",
        rotation=math.degrees(math.atan2(up, across)) + turned,
        rotation_mode="anchor",
        transform_rotates_text=True,
        fontsize=8,
        color=style.INK,
        bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.8},
    )
    return line[best : best + 1] * size + origin


def _edges(axis: Floats) -> Floats:
    """Return where the cells around the points of an axis meet."""
    if len(axis) == 1:  # as good as no width, so that the edge is where it is at this value
        return axis[0] + max(_THIN, 0.01 * axis[0]) * np.array([-1, 1])
    middle = (axis[1:] + axis[:-1]) / 2
    return np.concatenate([axis[:1], middle, axis[-1:]])


def _ends(axis: Floats) -> tuple[float, float]:
    edges = _edges(axis)
    return float(edges[0]), float(edges[-1])
