"""Keeps tensors that a run writes into, and puts their values back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# How PyTorch documents tracing below autograd; it gives it no public home.
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from initlab.models.operations import storage_of


class Guard:
    """Looks at every operation before it runs, and copies what it is about to write into.

    Parameters
    ----------
    tensors
        What is guarded, by name; nothing is copied before it is written into.

    Attributes
    ----------
    overwritten
        What was written into, by name, with the values from before.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.overwritten: dict[str, tuple[Tensor, Tensor]] = {}
        self._own: dict[int, dict[str, Tensor]] = {}  # memory -> what is kept in it
        for name, value in tensors.items():
            key = storage_of(value)
            if key is not None:
                self._own.setdefault(key, {})[name] = value.detach()

    def before(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Keep the values of what an operation is about to write into."""
        if not func._schema.is_mutable:  # noqa: SLF001 - its only home
            return
        for value in _written(func, args, kwargs):
            for name, held in self._own.get(storage_of(value) or 0, {}).items():
                if name not in self.overwritten:
                    self.overwritten[name] = (held, held.clone())

    def restore(self) -> None:
        """Put the values back."""
        with torch.no_grad():
            for held, before in self.overwritten.values():
                held.copy_(before)


class Guarding(TorchDispatchMode):
    """Has a guard look at all that runs in the ``with`` statement."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self._guard.before(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """Yield the arguments that an operation writes into."""
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001 - its only home
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        for leaf in tree_leaves(value):
            if isinstance(leaf, Tensor):
                yield leaf
