"""How the figures look: colours that stay apart for every eye, line styles, margins, words."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from initlab.report.text import wrap

DPI = 144
INK = "#24292f"
MUTED = "#6b7280"
FAINT = "#d5d9df"

# Okabe & Ito (2008), without the yellow that white paper swallows. Seven colours, four dashes and
# twelve markers share no factor, so neighbours differ in all three and no pair of colour and dash
# comes back before the 28th start.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.6), (5, 1.5, 1, 1.5), (1.3, 1.3))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*", "h")

# Classes of points and regions: the same family, the pale form behind the strong one.
CLASS_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
    *("#56b4e9", "#4d4d4d", "#8c564b", "#6a51a3", "#a6a000"),
)
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "p")
PALE = 0.24

_LABEL = 26  # characters of a start in a legend before it is broken


@dataclass(frozen=True)
class Look:
    """Colour, dash pattern and marker of one start."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    def line(self) -> dict[str, Any]:
        """Return the keyword arguments that ``Axes.plot`` takes."""
        return {
            "color": self.colour,
            "linestyle": (0, self.dashes) if self.dashes else "-",
            "linewidth": 1.7,
            "marker": self.marker,
            "markersize": 5,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
        }


def look(index: int) -> Look:
    """Return the look of start number ``index``, from 0; the same in every figure."""
    return Look(
        _COLOURS[index % len(_COLOURS)],
        _DASHES[index % len(_DASHES)],
        _MARKERS[index % len(_MARKERS)],
    )


def blank(size: tuple[float, float]) -> Figure:
    """Make a figure of ``size`` inches that pyplot knows nothing of."""
    return Figure(figsize=size, dpi=DPI, facecolor="white")


def interactive(size: tuple[float, float]) -> Figure:
    """Make a figure of ``size`` inches that pyplot shows, as notebooks and scripts expect."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - opens a window system, for this call only

    return plt.figure(figsize=size, facecolor="white")


def png(figure: Figure) -> bytes:
    """Render a figure as a PNG file."""
    file = io.BytesIO()
    # Level 3 halves the time of the default and costs a few per cent in size; without "Software"
    # the same figure gives the same bytes under every version.
    FigureCanvasAgg(figure).print_png(
        file, metadata={"Software": None}, pil_kwargs={"compress_level": 3}
    )
    return file.getvalue()


def place(figure: Figure, left: float, bottom: float, right: float, top: float) -> None:
    """Set the margins of a figure in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)


def dress(ax: Axes) -> None:
    """Take an axes down to what is read: two spines, a faint grid behind the lines."""
    ax.set_axisbelow(True)
    ax.grid(visible=True, color=FAINT, linewidth=0.6)
    ax.tick_params(colors=INK, labelsize=9, length=3, color=MUTED)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(MUTED)


def layer_ticks(ax: Axes, layers: int, most: int) -> None:
    """Mark about ``most`` of so many layers, counted from 1."""
    if layers <= most:
        ax.set_xticks(range(1, layers + 1))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most, steps=[1, 2, 5, 10]))


def legend_beside(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> float:
    """Put a legend at the right edge and return the inches it takes from the width."""
    legend = figure.legend(
        handles,
        [wrap(label, _LABEL) for label in labels],
        loc="upper right",
        bbox_to_anchor=(1, 0.97),
        frameon=False,
        fontsize=9,
        handlelength=3.2,
        labelspacing=0.8,
        labelcolor=INK,
    )
    return legend.get_window_extent().width / figure.dpi + 0.1


def legend_height(labels: Sequence[str]) -> float:
    """Return the inches that :func:`legend_beside` needs from the height."""
    lines = sum(wrap(label, _LABEL).count("\n") + 1 for label in labels)
    return 0.3 + 0.17 * lines + 0.1 * len(labels)


def heading(figure: Figure, text: str) -> None:
    """Say at the top left what the figure shows."""
    width, height = figure.get_size_inches()
    place = {"x": 0.1 / width, "y": 1 - 0.1 / height}
    figure.text(**place, s=text, ha="left", va="top", fontsize=10, color=INK)


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Choose about six round numbers from ``low`` to ``high`` and write them plainly."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = math.ceil((last - first) / 7)
    # Where decades are thinned, those kept are multiples of the stride: 1 is among them. Where
    # there are few, they are divided.
    powers = [power for power in range(first, last + 1) if power % every == 0]
    if high < 10 * low:
        factors: tuple[float, ...] = (1, 1.5, 2, 3, 4, 6, 8)
    else:
        factors = (1, 2, 5) if high < 100 * low else (1, 3) if high < 1000 * low else (1,)
    numbers = [f"{factor * 10.0**power:g}" for power in powers for factor in factors]
    labels = [number.replace("e-0", "e-").replace("e+0", "e+") for number in numbers]
    return [(float(label), label) for label in labels if low <= float(label) <= high]
