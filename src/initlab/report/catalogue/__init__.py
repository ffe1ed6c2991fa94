"""An entry of the catalogue as people read it: on a terminal, as a page, as one JSON document."""

from __future__ import annotations

from initlab.report.catalogue.record import Description, describe, find

__all__ = ["Description", "describe", "find"]
