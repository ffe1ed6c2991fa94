"""Vectors of floating-point numbers as LLVM values, with operators and elementary functions.

An activation's definition, written with ``+ - * /``, comparisons and
:class:`initlab.activations.Operations`, is run once on a :class:`Vector` while a kernel is
compiled, and so leaves the instructions that compute it.

No operation assumes the absence of inf or nan: a diverging run must show them. The only liberty
taken is contraction of ``a * b + c`` into a fused multiply-add.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.polynomial import Chebyshev, Polynomial
from scipy import special

_FLAGS = ("contract",)


class Vector:
    """An SSA value of vector type, with arithmetic that emits instructions.

    Parameters
    ----------
    builder
        Where instructions go.
    value
        A vector of ``double`` or ``float``.
    choice
        The condition and the two numbers it picks from, where the vector is no more than that.
    """

    def __init__(
        self, builder: ir.IRBuilder, value: Any, choice: tuple[Mask, float, float] | None = None
    ) -> None:
        self.builder = builder
        self.value = value
        self.choice = choice

    @property
    def type(self) -> Any:
        """The LLVM vector type."""
        return self.value.type

    @property
    def is_double(self) -> bool:
        """Whether the elements are of 64 bits."""
        return isinstance(self.type.element, ir.DoubleType)

    def constant(self, number: float) -> Vector:
        """Return a vector of the same type that holds ``number`` everywhere."""
        return Vector(self.builder, ir.Constant(self.type, [float(number)] * self.type.count))

    def lift(self, other: Vector | float) -> Vector:
        """Return ``other`` as a vector: itself, or a constant one."""
        return other if isinstance(other, Vector) else self.constant(other)

    def fma(self, factor: Vector | float, addend: Vector | float) -> Vector:
        """Return self · factor + addend, rounded once where the machine can."""
        return self.call("fmuladd", self.lift(factor), self.lift(addend))

    def scaled_by(self, factor: Vector | float) -> Vector:
        """Return self · factor; where the factor picks 0 or 1, pick 0 or self instead."""
        if not isinstance(factor, Vector) or factor.choice is None:
            return self if factor == 1.0 else self * factor
        condition, yes, no = factor.choice
        arms = [
            self if arm == 1.0 else self.constant(0.0) if arm == 0.0 else self * arm
            for arm in (yes, no)
        ]
        return VectorOperations.where(condition, *arms)

    def call(self, name: str, *others: Vector) -> Vector:
        """Call the LLVM intrinsic ``llvm.<name>`` on vectors of one type."""
        kind = self.type
        suffix = f"v{kind.count}f{64 if self.is_double else 32}"
        signature = ir.FunctionType(kind, [kind] * (1 + len(others)))
        function = self.builder.module.declare_intrinsic(f"llvm.{name}.{suffix}", (), signature)
        return Vector(self.builder, self.builder.call(function, [self.value, *_values(others)]))

    def _binary(self, operation: str, left: Vector | float, right: Vector | float) -> Vector:
        emit = getattr(self.builder, operation)
        return Vector(
            self.builder, emit(self.lift(left).value, self.lift(right).value, flags=_FLAGS)
        )

    def _compare(self, operator: str, other: Vector | float) -> Mask:
        flags = self.builder.fcmp_ordered(operator, self.value, self.lift(other).value)
        return Mask(flags, self)

    def __add__(self, other: Vector | float) -> Vector:
        return self._binary("fadd", self, other)

    def __radd__(self, other: float) -> Vector:
        return self._binary("fadd", other, self)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._binary("fsub", self, other)

    def __rsub__(self, other: float) -> Vector:
        return self._binary("fsub", other, self)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._binary("fmul", self, other)

    def __rmul__(self, other: float) -> Vector:
        return self._binary("fmul", other, self)

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._binary("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Vector:
        return self._binary("fdiv", other, self)

    def __neg__(self) -> Vector:
        return Vector(self.builder, self.builder.fneg(self.value))

    def __lt__(self, other: Vector | float) -> Mask:
        return self._compare("<", other)

    def __gt__(self, other: Vector | float) -> Mask:
        return self._compare(">", other)


@dataclass(frozen=True)
class Mask:
    """The result of a comparison: a vector of ``i1``, and a vector of the type compared."""

    value: Any
    like: Vector


def _values(vectors: Sequence[Vector]) -> list[Any]:
    return [vector.value for vector in vectors]


class VectorOperations:
    """The operations of an activation's definition, on :class:`Vector`.

    The polynomials are Chebyshev interpolants of smooth remainders, of a degree that leaves an
    error near the last bit; the error of each function against SciPy is part of the tests.
    """

    @staticmethod
    def where(condition: Mask, yes: Vector | float, no: Vector | float) -> Vector:
        """Choose lane by lane; a comparison with nan is false."""
        like = condition.like
        builder = like.builder
        chosen = builder.select(condition.value, like.lift(yes).value, like.lift(no).value)
        if isinstance(yes, Vector) or isinstance(no, Vector):
            return Vector(builder, chosen)
        return Vector(builder, chosen, (condition, yes, no))

    def minimum(self, bound: float, x: Vector) -> Vector:
        """Return x where it is at most ``bound``, else the bound; nan stays nan."""
        return self.where(x > bound, bound, x)

    def maximum(self, bound: float, x: Vector) -> Vector:
        """Return x where it is at least ``bound``, else the bound; nan stays nan."""
        return self.where(x < bound, bound, x)

    @staticmethod
    def absolute(x: Vector) -> Vector:
        """Return |x|."""
        return x.call("fabs")

    def exp(self, x: Vector) -> Vector:
        """Return e^x; results below the smallest normal number are replaced by it."""
        power, remainder = self._exponential(x)
        return power.fma(remainder, power)

    def expm1(self, x: Vector) -> Vector:
        """Return e^x - 1, accurate relative to its value."""
        power, remainder = self._exponential(x)
        return power.fma(remainder, power - 1.0)

    def _exponential(self, x: Vector) -> tuple[Vector, Vector]:
        """Split e^x into 2^k and e^r - 1 with x = k ln 2 + r, |r| ≤ ln 2 / 2."""
        bits, bias, digits = (64, 1023, 52) if x.is_double else (32, 127, 23)
        # Above the upper bound 2^k is inf, below the lower one it would be subnormal.
        low, high = ((-708.0, 710.0), (-87.0, 89.0))[not x.is_double]
        x = self.maximum(low, self.minimum(high, x))
        k, k_bits = self._round(x, 1 / math.log(2))
        ln2_high = _leading(math.log(2), 32 if x.is_double else 12)
        r = k.fma(-_tail_of_ln2(ln2_high), k.fma(-ln2_high, x))
        series = self._polynomial(r, "expm1(r)/r", 10 if x.is_double else 5)
        builder = x.builder
        integers = ir.VectorType(ir.IntType(bits), x.type.count)
        exponent = builder.add(k_bits, ir.Constant(integers, [bias] * x.type.count))
        shifted = builder.shl(exponent, ir.Constant(integers, [digits] * x.type.count))
        return Vector(builder, builder.bitcast(shifted, x.type)), series * r

    @staticmethod
    def _round(x: Vector, scale: float) -> tuple[Vector, Any]:
        """Round scale · x to the nearest integer; return it, and integers whose low bits hold it.

        Adding 1.5 · 2^digits moves the integer part into the low bits of the significand. Unlike a
        conversion to integers this is defined for nan as well.
        """
        bits, digits = (64, 52) if x.is_double else (32, 23)
        magic = 1.5 * 2.0**digits
        moved = x.fma(scale, magic)
        integers = ir.VectorType(ir.IntType(bits), x.type.count)
        return moved - magic, x.builder.bitcast(moved.value, integers)

    @staticmethod
    def _polynomial(x: Vector, name: str, degree: int) -> Vector:
        """Evaluate the interpolant of a named function at x by Horner's rule."""
        scale, shift, (*lower, leading) = _interpolant(name, degree)
        if (scale, shift) != (1.0, 0.0):
            x = x.fma(scale, shift)
        result = x.constant(leading)
        for coefficient in reversed(lower):
            result = result.fma(x, coefficient)
        return result

    def tanh(self, x: Vector) -> Vector:
        """Return tanh(x) = (e^2x - 1) / (e^2x + 1), accurate relative to its value."""
        m = self.expm1(self.minimum(40.0, x + x))  # beyond 20 the quotient is 1 exactly
        return m / (m + 2.0)

    def sigmoid(self, x: Vector) -> Vector:
        """Return 1 / (1 + e^-x)."""
        return 1.0 / (self.exp(-x) + 1.0)

    def softplus(self, x: Vector) -> Vector:
        """Return max(x, 0) + ln(1 + e^-|x|)."""
        # ln(1 + u) = 2 artanh(u / (2 + u)), and here u is in (0, 1].
        u = self.exp(-self.absolute(x))
        s = u / (u + 2.0)
        series = self._polynomial(s * s, "artanh(sqrt(t))/sqrt(t)", 13 if x.is_double else 6)
        return self.maximum(0.0, x) + 2.0 * s * series

    def erf(self, x: Vector) -> Vector:
        """Return the error function: x P(x²) up to 1, 1 - e^-x² Q(1/(1+x)) beyond."""
        size = self.minimum(6.0, self.absolute(x))  # erf(6) is 1 exactly
        square = size * size
        inner = size * self._polynomial(square, "erf(sqrt(t))/sqrt(t)", 13 if x.is_double else 7)
        u = 1.0 / (size + 1.0)
        outer = 1.0 - self.exp(-square) * self._polynomial(
            u, "erfcx(1/u-1)", 22 if x.is_double else 10
        )
        result = self.where(size > 1.0, outer, inner)
        return self.where(x < 0.0, -result, result)

    def sin(self, x: Vector) -> Vector:
        """Return the sine; arguments beyond 2^51 (float32: 2^22) have no meaningful one."""
        return self._circular(x, quarter_turns=0)

    def cos(self, x: Vector) -> Vector:
        """Return the cosine, which is the sine a quarter turn on."""
        return self._circular(x, quarter_turns=1)

    def _circular(self, x: Vector, quarter_turns: int) -> Vector:
        """Reduce by multiples of π/2 (Cody & Waite), then pick ±sin or ±cos by the quadrant."""
        n, n_bits = self._round(x, 2 / math.pi)
        r = x
        for part in _parts_of_half_pi(np.float64 if x.is_double else np.float32):
            r = n.fma(-part, r)
        r = self.maximum(-0.8, self.minimum(0.8, r))  # |r| ≤ π/4 unless x is out of range
        square = r * r
        sine = r * self._polynomial(square, "sin(sqrt(t))/sqrt(t)", 7 if x.is_double else 4)
        cosine = self._polynomial(square, "cos(sqrt(t))", 8 if x.is_double else 4)
        builder, integers = x.builder, n_bits.type

        def bit(which: int) -> Mask:
            turned = builder.add(n_bits, ir.Constant(integers, [quarter_turns] * integers.count))
            masked = builder.and_(turned, ir.Constant(integers, [which] * integers.count))
            zero = ir.Constant(integers, [0] * integers.count)
            return Mask(builder.icmp_unsigned("!=", masked, zero), x)

        result = self.where(bit(1), cosine, sine)
        return self.where(bit(2), -result, result)


def _odd(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return t -> f(sqrt(t)) / sqrt(t): an odd function's series is one in squares."""

    def smooth(t: Any) -> Any:
        root = np.sqrt(t)
        return function(root) / root

    return smooth


def _tail(u: Any) -> Any:
    """Return erfcx(x) = e^x² erfc(x) at x = 1/u - 1."""
    return special.erfcx(1 / u - 1)


def _root_cosine(t: Any) -> Any:
    return np.cos(np.sqrt(t))


_SMOOTH: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    "expm1(r)/r": (special.exprel, -0.5 * math.log(2), 0.5 * math.log(2)),
    "artanh(sqrt(t))/sqrt(t)": (_odd(np.arctanh), 0.0, 1 / 9),
    "erf(sqrt(t))/sqrt(t)": (_odd(special.erf), 0.0, 1.0),
    "erfcx(1/u-1)": (_tail, 1 / 7, 1 / 2),
    "sin(sqrt(t))/sqrt(t)": (_odd(np.sin), 0.0, (math.pi / 4) ** 2),
    "cos(sqrt(t))": (_root_cosine, 0.0, (math.pi / 4) ** 2),
}
"""Name: function, and the interval it is interpolated on."""


@cache
def _interpolant(name: str, degree: int) -> tuple[float, float, tuple[float, ...]]:
    """Return the Chebyshev interpolant of a named function as (scale, shift, coefficients).

    The polynomial, its coefficients from the constant upward, is in scale · x + shift. An interval
    that is not around 0 is moved there: powers of x itself would cancel.
    """
    function, low, high = _SMOOTH[name]
    fit = Chebyshev.interpolate(function, degree, domain=(low, high))
    window = (low, high) if low == -high else (-1.0, 1.0)
    series = fit.convert(kind=Polynomial, domain=(low, high), window=window)
    shift, scale = series.mapparms()
    return float(scale), float(shift), tuple(float(c) for c in series.coef)


def _leading(x: float, bits: int) -> float:
    """Round x to ``bits`` significant bits, so that its product with a small integer is exact."""
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(mantissa * 2**bits), exponent - bits)


def _tail_of_ln2(head: float) -> float:
    """Return ln 2 - head to full precision, for a head of at most 40 bits."""
    # ln 2 = 0.693147180559945309417232121458176568: leading 53 bits, and what is left of it.
    return (math.log(2) - head) + 2.3190468138462996e-17


@cache
def _parts_of_half_pi(precision: Any) -> tuple[float, float, float]:
    """Split π/2 into three numbers of a precision that add up to it."""
    rest = [math.pi / 2, 6.123233995736766e-17, -1.4973849048591833e-33]
    parts: list[float] = []
    for _ in range(3):
        part = float(precision(math.fsum(rest)))
        parts.append(part)
        rest.append(-part)
    return parts[0], parts[1], parts[2]
