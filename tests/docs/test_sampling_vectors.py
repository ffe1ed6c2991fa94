"""What docs/sampling.md prints is what the code draws: key, vectors, polynomials and example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initlab.sampling import Key, fill_normal, fill_truncated_normal, fill_uniform, reference

TEXT = (Path(__file__).parents[2] / "docs" / "sampling.md").read_text("utf-8")
HEADER = re.search(r"^Seed (\d+), name `(.+?)`: the key is `(.+?)`", TEXT, re.MULTILINE)
ROWS = re.findall(
    r"^\| (\d{1,20}) \| ([-\d.e]+) \| (.+?) \| (.+?) \| (.+?) \|$", TEXT, re.MULTILINE
)
FILLS: list[tuple[Any, dict[str, float]]] = [
    (fill_uniform, {}),
    (fill_normal, {}),
    (fill_truncated_normal, {}),
    (fill_truncated_normal, {"std": 0.02, "mean": 0.5, "low": 1, "high": 3}),
]


def key() -> Key:
    assert HEADER is not None
    return Key.derive(int(HEADER[1]), HEADER[2])


def test_there_is_something_to_test():
    assert len(ROWS) == 10


def test_the_key():
    assert HEADER is not None
    assert " ".join(f"{word:08x}" for word in key().words) == HEADER[3]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_vectors(row: tuple[str, ...]):
    out = np.empty(1, np.float32)
    for (fill, options), text in zip(FILLS, row[1:], strict=True):
        fill(out, key(), start=int(row[0]), **options)
        assert str(out[0]) == text


@pytest.mark.parametrize("name", ["LOG", "SINE", "COSINE", "CENTRE", "FAR"])
def test_the_polynomials(name: str):
    printed = re.search(rf"^\| {name} \| (.+) \|$", TEXT, re.MULTILINE)
    assert printed is not None
    assert printed[1].split(", ") == getattr(reference, name).split()


def test_the_example():
    example = re.search(r"^```python\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert example is not None
    exec(example[1], {})  # noqa: S102 - our own page
