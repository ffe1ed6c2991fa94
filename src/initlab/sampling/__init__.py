"""Random numbers for weights: entry i depends on (key, i) alone, so any part can be drawn alone."""

from initlab.sampling.fill import (
    fill_normal,
    fill_truncated_normal,
    fill_uniform,
    require_fillable,
)
from initlab.sampling.keys import Key
from initlab.sampling.stream import CounterStream

__all__ = [
    "CounterStream",
    "Key",
    "fill_normal",
    "fill_truncated_normal",
    "fill_uniform",
    "require_fillable",
]
