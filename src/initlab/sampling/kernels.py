"""The compiled fills: Philox counters to words, words to numbers, a block at a time.

The same arithmetic as in :mod:`initlab.sampling.reference`, operation by operation, so the same
bits: no flag lets LLVM reorder or fuse floating-point operations. Everything stands in this one
file, constants too, because Numba looks at no other when it decides whether what it kept on disk
is still good. The loops run over the columns of a block, which LLVM turns into vector code.
"""

# Numba infers the types of compiled functions; annotations would only repeat them less exactly.
# ruff: noqa: ANN001, ANN201, ANN202
# pyright: basic
from __future__ import annotations

import numba as nb
import numpy as np

from initlab._base.compiled import compiled

COUNTERS = 64
"""Counters in a block."""
BLOCK = 4 * COUNTERS
"""Elements in a block, and words: four of each counter."""
_HALF = BLOCK // 2

_f4, _i4, _u4, _u8 = np.float32, np.int32, np.uint32, np.uint64
# Inlined by LLVM into the loop over the blocks, once for each kernel.
_inlined = nb.njit(error_model="numpy", forceinline=True)


@_inlined
def _fill_words(key, block, words):
    """Fill the words of a block, ``(BLOCK,)``: Philox4x32-10 (Salmon et al. 2011).

    A word stands in the low half of 64 bits, in which a product leaves both halves of its result.
    """
    low, shift = _u8(0xFFFFFFFF), _u8(32)
    first_counter = _u8(block) * _u8(COUNTERS)
    for j in range(COUNTERS):
        counter = first_counter + _u8(j)
        c0, c1, c2, c3 = counter, counter >> shift, key[2], key[3]
        k0, k1 = key[0], key[1]
        for _ in range(10):
            first = _u8(0xD2511F53) * (c0 & low)
            second = _u8(0xCD9E8D57) * (c2 & low)
            c0, c1, c2, c3 = (second >> shift) ^ c1 ^ k0, second, (first >> shift) ^ c3 ^ k1, first
            k0 += _u8(0x9E3779B9)  # carries leave the low half, which alone is read
            k1 += _u8(0xBB67AE85)
        words[j], words[COUNTERS + j] = _u4(c0), _u4(c1)
        words[2 * COUNTERS + j], words[3 * COUNTERS + j] = _u4(c2), _u4(c3)


@_inlined
def _minus_two_log(x, exponent):
    """Return -2 ln(x 2^-exponent) for a positive normal x."""
    bits = _f4(x).view(_i4)
    power = _i4(bits - _i4(0x3F3504F3)) >> _i4(23)  # x = 2^power times 0.707 to 1.414
    m = _i4(bits - _i4(power << _i4(23))).view(_f4) - _f4(1)
    m2 = m * m
    m4 = m2 * m2
    a = (_f4(-2) + _f4(0.99999976) * m) + (_f4(-0.66668373) + _f4(0.5000415) * m) * m2
    b = (_f4(-0.39913666) + _f4(0.331248) * m) + (_f4(-0.2990456) + _f4(0.28733605) * m) * m2
    p = (a + b * m4) + _f4(-0.17444542) * (m4 * m4)
    return p * m + _f4(_i4(power - exponent)) * _f4(-1.3862944)


@_inlined
def _between(x, low, high):
    """Return x, or the bound that it passes."""
    x = x if x > low else low  # noqa: FURB136 - max and min are not one instruction each
    return x if x < high else high  # noqa: FURB136


@_inlined
def _uniform_block(words, out, row, half, middle, low, high):
    """Turn words into U(low, high); ``high`` is the largest result."""
    for j in range(BLOCK):
        signed = _f4(_i4(words[j])) * _f4(2.0**-31)
        out[row, j] = _between(signed * half + middle, low, high)


@_inlined
def _normal_block(words, out, row, std, mean):
    """Turn words into N(mean, std²): radii of one half, angles of the other (Box & Muller 1958)."""
    for j in range(_HALF):
        u = (_f4(words[j]) + _f4(0.5)) * _f4(2.0**-32)
        out[row, j] = _minus_two_log(u, _i4(0))
    for j in range(_HALF):
        radius, angle = np.sqrt(out[row, j]) * std, words[_HALF + j]
        # In eighths of a turn: the nearest multiple of two, and what is left, -1 to 1.
        turn = _u4(angle + _u4(0x20000000))
        t = _f4(_i4(_u4(angle - _u4(turn & _u4(0xC0000000))))) * _f4(2.0**-29)
        t2 = t * t
        t4 = t2 * t2
        a, b = _f4(0.7853982) + _f4(-0.080745436) * t2, _f4(0.002490001) + _f4(-3.5950452e-05) * t2
        sine = (a + b * t4) * t
        a, b = _f4(1) + _f4(-0.3084244) * t2, _f4(0.015850201) + _f4(-0.00031902007) * t2
        cosine = a + b * t4
        odd = _u4(turn & _u4(0x40000000)) != _u4(0)
        first, second = (sine, cosine) if odd else (cosine, sine)
        flip = _u4(_u4(turn + _u4(0x40000000)) & _u4(0x80000000))
        first = _u4(_f4(first).view(_u4) ^ flip).view(_f4)
        second = _u4(_f4(second).view(_u4) ^ _u4(turn & _u4(0x80000000))).view(_f4)
        out[row, j] = radius * first + mean
        out[row, _HALF + j] = radius * second + mean


@_inlined
def _centre(w):
    """Return quantile / (1 - p) for w below 12.5."""
    t = w - _f4(6.25)
    t2 = t * t
    t4 = t2 * t2
    a = (_f4(2.338621) + _f4(0.16981737) * t) + (_f4(-0.0021334381) + _f4(-0.00013090363) * t) * t2
    b = (_f4(1.6550937e-05) + _f4(-6.169241e-07) * t) + (
        _f4(-3.3658235e-08) + _f4(4.8122906e-09) * t
    ) * t2
    return (a + b * t4) + (_f4(-4.8223352e-11) + _f4(-1.3972173e-11) * t) * (t4 * t4)


@_inlined
def _far(w):
    """Return quantile / (1 - p) for w from 12.5."""
    root = np.sqrt(w)
    t = _f4(1) / root - _f4(0.1875)
    t2 = t * t
    t4 = t2 * t2
    a = (_f4(0.956961) + _f4(-0.27627748) * t) + (_f4(0.21123041) + _f4(1.5468414) * t) * t2
    b = (_f4(0.35019156) + _f4(53.784554) * t) + (_f4(213.10999) + _f4(-849.319) * t) * t2
    return ((a + b * t4) + _f4(-7966.5317) * (t4 * t4)) * root


@_inlined
def _truncated_block(words, depths, out, row, cut, scale):
    """Turn words into a truncated normal; ``depths`` is working memory for the block's w.

    ``cut`` is ``reference.cut`` without its sign, ``scale`` std (with the sign), mean and bounds.
    """
    count, exponent, below, above, step, unit = cut
    std, mean, low, high = scale
    deep = _u4(0)
    for j in range(BLOCK):
        negative = words[j] < count
        place = _f4(words[j] if negative else _u4(~words[j])) + _f4(0.5)
        p = place * step + (below if negative else above)
        x = _f4(1) - p * unit
        out[row, j] = -x if negative else x
        depths[j] = p * (_f4(1) + x)
    for j in range(BLOCK):
        w = _minus_two_log(depths[j], exponent)
        depths[j] = w
        deep = _u4(deep | _u4(w >= _f4(12.5)))
    if deep != _u4(0):  # rare: a thousandth of a normal distribution, nothing of one cut at 3 std
        for j in range(BLOCK):
            w = depths[j]
            z = _centre(w) if w < _f4(12.5) else _far(w)
            out[row, j] = _between((z * out[row, j]) * std + mean, low, high)
    else:
        for j in range(BLOCK):
            z = _centre(depths[j])
            out[row, j] = _between((z * out[row, j]) * std + mean, low, high)


@compiled
def uniform(out, first, key, half, middle, low, high):
    """Fill ``(blocks, BLOCK)`` from block ``first`` of the uniform stream of a key."""
    words = np.empty(BLOCK, np.uint32)
    for row in range(out.shape[0]):
        _fill_words(key, first + row, words)
        _uniform_block(words, out, row, half, middle, low, high)


@compiled
def normal(out, first, key, std, mean):
    """Fill ``(blocks, BLOCK)`` from block ``first`` of the normal stream of a key."""
    words = np.empty(BLOCK, np.uint32)
    for row in range(out.shape[0]):
        _fill_words(key, first + row, words)
        _normal_block(words, out, row, std, mean)


@compiled
def truncated(out, first, key, cut, scale):
    """Fill ``(blocks, BLOCK)`` from block ``first`` of the truncated normal stream of a key."""
    words, depths = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.float32)
    for row in range(out.shape[0]):
        _fill_words(key, first + row, words)
        _truncated_block(words, depths, out, row, cut, scale)
