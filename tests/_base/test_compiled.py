"""Compilation where nothing can be kept on disk."""

from __future__ import annotations

import pytest
from numba.core.dispatcher import Dispatcher

from initlab._base.compiled import compiled


def half(x: float) -> float:
    return x / 2


def test_without_a_folder_to_keep_it_in_a_function_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Dispatcher) -> None:
        raise RuntimeError("cannot cache function 'half': no locator available")

    monkeypatch.setattr(Dispatcher, "enable_caching", refuse)
    function = compiled(half)
    assert function(3.0) == 1.5
    assert function.signatures
