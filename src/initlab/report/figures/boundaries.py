"""What the trained networks predict, one panel a start; which kind of panel, the data decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from initlab.data import Dataset
from initlab.engine import losses, reference
from initlab.engine.network import Layer
from initlab.experiments import Results
from initlab.experiments.plan import Experiment
from initlab.report.figures import style
from initlab.report.figures.panels import (
    UNDECIDED,
    Predict,
    draw_boundary,
    draw_confusion,
    draw_regression,
)
from initlab.report.spread import by_start
from initlab.report.text import score_text, wrap

Kind = Literal["regions", "confusion", "regression"]

# Inches.
_LEFT, _RIGHT, _TOP, _GAP = 0.55, 0.15, 0.42, 0.18
_LINE = 0.17  # of a panel's title

_CHUNK = 4096  # samples that a network predicts at once, which bounds its memory


@dataclass(frozen=True)
class Panel:
    """One network and how it did.

    Attributes
    ----------
    init, seed
        Where it started.
    train_score, test_score
        Accuracy or R².
    predict
        ``(samples, features)`` to labels or, for regression, values ``(samples,)``.
    """

    init: str
    seed: int
    train_score: float | None
    test_score: float | None
    predict: Predict


class BoundaryDisplay:
    """What the first seed's network of each start predicts, in small panels of one size.

    With two features and classes: decision regions with the training data on top. Other classes:
    the confusion matrix. Regression: predicted against true values. The latter two are over the
    test set, or the training set where there is no other.

    Parameters
    ----------
    panels
        One a start.
    dataset
        What the networks were trained on.

    Attributes
    ----------
    axes_, figure_
        The panels, one a start, and the figure that :meth:`plot` drew.
    """

    def __init__(self, panels: Sequence[Panel], dataset: Dataset) -> None:
        self.panels = tuple(panels)
        self.dataset = dataset

    @classmethod
    def from_results(cls, results: Results) -> BoundaryDisplay:
        """Take the networks from finished runs."""
        panels: list[Panel] = []
        for init, runs in by_start(results.runs).items():
            run = next((run for run in runs if run.layers is not None), None)
            if run is not None and run.layers is not None:
                predict = predictor(results.experiment, results.dataset, run.layers)
                panels.append(Panel(init, run.seed, run.train_score, run.test_score, predict))
        return cls(panels, results.dataset)

    @property
    def kind(self) -> Kind:
        """What a panel shows."""
        if self.dataset.task == "regression":
            return "regression"
        return "regions" if self.dataset.features == 2 else "confusion"

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        rows, columns = grid(len(self.panels))
        side = self._side
        width = _LEFT + columns * (side + _GAP) - _GAP + _RIGHT
        return width, _TOP + sum(self._title_heights) + rows * (side + _GAP) - _GAP + self._foot

    def plot(self, figure: Figure | None = None) -> BoundaryDisplay:
        """Draw into ``figure``, or into a new pyplot figure; nothing is shown or saved."""
        self.figure_ = style.interactive(self.size) if figure is None else figure
        self.axes_ = [self.figure_.add_axes(place) for place in self._places()]
        _, columns = grid(len(self.panels))
        for index, (ax, panel) in enumerate(zip(self.axes_, self.panels, strict=True)):
            self._draw(ax, panel)
            ax.set_title(self._title(panel), fontsize=9.5, color=style.INK, linespacing=1.25)
            # All panels share their scales, so the outer ones speak for the rest.
            outer_left, outer_bottom = index % columns == 0, index + columns >= len(self.panels)
            ax.tick_params(labelleft=outer_left, labelbottom=outer_bottom)
            if self.kind != "regions":
                ax.set_ylabel(_AXES[self.kind][1] if outer_left else "", fontsize=9)
                ax.set_xlabel(_AXES[self.kind][0] if outer_bottom else "", fontsize=9)
        style.heading(self.figure_, self._caption)
        return self

    def figure(self) -> Figure:
        """Draw on a new figure that pyplot knows nothing of."""
        figure = style.blank(self.size)
        self.plot(figure)
        return figure

    @property
    def _side(self) -> float:
        return 2.3 if grid(len(self.panels))[1] > 3 else 2.8

    @property
    def _foot(self) -> float:
        names = max((len(name) for name in self.dataset.classes), default=0)
        return {"regions": 0.3, "regression": 0.5, "confusion": 0.5 + 0.06 * min(names, 8)}[
            self.kind
        ]

    @property
    def _title_heights(self) -> list[float]:
        """Inches above each row of panels."""
        rows, columns = grid(len(self.panels))
        lines = [self._title(panel).count("\n") + 1 for panel in self.panels]
        return [
            _LINE * max(lines[row * columns : (row + 1) * columns], default=0) + 0.1
            for row in range(rows)
        ]

    def _places(self) -> list[tuple[float, float, float, float]]:
        """Return left, bottom, width and height of each panel as shares of the figure."""
        width, height = self.size
        _, columns = grid(len(self.panels))
        side, above = self._side, np.cumsum(self._title_heights)
        places: list[tuple[float, float, float, float]] = []
        for index in range(len(self.panels)):
            row, column = divmod(index, columns)
            left = _LEFT + column * (side + _GAP)
            bottom = height - _TOP - float(above[row]) - row * (side + _GAP) - side
            places.append((left / width, bottom / height, side / width, side / height))
        return places

    def _draw(self, ax: Axes, panel: Panel) -> None:
        if self.kind == "regions":
            draw_boundary(ax, panel.predict, self.dataset.train_x, self.dataset.train_y)
            return
        x, y, _ = self._judged
        if self.kind == "confusion":
            draw_confusion(ax, panel.predict(x), y, self.dataset.classes)
        else:
            draw_regression(ax, panel.predict(x), y)

    @property
    def _judged(self) -> tuple[NDArray[np.float64], NDArray[Any], str]:
        if len(self.dataset.test_y):
            return self.dataset.test_x, self.dataset.test_y, "test"
        return self.dataset.train_x, self.dataset.train_y, "training"

    @property
    def _caption(self) -> str:
        seeds = {panel.seed for panel in self.panels}
        whose = f"seed {min(seeds)}" if len(seeds) == 1 else "first seeds"
        what = {
            "regions": "Decision regions, training data on top",
            "confusion": f"Confusion matrix, {self._judged[2]} set",
            "regression": f"Predicted against true, {self._judged[2]} set",
        }[self.kind]
        return f"{what} ({whose})"

    def _title(self, panel: Panel) -> str:
        regression = self.kind == "regression"
        scores = [
            f"{name} {'R² ' if regression else ''}{score_text(score, regression=regression)}"
            for name, score in (("train", panel.train_score), ("test", panel.test_score))
            if score is not None
        ]
        return "\n".join([wrap(panel.init, 32), "   ".join(scores)])


_AXES = {"confusion": ("predicted", "true"), "regression": ("true", "predicted")}


def predictor(experiment: Experiment, dataset: Dataset, layers: Sequence[Layer]) -> Predict:
    """Return the function from samples to what a trained network says of them.

    Parameters
    ----------
    experiment, dataset
        What the network was trained for; the experiment resolved.
    layers
        Its weights ``(fan_out, fan_in)`` and biases ``(fan_out,)``.

    Returns
    -------
    function
        ``(samples, features)`` to ``(samples,)``: classes as integers, :data:`UNDECIDED` where an
        output is nan; for regression the values.
    """
    network = experiment.network(dataset)
    loss = experiment.recipe().loss
    layers = [Layer(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]

    def part(x: NDArray[np.float64]) -> NDArray[Any]:
        logits = reference.forward(network, layers, np.ascontiguousarray(x.T)).logits
        outputs = losses.output(loss, logits)  # (outputs, samples)
        if dataset.task == "regression":
            return outputs[0]
        labels = outputs.argmax(axis=0) if len(outputs) > 1 else (outputs[0] > 0.5).astype(int)
        return np.where(np.isnan(outputs).any(axis=0), UNDECIDED, labels)

    def predict(x: NDArray[np.float64]) -> NDArray[Any]:
        return np.concatenate([part(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)])

    return predict


def grid(panels: int) -> tuple[int, int]:
    """Return the rows and columns that show ``panels`` with few gaps, four abreast at most."""
    columns = {1: 1, 2: 2, 4: 2}.get(panels, 3 if panels <= 6 or panels == 9 else 4)
    return max(1, math.ceil(panels / columns)), columns
