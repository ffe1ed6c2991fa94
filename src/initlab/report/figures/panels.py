"""What goes into one panel: decision regions, a confusion matrix, predicted against true values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from numpy.typing import NDArray

from initlab.report.figures import style
from initlab.report.text import shorten

Predict = Callable[[NDArray[np.float64]], NDArray[Any]]
Limits = tuple[tuple[float, float], tuple[float, float]]

# Label of a point at which the network's output is no number.
UNDECIDED = -1

_CELLS = 180  # of the grid behind a panel along each side: about two pixels each
_POINTS = 2000  # more than these would hide the regions
_COUNTED = 16  # classes; beyond, numbers in the cells of a confusion matrix are too small to read


def draw_boundary(
    ax: Axes,
    predict: Predict,
    x: NDArray[np.float64],
    labels: NDArray[Any],
    *,
    limits: Limits | None = None,
) -> None:
    """Draw the regions that a classifier assigns to each class, and points on top.

    Parameters
    ----------
    ax
        Where to; gets equal scales.
    predict
        ``(n, 2)`` points to ``(n,)`` integer labels from 0; negative ones are drawn in grey.
    x, labels
        Points ``(samples, 2)`` and their classes ``(samples,)``.
    limits
        ``((left, right), (bottom, top))`` of the picture; the points and a margin if not given.
    """
    (left, right), (bottom, top) = limits or _around(x)
    across, up = (np.linspace(*side, _CELLS) for side in ((left, right), (bottom, top)))
    grid_x, grid_y = np.meshgrid(across, up)
    points = np.column_stack([grid_x.ravel(), grid_y.ravel()])
    regions = np.asarray(predict(points)).reshape(grid_x.shape)
    count = int(max(regions.max(), labels.max(initial=0))) + 1
    strong = np.array([to_rgb(_class_colour(k)) for k in range(count)])
    pale = ListedColormap((1 - style.PALE * (1 - strong)).tolist())
    colours = pale.with_extremes(under="#e3e3e3")
    # A cell of the image is centred on its grid point, half a cell beyond the limits at the edges.
    cell_x, cell_y = (right - left) / (_CELLS - 1) / 2, (top - bottom) / (_CELLS - 1) / 2
    ax.imshow(
        regions,
        origin="lower",
        cmap=colours,
        vmin=-0.5,
        vmax=count - 0.5,
        extent=(left - cell_x, right + cell_x, bottom - cell_y, top + cell_y),
        interpolation="bilinear",
        interpolation_stage="rgba",
        aspect="equal",
        zorder=0,
    )
    draw_points(ax, x, labels)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.tick_params(labelsize=8, length=2, color=style.MUTED, labelcolor=style.INK)
    _frame(ax)


def draw_confusion(
    ax: Axes, predicted: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]
) -> None:
    """Draw how often each class was predicted for each true class, shaded by share of the row.

    Parameters
    ----------
    ax
        Where to.
    predicted, labels
        Classes ``(samples,)``; predictions of :data:`UNDECIDED` get a column of their own, "nan".
    classes
        Names.
    """
    undecided = predicted == UNDECIDED
    names = [shorten(name, 8) for name in classes] + ["nan"] * bool(undecided.any())
    table = np.zeros((len(classes), len(names)), dtype=int)
    np.add.at(table, (labels, np.where(undecided, len(classes), predicted)), 1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    size = 8 if len(names) <= 10 else 6
    if len(names) <= _COUNTED:
        for row, column in zip(*np.nonzero(table), strict=True):
            colour = "white" if share[row, column] > 0.55 else style.INK
            count = str(table[row, column])
            ax.text(column, row, count, ha="center", va="center", fontsize=size, color=colour)
    every = math.ceil(len(names) / _COUNTED)
    upright = max(len(name) for name in names) * len(names) / every > 30
    ax.set_xticks(
        range(0, len(names), every), names[::every], fontsize=size, rotation=90 if upright else 0
    )
    shown = names[: len(classes) : every]
    ax.set_yticks(range(0, len(classes), every), shown, fontsize=size)
    ax.tick_params(length=0, labelcolor=style.INK)
    _frame(ax)


def draw_regression(ax: Axes, predicted: NDArray[Any], values: NDArray[Any]) -> None:
    """Draw predicted against true values on equal scales, and the line on which they agree.

    Parameters
    ----------
    ax
        Where to.
    predicted, values
        ``(samples,)``. Predictions far outside the true values are drawn at the edge, and counted
        there together with those that are not finite.
    """
    low, high = float(values.min()), float(values.max())
    room = 0.15 * (high - low) or 1.0
    low, high = low - room, high + room
    outside = ~((predicted >= low) & (predicted <= high))  # nan too
    ax.plot([low, high], [low, high], color=style.MUTED, linewidth=1, linestyle=(0, (4, 2)))
    points: dict[str, Any] = {
        "linestyle": "",
        "alpha": 0.6,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }
    for chosen, marker in ((~outside, "o"), (outside & ~np.isnan(predicted), "D")):
        shown = np.clip(predicted[chosen], low, high)
        colour = style.look(int(marker == "D")).colour
        ax.plot(values[chosen], shown, marker=marker, color=colour, clip_on=False, **points)
    if outside.any():
        words = f"{outside.sum()} of {len(outside)} off the scale"
        ax.text(0.5, 0.95, words, transform=ax.transAxes, ha="center", va="top", fontsize=8.5)
    style.dress(ax)
    ax.tick_params(labelsize=8)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")


def _around(x: NDArray[np.float64]) -> Limits:
    """Return a square around the points with a margin, so that all panels have one shape."""
    low, high = x.min(axis=0), x.max(axis=0)
    centre, half = (low + high) / 2, float((high - low).max()) / 2 * 1.12 or 1.0
    (left, bottom), (right, top) = (centre - half).tolist(), (centre + half).tolist()
    return (left, right), (bottom, top)


def draw_points(ax: Axes, x: NDArray[np.float64], labels: NDArray[Any]) -> None:
    """Draw points ``(samples, 2)``, each class ``(samples,)`` in its colour and mark."""
    every = math.ceil(len(x) / _POINTS)
    x, labels = x[::every], labels[::every]
    size = float(np.clip(9 - 0.7 * math.log2(max(len(x), 2)), 2.5, 6))
    for label in np.unique(labels):
        chosen = labels == label
        marker = style.CLASS_MARKERS[int(label) % len(style.CLASS_MARKERS)]
        ax.scatter(
            *x[chosen].T,
            s=(1.2 * size if marker == "^" else size) ** 2,
            color=_class_colour(label),
            marker=marker,
            edgecolors="white",
            linewidths=0.4,
        )


def _class_colour(label: int) -> str:
    return style.CLASS_COLOURS[int(label) % len(style.CLASS_COLOURS)]


def _frame(ax: Axes) -> None:
    for spine in ax.spines.values():
        spine.set_color(style.FAINT)
