"""What cannot be filled is refused in one line; what is empty or constant is fine."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initlab._base.errors import InvalidValueError
from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform

KEY = Key.derive(0, "w")
FILLS = (fill_normal, fill_uniform, fill_truncated_normal)


def locked() -> Any:
    out = np.empty(3, np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty(3), "out must be a float32 array, got float64"),
        ([1.0], "out must be a float32 array, got list"),
        (np.empty(3, ">f4"), "out must be a float32 array, got >f4"),
        (np.empty((4, 4), np.float32)[:, ::2], "C-contiguous and writeable"),
        (np.empty((4, 4), np.float32).T, "C-contiguous and writeable"),
        (locked(), "C-contiguous and writeable"),
    ],
    ids=["float64", "list", "swapped bytes", "strided", "transposed", "locked"],
)
def test_arrays_that_cannot_be_filled(fill: Any, out: Any, message: str):
    with pytest.raises(InvalidValueError, match=message) as raised:
        fill(out, KEY)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fill", "options", "message"),
    [
        *((fill, {"start": -1}, "start=-1 is not a whole number of at least 0") for fill in FILLS),
        *((fill, {"start": 2**63}, "start is above 9223372036854775547") for fill in FILLS),
        *((fill, {"start": 1.0}, "start=1.0 is not a whole number") for fill in FILLS),
        *((fill, {"start": True}, "start=True is not a whole number") for fill in FILLS),
        *((fill, {"threads": 0}, "threads=0 is not a whole number") for fill in FILLS),
        *((fill, {"threads": 1.5}, "threads=1.5 is not a whole number") for fill in FILLS),
        (fill_normal, {"std": "1"}, "std must be a finite float32, got '1'"),
        (fill_normal, {"mean": None}, "mean must be a finite float32, got None"),
        (fill_normal, {"std": 10**400}, "std must be a finite float32, not beyond"),
        (fill_normal, {"std": 3e38}, r"std=3e\+38 and mean=0.0 would have entries beyond float32"),
        (fill_normal, {"std": 1e37, "mean": 3e38}, "entries beyond float32"),
        (fill_truncated_normal, {"std": 2e38}, "entries beyond float32"),
        (fill_truncated_normal, {"std": 3e37, "low": 9, "high": math.inf}, "beyond float32"),
        (fill_truncated_normal, {"low": 10**400}, "low must be a number, not beyond"),
        (fill_uniform, {"low": "0"}, "low must be a finite float32, got '0'"),
        (fill_normal, {"std": -1.0}, "std must be 0 or positive, got -1.0"),
        (fill_normal, {"std": math.nan}, "std must be a finite float32, got nan"),
        (fill_normal, {"std": 1e39}, r"std must be a finite float32, got 1e\+39"),
        (fill_normal, {"mean": math.inf}, "mean must be a finite float32, got inf"),
        (fill_uniform, {"low": 1.0}, "low must be below high, got low=1.0 and high=1.0"),
        (fill_uniform, {"low": -math.inf}, "low must be a finite float32, got -inf"),
        (fill_uniform, {"high": math.nan}, "high must be a finite float32, got nan"),
        (fill_uniform, {"low": 1.0, "high": 1 + 1e-12}, None),
        (fill_uniform, {"low": 1 + 1e-10, "high": 1 + 1e-9}, "no float32 lies between"),
        (fill_truncated_normal, {"std": 0.0}, "std must be positive, got 0.0"),
        (fill_truncated_normal, {"std": math.inf}, "std must be a finite float32, got inf"),
        (fill_truncated_normal, {"low": 2.0}, "low must be at least 0.001 std below high"),
        (fill_truncated_normal, {"low": 3.0}, "low must be at least 0.001 std below high"),
        (fill_truncated_normal, {"low": math.nan}, "low must be a number, got nan"),
        (fill_truncated_normal, {"low": 11, "high": 12}, "reach within 10 std of the mean"),
        (fill_truncated_normal, {"low": -12, "high": -11}, "reach within 10 std of the mean"),
        (
            fill_truncated_normal,
            {"mean": 1 + 1e-8, "std": 1e-9},
            "no float32 lies between .* widen the bounds",
        ),
    ],
)
def test_numbers_out_of_range(fill: Any, options: dict[str, Any], message: str | None):
    out = np.full(5, 7, np.float32)
    if message is None:
        fill(out, KEY, **options)
        assert (out == 1).all()
        return
    with pytest.raises(InvalidValueError, match=message) as raised:
        fill(out, KEY, **options)
    assert "\n" not in str(raised.value)
    assert (out == 7).all()  # refused before anything is written


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("key", [5, None, KEY.words])
def test_what_is_no_key(fill: Any, key: Any):
    with pytest.raises(InvalidValueError, match=r"key must be a Key such as Key\.derive"):
        fill(np.empty(3, np.float32), key)


def test_the_largest_std_overflows_nowhere():
    out = np.empty(2**20, np.float32)
    fill_normal(out, KEY, std=5e37, mean=1e36)
    assert np.isfinite(out).all()
    fill_truncated_normal(out, KEY, std=1.5e38, low=-2, high=2)
    assert 2.9e38 < np.abs(out).max() <= 3e38


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_an_empty_array_is_fine(fill: Any, threads: int | None):
    fill(np.empty((0, 3), np.float32), KEY, start=5, threads=threads)


def test_whole_numbers_and_arrays_of_numpy_are_fine(tmp_path: Path):
    expected = np.empty(600, np.float32)
    fill_normal(expected, KEY, start=1000)
    mapped = np.memmap(tmp_path / "weight", np.float32, "w+", shape=(20, 30))
    for start in (np.int32(1000), np.uint64(1000)):
        mapped[:] = 0
        fill_normal(mapped, KEY, start=start)  # pyright: ignore[reportArgumentType] - as many callers do
        assert (mapped.reshape(-1) == expected).all()


def test_a_std_of_zero_gives_the_mean():
    out = np.empty(1000, np.float32)
    fill_normal(out, KEY, std=0, mean=0.25)
    assert (out == 0.25).all()


def test_bounds_beyond_float32_are_none():
    out = np.empty(1000, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fill_truncated_normal(out, KEY, std=1e30, low=-1e300, high=1e300)
    assert np.isfinite(out).all()
    assert out.astype(np.float64).std() == pytest.approx(1e30, rel=0.15)


def test_uniform_never_reaches_high():
    # Four numbers from 1 to below 1 + 2^-21, so rounding up to high would be frequent.
    out = np.empty(100_000, np.float32)
    fill_uniform(out, KEY, low=1, high=1 + 2.0**-21)
    assert set(np.unique(out)) == {np.float32(1 + i * 2.0**-23) for i in range(4)}
