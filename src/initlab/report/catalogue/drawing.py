"""Pictures made of characters: bars, histograms, and where a matrix has its entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from initlab.report.catalogue.sample import Histogram, Pattern, Repeated

_LEVELS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"
# Of Braille's two columns of four dots, the bit of each in its code point.
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_BLANK = 0x2800

_HEIGHT = 6  # lines of a histogram's bars
_BAR = 40  # columns of the longest bar
_LINES, _COLUMNS = 8, 72  # of the picture of a matrix


def histogram_lines(histogram: Histogram, width: int) -> list[str]:
    """Draw a histogram and its axis; no count above 0 is drawn as nothing.

    Examples
    --------
    >>> wave = Histogram(tuple(range(-30, 31)), tuple([0, 1, 4, 9, 16, 8] * 10))
    >>> print(histogram_lines(wave, width=20)[-1])
    -30       0       30
    """
    merged = next((n for n in (1, 2, 3, 5) if len(histogram.counts) // n <= width), 6)
    counts = np.array(histogram.counts).reshape(-1, merged).sum(axis=1)
    eighths = np.ceil(8 * _HEIGHT * counts / counts.max()).astype(int)
    rows = [
        "".join(_LEVELS[min(max(each - 8 * below, 0), 8)] for each in eighths.tolist()).rstrip()
        for below in reversed(range(_HEIGHT))
    ]
    return [*rows, *_axis(histogram.edges, len(counts))]


def _axis(edges: Sequence[float], columns: int) -> list[str]:
    half = columns // 2
    low, high = edges[0], edges[-1]
    middle = (low + high) / 2
    texts = [f"{0.0 if abs(v) < 1e-9 * (high - low) else v:.3g}" for v in (low, middle, high)]
    line = f"┴{'─' * (half - 1)}┴{'─' * (columns - half - 2)}┴"
    first = max(half - len(texts[1]) // 2, len(texts[0]) + 1)
    labels = texts[0].ljust(first) + texts[1]
    labels = labels.ljust(max(columns - len(texts[2]), len(labels) + 1)) + texts[2]
    return [line, labels]


def bar_lines(repeated: Sequence[Repeated], entries: int, width: int) -> list[str]:
    """Draw the share of each value as a bar.

    Examples
    --------
    >>> for line in bar_lines([Repeated(0.0, 6), Repeated(0.5, 2)], entries=8, width=30):
    ...     print(line)
      0  ████████████      75.0 %
    0.5  ████              25.0 %
    """
    names = [f"{each.value:.4g}" for each in repeated]
    widest = max(map(len, names))
    room = max(min(_BAR, width - widest - 11), 8)
    lines: list[str] = []
    for name, each in zip(names, repeated, strict=True):
        share = each.count / entries
        eighths = max(round(8 * room * share), 1)
        bar = _PARTS[8] * (eighths // 8) + _PARTS[eighths % 8].strip()
        lines.append(f"{name:>{widest}}  {bar:<{room}} {_percent(share):>7}")
    return lines


def _percent(share: float) -> str:
    return "100 %" if share == 1 else f"{100 * share:.1f} %"


def pattern_lines(pattern: Pattern, width: int) -> tuple[list[str], tuple[int, int]]:
    """Draw a dot for each place that is true, the upper left corner of what is larger.

    Returns
    -------
    lines, shown
        And how many rows and columns of the pattern they show.

    Examples
    --------
    >>> pattern_lines(np.eye(4, dtype=bool), width=72)
    (['⠑⢄'], (4, 4))
    """
    part = pattern[: 4 * _LINES, : 2 * min(_COLUMNS, width)]
    rows, columns = part.shape
    padded = np.pad(part, ((0, -rows % 4), (0, -columns % 2)))
    cells = padded.reshape(len(padded) // 4, 4, -1, 2).transpose(0, 2, 1, 3)
    codes = _BLANK + (cells * _DOTS).sum(axis=(2, 3))
    return ["".join(map(chr, line)) for line in codes.tolist()], (rows, columns)
