"""Numbers and names as people read them, the same in tables, figures and pages."""

from __future__ import annotations

import math
import textwrap


def cost_text(value: float) -> str:
    """Write a cost: ``0.0736``, ``1.2e-05``, ``4.1e+06``, ``inf``, ``nan``.

    Examples
    --------
    >>> [cost_text(c) for c in (0.07357895962677369, 0.0, 12345.6, float("inf"))]
    ['0.0736', '0', '1.23e+04', 'inf']
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    size = abs(value)
    if size < 0.001 or size >= 10_000:
        return f"{value:.2e}"
    return f"{value:.4f}" if size < 100 else f"{value:.1f}"


def score_text(value: float | None, *, regression: bool = False) -> str:
    """Write an accuracy as a percentage, or R² as a number; nothing where there is none.

    Examples
    --------
    >>> score_text(298 / 300), score_text(-0.5, regression=True)
    ('99.3 %', '-0.500')
    """
    if value is None:
        return ""
    if regression:
        return f"{value:.3f}" if math.isfinite(value) and abs(value) < 1000 else f"{value:.3g}"
    return f"{100 * value:.1f} %"


def step_text(value: float | None) -> str:
    """Write a step count; ``never`` for a target that was not reached.

    Examples
    --------
    >>> step_text(15_000), step_text(2500.5), step_text(float("inf"))
    ('15000', '2500.5', 'never')
    """
    if value is None or not math.isfinite(value):
        return "never"
    return f"{value:.1f}".removesuffix(".0")


def wrap(text: str, width: int) -> str:
    """Break a start's name into lines of ``width``, after its bracket or a comma if it can be.

    Examples
    --------
    >>> print(wrap("variance_scaling(scale=2, mode='fan_out')", 26))
    variance_scaling(
    scale=2, mode='fan_out')
    """
    if len(text) <= width:
        return text
    name, bracket, arguments = text.partition("(")
    lines = [*textwrap.wrap(name + bracket, width), *textwrap.wrap(arguments, width)]
    return "\n".join(lines)


def shorten(text: str, width: int) -> str:
    """Cut a name to ``width`` characters, marking the cut."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
