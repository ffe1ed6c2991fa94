"""How much of the machine's arithmetic the kernel uses: its FLOP/s over the measured FMA peak.

The peak is that of one core running nothing but vector fused multiply-adds on registers, measured
in turns with the kernel, in pieces so short that some of them meet no disturbance. The kernel's
FLOPs are those of its matrix products, 2 m Σ 2 fan_out fan_in + 2 m Σ fan_out fan_in (the latter
over all layers but the first) for m samples; biases, activations, the deltas' slopes and the update
are work that the share does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import _common  # before what follows: it limits their threads
import numba as nb
import numpy as np
from _alternatives import engine
from course_network import course_problem
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from wide_networks import SHAPES, random_problem

from initlab.engine.recipe import Precision
from initlab.engine.simd import machine_vector_bytes

BYTES = machine_vector_bytes()
CHAINS = 12 if BYTES == 32 else 16
"""Independent sums: enough to hide an FMA's latency, few enough for AVX's 16 registers."""


@intrinsic
def fma_chains(_context: Any, numbers: Any, rounds: Any) -> Any:
    """Run ``rounds`` FMAs in each chain of vectors, and store a sum so that they are needed."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        element = context.get_value_type(signature.args[0].dtype)
        vector = ir.VectorType(element, lanes(signature.args[0].dtype))
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(array.data, vector.as_pointer())
        suffix = f"v{vector.count}f{64 if isinstance(element, ir.DoubleType) else 32}"
        fma = builder.module.declare_intrinsic(
            f"llvm.fmuladd.{suffix}", (), ir.FunctionType(vector, [vector] * 3)
        )
        # Chains start at different numbers, or the compiler would keep one of them only.
        starts = [load(builder, pointer, number) for number in range(CHAINS)]
        sums = [cgutils.alloca_once_value(builder, start) for start in starts]
        half = ir.Constant(vector, [0.5] * vector.count)
        with cgutils.for_range(builder, args[1]):
            for cell in sums:
                builder.store(builder.call(fma, [builder.load(cell), half, starts[0]]), cell)
        total = builder.load(sums[0])
        for cell in sums[1:]:
            total = builder.fadd(total, builder.load(cell))
        builder.store(total, pointer, align=element.get_abi_size(context.target_data))
        return context.get_dummy_value()

    return types.void(numbers, rounds), emit


def load(builder: ir.IRBuilder, pointer: Any, index: int) -> Any:
    """Load the vector of an index; NumPy's arrays are aligned to their elements only."""
    place = builder.gep(pointer, [ir.Constant(ir.IntType(64), index)])
    return builder.load(place, align=4)


def lanes(dtype: types.Type) -> int:
    """Elements in a vector."""
    return BYTES * 8 // dtype.bitwidth


@nb.njit
def run_chains(numbers: Any, rounds: int) -> None:
    """Call the loop from Python."""
    fma_chains(numbers, rounds)


def peak(precision: Precision, rounds: int) -> tuple[Callable[[], None], float]:
    """Return the loop for a number format, and the FLOPs of one call."""
    width = BYTES // np.dtype(precision).itemsize
    numbers = np.random.default_rng(0).random(CHAINS * width).astype(precision)
    return (lambda: run_chains(numbers, rounds)), 2.0 * rounds * CHAINS * width


def measure(precision: Precision, flops: float, rounds: int) -> None:
    """Time the peak and the kernel on every network in turns, and print their ratios."""
    problems = {
        "2-10-5-1, batch 300": course_problem(precision, max(10, int(flops / 1.2e5))),
        **{
            f"{name}, batch {samples}": random_problem(sizes, samples, precision, flops)
            for name, (sizes, samples) in SHAPES.items()
        },
    }
    loop, loop_flops = peak(precision, int(flops / 20 / (2 * CHAINS * BYTES / 8)))
    runs = {"peak": loop, **{name: engine(problem) for name, problem in problems.items()}}
    for run in runs.values():
        run()  # compiles
    timings = _common.take_turns(runs, rounds)
    highest = loop_flops / timings["peak"].best
    rows = [("FMA peak", f"{highest / 1e9:.1f}", "")]
    for name, problem in problems.items():
        speed = problem.flops_per_step * problem.steps / timings[name].best
        rows.append((name, f"{speed / 1e9:.1f}", f"{speed / highest:.0%}"))
    _common.show(
        f"{precision}, one core, vectors of {BYTES} bytes, best of {rounds}",
        ("", "GFLOP/s", "of the peak"),
        rows,
    )


if __name__ == "__main__":
    quick = _common.arguments(__doc__).quick
    _common.pin(1)
    for each in ("float64", "float32"):
        measure(each, *((1e9, 4) if quick else (1e10, 15)))
