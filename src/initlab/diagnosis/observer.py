"""Watches a model run: reduces every signal as it passes, and its gradient on the way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from initlab.diagnosis.guard import Guard
from initlab.diagnosis.reductions import Numbers, Scores, reduce, scores
from initlab.models import operators
from initlab.models.graph import Node
from initlab.models.recorder import Recorder

# Their values are those of the node before, moved or cut.
_UNMEASURED = frozenset({"shape", "pad"})


class Observer(Recorder):
    """Makes a node of every operation, as when a model is traced, and measures its output.

    Nothing that passes by is kept.

    Parameters
    ----------
    names, parameters
        The model's parameters and buffers by name, and which of them are parameters.
    guard
        Is asked before each operation.

    Attributes
    ----------
    numbers
        By node; those without a place in it are not measured.
    gradients
        By node: Σ g² over the gradient of its output, once the backward pass has been there.
    scores
        By node, of attentions that are computed in one step.
    written
        Nodes that overwrote what they read.
    """

    def __init__(self, names: Mapping[str, Tensor], parameters: set[str], guard: Guard) -> None:
        super().__init__(names, parameters)
        self.numbers: dict[int, Numbers] = {}
        self.gradients: dict[int, float] = {}
        self.scores: dict[int, Scores] = {}
        self.written: list[int] = []
        self._guard = guard
        self._running: list[nn.Module] = []
        self._watched: set[int] = set()
        self._types: dict[str, str] = {}

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        """Take note that a module starts; where the run fails, it is the last one to have."""
        super().enter(name, module, inputs)
        self._running.append(module)
        self._types[name] = type(module).__name__

    def leave(self, module: nn.Module, output: Any) -> None:
        """Take note that a module ends, and with it those inside that ended with an error."""
        while self._running and self._running.pop() is not module:
            self._modules.pop()
        super().leave(module, output)

    @property
    def place(self) -> str:
        """Name and type of the module that is running, for a message; empty if none is."""
        if not self._modules:
            return ""
        name = self._modules[-1]
        return f"{name} ({self._types[name]})" if name else self._types[name]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        for leaf in leaves:
            self._watch(leaf)
        self._guard.before(func, args, kwargs or {})
        if operators.name_of(func) == "detach" and leaves:
            # Autograd takes such copies for itself; they are the same signal.
            output = func(*args, **(kwargs or {}))
            node = self._signal(leaves[0])
            if node is not None and isinstance(output, Tensor):
                self._signals[output] = node
            use = self._use(leaves[0])
            if use is not None and isinstance(output, Tensor):
                self._uses[output] = use
            return output
        before = len(self.nodes)
        output = super().__torch_dispatch__(func, types, args, kwargs)
        for node in self.nodes[before:]:
            if node.kind == "attention" and len(leaves) > 1:
                self._score(node, leaves, func, args, kwargs or {})
            elif operators.is_in_place(func):
                self.written.append(node.index)
        return output

    def made_node(self, node: Node, value: Tensor) -> None:
        """Measure what a node made."""
        if node.kind in _UNMEASURED:
            return
        with torch.no_grad():
            found = reduce(value, self._axis(node, value), node.op)
        if found is not None:
            self.numbers[node.index] = found

    def watch(self, value: Tensor) -> None:
        """Have the gradient of a signal measured; for those that nothing reads, the outputs."""
        self._watch(value)

    def _watch(self, value: Tensor) -> None:
        if not value.requires_grad or value.grad_fn is None:
            return
        node = self._signal(value)
        if node is None or node in self._watched or self.nodes[node].kind in _UNMEASURED:
            return
        self._watched.add(node)
        value.register_hook(self._receiver(node))

    def _receiver(self, node: int) -> Callable[[Tensor], None]:
        def receive(gradient: Tensor) -> None:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            if dense.is_complex():
                dense = torch.view_as_real(dense.resolve_conj())
            norm = float(torch.linalg.vector_norm(dense.detach(), dtype=_wide(dense)))
            if not math.isfinite(norm):  # squares may not fit where the values do
                norm = float(torch.linalg.vector_norm(dense.detach(), dtype=torch.float64))
            self.gradients[node] = self.gradients.get(node, 0.0) + norm * norm

        return receive

    def _score(
        self,
        node: Node,
        leaves: Sequence[Tensor],
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        names = [argument.name for argument in func._schema.arguments]  # noqa: SLF001 - its only home
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        with torch.no_grad():
            found = scores(
                leaves[0],
                leaves[1],
                given.get("scale"),
                causal=bool(given.get("is_causal")),
            )
        if found is not None:
            self.scores[node.index] = found

    def _axis(self, node: Node, value: Tensor) -> int:
        """Return the axis that holds the units: 1 behind a convolution, else the last."""
        if "kernel" in node.geometry:
            return 1
        last = value.dim() - 1
        if node.kind in {"layer", "embedding", "recurrent", "attention", "matmul", "softmax"}:
            return last
        if node.kind == "input":
            return 1 if value.dim() >= 4 else last
        for parent in node.parents:
            before = self.numbers.get(parent)
            if before is not None and len(self.nodes[parent].shape) == value.dim():
                return before.axis
        return 1 if value.dim() >= 4 and node.kind in {"norm", "max", "mean"} else last


def _wide(value: Tensor) -> torch.dtype:
    return torch.float64 if value.dtype == torch.float64 else torch.float32
