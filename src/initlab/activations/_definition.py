"""What an activation is: one definition, written once, read by NumPy and by the kernel compiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from initlab._base.errors import InvalidValueError


class Operations(Protocol):
    """The functions that a definition may call besides ``+ - * /``, comparison and negation.

    An array of numbers implements them through NumPy (:class:`NumpyOperations`), the kernel
    compiler by emitting vector instructions; so both compute the same formula.
    """

    def exp(self, x: Any, /) -> Any:
        """Return e^x."""
        ...

    def expm1(self, x: Any, /) -> Any:
        """Return e^x - 1 without cancellation near 0."""
        ...

    def tanh(self, x: Any, /) -> Any:
        """Return the hyperbolic tangent, accurate relative to its value."""
        ...

    def sigmoid(self, x: Any, /) -> Any:
        """Return 1 / (1 + e^-x)."""
        ...

    def softplus(self, x: Any, /) -> Any:
        """Return ln(1 + e^x) without overflow."""
        ...

    def erf(self, x: Any, /) -> Any:
        """Return the error function."""
        ...

    def sin(self, x: Any, /) -> Any:
        """Return the sine."""
        ...

    def cos(self, x: Any, /) -> Any:
        """Return the cosine."""
        ...

    def absolute(self, x: Any, /) -> Any:
        """Return |x|."""
        ...

    def where(self, condition: Any, yes: Any, no: Any, /) -> Any:
        """Choose element by element; a comparison with nan is false."""
        ...


class NumpyOperations:
    """The operations on NumPy arrays."""

    exp = staticmethod(np.exp)
    expm1 = staticmethod(np.expm1)
    tanh = staticmethod(np.tanh)
    sigmoid = staticmethod(special.expit)
    erf = staticmethod(special.erf)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    absolute = staticmethod(np.absolute)
    where = staticmethod(np.where)

    @staticmethod
    def softplus(x: Any, /) -> Any:
        """Return ln(1 + e^x), as NumPy's logaddexp(0, x)."""
        return np.logaddexp(0.0, x)


_NUMPY = NumpyOperations()

Formula = Callable[[Any, Operations], Any]


def no_curvature(x: Any, ops: Operations) -> Any:
    """Return φ''(x) of a piecewise linear φ: 0; nan stays nan."""
    return ops.where(x > 0, 0.0, ops.where(x < 1, 0.0, x))  # every number is one or the other


@dataclass(frozen=True, repr=False)
class Activation:
    """An elementwise activation function.

    Calling it applies it to an array of any shape: ``activations.get("gelu")(x)``.

    Attributes
    ----------
    name
        The name that :func:`initlab.activations.get` parses, arguments included.
    formula
        The definition as plain text.
    reference
        Where it was introduced.
    value
        φ(x), written with operators and :class:`Operations`.
    derivative
        φ'(x), likewise. At a kink it takes the value PyTorch's autograd takes.
    derivative_from_value
        φ'(x) as a function of y = φ(x), where that is a cheap formula: training then need not keep
        the derivative. ``None`` where φ is not invertible.
    kinks
        Points where φ' jumps; empty for a smooth function.
    piecewise_linear
        Whether φ is linear between its kinks.
    second_derivative
        φ''(x) away from the kinks; where φ'' jumps, the value on one side. ``None`` where not
        given.
    """

    name: str
    formula: str
    reference: str
    value: Formula
    derivative: Formula
    derivative_from_value: Formula | None = None
    kinks: tuple[float, ...] = ()
    piecewise_linear: bool = False
    second_derivative: Formula | None = None

    def __call__(self, x: ArrayLike) -> NDArray[Any]:
        """Apply φ to an array, elementwise; the shape and a floating dtype are kept."""
        return self._apply(self.value, x)

    def slope(self, x: ArrayLike) -> NDArray[Any]:
        """Apply φ' to an array of pre-activations, elementwise."""
        return self._apply(self.derivative, x)

    def curvature(self, x: ArrayLike) -> NDArray[Any]:
        """Apply φ'' to an array of pre-activations, elementwise; a kink's jump is left out.

        Raises
        ------
        InvalidValueError
            If the activation was given no second derivative.
        """
        if self.second_derivative is None:
            raise InvalidValueError(
                f"activation {self.name!r} has no second derivative; expected one made with "
                "Activation(..., second_derivative=...)"
            )
        return self._apply(self.second_derivative, x)

    @staticmethod
    def _apply(formula: Formula, x: ArrayLike) -> NDArray[Any]:
        array = np.asarray(x)
        if not np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float64)
        # Overflow and nan are results here: a diverging run shows them, it does not stop for them.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            result = np.asarray(formula(array, _NUMPY), dtype=array.dtype)
        if result is array:  # the identity; what is returned may be written into
            return array.copy()
        # A constant derivative is written as a plain number.
        return result if result.shape == array.shape else np.full_like(array, result)

    def __repr__(self) -> str:
        return f"<activation {self.name}: {self.formula}>"
