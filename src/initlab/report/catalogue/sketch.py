"""The picture of an entry: exact and drawn moments, repeated values, the rest, the pattern."""

from __future__ import annotations

import math

from initlab.report.catalogue.drawing import bar_lines, histogram_lines, pattern_lines
from initlab.report.catalogue.record import Description, number
from initlab.report.catalogue.sample import Sample


def sketch_lines(found: Description, width: int) -> list[str]:
    """Draw what a weight looks like, with its mean and std, in characters.

    Parameters
    ----------
    found
        What to draw.
    width
        Columns that there are.
    """
    sample = found.sample
    lines = _moments(found, sample)
    if sample is None:
        return [*lines, "", f"Not drawn: {found.not_drawn}."]
    if sample.repeated:
        lines += ["", *bar_lines(sample.repeated, sample.entries, width)]
    if sample.rest is not None:
        # The other entries, where the bars above have told of some.
        lines += ["", *(["The other entries:"] if sample.repeated else [])]
        lines += histogram_lines(sample.rest, width)
    if sample.pattern is not None:
        picture, shown = pattern_lines(sample.pattern, width)
        what = "positive" if sample.signs else "not 0"
        part = "" if shown == sample.pattern.shape else f", first {shown[0]} rows"
        if shown[1] < sample.pattern.shape[1]:
            part += f" and {shown[1]} columns"
        lines += ["", f"Where it is {what}, as a matrix of (out, all else){part}:", *picture]
    return lines


def _moments(found: Description, sample: Sample | None) -> list[str]:
    """Return a small table of mean and std, exact and drawn."""
    exact = ["exact", number(found.mean), number(found.std)]
    rows = [["", "mean", "std"], exact]
    if sample is not None and sample.entries:
        rows.append(["drawn", number(sample.mean, 4), number(sample.std, 4)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(
            [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]  # numbers right
        )
        for cells in rows
    ]
    drawn = ""
    if sample is not None:
        all_of_them = sample.entries == math.prod(found.shape)
        drawn = f"; drawn: {'all' if all_of_them else 'the first'} {sample.entries:,} entries"
    return [f"{found.initializer.spec} for a weight of shape {found.shape}{drawn}", "", *table]
