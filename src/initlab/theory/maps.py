"""How a layer maps variance and correlation of its pre-activations: the mean-field recursion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import brentq

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import not_negative, within
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.theory.function import AnyFunction, as_activation
from initlab.theory.pairs import pair

# Where a limit for q → 0 is meant, it is taken here: φ is linear on either side of 0 by then.
_NO_VARIANCE = 1e-30

# V' of a φ with φ(0) ≠ 0 is left over where far more cancels: its limit is taken here.
_LITTLE_VARIANCE = 1e-12


@dataclass(frozen=True)
class MeanField:
    """A layer of infinite width: random weights and biases, then φ; one of many that are alike.

    Weights are independent with mean 0 and variance ``weight_var`` / fan_in, biases have variance
    ``bias_var``. In the limit of infinite width, pre-activations are Gaussian (Neal 1996), and two
    numbers say all of two inputs: the variance q and the correlation c of their pre-activations
    (Poole, Lahiri, Raghu, Sohl-Dickstein & Ganguli 2016; Schoenholz, Gilmer, Ganguli &
    Sohl-Dickstein 2017).

    Attributes
    ----------
    activation
        φ.
    weight_var, bias_var
        σw², σb²: not negative.
    """

    activation: Activation
    weight_var: float
    bias_var: float = 0.0

    @classmethod
    def of(cls, f: AnyFunction, weight_var: float, bias_var: float = 0.0) -> MeanField:
        """Check the arguments; raises if there is no such function or a variance is negative."""
        return cls(
            as_activation(f),
            not_negative("weight_var", weight_var),
            not_negative("bias_var", bias_var),
        )

    def variance(self, q: float) -> float:
        """Return V(q) = σw² E[φ(√q z)²] + σb²."""
        return self.weight_var * gaussian.second_moment(self.activation, q) + self.bias_var

    def variance_slope(self, q: float) -> float:
        """Return V'(q) = σw² E[z φ(√q z) φ'(√q z)] / √q; for q = 0 its limit."""
        q = max(q, _NO_VARIANCE if float(self.activation(0.0)) == 0 else _LITTLE_VARIANCE)
        moment = gaussian.value_derivative_moment(self.activation, q)
        return self.weight_var * moment / math.sqrt(q)

    def chi(self, q: float, gap: float = 0.0) -> float:
        """Return χ = σw² E[φ'(u) φ'(u')] at correlation 1 - ``gap``; for q = 0 its limit.

        At gap 0 it is χ1: the factor on the squared gradient from layer to layer.
        """
        q = q or _NO_VARIANCE
        if gap == 0:
            return self.weight_var * gaussian.derivative_second_moment(self.activation, q)
        return self.weight_var * pair(self.activation, q, gap).slope_product

    def gap(self, q: float, gap: float) -> float:
        """Return 1 - C(1 - gap) at variance q > 0, without cancellation for small gaps.

        C is the correlation after a layer, (σw² E[φ(u) φ(u')] + σb²) / V(q).
        """
        return self.weight_var * pair(self.activation, q, gap).distance / self.variance(q)


def variance_map(
    f: AnyFunction,
    q: float,
    *,
    weight_var: float,
    bias_var: float = 0.0,
    dropout: float = 0.0,
    residual: float | None = None,
    layer_norm: bool = False,
) -> float:
    """Return the variance of the next pre-activations, given that of these.

    V(q) = σw² E[φ(√q z)²] + σb² (Poole et al. 2016, eq. 3), and where asked for:

    - dropout with rate p after φ, kept values divided by 1 - p: E[φ²] / (1 - p) in place of E[φ²]
      (Schoenholz et al. 2017, sec. 5);
    - layer normalisation before φ: q = 1 inside, whatever it was (Ba, Kiros & Hinton 2016);
    - a residual branch, x + residual · f(x): q + residual² V(q), as what the branch adds is
      independent of what is there (Yang & Schoenholz 2017).

    Parameters
    ----------
    f
        Activation, by name or as any function.
    q
        Variance of the pre-activations, at least 0.
    weight_var, bias_var
        σw² (weights have variance σw² / fan_in), σb².
    dropout
        Share of values that are set to 0, from 0 to below 1.
    residual
        Factor on the branch; ``None`` for a layer without a skip connection.
    layer_norm
        Whether pre-activations are normalised before φ.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, or E[φ²] does not exist.

    Examples
    --------
    He's rule keeps the variance; dropout then makes it grow:

    >>> variance_map("relu", 3.0, weight_var=2)
    3.0
    >>> round(variance_map("relu", 3.0, weight_var=2, dropout=0.25), 12)
    4.0
    """
    layer = MeanField.of(f, weight_var, bias_var)
    q = not_negative("q", q)
    kept = 1 - dropout_rate(dropout)
    inside = 1.0 if layer_norm else q
    second = gaussian.second_moment(layer.activation, inside) / kept
    mapped = layer.weight_var * second + layer.bias_var
    if residual is None:
        return mapped
    return q + within("residual", residual, -1e100, 1e100) ** 2 * mapped


def correlation_map(
    f: AnyFunction, c: float, *, q: float, weight_var: float, bias_var: float = 0.0
) -> float:
    """Return the correlation of two inputs' next pre-activations, given that of these.

    C(c) = (σw² E[φ(u) φ(u')] + σb²) / V(q), with u and u' Gaussian of variance q and correlation c
    (Poole et al. 2016, eq. 5); at the fixed point q* of the variance, V(q*) = q*.

    Parameters
    ----------
    f
        Activation, by name or as any function.
    c
        Correlation, from -1 to 1.
    q
        Variance of both, above 0.
    weight_var, bias_var
        σw², σb²; one of them above 0.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, the layer's output is 0, or a moment does not exist.

    Examples
    --------
    Orthogonal inputs of a ReLU layer come out with correlation 1/π (Cho & Saul 2009):

    >>> round(correlation_map("relu", 0, q=1, weight_var=2) * math.pi, 12)
    1.0
    """
    layer = MeanField.of(f, weight_var, bias_var)
    if not_negative("q", q) == 0:
        raise InvalidValueError(
            f"q={q!r}: inputs that are 0 have no correlation; accepted: above 0"
        )
    gap = 1 - within("c", c, -1.0, 1.0)
    if layer.variance(q) == 0:
        raise InvalidValueError(
            f"the layer gives 0 for weight_var={weight_var!r} and bias_var={bias_var!r}: there is "
            "no correlation; accepted: one of them above 0"
        )
    return 1 - layer.gap(q, gap)


def chi(f: AnyFunction, *, q: float, weight_var: float, c: float = 1.0) -> float:
    """Return χ(c) = σw² E[φ'(u) φ'(u')], the slope of the correlation map at a fixed point q.

    At c = 1 it is χ1, the factor on the squared gradient from layer to layer where layers are alike
    (Schoenholz et al. 2017, eq. 11). Parameters and errors are those of :func:`correlation_map`.

    Examples
    --------
    >>> round(chi("relu", q=1, weight_var=2), 12)
    1.0
    """
    layer = MeanField.of(f, weight_var)
    return layer.chi(not_negative("q", q), 1 - within("c", c, -1.0, 1.0))


def dropout_rate(value: object) -> float:
    """Return a share of dropped values, from 0 to below 1, or refuse it."""
    rate = within("dropout", value, 0.0, 1.0)
    if rate == 1:
        raise InvalidValueError("dropout=1 drops everything; accepted: 0 to below 1")
    return rate


def root(function: Callable[[float], float], left: float, right: float) -> float:
    """Find where a function of a variance is 0, between two of opposite sign, to rounding.

    Where rounding has made the signs the same, the end that is nearer to 0.
    """

    def at(t: float) -> float:
        return function(math.exp(t))

    low, high = math.log(left), math.log(right)
    below, above = at(low), at(high)
    if below * above >= 0:
        return left if abs(below) <= abs(above) else right
    found = brentq(at, low, high, xtol=1e-15)
    return math.exp(float(found))  # pyright: ignore[reportArgumentType] - without full_output
