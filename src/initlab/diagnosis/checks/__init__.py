"""The checks, one file each, in the order in which their findings are causes of one another."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from initlab.diagnosis.checks._check import Check

_FILES = (
    "unit01_identical",
    "unit04_blocked",
    "layer01_cloned",
    "layer03_transposed",
    "layer04_grouped",
    "layer05_packed",
    "layer07_recurrent",
    "layer08_truncated",
    "layer09_normalisation",
    "layer06_residual",
    "sig06_inputs",
    "out03_wide_head",
    "layer02_scale",
    "unit03_saturated",
    "unit02_dead",
    "sig01_vanishes",
    "sig02_explodes",
    "sig03_gradient_vanishes",
    "sig04_gradient_explodes",
    "sig05_correlation",
    "out01_overconfident",
    "out02_prior",
    "step01_update",
    "width01_coordinates",
)


def catalogue() -> Mapping[str, Check]:
    """Return every check by its code, causes before their effects."""
    found = [import_module(f"{__name__}.{name}").CHECK for name in _FILES]
    return {check.code: check for check in found}


__all__ = ["Check", "catalogue"]
