"""What an initialisation should do: mean-field theory of wide networks, for any activation."""

from __future__ import annotations

from initlab.activations.moments import GaussianMoments
from initlab.theory.blocks import (
    Activate,
    Block,
    Convolution,
    Dense,
    Dropout,
    LayerNorm,
    Residual,
    fully_connected,
)
from initlab.theory.critical import Critical, Edge, critical_point, edge_curve, edge_of_chaos
from initlab.theory.diagram import PhaseDiagram, phase_diagram
from initlab.theory.fixed import depth_scales, fixed_point, fixed_points
from initlab.theory.function import as_activation
from initlab.theory.gains import Gain, gain, moments
from initlab.theory.linear import learning_time, mode_strength
from initlab.theory.maps import chi, correlation_map, variance_map
from initlab.theory.points import DepthScales, FixedPoint, Law, Point
from initlab.theory.signals import LayerSignal, Signal, signal

__all__ = [
    "Activate",
    "Block",
    "Convolution",
    "Critical",
    "Dense",
    "DepthScales",
    "Dropout",
    "Edge",
    "FixedPoint",
    "Gain",
    "GaussianMoments",
    "Law",
    "LayerNorm",
    "LayerSignal",
    "PhaseDiagram",
    "Point",
    "Residual",
    "Signal",
    "as_activation",
    "chi",
    "correlation_map",
    "critical_point",
    "depth_scales",
    "edge_curve",
    "edge_of_chaos",
    "fixed_point",
    "fixed_points",
    "fully_connected",
    "gain",
    "learning_time",
    "mode_strength",
    "moments",
    "phase_diagram",
    "signal",
    "variance_map",
]
