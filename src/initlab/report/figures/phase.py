"""The phase diagram: order, chaos and the edge between them, over weight and bias variance."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from initlab.report.figures import style
from initlab.theory import PhaseDiagram

_SIZE = (7.6, 5.2)
_ORDER, _CHAOS = "#0072b2", "#d55e00"
_COLOURS = LinearSegmentedColormap.from_list("order to chaos", [_ORDER, "#ffffff", _CHAOS])
_FURTHEST = math.log(1 / 0.6)  # |ln χ1| from which on the colour is full
_SCALES = (3, 10, 30)  # layers
_LEAST = 0.02  # share of the map from which on a phase is named


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
        self._colour(ax, root)
        self._lines(ax)
        self._name(ax)
        diagram = self.diagram
        ax.set_xlabel("weight variance σw² (times 1 / fan_in)", color=style.INK)
        ax.set_ylabel("bias variance σb²", color=style.INK)
        ax.set_title(
            f"Phases of deep {diagram.activation} networks",
            loc="left",
            fontsize=10,
            color=style.INK,
            pad=12,
        )
        ax.tick_params(colors=style.INK, labelsize=9, length=3, color=style.MUTED)
        ax.set_xlim(_ends(diagram.weight_var))
        ax.set_ylim(_ends(diagram.bias_var))
        return self

    def figure(self) -> Figure:
        """Draw on a new figure that pyplot knows nothing of."""
        figure = style.blank(_SIZE)
        self.plot(figure.add_subplot())
        style.place(figure, 0.75, 0.6, 0.05, 0.5)
        return figure

    def _colour(self, ax: Axes, figure: Figure) -> None:
        diagram = self.diagram
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.clip(np.log(diagram.chi_1), -_FURTHEST, _FURTHEST)
        x, y = (_edges(axis) for axis in (diagram.weight_var, diagram.bias_var))
        norm = Normalize(-_FURTHEST, _FURTHEST)
        mesh = ax.pcolormesh(x, y, level, cmap=_COLOURS, norm=norm, rasterized=True, zorder=0)
        bar = figure.colorbar(mesh, ax=ax, pad=0.03, aspect=30, extend="both")
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

    def _lines(self, ax: Axes) -> None:
        diagram = self.diagram
        if min(diagram.xi_c.shape) > 1:
            # On the edge ξc is infinite; a contour line needs a number to stay short of.
            scales = np.log(np.clip(np.nan_to_num(diagram.xi_c, posinf=1e6), 1e-3, 1e6))
            scales = np.where(np.isinf(diagram.q_star), np.nan, scales)
            for phase in (diagram.chi_1 < 1, diagram.chi_1 > 1):
                part = np.where(phase, scales, np.nan)
                if np.isfinite(part).sum() > 100:
                    lines = ax.contour(
                        diagram.weight_var,
                        diagram.bias_var,
                        part,
                        levels=np.log(_SCALES).tolist(),
                        colors=style.MUTED,
                        linewidths=0.8,
                        linestyles="dashed",
                        negative_linestyles="dashed",
                    )
                    _label(ax, lines)
        self._edge(ax)

    def _edge(self, ax: Axes) -> None:
        """Draw the edge of chaos, dotted where no network stays on it."""
        diagram = self.diagram
        if all(abs(each.bias_var) <= 1e-9 * each.q for each in diagram.edge):
            at = diagram.edge[0].weight_var
            ax.plot(
                *([at], [0.0]),
                "o",
                color=style.INK,
                markersize=8,
                clip_on=False,
                zorder=5,
                label="edge of chaos: one point",
            )
        elif len(diagram.edge) > 3:
            q, weight, bias, slope = np.array(diagram.edge).T
            t = np.linspace(math.log(q[0]), math.log(q[-1]), 2000)
            x, y, steep = (CubicSpline(np.log(q), each)(t) for each in (weight, bias, slope))
            seen = (
                (y >= -1e-12)
                & (x <= 1.2 * diagram.weight_var[-1])
                & (y <= 1.2 * diagram.bias_var[-1] + 1e-9)
            )
            for wanted, dashes, label in (
                (np.abs(steep) <= 1 + 1e-9, "-", "edge of chaos"),
                (np.abs(steep) > 1 + 1e-9, ":", "edge of chaos, q unstable"),
            ):
                if (wanted & seen).any():
                    line = np.where(wanted & seen, x, np.nan)
                    ax.plot(line, y, color=style.INK, linewidth=2.2, linestyle=dashes, label=label)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="upper right", fontsize=8.5, framealpha=0.9, edgecolor="white")

    def _name(self, ax: Axes) -> None:
        diagram = self.diagram
        with np.errstate(invalid="ignore"):
            phases = {
                "ordered": diagram.chi_1 < 1,
                "chaotic": diagram.chi_1 > 1,
                "the variance\ndiverges": np.isinf(diagram.q_star),
            }
        for name, where in phases.items():
            if where.mean() >= _LEAST:
                rows, columns = np.nonzero(where)
                ax.text(
                    float(np.median(diagram.weight_var[columns])),
                    float(np.median(diagram.bias_var[rows])),
                    name,
                    ha="center",
                    va="center",
                    fontsize=11,
                    color=style.INK,
                    bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 2.5},
                )


def _label(ax: Axes, lines: ContourSet) -> None:
    words = {np.log(scale): f"ξc = {scale}" for scale in _SCALES}
    ax.clabel(lines, fmt=words, fontsize=7.5, inline=True)


def _edges(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the cells around the points of an axis meet."""
    if len(axis) == 1:
        return np.array([axis[0] - 0.5, axis[0] + 0.5])
    middle = (axis[1:] + axis[:-1]) / 2
    return np.concatenate([axis[:1], middle, axis[-1:]])


def _ends(axis: NDArray[np.float64]) -> tuple[float, float]:
    edges = _edges(axis)
    return float(edges[0]), float(edges[-1])
