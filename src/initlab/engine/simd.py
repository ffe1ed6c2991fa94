"""Vector code inside Numba functions: what a kernel is specialised for, and how a block is emitted.

Samples are the vector lanes. A *panel* holds rows of numbers for all samples of a batch: it is cut
into tiles of ``T`` samples (two vectors), laid out ``[tile][row][T]``. The rows are the inputs, the
activations of each layer and, where needed, their derivatives; a layer's derivative by its
pre-activations (its *delta*) overwrites one of the two. The blocks that work on panels are in
:mod:`initlab.engine.blocks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox

from initlab import activations
from initlab.engine.vector import Vector

_I32, _I64 = ir.IntType(32), ir.IntType(64)
VECTORS = 2
"""Vectors in a tile."""


@cache
def machine_vector_bytes() -> int:
    """Return the width of the machine's vector registers: 64 (AVX-512), 32 (AVX) or 16 bytes."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


@cache
def version() -> str:
    """Hash the sources that kernels are made of; in their type, so that no stale one is loaded."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update((resources.files("initlab._base") / "compiled.py").read_bytes())
    for package in ("initlab.engine", "initlab.activations"):
        files = [f for f in resources.files(package).iterdir() if f.name.endswith(".py")]
        for file in sorted(files, key=lambda f: f.name):
            digest.update(file.read_bytes())
    return digest.hexdigest()


class Kernel:
    """What a training kernel is specialised for; passed to it as its first argument.

    Parameters
    ----------
    activation
        Name of the hidden activation.
    vector_bytes
        Width of the vectors used; the machine's by default.
    """

    def __init__(self, activation: str, vector_bytes: int | None = None) -> None:
        self.activation = activations.get(activation).name
        self.vector_bytes = vector_bytes or machine_vector_bytes()

    def tile(self, dtype: np.dtype[Any]) -> int:
        """Return the samples in a tile for a number format."""
        return VECTORS * self.vector_bytes // dtype.itemsize

    @property
    def keeps_slopes(self) -> bool:
        """Whether φ' is kept from the forward pass, because it does not follow from φ."""
        return activations.get(self.activation).derivative_from_value is None


class KernelType(types.Opaque):  # pyright: ignore[reportUntypedBaseClass] - Numba has no types
    """The Numba type of a :class:`Kernel`: one compiled variant of a function for each."""

    def __init__(self, activation: str, vector_bytes: int, version: str) -> None:
        self.activation = activation
        self.vector_bytes = vector_bytes
        super().__init__(name=f"Kernel({activation}, {vector_bytes}, {version})")


register_model(KernelType)(models.OpaqueModel)


@typeof_impl.register(Kernel)
def _typeof_kernel(kernel: Kernel, _context: Any) -> KernelType:
    return KernelType(kernel.activation, kernel.vector_bytes, version())


@unbox(KernelType)
def _unbox_kernel(_type: Any, _object: Any, context: Any) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


def block_limits(kernel: Kernel | KernelType) -> tuple[int, int, int]:
    """Return the most rows of a product block, and the most rows and columns of a gradient block.

    As many sums as the registers hold: 32 with AVX-512 and on ARM, 16 with AVX and SSE.
    """
    arm = kernel.vector_bytes == 16 and not llvm.get_host_cpu_features().get("sse2")
    return (8, 5, 5) if kernel.vector_bytes == 64 or arm else (5, 3, 4)


class Emitter:
    """Emits one block: knows the vector type, loads and stores, loops.

    Parameters
    ----------
    context, builder
        Numba's, for the function being compiled.
    kernel
        Gives activation and vector width.
    dtype
        Numba type of the numbers.
    """

    def __init__(self, context: Any, builder: ir.IRBuilder, kernel: KernelType, dtype: Any) -> None:
        self.context = context
        self.builder = builder
        self.element = context.get_value_type(dtype)
        self.item_bytes = dtype.bitwidth // 8
        self.lanes = kernel.vector_bytes // self.item_bytes
        self.tile = VECTORS * self.lanes
        self.type = ir.VectorType(self.element, self.lanes)
        self.most_rows, *self.most_gradients = block_limits(kernel)
        self.activation = activations.get(kernel.activation)

    def zero(self) -> Vector:
        """Return a vector of zeros."""
        return Vector(self.builder, ir.Constant(self.type, [0.0] * self.lanes))

    def data(self, array_type: Any, array: Any) -> Any:
        """Return the pointer to an array's first element."""
        return self.context.make_array(array_type)(self.context, self.builder, array).data

    def at(self, *terms: Any) -> Any:
        """Add up offsets, each an LLVM value or a number."""
        total: Any = None
        for term in terms:
            value = ir.Constant(_I64, term) if isinstance(term, int) else term
            total = value if total is None else self.builder.add(total, value)
        return total

    def times(self, left: Any, right: Any) -> Any:
        """Multiply an offset by an LLVM value or a number."""
        right = ir.Constant(_I64, right) if isinstance(right, int) else right
        return self.builder.mul(left, right)

    def load(self, pointer: Any, offset: Any) -> Vector:
        """Load a vector at an offset in elements."""
        address = self.builder.gep(pointer, [offset])
        source = self.builder.bitcast(address, self.type.as_pointer())
        return Vector(self.builder, self.builder.load(source, align=self.item_bytes))

    def load_rows(self, pointer: Any, offset: Any, count: int) -> list[Vector]:
        """Load the vectors at the same place of ``count`` rows of a tile."""
        return [self.load(pointer, self.at(offset, j * self.tile)) for j in range(count)]

    def store(self, vector: Vector, pointer: Any, offset: Any) -> None:
        """Store a vector at an offset in elements."""
        address = self.builder.gep(pointer, [offset])
        target = self.builder.bitcast(address, self.type.as_pointer())
        self.builder.store(vector.value, target, align=self.item_bytes)

    def splat(self, pointer: Any, offset: Any) -> Vector:
        """Load one number and repeat it over a vector."""
        number = self.builder.load(self.builder.gep(pointer, [offset]))
        undefined = ir.Constant(self.type, ir.Undefined)
        single = self.builder.insert_element(undefined, number, ir.Constant(_I32, 0))
        lanes = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return Vector(self.builder, self.builder.shuffle_vector(single, undefined, lanes))

    @contextmanager
    def loop(self, count: Any) -> Generator[Any]:
        """Emit a loop; gives its index. LLVM is kept from unrolling it: the blocks are already."""
        builder = self.builder
        before = builder.block
        body = builder.append_basic_block("loop.body")
        end = builder.append_basic_block("loop.end")
        builder.cbranch(builder.icmp_signed(">", count, ir.Constant(_I64, 0)), body, end)
        builder.position_at_end(body)
        index = builder.phi(_I64)
        index.add_incoming(ir.Constant(_I64, 0), before)
        yield index
        following = builder.add(index, ir.Constant(_I64, 1))
        index.add_incoming(following, builder.block)
        again = builder.cbranch(builder.icmp_signed("<", following, count), body, end)
        module = builder.module
        off = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        again.set_metadata("llvm.loop", module.add_metadata([off]))
        builder.position_at_end(end)

    @contextmanager
    def cases(self, value: Any, count: int) -> Generator[Iterator[int]]:
        """Emit a switch over 1 ... ``count``; gives an iterator that opens one case after another.

        Any other value does nothing.
        """
        builder = self.builder
        end = builder.append_basic_block("switch.end")
        switch = builder.switch(value, end)

        def each() -> Iterator[int]:
            for number in range(1, count + 1):
                block = builder.append_basic_block(f"case.{number}")
                switch.add_case(ir.Constant(_I64, number), block)
                builder.position_at_end(block)
                yield number
                builder.branch(end)

        yield each()
        builder.position_at_end(end)

    def sums(self, count: int, start: Sequence[Vector] | None = None) -> list[Sum]:
        """Make ``count`` running sums, from given vectors or zero."""
        return [Sum(self, start[i] if start else self.zero()) for i in range(count)]

    def add_up_lanes(self, vectors: Sequence[Vector]) -> Vector:
        """Sum each of up to ``lanes`` vectors over its lanes; lane i of the result is the i-th sum.

        A tree in which each round adds neighbouring lanes of two vectors into one.
        """
        level = list(vectors)
        for _ in range(self.lanes.bit_length() - 1):
            if len(level) == 1:
                level = [self._add_neighbours(level[0], level[0])]
                continue
            level += level[-1:] * (len(level) % 2)
            level = [
                self._add_neighbours(a, b) for a, b in zip(level[::2], level[1::2], strict=True)
            ]
        return level[0]

    def _add_neighbours(self, a: Vector, b: Vector) -> Vector:
        kind = ir.VectorType(_I32, self.lanes)
        even, odd = (
            self.builder.shuffle_vector(
                a.value, b.value, ir.Constant(kind, list(range(first, 2 * self.lanes, 2)))
            )
            for first in (0, 1)
        )
        return Vector(self.builder, even) + Vector(self.builder, odd)

    def store_lane(self, vector: Vector, lane: int, pointer: Any, offset: Any) -> None:
        """Store one lane of a vector."""
        number = self.builder.extract_element(vector.value, ir.Constant(_I32, lane))
        self.builder.store(number, self.builder.gep(pointer, [offset]))


class Sum:
    """A running sum that stays in a register: a stack slot that the optimiser promotes."""

    def __init__(self, emitter: Emitter, start: Vector) -> None:
        self._builder = emitter.builder
        self._slot = cgutils.alloca_once(emitter.builder, emitter.type)
        self.set(start)

    def set(self, vector: Vector) -> None:
        """Replace the value."""
        self._builder.store(vector.value, self._slot)

    def get(self) -> Vector:
        """Return the value."""
        return Vector(self._builder, self._builder.load(self._slot))
