"""Deep linear networks: how strong each mode is after so many steps of gradient descent.

The network is ŷ = W_N ... W_1 x, without biases. Its cost is half the squared error, averaged over
the samples and summed over the outputs: (1/2) mean ‖y - ŷ‖². The inputs are white: the mean of
x xᵀ is the identity. Then the cost has its least value where the product of the weights is the
mean of y xᵀ, U S Vᵀ.

The start is aligned, W_N ... W_1 = U diag(u) Vᵀ, and balanced: each layer has the singular values
u^(1/N), and the singular vectors of neighbours fit. Gradient flow keeps both, and each mode goes
its own way, from its u to its singular value s in S:

    τ du/dt = N u^(2 - 2/N) (s - u)

N counts layers of weights. With t in steps of gradient descent on all samples, τ is 1 / learning
rate; what is computed here is the flow, from which steps differ by a share that goes with the
learning rate. Another cost scales τ: for the mean of (y - ŷ)² over samples and outputs, as
``squared_error`` in :mod:`initlab.engine` is, it is outputs / (2 · learning rate).

Source: Saxe, McClelland & Ganguli 2013, "Exact solutions to the nonlinear dynamics of learning in
deep linear neural networks", arXiv:1312.6120, who count layers of units: their N_l is N + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import finite
from initlab._base.whole import require_whole

Floats = NDArray[np.float64]

# Sizes whose squares and ratios floats hold, times so many layers too.
_LEAST, _MOST = 1e-140, 1e140
_MOST_LAYERS = 2**53
# Longer than any plateau between two sizes, with a target of 1.
_LONGEST = 1e300
# For an integral from -1 to 1 whose integrand has no singularity nearer than 3: the error shrinks
# by a factor of 34 with each node.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# Newton's method is done after 4 steps; as many for every element, so that none depends on others.
_STEPS = 6
# e^-700 from its target, in shares of it, a mode has long arrived.
_ARRIVED = 700.0


def mode_strength(
    times: ArrayLike, *, target: float, start: float, layers: float, tau: float = 1.0
) -> Floats:
    """Return u(t), the strength of a mode: τ du/dt = N u^(2 - 2/N) (s - u), u(0) = start.

    One layer: u = s + (u₀ - s) e^(-t/τ). Two: u = s / (1 + (s/u₀ - 1) e^(-2st/τ)). For others the
    closed form of the time, of :func:`learning_time`, is inverted. The error of u is a relative
    1e-12, besides what rounding the arguments would change: that is more where a long plateau ends.

    Parameters
    ----------
    times
        t, of any shape, each at least 0; in the unit of ``tau``.
    target
        s, the singular value of the mode in the best linear map.
    start
        u₀, the product of the layers' singular values at the start; above or below the target.
        From 0, two layers or more go nowhere.
    layers
        N, the number of layers of weights. ``math.inf`` gives the limit τ du/dt = u² (s - u),
        where ``tau`` is that of a network divided by its N: 1 / (N · learning rate).
    tau
        τ: 1 / learning rate, for the cost and the inputs of :mod:`initlab.theory.linear`.

    Returns
    -------
    array
        As ``times``, each between ``start`` and ``target``.

    Raises
    ------
    InvalidValueError
        If a time is no finite number of at least 0, another number lies outside 1e-140 to 1e140
        (``start`` may be 0), or ``layers`` is no whole number of at least 1 nor ``math.inf``.

    Examples
    --------
    >>> mode_strength([0, 20, 40, 60], target=2.0, start=0.01, layers=3, tau=20.0).round(3)
    array([0.01 , 0.053, 1.068, 1.999])
    """
    t = _times(times)
    s, u, unit = _size("target", target), _size("start", start, zero=True), _size("tau", tau)
    n = _depth(layers)
    if u == s or (u == 0 and n > 1):
        return np.full(t.shape, u)
    with np.errstate(over="ignore"):  # a mode has arrived long before
        elapsed = np.minimum(t / unit * _pace(s, n), _LONGEST)
    # The sums of the first two are of what is positive: nothing cancels.
    if n == 1:
        found = u * np.exp(-elapsed) - s * np.expm1(-elapsed)
    elif n == 2:
        found = u / (np.exp(-elapsed) - u / s * np.expm1(-elapsed))
    elif u < s:
        found = s * _rising(_rise(u / s, (s - u) / s, n) + elapsed, n)
    else:
        found = s / _falling(_fall(s / u, (u - s) / u, n) + elapsed, n)
    return np.where(elapsed == 0, u, np.clip(found, min(u, s), max(u, s)))


def learning_time(
    *, target: float, start: float, reached: float, layers: float, tau: float = 1.0
) -> float:
    """Return the time in which a mode goes from ``start`` to ``reached``.

    It is τ / (N s^(2 - 2/N)) times the integral of dv / (v^(2 - 2/N) (1 - v)), v = u/s, from start
    to reached. Saxe et al. solve it for two layers and for the limit of many. In general it is the
    difference of (v^(b-1) - 1) / (b-1) + (v^b - 1) / b + B(v; 1+b) below the target, of B(1/v; 2-b)
    above, with b = 2/N and the incomplete beta function B(v; c) = B(v; c, 0) = Σ v^(k+c) / (k+c).

    Parameters
    ----------
    target, start, layers, tau
        Those of :func:`mode_strength`.
    reached
        A strength between start and target. Any other, the target too, takes ``inf``: it is never
        reached, as is nothing from 0 by two layers or more.

    Raises
    ------
    InvalidValueError
        As :func:`mode_strength` does; ``reached`` may be 0, as ``start``.

    Examples
    --------
    >>> learning_time(target=1.0, start=0.5, reached=0.75, layers=1) == math.log(2)
    True
    >>> learning_time(target=1.0, start=0.5, reached=1.0, layers=3)
    inf
    """
    s, u, unit = _size("target", target), _size("start", start, zero=True), _size("tau", tau)
    end, n = _size("reached", reached, zero=True), _depth(layers)
    if end == u:
        return 0.0
    if not (u < end < s or s < end < u) or (u == 0 and n > 1):
        return math.inf
    if n == 1:
        return unit * math.log1p((end - u) / (s - end))
    if u < s:
        elapsed = _rise(end / s, (s - end) / s, n) - _rise(u / s, (s - u) / s, n)
    else:
        elapsed = _fall(s / end, (end - s) / end, n) - _fall(s / u, (u - s) / u, n)
    # Rounding may turn two neighbours round.
    return max(float(elapsed), 0.0) / _pace(s, n) * unit


def _pace(target: float, layers: float) -> float:
    """Return N s^(2 - 2/N), by which τ is divided where s is 1; without N in the limit."""
    return target ** (2 - 2 / layers) * (1 if layers == math.inf else layers)


# Time below is that of s = 1, dv/dt = v^(2 - 2/N) (1 - v), N at least 2. What is left to 1 is an
# argument of its own: near 1 it cannot be had from v.


def _rise(v: float | Floats, left: float | Floats, layers: float) -> Floats:
    """Return the time at which a mode below 1 is at v = 1 - left, but for a constant."""
    v, b = np.asarray(v), 2 / layers
    # boxcox is (v^c - 1) / c: the logarithm at c = 0, and exact near it.
    return special.boxcox(v, b - 1) + special.boxcox(v, b) + _beta(v, left, 1 + b)


def _fall(z: float | Floats, left: float | Floats, layers: float) -> Floats:
    """Return the time from infinity to 1/z, z = 1 - left."""
    return _beta(z, left, 2 - 2 / layers)


def _beta(z: float | Floats, left: float | Floats, c: float) -> Floats:
    """Return ∫ w^(c-1) / (1 - w) dw from 0 to z = 1 - left, c from 1 to 2.

    SciPy's hyp2f1 is right up to 1/2, but several times too large near 1 for some c. There it is
    ∫ dw / (1 - w), -log(left), less ∫ (1 - w^(c-1)) / (1 - w) dw, from 0 to 1 less from z to 1.
    """
    z, left = np.asarray(z), np.asarray(left)
    series = z**c / c * special.hyp2f1(1, c, 1 + c, np.minimum(z, 0.5))
    shares = (_NODES + 1) / 2  # of the way from 1 to z
    powers = np.expm1((c - 1) * np.log1p(-np.minimum(left, 0.5)[..., None] * shares))  # w^(c-1) - 1
    from_z = -powers @ (_WEIGHTS / 2 / shares)
    from_0 = special.digamma(c) + np.euler_gamma
    return np.where(z <= 0.5, series, from_z - from_0 - np.log(left))


def _rising(time: Floats, layers: float) -> Floats:
    """Invert :func:`_rise` in v.

    Newton's method in x, where (1 - v^-m) / m = -log(1 + e^-x), m = 1 - 2/N. dx/dt lies between 3/4
    and 1, and tends to 1 on both ends: the method converges from anywhere.
    """
    power = 2 / layers - 1

    def at(x: Floats) -> tuple[Floats, Floats, Floats]:
        gone = -np.logaddexp(0, -x)
        v = np.asarray(special.inv_boxcox(gone, power), dtype=np.float64)
        left = -np.asarray(special.inv_boxcox1p(gone, power), dtype=np.float64)
        return v, _rise(v, left, layers), left / special.expit(-x)

    return _newton(at, time, time)


def _falling(time: Floats, layers: float) -> Floats:
    """Invert :func:`_fall` in z.

    Newton's method in x, where z^p = 1 - e^-x, p = 2 - 2/N. dx/dt falls from p to 1, so that from
    above the method comes down to the root without passing it.
    """
    p = 2 - 2 / layers

    def at(x: Floats) -> tuple[Floats, Floats, Floats]:
        x = np.maximum(x, np.finfo(np.float64).tiny)  # 0 at the very start
        log = -np.log1p(1 / np.expm1(x)) / p  # of z; digits are kept on both ends
        z, left = np.exp(log), -np.expm1(log)
        return z, _fall(z, left, layers), p * left * np.exp(x)

    return _newton(at, p * time, time)


def _newton(
    at: Callable[[Floats], tuple[Floats, Floats, Floats]], guess: Floats, time: Floats
) -> Floats:
    """Return the strength at a time; ``at`` gives strength, time and dx/dt at an x."""
    x = np.minimum(guess, _ARRIVED)
    for _ in range(_STEPS):
        _, there, slope = at(x)
        x = np.minimum(x + slope * (time - there), _ARRIVED)
    return at(x)[0]


def _size(name: str, value: object, *, zero: bool = False) -> float:
    """Return a number whose square floats hold, or, where that is accepted, 0."""
    number = finite(name, value)
    if _LEAST <= number <= _MOST or (zero and number == 0):
        return number
    accepted = f"a number from {_LEAST} to {_MOST}" + (", or 0" if zero else "")
    raise InvalidValueError(f"{name}={value!r} is not {accepted}")


def _depth(layers: float) -> float:
    if isinstance(layers, float) and layers == math.inf:
        return layers
    try:
        return require_whole("layers", layers, 1, _MOST_LAYERS)
    except InvalidValueError as error:
        raise InvalidValueError(f"{error}; math.inf is accepted too") from None


def _times(times: ArrayLike) -> Floats:
    """Return the times as an array of float64, of any shape."""
    try:
        array = np.asarray(times)
    except ValueError:  # rows of different lengths
        raise InvalidValueError("times do not make an array; expected numbers") from None
    if array.dtype.kind not in "iuf":
        raise InvalidValueError(f"times of type {array.dtype} are not numbers of at least 0")
    found = array.astype(np.float64)
    bad = found[~((found >= 0) & (found < math.inf))]
    if bad.size:
        raise InvalidValueError(f"time {bad[0]} is not a finite number of at least 0")
    return found
