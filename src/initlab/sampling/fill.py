"""Filling arrays: checks, parameters, and the share of each thread."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.whole import require_whole
from initlab.sampling import reference
from initlab.sampling.keys import Key

Floats = NDArray[np.float32]

FURTHEST, NARROWEST = 10.0, 1e-3
"""In stds: how far from the mean a truncated normal may begin, and its least width."""
FURTHEST_NORMAL, FURTHEST_TRUNCATED = 6.78, 13.0
"""In stds: farther from the mean no entry is; a truncated normal from 10 stds on ends before 13."""
BLOCK = 256
"""Entries that are made together."""
_MOST = float(np.finfo(np.float32).max)
_SHARE = 1024
"""Blocks that a thread takes at a time, at least; fewer than four shares take one thread."""


def fill_normal(
    out: Floats,
    key: Key,
    *,
    start: int = 0,
    std: float = 1.0,
    mean: float = 0.0,
    threads: int | None = None,
) -> None:
    """Fill an array with entries ``start``, ``start + 1``, ... of a normal stream.

    An entry depends on the key and its place alone. None is further from the mean than 6.77 std.

    Parameters
    ----------
    out
        C-contiguous float32 array of any shape; filled in C order.
    key
        Key of the stream.
    start
        Place of the first entry.
    std, mean
        Of the entries; ``std`` may be 0. No entry may be beyond float32.
    threads
        Number of threads; by default all available cores for a large array and one for a small
        one. The entries are the same.

    Raises
    ------
    InvalidValueError
        If the array cannot be filled or a number is out of range.
    """
    _require_spread(std, mean, FURTHEST_NORMAL, allow_zero=True)
    arguments = np.float32(std), np.float32(mean)
    _fill("normal", out, key, start, threads, arguments)


def fill_uniform(
    out: Floats,
    key: Key,
    *,
    start: int = 0,
    low: float = 0.0,
    high: float = 1.0,
    threads: int | None = None,
) -> None:
    """Fill an array with entries of a uniform stream: low <= x < high, in float32 as well.

    Parameters
    ----------
    out, key, start, threads
        As in :func:`fill_normal`.
    low, high
        Bounds. What would be rounded to ``high`` is the largest float32 below it.

    Raises
    ------
    InvalidValueError
        If the array cannot be filled, a number is out of range, or no float32 is within the bounds.
    """
    _require_number("low", low, finite=True)
    _require_number("high", high, finite=True)
    if not low < high:
        raise InvalidValueError(f"low must be below high, got low={low!r} and high={high!r}")
    least, most = _inward(low, math.nextafter(high, -math.inf))
    arguments = np.float32(high / 2 - low / 2), np.float32(high / 2 + low / 2), least, most
    _fill("uniform", out, key, start, threads, arguments)


def fill_truncated_normal(
    out: Floats,
    key: Key,
    *,
    start: int = 0,
    std: float = 1.0,
    mean: float = 0.0,
    low: float = -2.0,
    high: float = 2.0,
    threads: int | None = None,
) -> None:
    """Fill an array with entries of a normal stream cut at two bounds, which are never passed.

    Each is the quantile of one random word; none is further from the mean than where 2^-33 of the
    probability is left: 6.3 std for bounds that cut nothing off.

    Parameters
    ----------
    out, key, start, threads
        As in :func:`fill_normal`.
    std, mean
        Of the normal distribution before it is cut; ``std`` is above 0. No entry may be beyond
        float32.
    low, high
        Bounds in units of ``std`` about the mean; infinite for none. They reach within 10 of the
        mean, and are at least 0.001 apart.

    Raises
    ------
    InvalidValueError
        If the array cannot be filled, a number is out of range, or no float32 is within the bounds.
    """
    _require_number("low", low, finite=False)
    _require_number("high", high, finite=False)
    furthest = min(max(abs(float(low)), abs(float(high))), FURTHEST_TRUNCATED)
    _require_spread(std, mean, furthest, allow_zero=False)
    if not high - low >= NARROWEST:
        raise InvalidValueError(
            f"low must be at least {NARROWEST:g} std below high, got low={low!r} and high={high!r}"
        )
    if low > FURTHEST or high < -FURTHEST:
        raise InvalidValueError(
            f"the bounds must reach within {FURTHEST:g} std of the mean, "
            f"got low={low!r} and high={high!r}"
        )
    least, most = _inward(mean + low * std, mean + high * std)
    sign, cut = _cut(float(low), float(high))
    scale = np.float32(sign * std), np.float32(mean), least, most
    _fill("truncated", out, key, start, threads, (cut, scale))


@lru_cache(maxsize=64)
def _cut(low: float, high: float) -> tuple[int, tuple[Any, ...]]:
    """Return the sign and the numbers of ``reference.cut`` as the kernel takes them."""
    sign, count, exponent, parameters = reference.cut(low, high)
    return sign, (np.uint32(count), np.int32(exponent), *parameters)


def _inward(low: float, high: float) -> tuple[np.float32, np.float32]:
    least, most = reference.inward(low, high)
    if least > most:
        raise InvalidValueError(f"no float32 lies between {low!r} and {high!r}; widen the bounds")
    return least, most


def _require_number(name: str, value: object, *, finite: bool) -> None:
    kind = "a finite float32" if finite else "a number"
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:  # an int that has hundreds of digits
        raise InvalidValueError(f"{name} must be {kind}, not beyond the largest float") from None
    if math.isnan(number) or (finite and abs(number) > _MOST):
        raise InvalidValueError(f"{name} must be {kind}, got {value!r}")


def _require_spread(std: float, mean: float, furthest: float, *, allow_zero: bool) -> None:
    _require_number("mean", mean, finite=True)
    _require_number("std", std, finite=True)
    if std < 0 or (std == 0 and not allow_zero):
        raise InvalidValueError(f"std must be {'0 or ' * allow_zero}positive, got {std!r}")
    if abs(float(mean)) + furthest * float(std) > _MOST:
        raise InvalidValueError(
            f"std={std!r} and mean={mean!r} would have entries beyond float32, whose largest is "
            f"{_MOST:.4g}; use smaller ones"
        )


def require_fillable(out: Floats, key: Key, start: int) -> int:
    """Refuse what no fill takes, before anything is drawn.

    Parameters
    ----------
    out, key, start
        As in :func:`fill_normal`.

    Returns
    -------
    int
        The start, as Python's whole number.

    Raises
    ------
    InvalidValueError
        If one of them cannot be taken.
    """
    flags = getattr(out, "flags", None)
    if not isinstance(out, np.ndarray) or flags is None or out.dtype != np.float32:  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        given = getattr(out, "dtype", type(out).__name__)
        raise InvalidValueError(f"out must be a float32 array, got {given}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise InvalidValueError("out must be C-contiguous and writeable")
    if not isinstance(key, Key):  # pyright: ignore[reportUnnecessaryIsInstance] - as above
        raise InvalidValueError(f"key must be a Key such as Key.derive(0, 'w'), got {key!r}")
    return require_whole("start", start, most=2**63 - BLOCK - out.size)


def _fill(
    distribution: Literal["normal", "uniform", "truncated"],
    out: Floats,
    key: Key,
    start: int,
    threads: int | None,
    arguments: tuple[Any, ...],
) -> None:
    """Run the kernel over shares of the array that end where blocks do, on so many threads."""
    start = require_fillable(out, key, start)
    threads = None if threads is None else require_whole("threads", threads, 1)
    from initlab.sampling import kernels  # noqa: PLC0415 - Numba takes long to load

    kernel = getattr(kernels, distribution)
    words = tuple(np.uint64(word) for word in key.words)

    def run(blocks: Floats, first: int) -> None:
        kernel(blocks, first, words, *arguments)

    body, first = _fill_ends(run, np.asarray(out).reshape(-1), start)
    if threads is None:
        threads = _available_cores() if body.shape[0] >= 4 * _SHARE else 1
    if threads == 1:
        run(body, first)
        return
    size = max(_SHARE, body.shape[0] // (16 * threads))
    shares = deque((body[i : i + size], first + i) for i in range(0, body.shape[0], size))

    def work() -> None:
        while shares:
            try:
                share = shares.popleft()
            except IndexError:
                return  # another thread took the last one
            run(*share)

    # The calling thread works as well, so that nothing waits for the others to wake.
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()  # raises here what was raised there


def _fill_ends(run: Callable[[Floats, int], None], flat: Floats, start: int) -> tuple[Floats, int]:
    """Fill what belongs to blocks that ``flat`` holds only a part of.

    Returns the rest, ``(blocks, BLOCK)``, and the number of its first block.
    """
    head = min(-start % BLOCK, flat.size)
    tail = (flat.size - head) % BLOCK
    end = flat.size - tail
    block = np.empty((1, BLOCK), np.float32)
    if head:
        run(block, start // BLOCK)
        flat[:head] = block[0, start % BLOCK :][:head]
    if tail:
        run(block, (start + end) // BLOCK)
        flat[end:] = block[0, :tail]
    return flat[head:end].reshape(-1, BLOCK), (start + head) // BLOCK


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may grant fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
