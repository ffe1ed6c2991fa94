"""Any Python function as an activation: checked, its kinks found, its derivatives computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab import activations
from initlab._base.errors import InvalidValueError
from initlab._base.numbers import finite
from initlab.activations import Activation
from initlab.theory.pieces import Floats, Function, Pieces, cut

AnyFunction = str | Activation | Callable[[Any], Any]
"""A name of the catalogue, an activation, or a function of an array."""

# Polynomials follow a function to this share of its size: just above rounding.
_TOLERANCE = 1e-14

# Kinks are looked for from minus this to this, on pieces whose ends no kink falls on: between
# polynomials that meet there it would not show.
_REACH = 64.0
_OFFSET = 0.1 / math.sqrt(3)

# Where a function is tried first: on both sides of 0 and of ±1, and as far out as kinks are found.
_TRIED = np.array([-_REACH, -3.3, -1.1, -0.9, -0.05, 0.05, 0.7, 1.2, 2.9, _REACH])

# Pieces this wide (times 1 + |x|) are cut no further without a reason, such as a kink.
_NARROW = 2.0**-18

# What a slope has to change by at a kink, as a share of it; and, by rounding, of the value.
_BENT, _ROUNDED = 1e-5, 1e-8


def as_activation(
    f: AnyFunction,
    *,
    derivative: Callable[[Any], Any] | None = None,
    kinks: Iterable[float] | None = None,
) -> Activation:
    """Return an activation for a name, an activation, or any elementwise function of an array.

    A derivative that is not given is computed by piecewise Chebyshev polynomials: pieces are halved
    until a polynomial of degree 19 follows the function to rounding on each, and that is
    differentiated (Trefethen 2013, Approximation Theory and Approximation Practice, ch. 21). Unlike
    automatic or complex-step differentiation, this asks nothing of how the function is written.

    Parameters
    ----------
    f
        ``"gelu"``, ``"leaky_relu(0.2)"``, an :class:`~initlab.activations.Activation`, or a
        function that maps a float64 array to one of the same shape.
    derivative
        Of a function, likewise elementwise; computed if not given.
    kinks
        Where its derivative jumps; found from -63 to 63 if not given.

    Raises
    ------
    UnknownNameError
        If no activation carries the name.
    InvalidValueError
        If the function is not elementwise on float64 arrays, returns nan or overflows at moderate
        inputs, gives another result the second time, jumps, or has a slope without bound; if the
        derivative is not the function's, or a kink is no number; if either is given for an
        activation, which has its own.

    Examples
    --------
    >>> squared_relu = as_activation(lambda x: np.maximum(x, 0) ** 2)
    >>> squared_relu.slope([-1.0, 3.0]).round(10) + 0
    array([0., 6.])
    """
    if isinstance(f, (str, Activation)):
        if derivative is not None or kinks is not None:
            raise InvalidValueError(
                f"derivative and kinks of {f!r} are known; give them with a function of your own"
            )
        return _remembered(_complete, activations.get(f))
    if not callable(f):
        raise InvalidValueError(
            f"f={f!r} is neither the name of an activation nor a function of an array"
        )
    return _remembered(_convert, f, derivative, None if kinks is None else _numbers(kinks))


def _numbers(kinks: Iterable[float]) -> tuple[float, ...]:
    """Return given kinks in order, each once, or refuse them."""
    try:
        given = tuple(kinks)
    except TypeError:
        raise InvalidValueError(f"kinks={kinks!r} is no sequence of numbers") from None
    return tuple(sorted({finite("kinks", kink) for kink in given}))


def _remembered(make: Callable[..., Activation], *arguments: object) -> Activation:
    """Call a cached function, past the cache where an argument cannot be a key."""
    try:
        hash(arguments)
    except TypeError:
        make = make.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    return make(*arguments)


@lru_cache(maxsize=64)
def _complete(activation: Activation) -> Activation:
    """Give an activation that comes without a second derivative one."""
    if activation.second_derivative is not None:
        return activation
    slope = _Differentiated(activation.slope, activation.kinks)

    def second_derivative(x: Floats, _: object) -> Floats:
        return slope(x, 1)

    return replace(activation, second_derivative=second_derivative)


@lru_cache(maxsize=64)
def _convert(
    f: Callable[[Any], Any],
    derivative: Callable[[Any], Any] | None,
    kinks: tuple[float, ...] | None,
) -> Activation:
    name = str(getattr(f, "__name__", type(f).__name__))
    value = _checked(f, name)
    kinks = _find_kinks(value, name) if kinks is None else kinks
    computed = _Differentiated(value, kinks)
    if derivative is None:
        return _made(name, value, lambda x: computed(x, 1), lambda x: computed(x, 2), kinks)
    slope = _checked(derivative, f"the derivative of {name}")
    _hold_against(slope, computed, name)
    twice = _Differentiated(slope, kinks)
    return _made(name, value, slope, lambda x: twice(x, 1), kinks)


def _made(
    name: str, value: Function, slope: Function, second: Function, kinks: tuple[float, ...]
) -> Activation:
    return Activation(
        name=name,
        formula=f"{name}(x), a function of the user's",
        reference="",
        value=lambda x, _: value(x),
        derivative=lambda x, _: slope(x),
        second_derivative=lambda x, _: second(x),
        kinks=kinks,
    )


def _checked(f: Callable[[Any], Any], name: str) -> Function:
    """Return a function of float64 arrays that has been tried, and complains in our words."""

    def value(x: Floats) -> Floats:
        try:
            with np.errstate(all="ignore"):
                y: Any = np.asarray(f(x.copy()))  # it may write into what it is given
        except Exception as error:  # whatever a function of the user's raises
            first = str(error).partition("\n")[0]
            raise InvalidValueError(
                f"{name} fails on an array of numbers from {x.min():g} to {x.max():g} "
                f"({type(error).__name__}: {first}); expected a function of a NumPy array, written "
                "with np.where or np.tanh, or wrapped in np.vectorize"
            ) from error
        if y.shape != x.shape:
            raise InvalidValueError(
                f"{name} returns shape {y.shape} for an array of shape {x.shape}; expected a "
                "function that works element by element"
            )
        if y.dtype.kind not in "fiub" or (y.dtype.kind == "f" and y.dtype.itemsize < x.itemsize):
            raise InvalidValueError(
                f"{name} returns {y.dtype} for float64; expected float64, as 10 digits need it"
            )
        return y.astype(np.float64)

    y = value(_TRIED)
    for word, bad in (("nan", np.isnan(y)), ("an infinite value", np.isinf(y))):
        if bad.any():
            at = _TRIED[bad][0]
            raise InvalidValueError(
                f"{name} returns {word} at x = {at:g}; expected a function that is finite "
                "everywhere, which for large |x| may need another way to write it"
            )
    if not np.array_equal(value(_TRIED), y):
        raise InvalidValueError(
            f"{name} gives another result the second time; expected the same for the same input"
        )
    if not np.allclose(value(_TRIED[3:5]), y[3:5], rtol=1e-9, atol=1e-12):
        raise InvalidValueError(
            f"{name} gives another result in another array; expected a function that works "
            "element by element"
        )
    return value


def _find_kinks(value: Function, name: str) -> tuple[float, ...]:
    """Find where the derivative jumps, from -63 to 63: there no polynomial follows, however near.

    Raises
    ------
    InvalidValueError
        If the function itself jumps, or its slope has no bound.
    """
    edges, rough = cut(lambda x: [value(x)], _first_edges(_REACH) + _OFFSET, _TOLERANCE)
    found = (
        _kink_between(value, left, right, name, followed=followed)
        for left, right, followed in _gaps(edges, rough)
    )
    return tuple(sorted(kink for kink in found if kink is not None))


def _gaps(edges: Floats, rough: NDArray[np.bool_]) -> Iterator[tuple[float, float, bool]]:
    """Yield where kinks may be, and whether polynomials follow the function there.

    They do not at a kink; but they do to the accuracy asked for, on pieces that are all but the
    narrowest, where it is slight, or so close to an end of a piece that it hardly shows.
    """
    left, right = edges[:-1], edges[1:]
    for group in _runs(rough):
        yield float(left[group[0]]), float(right[group[-1]]), False
    widths = right - left
    for group in _runs(widths <= _NARROW * (1 + np.abs(left))):
        if not rough[group].any():
            least = group[widths[group] < 1.5 * widths[group].min()]
            yield float(left[least[0]]), float(right[least[-1]]), True


def _runs(where: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return the places of each run of true values."""
    places = np.flatnonzero(where)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [run for run in runs if run.size]


def _kink_between(
    value: Function, left: float, right: float, name: str, *, followed: bool
) -> float | None:
    """Return where two tangents meet, None where they are the same line.

    Parameters
    ----------
    value
        Smooth on both sides of the gap.
    left, right
        Ends of the gap, about 1e-7 apart.
    name
        For the error.
    followed
        Whether the function is known to have no jump there, and a slope.
    """
    width = right - left
    step = 8 * width
    x = np.array([left - 2 * step, left - step, left, right, right + step, right + 2 * step])
    y = value(x)
    slopes = np.diff(y)[[0, 1, 3, 4]] / step
    steepest, size = float(np.abs(slopes).max()), float(np.abs(y).max())
    wild = np.abs(slopes[[1, 2]] - slopes[[0, 3]]).max() > 0.01 * steepest + _ROUNDED * size
    if followed and wild:  # it bends in a small space, but smoothly
        return None
    if wild:
        raise InvalidValueError(
            f"the slope of {name} changes without bound at x = {(left + right) / 2:.6g}; expected "
            "a function that is smooth on either side of a kink, as |x| is, and sqrt(|x|) is not"
        )
    if abs(y[3] - y[2]) > 10 * steepest * width + _ROUNDED * size:
        raise InvalidValueError(
            f"{name} jumps at x = {(left + right) / 2:.6g}; expected a continuous function: the "
            "gradient of a jump has no second moment"
        )
    before, after = 1.5 * slopes[1] - 0.5 * slopes[0], 1.5 * slopes[2] - 0.5 * slopes[3]
    if abs(after - before) <= _BENT * steepest + _ROUNDED * size:
        return None
    kink = float((y[2] - y[3] + after * right - before * left) / (after - before))
    kink = min(max(kink, left), right)
    # Hand-written kinks lie at round numbers; rounding must not put a node on the wrong side.
    near = round(kink, 6) + 0.0
    return near if abs(near - kink) <= 1e-10 * (1 + abs(kink)) else kink


def _hold_against(slope: Function, computed: _Differentiated, name: str) -> None:
    """Refuse a derivative that is not the function's."""
    expected, given = computed(_TRIED, 1), slope(_TRIED)
    wrong = np.abs(given - expected) > 1e-6 * (1 + np.abs(expected))
    if wrong.any():
        raise InvalidValueError(
            f"the derivative of {name} is given as {given[wrong][0]:.6g} at x = "
            f"{_TRIED[wrong][0]:g}, where that of the function is {expected[wrong][0]:.6g}"
        )


class _Differentiated:
    """Derivatives of a function, on pieces that reach as far as has been asked for."""

    def __init__(self, value: Function, kinks: tuple[float, ...]) -> None:
        self._value = value
        self._kinks = kinks
        self._pieces: Pieces | None = None

    def __call__(self, x: Floats, order: int) -> Floats:
        x = np.asarray(x, dtype=np.float64)
        furthest = float(np.abs(x).max(initial=0.0))
        if self._pieces is None or furthest > self._pieces.edges[-1]:
            reach = max(_REACH, 2.0 ** math.ceil(math.log2(furthest + 1)))
            first = np.union1d(_first_edges(reach), [k for k in self._kinks if abs(k) < reach])
            edges, _ = cut(lambda u: [self._value(u)], first, _TOLERANCE)
            self._pieces = Pieces(self._value, edges)
        return self._pieces.derivative(x, order)


def _first_edges(reach: float) -> Floats:
    """Return ends of the first pieces, twice as wide each, from 0 out to ``reach``."""
    out = 2.0 ** np.arange(0, math.ceil(math.log2(reach)) + 1)
    return np.concatenate([-out[::-1], [0.0], out])
