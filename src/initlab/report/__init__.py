"""From finished runs to what people look at: tables, figures, a page, and ``compare`` over all."""

from __future__ import annotations

from initlab.report.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
