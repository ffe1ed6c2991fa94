"""The figures: cost curves, decision boundaries, signals through the layers, phase diagrams.

Each is a display in scikit-learn's manner, ``CostDisplay.from_results(results).plot()``. Nothing
is ever shown or saved by a display; ``.figure()`` draws without pyplot.
"""

from __future__ import annotations

from initlab.experiments import Results
from initlab.report.figures import style
from initlab.report.figures.boundaries import BoundaryDisplay
from initlab.report.figures.costs import CostDisplay
from initlab.report.figures.panels import draw_boundary, draw_points
from initlab.report.figures.phase import PhaseDisplay
from initlab.report.figures.predicted import PredictedSignalDisplay
from initlab.report.figures.signals import SignalDisplay

__all__ = [
    "BoundaryDisplay",
    "CostDisplay",
    "PhaseDisplay",
    "PredictedSignalDisplay",
    "SignalDisplay",
    "draw_boundary",
    "draw_points",
    "render",
]


def render(results: Results) -> dict[str, bytes]:
    """Draw all three figures and return them as PNG files: costs, boundaries, signals."""
    displays = {"costs": CostDisplay, "boundaries": BoundaryDisplay, "signals": SignalDisplay}
    return {
        name: style.png(display.from_results(results).figure())
        for name, display in displays.items()
    }
