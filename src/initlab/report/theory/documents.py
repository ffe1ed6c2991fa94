"""The theory as documents, which ``--json`` prints; values that strict JSON can hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab._base.records import to_plain
from initlab.experiments import MeasuredSignal
from initlab.report.theory.words import explain
from initlab.theory import Edge, Gain, PhaseDiagram, Point, Signal


def gain_document(gain: Gain) -> dict[str, Any]:
    """Return both gains, PyTorch's, and the moments that they follow from."""
    found = gain.moments
    return to_plain(
        {
            "moments": {"f": found.f, "f2": found.f2, "var": found.var, "df2": found.df2},
            "gain_second_moment": gain.gain_second_moment,
            "gain_variance": gain.gain_variance,
            "torch_gain": gain.torch_gain,
        }
    )


def point_document(point: Point) -> dict[str, Any]:
    """Return fixed points, depth scales and regime."""
    return to_plain(
        {
            "q_star": point.q_star,
            "chi_1": point.chi_1,
            "c_star": point.c_star,
            "xi_q": point.xi_q,
            "xi_c": point.xi_c,
            "stable": point.stable,
            "regime": point.regime,
            "growth": point.growth,
            "law": point.law,
            "fixed_points": point.fixed_points,
            "explanation": explain(point),
        }
    )


def edge_document(edge: Edge) -> dict[str, Any]:
    """Return the critical weight variance, or why there is none."""
    if edge.weight_var is None:
        return {"weight_var": None, "why": edge.why}
    return to_plain(
        {"weight_var": edge.weight_var, "bias_var": edge.bias_var, "q_star": edge.q_star}
    )


def map_document(diagram: PhaseDiagram) -> dict[str, Any]:
    """Return the grid, what is at each of its points by row, and the edge of chaos."""
    return to_plain(
        {
            "activation": diagram.activation,
            "weight_var": diagram.weight_var,
            "bias_var": diagram.bias_var,
            "q_star": diagram.q_star,
            "chi_1": diagram.chi_1,
            "c_star": diagram.c_star,
            "xi_c": diagram.xi_c,
            "edge": [each._asdict() for each in diagram.edge],
        }
    )


def signal_document(signal: Signal, measured: MeasuredSignal) -> dict[str, Any]:
    """Return prediction and measurement, layer by layer; mean and std over draws of the latter."""
    names = ("variance", "correlation", "mean", "second_moment", "gradient")
    return to_plain(
        {
            "init": signal.init,
            "bias_var": signal.bias_var,
            "input_second_moment": signal.input_second_moment,
            "input_correlation": signal.input_correlation,
            "draws": len(measured.variance),
            "layers": [
                {
                    "layer": number,
                    "weight_std": layer.weight_std,
                    "predicted": {
                        **{name: getattr(layer, name) for name in names},
                        "fluctuation": layer.fluctuation,
                    },
                    "measured": {
                        name: _over_draws(getattr(measured, name)[:, number - 1]) for name in names
                    },
                }
                for number, layer in enumerate(signal.layers, start=1)
            ],
        }
    )


def _over_draws(values: NDArray[np.float64]) -> dict[str, float | None]:
    with np.errstate(over="ignore", invalid="ignore"):
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        return {"mean": float(values.mean()), "std": std}


def number(value: float | None, digits: int = 10) -> str:
    """Write a number with as many digits as the theory has, without trailing noise.

    Examples
    --------
    >>> [number(v) for v in (1.5335304411955353, 2.0, 0.0, None, float("inf"), 1e-30)]
    ['1.5335304412', '2', '0', 'none', 'inf', '1e-30']
    """
    if value is None:
        return "none"
    if not math.isfinite(value):
        return f"{value:g}"
    if 1e-4 <= abs(value) < 1e6:
        return np.format_float_positional(round(value, digits), trim="-")
    return f"{value:.{digits}g}"
