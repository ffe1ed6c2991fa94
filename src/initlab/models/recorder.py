"""Records a forward pass as a graph: one node for every operation that touches a signal."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

# How PyTorch documents tracing below autograd; it gives it no public home.
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,  # pyright: ignore[reportPrivateUsage] - no other way out of a mode
)
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from initlab.models import operations, operators
from initlab.models.graph import Graph, Known, Node, Replay, Slot, Use

_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


class Recorder(TorchDispatchMode):
    """Makes a node of every operation that touches a signal."""

    def __init__(self, names: Mapping[str, Tensor], parameters: set[str]) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.notes: dict[str, None] = {}
        self.made: list[weakref.ref[Tensor]] = []
        self._held = names
        self._written: dict[int, tuple[Any, int]] = {}  # memory -> itself, node of its last values
        self._signals = WeakTensorKeyDictionary()  # tensor -> node
        self._uses = WeakTensorKeyDictionary()  # tensor -> Use of a parameter
        self._buffers = WeakTensorKeyDictionary()  # tensor -> name
        self._modules: list[str] = []
        self._inside: list[tuple[nn.Module, list[int]]] = []  # recurrent modules being run
        for name, value in names.items():
            self.name(value, name, is_parameter=name in parameters)

    def name(self, value: Tensor, name: str, *, is_parameter: bool) -> None:
        """Remember whose tensor this is."""
        if is_parameter:
            self._uses[value] = Use(name)
        else:
            self._buffers[value] = name

    def source(self, value: Tensor, second: float) -> None:
        """Remember an input of the model, and its E[x²]."""
        geometry = {"second": second}
        self._signals[value] = self._add("input", "input", (), value, geometry=geometry)

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        """Take note that a module starts."""
        self._modules.append(name)
        if isinstance(module, _RECURRENT):
            self._inside.append((module, self._parents(inputs)))

    def leave(self, module: nn.Module, output: Any) -> None:
        """Take note that a module ends."""
        if self._inside and self._inside[-1][0] is module:
            _, parents = self._inside.pop()
            leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            if not self._inside and leaves:
                node = self._add("recurrent", _mode(module), tuple(parents[:1]), leaves[0])
                for leaf in leaves:
                    self._signals[leaf] = node
        if self._modules:
            self._modules.pop()

    def finish(self, output: Any) -> Graph:
        """Return the graph of a run that returned this."""
        ends: list[int] = []
        for leaf in tensors_of(output):
            node = self._signal(leaf)
            if node is not None:
                ends.append(node)
        return Graph(tuple(self.nodes), tuple(dict.fromkeys(ends)), tuple(self.notes))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        steps = operators.STEPS.get(operators.name_of(func))
        if steps is not None and self._parents(args):
            with self:
                return steps(*args, **kwargs)
        self._learned_input(func, args)
        parents = self._parents((args, kwargs))
        output = func(*args, **kwargs)
        self.made += [weakref.ref(x) for x in tree_leaves(output) if isinstance(x, Tensor)]
        with _disable_current_modes():  # what is computed here has values, and is no node
            if parents or operators.looks_up(func):
                self._note_signal(func, args, kwargs, output, tuple(parents))
            else:
                self._note_parameter(func, args, kwargs, output)
        return output

    def _learned_input(self, func: Any, args: Sequence[Any]) -> None:
        """Take a parameter that is multiplied by another one for an input that is learned."""
        if "parametrizations" in "".join(self._modules[-1:]):
            return
        fed = operators.fed_with(func, args)
        if fed is None or len(fed) < 2 or not all(isinstance(value, Tensor) for value in fed):
            return
        x, weight = fed
        use, other = self._use(x), self._use(weight)
        if use is None or other is None or use.name == other.name or use.derived or other.derived:
            return
        self._signals[x] = self._add("input", "parameter", (), x, weight=use)

    def _parents(self, values: Any) -> list[int]:
        nodes = (self._signal(leaf) for leaf in tree_leaves(values))
        return list(dict.fromkeys(node for node in nodes if node is not None))

    def _add(self, kind: Any, op: str, parents: tuple[int, ...], value: Tensor, **more: Any) -> int:
        module = self._modules[-1] if self._modules else ""
        shape = tuple(int(size) for size in value.shape)
        node = Node(len(self.nodes), kind, op, parents, shape, module=module, **more)
        self.nodes.append(node)
        self.made_node(node, value)
        return node.index

    def made_node(self, node: Node, value: Tensor) -> None:
        """Look at the value of a new node; there is something to see where the run has values."""

    def _note_parameter(self, func: Any, args: Sequence[Any], kwargs: Any, output: Any) -> None:
        """Follow a parameter through views and through what is computed from it."""
        uses = [
            self._uses[leaf]
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, Tensor) and leaf in self._uses
        ]
        if not uses:
            return
        name = operators.name_of(func)
        use = uses[0]
        if name in operators.TRANSPOSES:
            use = Use(use.name, not use.input_first, use.derived)
        elif name not in operators.SHAPES or len({other.name for other in uses}) > 1:
            number = args[1] if name == "add" and len(uses) == 1 and not use.derived else None
            offset = float(number) if isinstance(number, (int, float)) else 0.0
            use = Use(use.name, use.input_first, derived=True, offset=offset)
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor) and leaf not in self._uses:
                self._uses[leaf] = use

    def _note_signal(
        self, func: Any, args: Sequence[Any], kwargs: Any, output: Any, parents: tuple[int, ...]
    ) -> None:
        """Make a node for each tensor that the operation returned."""
        name = operators.name_of(func)
        if name in operators.IGNORED:
            return
        if name in operators.COMPARISONS and not args[0].is_floating_point():
            return  # of token numbers: a mask, no signal
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if name in operators.FIRST_OUTPUT_ONLY:
            tensors = tensors[:1]
        if not tensors:
            return
        seen = operations.View(
            func, tuple(args), dict(kwargs), self._signal, self._use, self.nodes, self._held
        )
        kind, more = operations.describe(name, seen, tensors[0])
        more_parents = more.pop("parents", None)
        if kind in {"pointwise", "shape", "concat"}:
            more["replay"] = self._replay(func, args, kwargs)
        elif kind == "unknown":
            self.notes[f"the operation {name} is not followed: its input's size is assumed"] = None
        for part, tensor in enumerate(tensors):
            self._signals[tensor] = self._add(
                kind, name, more_parents or parents, tensor, part=part, parts=len(tensors), **more
            )
        if operators.is_in_place(func):
            self._note_write(tensors[0])

    def _note_write(self, value: Tensor) -> None:
        """Remember that memory has new values, which every view of all of it shows.

        Where a part was written, they are what was there before and what was written.
        """
        key = operations.storage_of(value)
        if key is None:
            return
        node = self._signals[value]
        if not _is_all(value):
            before = self._written.get(key, (None, self._signals.get(value._base)))[1]  # noqa: SLF001
            parents = (node,) if before is None else (before, node)
            kind = "shape" if before is None else "concat"
            node = self._add(kind, "write", parents, value)
        self._written[key] = (value.untyped_storage(), node)

    def _signal(self, value: Any) -> int | None:
        if not isinstance(value, Tensor):
            return None
        node = self._signals.get(value)
        if self._written and (node is None or _is_all(value)):
            written = self._written.get(operations.storage_of(value) or 0)
            if written is not None:
                return max(written[1], -1 if node is None else node)
        return node

    def _use(self, value: Any) -> Use | None:
        return self._uses[value] if isinstance(value, Tensor) and value in self._uses else None

    def _replay(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Replay:
        def stand_in(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            node = self._signal(value)
            if node is not None:
                return Slot(node)
            use = self._use(value)
            if use is not None and not use.derived:
                return Known(use.name)
            if value in self._buffers:
                return Known(self._buffers[value])
            constant = getattr(value, "constant", value)  # of a tensor without data
            if use is None and isinstance(constant, Tensor) and constant.numel() == 1:
                return constant.item()
            return Known("")  # made on the way, of unknown values

        stood_in = tree_map(stand_in, (tuple(args), dict(kwargs)))
        return Replay(operators.functional(func), *stood_in)


def _mode(module: nn.Module) -> str:
    """Return ``LSTM``, ``GRU``, ``RNN`` or ``RNN_RELU`` for a recurrent module or cell."""
    if isinstance(module, (nn.LSTM, nn.LSTMCell)):
        return "LSTM"
    if isinstance(module, (nn.GRU, nn.GRUCell)):
        return "GRU"
    return "RNN_RELU" if getattr(module, "nonlinearity", "tanh") == "relu" else "RNN"


def _is_all(value: Tensor) -> bool:
    """Tell whether a tensor shows all of its memory."""
    try:
        return value.numel() * value.element_size() == value.untyped_storage().nbytes()
    except (NotImplementedError, RuntimeError):
        return False


def tensors_of(output: Any, depth: int = 6) -> Iterator[Tensor]:
    """Yield the tensors in what a model returned: in containers, mappings and objects' fields."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_of(value, depth - 1)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from tensors_of(value, depth - 1)
    elif depth > 0 and not isinstance(output, nn.Module) and hasattr(output, "__dict__"):
        yield from tensors_of(dict(vars(output)), depth - 1)
