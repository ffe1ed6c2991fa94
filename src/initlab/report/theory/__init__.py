"""The theory for people: as tables in a terminal, and as documents."""

from __future__ import annotations

from initlab.report.theory.documents import (
    edge_document,
    gain_document,
    map_document,
    point_document,
    signal_document,
)
from initlab.report.theory.terminal import EdgeView, GainView, MapView, PointView, SignalView

__all__ = [
    "EdgeView",
    "GainView",
    "MapView",
    "PointView",
    "SignalView",
    "edge_document",
    "gain_document",
    "map_document",
    "point_document",
    "signal_document",
]
