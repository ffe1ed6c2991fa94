"""Gaussian moments that are known in closed form, and which activations have them.

Each function takes the variance q > 0 of the pre-activation x and returns all moments. The last of
them follows from the second: E[z φ φ'] = sqrt(q) dE[φ²]/dq (Stein's lemma).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from scipy import special

from initlab import activations
from initlab._base.spec import parse_call
from initlab.activations._definition import Activation
from initlab.activations.rectifiers import SELU_ALPHA, SELU_SCALE

# Beyond the first, terms overflow or underflow. Beyond the second, two neighbouring numbers some
# standard deviations from 0 are 0.01 apart, and the sine of such a number means little.
_LARGEST, _LARGEST_OF_SIN = 1e200, 1e24
# A difference that is left with less than this share of its terms has lost too many digits.
_LEFT = 1e-3


@dataclass(frozen=True)
class GaussianMoments:
    """What an activation φ makes of a normal pre-activation x = sqrt(q) z, z standard normal.

    Attributes
    ----------
    f
        E[φ(x)].
    f2
        E[φ(x)²].
    var
        Var φ(x).
    df2
        E[φ'(x)²].
    d2f2
        E[φ''(x)²]; infinite where φ has kinks.
    zfdf
        E[z φ(x) φ'(x)] = sqrt(q) dE[φ(x)²]/dq.
    """

    f: float
    f2: float
    var: float
    df2: float
    d2f2: float
    zfdf: float


def find(activation: Activation, q: float) -> GaussianMoments | None:
    """Return the moments in closed form, or ``None`` where quadrature has to be used.

    That is: for other activations, also where they go by a name of the catalogue; at q = 0, where
    the moments are the values at 0; and where a closed form cancels or overflows.

    Parameters
    ----------
    activation
        φ.
    q
        Variance of the pre-activation, finite and at least 0.

    Examples
    --------
    >>> from initlab import activations
    >>> find(activations.get("relu"), 2.0).f2
    1.0
    """
    largest = _LARGEST_OF_SIN if activation.name == "sin" else _LARGEST
    if not 0 < q <= largest or not _is_known(activation):
        return None
    call = parse_call(activation.name)
    # Numbers all of them, or the catalogue had refused the name; an int does not overflow to inf.
    arguments = map(float, cast("tuple[float, ...]", call.args))
    found = _FORMS[call.name](q, *arguments)
    finite = (found.f, found.f2, found.var, found.df2, found.zfdf)
    return found if all(map(math.isfinite, finite)) else None


def _is_known(activation: Activation) -> bool:
    """Say whether this is the catalogue's activation of its name, and one with closed forms."""
    if activation.name.partition("(")[0] not in _FORMS:
        return False
    try:
        return activations.get(activation.name) == activation
    except ValueError:  # the name does not parse; or the kinks are an array, which has no one truth
        return False


def identity(q: float) -> GaussianMoments:
    """Return those of φ(x) = x: E[φ²] = q, φ' = 1 (elementary)."""
    return leaky_relu(q, 1.0)


def relu(q: float) -> GaussianMoments:
    """Return those of φ(x) = max(0, x): E[φ] = sqrt(q / 2π), E[φ²] = q/2, E[φ'²] = 1/2.

    Cho & Saul 2009, Kernel Methods for Deep Learning (arc-cosine kernels at angle 0).
    """
    return leaky_relu(q, 0.0)


def leaky_relu(q: float, negative_slope: float = 0.01) -> GaussianMoments:
    """Return those of φ(x) = x for x > 0, else a x.

    E[φ] = (1 - a) sqrt(q / 2π), E[φ²] = q (1 + a²)/2, E[φ'²] = (1 + a²)/2,
    Var φ = q ((1 + a)²/4 + (1 - a)² (1/4 - 1/2π)), E[zφφ'] = sqrt(q) (1 + a²)/2: those of both
    halves, each as in Cho & Saul 2009.
    """
    root, a = math.sqrt(q), negative_slope
    half = 0.5 * (1 + a * a)
    return GaussianMoments(
        f=(1 - a) * root / math.sqrt(2 * math.pi),
        f2=q * half,
        var=q * (0.25 * (1 + a) * (1 + a) + (1 - a) * (1 - a) * (0.25 - 0.5 / math.pi)),
        df2=half,
        d2f2=0.0 if a == 1.0 else math.inf,
        zfdf=root * half,
    )


def elu(q: float, alpha: float = 1.0) -> GaussianMoments:
    """Return those of φ(x) = x for x > 0, else α (e^x - 1).

    With t = sqrt(q / 2) and E[e^kx; x < 0] = erfcx(k t) / 2:
    E[φ] = t / sqrt(π) - α (1 - erfcx(t)) / 2,
    E[φ²] = q/2 + α² (erfcx(2t) - 2 erfcx(t) + 1) / 2,
    E[φ'²] = 1/2 + α² erfcx(2t) / 2, E[φ''²] = α² erfcx(2t) / 2 without a kink, at α = 1,
    E[zφφ'] = sqrt(q) (1/2 + α² (erfcx(2t) - erfcx(t) / 2)).
    Tsuchida, Pearce, van der Heide, Roosta & Gallagher 2021, Avoiding Kernel Fixed Points.
    """
    root, t, square = math.sqrt(q), math.sqrt(0.5 * q), alpha * alpha
    once, twice = float(special.erfcx(t)), float(special.erfcx(2 * t))
    mean = t / math.sqrt(math.pi) - 0.5 * alpha * _sum(1.0, -once)
    second = 0.5 * q + 0.5 * square * _sum(twice, -2 * once, 1.0)
    return GaussianMoments(
        f=mean,
        f2=second,
        var=_sum(second, -mean * mean),
        df2=0.5 + 0.5 * square * twice,
        d2f2=0.5 * twice if alpha == 1.0 else math.inf,
        zfdf=root * _sum(0.5, square * twice, -0.5 * square * once),
    )


def selu(q: float) -> GaussianMoments:
    """Return those of λ times ELU: E[φ] times λ, the others, all of them squares, times λ².

    Klambauer, Unterthiner, Mayr & Hochreiter 2017, Self-Normalizing Neural Networks.
    """
    plain, square = elu(q, SELU_ALPHA), SELU_SCALE * SELU_SCALE
    return GaussianMoments(
        f=SELU_SCALE * plain.f,
        f2=square * plain.f2,
        var=square * plain.var,
        df2=square * plain.df2,
        d2f2=square * plain.d2f2,
        zfdf=square * plain.zfdf,
    )


def gelu(q: float) -> GaussianMoments:
    """Return those of φ(x) = x Φ(x); p is the density, so that φ' = Φ + x p, φ'' = p (2 - x²).

    With a = E[Φ²] = 1/4 + asin(q / (1 + q)) / 2π, b = E[x p Φ] = q / (2π (1 + q) sqrt(1 + 2q)),
    c = E[x² p²] = q / (2π (1 + 2q)^1.5) and s = q / (1 + 2q):
    E[φ] = q / sqrt(2π (1 + q)), E[φ²] = q (a + 2b), E[φ'²] = a + 2b + c,
    E[φ''²] = (4 - 4s + 3s²) / (2π sqrt(1 + 2q)), E[zφφ'] = sqrt(q) (a + 2b + (2b + c) / (1 + q)).
    E[φ²] and E[φ'²]: Tsuchida et al. 2021, Avoiding Kernel Fixed Points; the others likewise.
    """
    root, wide, turn = math.sqrt(q), math.sqrt(1 + 2 * q), 2 * math.pi
    # asin(q / (1 + q)) as an arc tangent, which loses nothing where the sine is close to 1.
    a = 0.25 + math.atan2(q, wide) / turn
    b = q / (1 + q) / wide / turn
    s = q / (1 + 2 * q)
    c = s / wide / turn
    mean = root * math.sqrt(q / (1 + q)) / math.sqrt(turn)
    second = q * (a + 2 * b)
    return GaussianMoments(
        f=mean,
        f2=second,
        var=second - mean * mean,  # E[φ]² is less than a third of E[φ²]
        df2=a + 2 * b + c,
        d2f2=(4 - 4 * s + 3 * s * s) / wide / turn,
        zfdf=root * (a + 2 * b + (2 * b + c) / (1 + q)),
    )


def erf(q: float) -> GaussianMoments:
    """Return those of the error function.

    E[φ²] = 2/π asin(2q / (1 + 2q)), E[φ'²] = 4 / (π sqrt(1 + 4q)),
    E[φ''²] = 16 q / (π (1 + 4q)^1.5), E[zφφ'] = 4 sqrt(q) / (π (1 + 2q) sqrt(1 + 4q)).
    E[φ²]: Williams 1997, Computing with Infinite Networks; the others are elementary.
    """
    wide = math.sqrt(1 + 4 * q)
    # The arc sine as an arc tangent, which loses nothing where the sine is close to 1.
    second = 2 / math.pi * math.atan2(2 * q, wide)
    slope = 4 / math.pi / wide
    return GaussianMoments(
        f=0.0,
        f2=second,
        var=second,
        df2=slope,
        d2f2=slope * (4 * q / (1 + 4 * q)),
        zfdf=slope * (math.sqrt(q) / (1 + 2 * q)),
    )


def sin(q: float) -> GaussianMoments:
    """Return those of the sine: E[φ²] = E[φ''²] = (1 - e^-2q)/2, E[φ'²] = (1 + e^-2q)/2.

    E[zφφ'] = sqrt(q) e^-2q. Elementary, from E[cos 2x] = e^-2q.
    """
    second, faded = -0.5 * math.expm1(-2 * q), math.exp(-2 * q)
    return GaussianMoments(
        f=0.0,
        f2=second,
        var=second,
        df2=0.5 + 0.5 * faded,
        d2f2=second,
        zfdf=math.sqrt(q) * faded,
    )


def hardtanh(q: float) -> GaussianMoments:
    """Return those of φ(x) = min(1, max(-1, x)).

    With P the regularised lower incomplete gamma function and u = 1 / 2q:
    E[x²; |x| < 1] = q P(3/2, u), so E[φ²] = q P(3/2, u) + erfc(sqrt(u)), E[φ'²] = erf(sqrt(u)),
    E[zφφ'] = sqrt(q) P(3/2, u). Elementary.
    """
    u = 0.5 / q
    inside = float(special.gammainc(1.5, u))
    second = q * inside + math.erfc(math.sqrt(u))
    return GaussianMoments(
        f=0.0,
        f2=second,
        var=second,
        df2=math.erf(math.sqrt(u)),
        d2f2=math.inf,
        zfdf=math.sqrt(q) * inside,
    )


def _sum(*terms: float) -> float:
    """Return the sum, or nan where it cancels."""
    total = sum(terms)
    return total if abs(total) >= _LEFT * max(map(abs, terms)) else math.nan


_FORMS: dict[str, Callable[..., GaussianMoments]] = {
    form.__name__: form
    for form in (identity, relu, leaky_relu, elu, selu, gelu, erf, sin, hardtanh)
}
