"""How far activations and gradients spread through the layers, before and after training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from initlab.experiments import Results
from initlab.report.figures import style
from initlab.report.spread import Floats, Spread, by_start, spread

Quantity = Literal["activation_std", "gradient_std"]
Moment = Literal["start", "end"]

_ROWS: tuple[tuple[Quantity, str], ...] = (
    ("activation_std", "activation std"),
    ("gradient_std", "gradient std"),
)
_COLUMNS: tuple[tuple[Moment, str], ...] = (
    ("start", "at the start"),
    ("end", "after training"),
)
_FARTHEST, _FURTHEST = 280, 305  # decades from 1: of a value that is drawn, of an axis

_PREDICTED = "as predicted"
# Rings: where the prediction is right, the measured marker lies inside, and both can be seen.
_RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 9,
    "markerfacecolor": "none",
    "markeredgewidth": 1.2,
    "clip_on": False,
}


@dataclass(frozen=True)
class SignalCurve:
    """One quantity of one start through the layers, at one moment.

    Attributes
    ----------
    init, quantity, moment
        Which.
    layers
        ``(layers,)``, counted from 1.
    values
        Over seeds; see :class:`initlab.experiments.records.LayerEvidence`.
    """

    init: str
    quantity: Quantity
    moment: Moment
    layers: NDArray[np.int64]
    values: Spread


@dataclass(frozen=True)
class PredictedCurve:
    """What theory expects of one quantity of one start at the start, through the layers.

    Attributes
    ----------
    init, quantity
        Which.
    layers
        ``(layers,)``, counted from 1.
    values
        ``(layers,)``; see :class:`initlab.experiments.prediction.LayerPrediction`.
    """

    init: str
    quantity: Quantity
    layers: NDArray[np.int64]
    values: Floats


class Scale(NamedTuple):
    """A logarithmic axis from ``low`` to ``high`` with baselines beyond its ends.

    Attributes
    ----------
    low, high
        Whole decades around every positive value.
    zero, beyond
        Where exact zeros, and where values that are not finite are drawn.
    labels
        What the two baselines are called; empty where nothing lies on one.
    """

    low: float
    high: float
    zero: float
    beyond: float
    labels: tuple[str, str]

    @property
    def baselines(self) -> list[tuple[float, str]]:
        """Place and name of each baseline that is in use."""
        return [
            (at, label)
            for at, label in zip((self.zero, self.beyond), self.labels, strict=True)
            if label
        ]


class SignalDisplay:
    """Spread of activations and gradients per layer, at the start and after training.

    The median over seeds with its interquartile band, on logarithmic axes; at the start, what
    mean-field theory predicts as well, as rings. Exact zeros lie on a baseline marked "0" below the
    scale, ``inf`` and ``nan`` on one marked so above it.

    Parameters
    ----------
    curves
        For each start four: two quantities at two moments.
    predicted
        For each start to which the theory applies two: both quantities.

    Attributes
    ----------
    axes_
        ``(quantity, moment)`` to axes, for the quantities ``"activation_std"`` and
        ``"gradient_std"`` and the moments ``"start"`` and ``"end"``.
    figure_
        The figure.
    """

    def __init__(
        self, curves: Sequence[SignalCurve], predicted: Sequence[PredictedCurve] = ()
    ) -> None:
        self.curves, self.predicted = tuple(curves), tuple(predicted)
        self.inits = tuple(dict.fromkeys(curve.init for curve in curves))

    @classmethod
    def from_results(cls, results: Results) -> SignalDisplay:
        """Take the evidence from finished runs."""
        curves: list[SignalCurve] = []
        for init, runs in by_start(results.runs).items():
            for quantity, _ in _ROWS:
                for moment, _ in _COLUMNS:
                    entries = [getattr(run.evidence, moment) for run in runs]
                    values = [[getattr(layer, quantity) for layer in layers] for layers in entries]
                    layers = np.array([layer.layer for layer in entries[0]])
                    curves.append(SignalCurve(init, quantity, moment, layers, spread(values)))
        known = {curve.init for curve in curves}
        predicted = [
            PredictedCurve(
                each.init,
                quantity,
                np.array([layer.layer for layer in each.layers]),
                np.array([getattr(layer, quantity) for layer in each.layers]),
            )
            for each in results.predictions()
            for quantity, _ in _ROWS
            if each.layers and each.init in known
        ]
        return cls(curves, predicted)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches that hold the legend."""
        return 9.2, max(5.4, style.legend_height([*self.inits, *[_PREDICTED] * 2]))

    def plot(self, figure: Figure | None = None) -> SignalDisplay:
        """Draw into ``figure``, or into a new pyplot figure; nothing is shown or saved."""
        self.figure_ = style.interactive(self.size) if figure is None else figure
        axes = self.figure_.subplots(2, 2, sharex=True, sharey="row", squeeze=False)
        self.axes_: dict[tuple[Quantity, Moment], Axes] = {}
        for (quantity, name), row in zip(_ROWS, axes, strict=True):
            expected = [c.values for c in self.predicted if c.quantity == quantity]
            scale = signal_scale(
                [c.values for c in self.curves if c.quantity == quantity]
                + [spread(values[None]) for values in expected]
            )
            for (moment, when), ax in zip(_COLUMNS, row, strict=True):
                self.axes_[quantity, moment] = ax
                self._draw(ax, quantity, moment, scale)
                ax.set_title(f"{name} {when}", fontsize=10, color=style.INK)
        for ax in axes[1]:
            ax.set_xlabel("layer (the last: output)", color=style.INK)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if self.predicted:
            handles.append(Line2D([], [], color=style.MUTED, **_RING))
            labels.append(_PREDICTED)
        right = style.legend_beside(self.figure_, handles, labels)
        style.place(self.figure_, 0.7, 0.55, right + 0.1, 0.65)
        self.figure_.subplots_adjust(wspace=0.08, hspace=0.28)
        several = max((curve.values.seeds for curve in self.curves), default=1)
        over = f": median of {several} seeds, band between the quartiles" if several > 1 else ""
        style.heading(self.figure_, f"Signals through the layers{over}")
        return self

    def figure(self) -> Figure:
        """Draw on a new figure that pyplot knows nothing of."""
        figure = style.blank(self.size)
        self.plot(figure)
        return figure

    def _draw(self, ax: Axes, quantity: Quantity, moment: Moment, scale: Scale) -> None:
        ax.set_yscale("log")
        for curve in self.curves:
            if (curve.quantity, curve.moment) == (quantity, moment):
                _line(ax, style.look(self.inits.index(curve.init)), curve, scale)
        for curve in self.predicted if moment == "start" else ():
            if curve.quantity == quantity:
                ax.plot(
                    curve.layers,
                    on_scale(curve.values, scale),
                    color=style.look(self.inits.index(curve.init)).colour,
                    label=f"_predicted {curve.init}",
                    markevery=_every(curve.layers),
                    **_RING,
                )
        style.dress(ax)
        ticks = [*style.log_ticks(scale.low, scale.high), *scale.baselines]
        ax.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
        ax.yaxis.minorticks_off()
        last = max((curve.layers[-1] for curve in self.curves), default=1)
        style.layer_ticks(ax, int(last), 10)
        ax.set_xlim(0.8, last + 0.2)
        ax.set_ylim(limits([scale.low, scale.high, *(at for at, _ in scale.baselines)]))
        for at, _ in scale.baselines:
            ax.axhline(at, color=style.MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0.5)


def signal_scale(values: Sequence[Spread]) -> Scale:
    """Choose whole decades around all positive values, and the baselines that are needed."""
    edges = np.array([])  # as it stays where Ctrl-C came before the first run was finished
    for v in values:
        edges = np.concatenate([edges, v.low, v.median, v.high])
    logs = np.log10(edges[np.isfinite(edges) & (edges > 0)])
    # Doubles end at 1e308: what is smaller or larger than this is drawn at the end of the scale.
    low, high = -1, 0
    if logs.size:
        low = min(max(math.floor(logs.min()), -_FARTHEST), _FARTHEST - 1)
        high = min(max(math.ceil(logs.max()), low + 1), _FARTHEST)
    gap = min(max(0.4, 0.1 * (high - low)), 10)
    names = [
        name
        for name, present in (("inf", np.isinf(edges).any()), ("nan", np.isnan(edges).any()))
        if present
    ]
    return Scale(
        10.0**low,
        10.0**high,
        10.0 ** (low - gap),
        10.0 ** (high + gap),
        ("0" if (edges == 0).any() else "", "/".join(names)),
    )


def limits(ends: Sequence[float]) -> tuple[float, float]:
    """Return where a logarithmic axis ends, so that markers at ``ends`` are drawn whole."""
    low, high = math.log10(min(ends)), math.log10(max(ends))
    room = 0.06 * (high - low)
    return 10.0 ** max(low - room, -_FURTHEST), 10.0 ** min(high + room, _FURTHEST)


def on_scale(values: Floats, scale: Scale) -> Floats:
    """Move exact zeros and what is not finite to their baselines."""
    inside = np.clip(values, scale.low, scale.high)
    return np.where(values == 0, scale.zero, np.where(np.isfinite(values), inside, scale.beyond))


def _every(layers: NDArray[np.int64]) -> int:
    """Choose which layers are marked: about ten."""
    return max(1, len(layers) // 10)


def _line(ax: Axes, look: style.Look, curve: SignalCurve, scale: Scale) -> None:
    low, median, high = (
        on_scale(edge, scale) for edge in (curve.values.low, curve.values.median, curve.values.high)
    )
    if curve.values.seeds > 1:
        ax.fill_between(curve.layers, low, high, color=look.colour, alpha=0.13, linewidth=0)
    drawn: dict[str, Any] = look.line()
    drawn["markevery"] = _every(curve.layers)
    ax.plot(curve.layers, median, label=curve.init, **drawn)
