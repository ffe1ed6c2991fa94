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
from fractions import Fraction
from functools import cache
from math import factorial
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.polynomial.chebyshev import cheb2poly
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

    def polynomial(self, coefficients: Sequence[float]) -> Vector:
        """Evaluate a polynomial, its coefficients from the constant upward, by Horner's rule."""
        *lower, leading = coefficients
        result = self.constant(leading)
        for coefficient in reversed(lower):
            result = result.fma(self, coefficient)
        return result

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

    The polynomials approximate smooth remainders, of a degree that leaves an error below the last
    bit; the error of each function is part of the tests.
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
        """Return e^x, but no less than e^-708 (float32: e^-86.9): subnormals are avoided."""
        half_power, remainder = self._exponential(x)
        return half_power.fma(remainder, half_power) * 2.0

    def expm1(self, x: Vector) -> Vector:
        """Return e^x - 1, accurate relative to its value."""
        half_power, remainder = self._exponential(x)
        return half_power.fma(remainder, half_power - 0.5) * 2.0

    def _exponential(self, x: Vector) -> tuple[Vector, Vector]:
        """Split e^x into 2^(k-1) and e^r - 1 with x = k ln 2 + r, |r| ≤ ln 2 / 2.

        Half the power, because 2^k is inf already where e^r < 1 still makes e^x finite.
        """
        bits, bias, digits = (64, 1022, 52) if x.is_double else (32, 126, 23)
        # At the upper bound e^x is inf, below the lower one 2^(k-1) would be subnormal.
        low, high = ((-708.0, 710.0), (-86.9, 89.0))[not x.is_double]
        x = self.maximum(low, self.minimum(high, x))
        k, k_bits = self._round(x, 1 / math.log(2))
        ln2_high = _leading(math.log(2), 32 if x.is_double else 12)
        r = k.fma(-_tail_of_ln2(ln2_high), k.fma(-ln2_high, x))
        series = r.polynomial(_economised("expm1(r)/r", 10 if x.is_double else 5))
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
        series = (s * s).polynomial(
            _economised("artanh(sqrt(t))/sqrt(t)", 10 if x.is_double else 4)
        )
        return self.maximum(0.0, x) + 2.0 * s * series

    def erf(self, x: Vector) -> Vector:
        """Return the error function: x P(x²) up to 1, 1 - e^-x² Q(1/(1+|x|)) beyond."""
        size = self.minimum(6.0, self.absolute(x))  # erf(6) is 1 exactly
        square = size * size
        inner = size * square.polynomial(
            _economised("erf(sqrt(t))/sqrt(t)", 11 if x.is_double else 6)
        )
        s = 5.6 / (size + 1.0) - 1.8  # 1 ... 6 -> 1 ... -1
        outer = 1.0 - self.exp(-square) * s.polynomial(_scaled_tail(17 if x.is_double else 7))
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
        # |r| ≤ π/4, or a little more where x is so large that 2/π is too coarse a factor.
        r = self.maximum(-1.0, self.minimum(1.0, r))
        square = r * r
        sine = r * square.polynomial(_economised("sin(sqrt(t))/sqrt(t)", 7 if x.is_double else 3))
        cosine = square.polynomial(_economised("cos(sqrt(t))", 7 if x.is_double else 4))
        builder, integers = x.builder, n_bits.type

        def bit(which: int) -> Mask:
            turned = builder.add(n_bits, ir.Constant(integers, [quarter_turns] * integers.count))
            masked = builder.and_(turned, ir.Constant(integers, [which] * integers.count))
            zero = ir.Constant(integers, [0] * integers.count)
            return Mask(builder.icmp_unsigned("!=", masked, zero), x)

        result = self.where(bit(1), cosine, sine)
        return self.where(bit(2), -result, result)


# Coefficient k of a power series, and the interval on which it is used.
_SERIES: dict[str, tuple[Callable[[int], Fraction], Fraction, Fraction]] = {
    "expm1(r)/r": (
        lambda k: Fraction(1, factorial(k + 1)),
        Fraction("-0.3466"),  # ln 2 / 2
        Fraction("0.3466"),
    ),
    "artanh(sqrt(t))/sqrt(t)": (lambda k: Fraction(1, 2 * k + 1), Fraction(0), Fraction(1, 9)),
    "erf(sqrt(t))/sqrt(t)": (
        lambda k: _TWO_OVER_ROOT_PI * Fraction((-1) ** k, factorial(k) * (2 * k + 1)),
        Fraction(0),
        Fraction(1),
    ),
    "sin(sqrt(t))/sqrt(t)": (
        lambda k: Fraction((-1) ** k, factorial(2 * k + 1)),
        Fraction(0),
        Fraction("0.617"),  # (π / 4)²
    ),
    "cos(sqrt(t))": (
        lambda k: Fraction((-1) ** k, factorial(2 * k)),
        Fraction(0),
        Fraction("0.617"),  # (π / 4)²
    ),
}
_TWO_OVER_ROOT_PI = Fraction("1.1283791670955125738961589031215451716881")


@cache
def _economised(name: str, degree: int) -> tuple[float, ...]:
    """Return the coefficients of a named function's polynomial, from the constant upward.

    Its power series, cut where nothing is left in the last bit, then shortened to ``degree`` as
    a Chebyshev series: in fractions, so that the only error besides is the coefficients' rounding.
    """
    coefficient, low, high = _SERIES[name]
    middle, half = (low + high) / 2, (high - low) / 2
    on_unit = _moved([coefficient(k) for k in range(25)], middle, half)
    return tuple(map(float, _moved(_shortened(on_unit, degree), -middle / half, 1 / half)))


def _moved(series: Sequence[Fraction], shift: Fraction, scale: Fraction) -> list[Fraction]:
    """Return the polynomial p(shift + scale · x), given p."""
    result: list[Fraction] = []
    for coefficient in reversed(series):
        pairs = zip([*result, Fraction(0)], [Fraction(0), *result], strict=True)
        result = [shift * same + scale * lower for same, lower in pairs]
        result[0] += coefficient
    return result


def _shortened(series: list[Fraction], degree: int) -> list[Fraction]:
    """Take the Chebyshev polynomials beyond ``degree`` out of a polynomial on [-1, 1]."""
    polynomials = [[1], [0, 1]]
    while len(polynomials) < len(series):
        pairs = zip([0, *polynomials[-1]], [*polynomials[-2], 0, 0], strict=True)
        polynomials.append([2 * doubled - before for doubled, before in pairs])
    for polynomial in reversed(polynomials[degree + 1 :]):
        *series, leading = series
        factor = leading / polynomial[-1]
        series = [c - factor * t for c, t in zip(series, polynomial, strict=False)]
    return series


@cache
def _scaled_tail(degree: int) -> tuple[float, ...]:
    """Return the coefficients of e^x² (1 - erf(x)) as a polynomial in s = 5.6 / (1 + x) - 1.8.

    Many more nodes than terms, so that the rounding of SciPy's values averages out.
    """
    angles = (np.arange(200) + 0.5) * (math.pi / 200)
    values = special.erfcx(5.6 / (np.cos(angles) + 1.8) - 1.0)
    series = [(values * np.cos(k * angles)).mean() * 2.0 for k in range(degree + 1)]
    series[0] /= 2.0
    return tuple(float(c) for c in cheb2poly(series))


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
