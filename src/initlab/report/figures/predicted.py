"""What theory predicts by layer, and what random networks do, drawn on top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from initlab.experiments import MeasuredSignal
from initlab.report.figures import style
from initlab.report.figures.signals import Scale, limits, on_scale, signal_scale
from initlab.report.spread import spread
from initlab.theory import Signal

Floats = NDArray[np.float64]

_SIZE = (11.0, 3.8)
_PREDICTED, _MEASURED = "#0072b2", "#d55e00"
_PANELS = (
    ("variance", "E[z²], pre-activations"),
    ("correlation", "correlation of two inputs"),
    ("gradient", "squared gradient, last layer = 1"),
)


class PredictedSignalDisplay:
    """Variance, correlation and gradient by layer: a line as predicted, points as measured.

    Parameters
    ----------
    signal
        From :func:`initlab.theory.signal`.
    measured
        From :func:`initlab.experiments.measure_signal`, of the same network.
    title
        What the network is.

    Attributes
    ----------
    axes_
        ``"variance"``, ``"correlation"``, ``"gradient"`` to axes.
    figure_
        The figure.
    """

    def __init__(self, signal: Signal, measured: MeasuredSignal, title: str) -> None:
        self.signal, self.measured, self.title = signal, measured, title

    def plot(self, figure: Figure | None = None) -> PredictedSignalDisplay:
        """Draw into ``figure``, or into a new pyplot figure; nothing is shown or saved."""
        self.figure_ = style.interactive(_SIZE) if figure is None else figure
        row = self.figure_.subplots(1, 3)
        self.axes_: dict[str, Axes] = {}
        for ax, (name, title) in zip(row, _PANELS, strict=True):
            self.axes_[name] = ax
            self._draw(ax, name)
            ax.set_title(title, fontsize=10, color=style.INK)
            ax.set_xlabel("layer", color=style.INK)
            style.layer_ticks(ax, len(self.signal.layers), 6)
            ax.set_xlim(0.5, len(self.signal.layers) + 0.5)
        handles, labels = row[0].get_legend_handles_labels()
        self.figure_.legend(
            handles,
            labels,
            loc="upper left",
            ncols=3,
            frameon=False,
            fontsize=9,
            bbox_to_anchor=(0.0, 0.94),
            labelcolor=style.INK,
        )
        style.place(self.figure_, 0.75, 0.55, 0.2, 0.85)
        self.figure_.subplots_adjust(wspace=0.24)
        style.heading(self.figure_, f"{self.signal.init}, {self.title}")
        return self

    def figure(self) -> Figure:
        """Draw on a new figure that pyplot knows nothing of."""
        figure = style.blank(_SIZE)
        self.plot(figure)
        return figure

    def _draw(self, ax: Axes, name: str) -> None:
        predicted = np.array([getattr(each, name) for each in self.signal.layers])
        networks: Floats = getattr(self.measured, name)  # (draws, layers)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = networks.mean(axis=0)
        band = self._band(predicted) if name == "variance" else None
        if name == "correlation":
            ax.set_ylim(min(-0.03, 1.1 * float(np.nan_to_num(networks).min())), 1.03)
            if not (np.isfinite(predicted).any() or np.isfinite(networks).any()):
                _note(ax, "no correlation: the signals\nare exactly 0, or not finite")
        else:
            scale = _log_axis(ax, [predicted, mean, *networks, *(band or ())])
            predicted, mean, networks = (on_scale(e, scale) for e in (predicted, mean, networks))
            band = tuple(on_scale(each, scale) for each in band) if band else None
        layers = np.arange(1, len(predicted) + 1)
        style.dress(ax)
        ax.plot(layers, networks.T, color=_MEASURED, linewidth=0.6, alpha=0.35, zorder=2)
        if band:
            label = "± a standard deviation, at this width"
            low, high = band
            ax.fill_between(
                layers, low, high, color=_PREDICTED, alpha=0.13, linewidth=0, label=label
            )
        ax.plot(
            layers,
            predicted,
            color=_PREDICTED,
            linewidth=2.2,
            marker="_" if len(layers) == 1 else "",  # a line needs two points
            markersize=14,
            label="predicted",
            zorder=3,
        )
        ax.plot(
            layers,
            mean,
            color=_MEASURED,
            linestyle="none",
            marker="o",
            markersize=3.4,
            label=f"measured: {len(networks)} random networks, and their mean"
            if len(networks) > 1
            else "measured: one random network",
            zorder=4,
        )

    def _band(self, predicted: Floats) -> tuple[Floats, Floats] | None:
        """Return what single networks lie between, one standard deviation to either side."""
        shares = [each.fluctuation for each in self.signal.layers]
        if any(share is None for share in shares):
            return None
        # A share above 1 has no lower end on a logarithmic axis: as far down as up, there.
        factor = 1 + np.array(shares, dtype=np.float64)
        return predicted / factor, predicted * factor


def _note(ax: Axes, text: str) -> None:
    """Say in an empty axes why it is empty."""
    middle: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, text, fontsize=9, color=style.MUTED, **middle)


def _log_axis(ax: Axes, curves: Sequence[Floats]) -> Scale:
    """Give an axes a logarithmic scale that holds the curves, zeros and infinities included."""
    scale = signal_scale([spread(each[None]) for each in curves])
    values = np.concatenate(curves)
    values = np.clip(values[np.isfinite(values) & (values > 0)], scale.low, scale.high)
    low, high = scale.low, scale.high
    if values.size and not scale.baselines:  # no more room than they take
        low, high = 0.8 * float(values.min()), 1.25 * float(values.max())
    ax.set_yscale("log")
    ends = [low, high, *(at for at, _ in scale.baselines)]
    room = 0.04 * (math.log10(max(ends)) - math.log10(min(ends)))  # decades
    ticks = [
        (at, label)
        for at, label in style.log_ticks(low, high)
        if all(abs(math.log10(at) - math.log10(base)) > room for base, _ in scale.baselines)
    ]
    ticks += scale.baselines
    ax.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
    ax.yaxis.minorticks_off()
    ax.set_ylim(limits(ends))
    for at, _ in scale.baselines:
        ax.axhline(at, color=style.MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0.5)
    return scale
