"""The definition in plain NumPy: what every entry of a stream is, bit for bit, on any machine.

It takes correctly rounded float32 operations only, one by one in the order written, and nothing of
initlab: the source can be copied as it stands.
"""

import hashlib
import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np

# Polynomials, lowest power first. -2 ln(1 + m) / m; sin and cos of t eighths of a turn, by t².
LOG = "-2 .99999976 -.66668373 .5000415 -.39913666 .331248 -.2990456 .28733605 -.17444542"
SINE, COSINE = (
    ".7853982 -.080745436 .002490001 -3.5950452e-05",
    "1 -.3084244 .015850201 -.00031902007",
)
# Normal quantile / (1 - p) of the two-sided tail probability p, with w = -2 ln(p (2 - p)):
# by w - 6.25 below w = 12.5; from there divided by √w, by 1 / √w - .1875.
CENTRE = """2.338621 .16981737 -.0021334381 -.00013090363 1.6550937e-05 -6.169241e-07 -3.3658235e-08
    4.8122906e-09 -4.8223352e-11 -1.3972173e-11"""
FAR = ".956961 -.27627748 .21123041 1.5468414 .35019156 53.784554 213.10999 -849.319 -7966.5317"
SQRT_2PI = Decimal("2.5066282746310005024157652848110452530069867406099383166299235763422937")

f32: Callable[[Any], Any] = np.float32


def derive(seed: int, name: str, purpose: str = "weight") -> tuple[int, ...]:
    """Hash a name to its key: the Philox key k0, k1 and the upper counter words c2, c3."""
    digest = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{name}".encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


def philox(key: tuple[int, ...], counters: Any) -> Any:
    """Return the words ``(4, n)`` of uint64 counters: Philox4x32-10 (Salmon et al. 2011)."""
    low, shift = np.uint64(2**32 - 1), np.uint64(32)
    c0, c1 = counters & low, counters >> shift
    c2, c3 = np.full_like(c0, key[2]), np.full_like(c0, key[3])
    for i in range(10):
        k0, k1 = (key[0] + i * 0x9E3779B9) % 2**32, (key[1] + i * 0xBB67AE85) % 2**32
        left, right = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (right >> shift) ^ c1 ^ np.uint64(k0), right & low
        c2, c3 = (left >> shift) ^ c3 ^ np.uint64(k1), left & low
    return np.stack([c0, c1, c2, c3])


def blocks(key: tuple[int, ...], start: int, size: int) -> Any:
    """Return the words ``(blocks, 4, 64)`` of the blocks with entries start to start + size - 1."""
    counters = np.arange(start // 256 * 64, -(-(start + size) // 256) * 64, dtype=np.uint64)
    return philox(key, counters).astype(np.uint32).reshape(4, -1, 64).swapaxes(0, 1)


def polynomial(coefficients: str, x: Any) -> Any:
    """Evaluate by Estrin's scheme: c0 + c1 x, c2 + c3 x, ...; then these by x²; then by x⁴ ..."""
    terms = [f32(each) for each in coefficients.split()]
    while len(terms) > 1:
        pairs = [a + b * x for a, b in zip(terms[0::2], terms[1::2], strict=False)]
        terms, x = pairs + terms[2 * len(pairs) :], x * x
    return terms[0]


def minus_two_log(x: Any, exponent: int = 0) -> Any:
    """Return -2 ln(x 2^-exponent), from x = 2^power (1 + m) with 1 + m from 0.707 to 1.414."""
    bits = x.view(np.int32)
    power = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = (bits - (power << np.int32(23))).view(np.float32) - f32(1)
    return polynomial(LOG, m) * m + (power - np.int32(exponent)).astype(np.float32) * f32(
        -1.3862944
    )


def inward(low: float, high: float) -> tuple[Any, Any]:
    """Return the least and the largest float32 within two bounds."""
    with np.errstate(over="ignore"):
        least, most = f32(low), f32(high)
    least = np.nextafter(least, f32(np.inf)) if float(least) < low else least
    return least, np.nextafter(most, f32(-np.inf)) if float(most) > high else most


def uniform(key: tuple[int, ...], start: int, size: int, low: float, high: float) -> Any:
    """Return entries of U(low, high): each word as a signed number from -1 to 1."""
    signed = blocks(key, start, size).astype(np.int32).astype(np.float32) * f32(2**-31)
    values = signed * f32(high / 2 - low / 2) + f32(high / 2 + low / 2)
    values = np.clip(values, *inward(low, math.nextafter(high, -math.inf)))
    return values.reshape(-1)[start % 256 :][:size]


def normal(key: tuple[int, ...], start: int, size: int, std: float = 1, mean: float = 0) -> Any:
    """Return entries of N(mean, std²): words 0 and 2 of a counter make two, and words 1 and 3."""
    radii, angles = np.split(blocks(key, start, size), 2, axis=1)
    u = (radii.astype(np.float32) + f32(0.5)) * f32(2**-32)
    radius = np.sqrt(minus_two_log(u)) * f32(std)
    quarter = (angles + np.uint32(2**29)) >> np.uint32(30)  # the nearest; t: the rest, in eighths
    t = (angles - (quarter << np.uint32(30))).astype(np.int32).astype(np.float32) * f32(2**-29)
    sine, cosine = polynomial(SINE, t * t) * t, polynomial(COSINE, t * t)
    x = radius * np.choose(quarter, [cosine, -sine, -cosine, sine]) + f32(mean)
    y = radius * np.choose(quarter, [sine, cosine, -sine, -cosine]) + f32(mean)
    return np.concatenate([x, y], axis=1).reshape(-1)[start % 256 :][:size]


def tail(z: float) -> Decimal:
    """Return 1 - Φ(z) = 1/2 - φ(z) Σ z^(2k+1) / (2k+1)!!; 0 beyond 13."""
    if abs(z) > 13:
        return Decimal(int(z < 0))
    x = total = term = Decimal(z)
    for odd in range(3, 1001, 2):
        term = term * x * x / odd
        total += term
    return Decimal("0.5") - total * (-x * x / 2).exp() / SQRT_2PI


def cut(low: float, high: float) -> tuple[int, int, int, list[Any]]:
    """Return what the truncated normal needs of its bounds, in stds.

    That is: -1 where both change sides, so that the positive side is the heavier one, else 1; how
    many of the 2^32 words give the negative side; an exponent e; and, times 2^e, the two-sided tail
    probabilities at low and at high and their step from word to word; and 2^-e.
    """
    sign = -1 if low + high < 0 else 1
    low, high = (low, high) if sign == 1 else (-high, -low)
    with localcontext(Context(prec=70)):
        below, above, nearest = tail(-low), tail(high), tail(max(low, 0.0))
        negative = max(Decimal("0.5") - below, Decimal(0))
        step = (negative + nearest - above) / 2**32
        e = -math.frexp(2 * nearest)[1]
        scaled = [f32(float(2 * each) * 2.0**e) for each in (below, above, step)]
        return sign, int((negative / step).to_integral_value()), e, [*scaled, f32(2.0**-e)]


def truncated_normal(
    key: tuple[int, ...],
    start: int,
    size: int,
    low: float,
    high: float,
    std: float = 1,
    mean: float = 0,
) -> Any:
    """Return entries of N(mean, std²) cut at low and high stds: each word's quantile."""
    sign, count, e, (below, above, step, unit) = cut(low, high)
    words = blocks(key, start, size)
    negative = words < count
    place = np.where(negative, words, ~words).astype(np.float32) + f32(0.5)
    p = place * step + np.where(negative, below, above)
    x = f32(1) - p * unit
    w = minus_two_log(p * (f32(1) + x), e)
    root = np.sqrt(np.maximum(w, f32(12.5)))
    far = polynomial(FAR, f32(1) / root - f32(0.1875)) * root
    z = np.where(w < f32(12.5), polynomial(CENTRE, w - f32(6.25)), far) * np.where(negative, -x, x)
    values = np.clip(z * f32(sign * std) + f32(mean), *inward(mean + low * std, mean + high * std))
    return values.reshape(-1)[start % 256 :][:size]
