"""Finds every product of a signal with a weight while a model runs, in execution order.

Below autograd each linear layer, convolution and functional call comes down to a few operations.
A weight is known by its memory, so that views of it (transposed, a third of a packed projection)
are found too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# How PyTorch documents looking below autograd; it gives the class no public home.
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ATEN = torch.ops.aten

# Recurrent modules run a weight at every time step, embeddings only look it up.
_OTHER_MODULES = (nn.RNNBase, nn.RNNCellBase, nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True, eq=False)
class Product:
    """A signal times a weight.

    Attributes
    ----------
    name
        The parameter; with the first and last entry where the weight is only a slice of it.
    parameter
        Its name alone.
    signal
        The other factor.
    weight
        What is multiplied; a change in place changes the parameter.
    bias
        What is added in the same operation; None without.
    movable
        The bias as one number a channel, if it is a parameter that may be changed; else None.
    per_channel
        Shape of one number a channel, to multiply ``weight`` with.
    compute
        Runs the operation again, with the weight as it then is.
    channels
        Turns an output into one row a channel.
    """

    name: str
    parameter: str
    signal: Tensor
    weight: Tensor
    bias: Tensor | None
    movable: Tensor | None
    per_channel: tuple[int, ...]
    compute: Callable[[], Tensor]
    channels: Callable[[Tensor], Tensor]


class Visitor(Protocol):
    """What is done with the products."""

    def product(self, product: Product, /) -> Tensor:
        """Return the operation's output."""
        ...

    def bias(self, product: Product, bias: Tensor, /) -> None:
        """Take note of a bias that is added to the last product in an operation of its own."""
        ...


class Products(TorchDispatchMode):
    """Shows a visitor each product with one of the parameters: its first use alone.

    Attributes
    ----------
    calls
        How often each one was used.
    notes
        What was not shown, and why.
    """

    def __init__(
        self, model: nn.Module, parameters: Mapping[str, nn.Parameter], visitor: Visitor
    ) -> None:
        super().__init__()
        self.visitor = visitor
        self.memory = _Memory(dict(model.named_parameters()))
        self.adaptable = adaptable(model, parameters)
        self.parameters = parameters
        self.calls: Counter[str] = Counter()
        self.used: dict[str, list[range]] = {}
        self.elsewhere: set[str] = set()
        self.overlapping: set[str] = set()
        self.last: tuple[Product, Tensor] | None = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation, or have the visitor run it."""
        kwargs = kwargs or {}
        found = self._find(func, args, kwargs)
        if found is not None:
            out = self.visitor.product(found)
            self.last = (found, out)
            return out
        self._meet_bias(func, args)
        out = func(*args, **kwargs)
        self._note_other_use(func, args, kwargs, out)
        return out

    def _find(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Product | None:
        read = _READERS.get(func.overloadpacket)
        operands = read(args) if read is not None else None
        if operands is None:
            return None
        for operand in operands:
            owner = self.memory.owner(operand.weight)
            # A product of two parameters (a low-rank pair) says nothing about signals.
            if owner not in self.adaptable or self.memory.owner(operand.signal):
                continue
            if owner in self.elsewhere or not self._first(owner, operand.weight):
                return None
            return Product(
                name=self._label(owner, operand.weight),
                parameter=owner,
                signal=operand.signal,
                weight=operand.weight,
                bias=operand.bias,
                movable=self._movable(operand.bias, operand.per_channel),
                per_channel=operand.per_channel,
                compute=lambda: func(*args, **kwargs),
                channels=operand.channels,
            )
        return None

    def _movable(self, bias: Tensor | None, per_channel: tuple[int, ...]) -> Tensor | None:
        if bias is None or self.memory.owner(bias) not in self.parameters:
            return None
        return bias.view(-1) if bias.numel() == math.prod(per_channel) else None

    def _first(self, owner: str, weight: Tensor) -> bool:
        place = _place(weight)
        self.calls[owner] += 1
        if place in self.used.setdefault(owner, []):
            return False
        if any(place.start < other.stop and other.start < place.stop for other in self.used[owner]):
            self.overlapping.add(owner)
            return False
        self.used[owner].append(place)
        return True

    def _label(self, owner: str, weight: Tensor) -> str:
        whole, place = _place(self.parameters[owner]), _place(weight)
        if place == whole:
            return owner
        return f"{owner}[{place.start - whole.start}:{place.stop - whole.start}]"

    def _meet_bias(self, func: Any, args: tuple[Any, ...]) -> None:
        if self.last is None or func.overloadpacket not in (_ATEN.add, _ATEN.add_):
            return
        product, out = self.last
        terms = [term for term in args[:2] if isinstance(term, Tensor)]
        if product.bias is not None or _pointer(out) not in map(_pointer, terms):
            return
        self.last = None
        for term in terms:
            bias = self._movable(term, product.per_channel)
            if bias is not None:
                self.visitor.bias(product, bias)

    def _note_other_use(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """Mark weights that are used before, and otherwise: as an embedding, normalised, ..."""
        if func in _SHAPE_ONLY or func.overloadpacket in _READERS:
            return
        made = {_pointer(leaf) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and _pointer(leaf) not in made:
                owner = self.memory.owner(leaf)
                if owner in self.adaptable and owner not in self.used:
                    self.elsewhere.add(owner)

    @property
    def notes(self) -> list[str]:
        """What was not shown, and why, each one line."""
        notes: list[str] = []
        for name in self.adaptable:
            pieces = len(self.used.get(name, ()))
            if name in self.elsewhere:
                notes.append(f"{name}: left as it is: it is not (only) multiplied with a signal")
            elif not pieces:
                notes.append(f"{name}: left as it is: no product with it was seen")
            elif self.calls[name] > pieces:
                notes.append(f"{name}: used {self.calls[name]} times; scaled by the first")
            if name in self.overlapping:
                notes.append(f"{name}: slices of it that overlap are used; only the first counts")
        return notes


def adaptable(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Return the names of parameters that can be a weight: two axes or more, of a fit module."""
    barred = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _OTHER_MODULES)
        for parameter in module.parameters(recurse=False)
    }
    products = {
        id(parameter)
        for module in model.modules()
        if not isinstance(module, _OTHER_MODULES)
        for parameter in module.parameters(recurse=False)
    }
    return [
        name
        for name, parameter in parameters.items()
        if parameter.dim() >= 2
        and parameter.numel() > 0
        # A weight tied to an embedding is kept in view: it is noted, not silently passed over.
        and (id(parameter) not in barred or id(parameter) in products)
    ]


class _Memory:
    """Knows parameters by where they lie."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.places: dict[int, list[tuple[range, str]]] = {}
        for name, parameter in parameters.items():
            if parameter.numel():
                self.places.setdefault(_pointer(parameter), []).append((_place(parameter), name))

    def owner(self, tensor: Tensor) -> str:
        """Return the parameter that a tensor is a view of; empty if none."""
        start = tensor.storage_offset()
        for place, name in self.places.get(_pointer(tensor), ()):
            if start in place:
                return name
        return ""


def _pointer(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:  # a sparse tensor has no single storage
        return 0
    return tensor.untyped_storage().data_ptr()


def _place(tensor: Tensor) -> range:
    """Return which entries of its storage a tensor spans."""
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    start = tensor.storage_offset()
    return range(start, start + reach + 1)


@dataclass(frozen=True, eq=False)
class _Operand:
    """One reading of an operation: which factor is the weight, and where its channels lie."""

    signal: Tensor
    weight: Tensor
    bias: Tensor | None
    per_channel: tuple[int, ...]
    channels: Callable[[Tensor], Tensor]


def _last_axis(out: Tensor) -> Tensor:
    return out.reshape(-1, out.shape[-1]).T


def _second_axis(out: Tensor) -> Tensor:
    return out.transpose(0, 1).flatten(1)


def _matrices(left: Tensor, right: Tensor, bias: Tensor | None) -> Iterator[_Operand]:
    """Read ``left @ right``, each with two axes or, batched, with three."""
    # Weight on the right, (..., in, out): channels are the columns of the output.
    weight, batched = _alone(right)
    if batched:
        yield _Operand(
            left,
            weight,
            bias,
            (weight.shape[0], 1, weight.shape[-1]),
            lambda out: out.transpose(1, 2).flatten(0, 1),
        )
    else:
        shape = (1,) * (weight.dim() - 1) + (weight.shape[-1],)
        yield _Operand(left, weight, bias, shape, _last_axis)
    # Weight on the left, (..., out, in): channels are the rows.
    weight, batched = _alone(left)
    if batched:
        yield _Operand(
            right,
            weight,
            None,
            (weight.shape[0], weight.shape[1], 1),
            lambda out: out.flatten(0, 1),
        )
    else:
        shape = (1,) * (weight.dim() - 2) + (weight.shape[-2], 1)
        yield _Operand(
            right,
            weight,
            None,
            shape,
            lambda out: out if out.dim() == 2 else _second_axis(out),
        )


def _alone(weight: Tensor) -> tuple[Tensor, bool]:
    """Undo a repetition along the batch axis; tell whether a true batch is left."""
    if weight.dim() == 3 and (weight.shape[0] == 1 or weight.stride(0) == 0):
        return weight.narrow(0, 0, 1), False
    return weight, weight.dim() == 3


def _convolution(args: Sequence[Any]) -> Iterator[_Operand]:
    signal, weight, bias, transposed, groups = args[0], args[1], args[2], args[6], args[8]
    ones = (1,) * (weight.dim() - 2)
    if transposed:  # (in, out / groups, ...)
        weight = weight.unflatten(0, (groups, -1))
        yield _Operand(signal, weight, bias, (groups, 1, weight.shape[2], *ones), _second_axis)
    else:
        yield _Operand(signal, weight, bias, (weight.shape[0], 1, *ones), _second_axis)


def _vector(args: Sequence[Any]) -> Iterator[_Operand]:
    yield _Operand(args[1], args[0], None, (args[0].shape[0], 1), lambda out: out.unsqueeze(1))


def _bilinear(args: Sequence[Any]) -> Iterator[_Operand]:
    if args[1].dim() == 3:
        yield _Operand(args[0], args[1], None, (args[1].shape[0], 1, 1), _last_axis)


def _linear(args: Sequence[Any]) -> Iterator[_Operand]:
    bias = args[2] if len(args) > 2 else None
    yield _Operand(args[0], args[1], bias, (args[1].shape[0], 1), _last_axis)


_READERS: Mapping[Any, Callable[[Sequence[Any]], Iterator[_Operand]]] = {
    _ATEN.mm: lambda args: _matrices(args[0], args[1], None),
    _ATEN.bmm: lambda args: _matrices(args[0], args[1], None),
    _ATEN.addmm: lambda args: _matrices(args[1], args[2], args[0]),
    _ATEN.baddbmm: lambda args: _matrices(args[1], args[2], args[0]),
    _ATEN.mv: _vector,
    _ATEN.linear: _linear,
    _ATEN.convolution: _convolution,
    _ATEN._trilinear: _bilinear,  # noqa: SLF001 - an operation's name
}

# They look at a weight without using its values.
_SHAPE_ONLY = frozenset(
    {_ATEN.empty_like.default, _ATEN.zeros_like.default, _ATEN.ones_like.default}
)
