"""What is drawn to be looked at, and the pictures made of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from initlab._base.errors import InvalidValueError
from initlab.initializers import catalogue, get
from initlab.report.catalogue import describe
from initlab.report.catalogue.drawing import bar_lines, histogram_lines, pattern_lines
from initlab.report.catalogue.sample import BINS, LARGEST, MOST, Histogram, Repeated, Sample, draw
from initlab.report.catalogue.sketch import sketch_lines
from initlab.sampling import Key

WIDTHS = (24, 40, 58, 78, 100)


def values(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the same weight by the initialiser itself."""
    out = np.empty(shape, np.float32)
    get(text).fill(out, Key.derive(0, get(text).name), shape=shape)
    return out.astype(np.float64)


def heights(lines: list[str]) -> list[int]:
    """Read the bars of a histogram back, in eighths of a line."""
    rows = [line.ljust(BINS) for line in lines[:-2]]
    return [sum(" ▁▂▃▄▅▆▇█".index(row[column]) for row in rows) for column in range(BINS)]


@pytest.mark.parametrize("name", catalogue)
def test_all_entries_are_counted_once(name: str):
    found = describe(name)
    sample = found.sample
    assert sample is not None
    assert sample.entries == min(MOST, math.prod(found.shape))
    counted = sum(each.count for each in sample.repeated)
    counted += sum(sample.rest.counts) if sample.rest else 0
    assert counted == sample.entries
    assert sample.rest or sample.repeated


@pytest.mark.parametrize("name", catalogue)
def test_mean_and_std_are_those_of_the_weight(name: str):
    found = describe(name)
    weight = values(found.initializer.spec, found.shape).ravel()[:MOST]
    assert found.sample is not None
    assert found.sample.mean == pytest.approx(weight.mean(), rel=1e-9, abs=1e-15)
    assert found.sample.std == pytest.approx(weight.std(), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("text", ["normal", "uniform(0.1)", "truncated_normal(mean=3)"])
def test_counts_are_numpys(text: str):
    histogram = draw(get(text), (80, 90)).rest
    assert histogram is not None
    assert len(histogram.counts) == BINS
    assert np.diff(histogram.edges) == pytest.approx(
        (histogram.edges[-1] - histogram.edges[0]) / BINS
    )
    counts, _ = np.histogram(values(text, (80, 90)), histogram.edges)
    assert histogram.counts == tuple(counts.tolist())
    # What is symmetric is shown so, with room at both ends.
    middle = (histogram.edges[0] + histogram.edges[-1]) / 2
    assert middle == pytest.approx(get(text).mean((80, 90)), abs=0.02)
    assert (histogram.counts[0], histogram.counts[-1]) == (0, 0)


def test_the_range_shows_what_there_is():
    """One-sided distributions are not padded to symmetry: half of the picture would be empty."""
    histogram = draw(get("truncated_normal(std=1, mean=0, low=1, high=4)"), (100, 100)).rest
    assert histogram is not None
    assert 0.8 < histogram.edges[0] < 1
    assert histogram.edges[-1] < 4.3


def test_repeated_values_are_told_apart_from_the_rest():
    sample = draw(get("sparse(count=3)"), (100, 12))
    assert sample.repeated == (Repeated(0.0, 900),)
    assert sample.rest is not None
    assert sum(sample.rest.counts) == 300


def test_few_values_are_all_listed_however_rare():
    sample = draw(get("identity(gain=0.5)"), (300, 200))
    assert sample.repeated == (Repeated(0.0, 59_800), Repeated(0.5, 200))
    assert sample.rest is None


def test_many_repeated_values_make_a_histogram():
    prior = tuple(range(1, 21))
    sample = draw(get(f"prior_bias(prior={prior})"), (20,))
    assert sample.repeated == ()
    assert sample.rest is not None


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_a_weight_without_entries(shape: tuple[int, ...]):
    found = describe("normal", shape)
    none = pytest.approx(math.nan, nan_ok=True)
    assert found.sample == Sample(0, none, none, (), None)
    assert any("all 0 entries" in line for line in sketch_lines(found, 80))


def test_a_single_entry_and_none_at_all():
    assert draw(get("normal"), (1,)).rest is None
    assert draw(get("normal"), ()).entries == 1


def test_a_weight_beyond_float32_is_described_but_not_drawn():
    found = describe("normal(std=3e38)", (50, 50))
    assert (found.std, found.sample) == (3e38, None)
    assert "beyond float32" in found.not_drawn


def test_of_a_huge_weight_only_the_beginning_is_drawn():
    found = describe("normal", (1_000_000, 1_000_000))
    assert found.sample is not None
    assert found.sample.entries == MOST
    same = values("normal", (MOST // 64, 64)).ravel()
    assert found.sample.mean == pytest.approx(same.mean())


def test_what_can_only_be_drawn_whole_is_not_drawn_huge():
    with pytest.raises(InvalidValueError, match="only as a whole"):
        draw(get("orthogonal"), (LARGEST, 2))
    found = describe("orthogonal", (LARGEST, 2))
    assert found.std == pytest.approx(LARGEST**-0.5)
    assert found.sample is None
    assert sketch_lines(found, 80)[-1].startswith("Not drawn: it can be drawn only as a whole")
    found = describe("normal(std=1e200)")
    assert (found.std, found.sample) == (1e200, None)
    assert "finite float32" in sketch_lines(found, 80)[-1]


def test_the_pattern_is_that_of_the_weight():
    sample = draw(get("dirac"), (4, 3, 3, 3))
    expected = np.zeros((4, 3, 3, 3), bool)
    expected[[0, 1, 2], [0, 1, 2], 1, 1] = True
    assert sample.pattern is not None
    np.testing.assert_array_equal(sample.pattern, expected.reshape(4, 27))
    assert not sample.signs


def test_without_zeros_the_pattern_is_that_of_the_signs():
    sample = draw(get("zero_hadamard"), (16, 8))
    assert sample.pattern is not None
    np.testing.assert_array_equal(sample.pattern, values("zero_hadamard", (16, 8)) > 0)
    assert sample.signs


@pytest.mark.parametrize("text", ["zeros", "ones", "normal", "he_uniform", "orthogonal"])
def test_no_pattern_where_there_is_nothing_to_see(text: str):
    assert draw(get(text), (32, 32)).pattern is None


def test_bars_are_as_high_as_the_counts():
    counts = (0, 1, 10, 100, 1000, *[0] * (BINS - 6), 500)
    drawn = heights(histogram_lines(Histogram(tuple(range(BINS + 1)), counts), 80))
    # Of six lines of eight eighths, rounded up: what is there is seen.
    assert drawn == [0, 1, 1, 5, 48, *[0] * (BINS - 6), 24]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_histogram_fits_and_loses_nothing(width: int):
    histogram = draw(get("normal(std=1e-7)"), (100, 100)).rest
    assert histogram is not None
    lines = histogram_lines(histogram, width)
    assert max(map(len, lines)) <= width
    low, middle, high = map(float, lines[-1].split())
    assert (low, high) == pytest.approx((histogram.edges[0], histogram.edges[-1]), rel=0.01)
    assert middle == 0


def test_dots_are_where_the_pattern_is_true():
    pattern = np.random.default_rng(0).random((30, 50)) < 0.3
    lines, shown = pattern_lines(pattern, 80)
    assert shown == (30, 50)
    bits = {(0, 0): 0, (1, 0): 1, (2, 0): 2, (0, 1): 3, (1, 1): 4, (2, 1): 5, (3, 0): 6, (3, 1): 7}
    read = [
        [bool((ord(lines[r // 4][c // 2]) - 0x2800) >> bits[r % 4, c % 2] & 1) for c in range(50)]
        for r in range(30)
    ]
    np.testing.assert_array_equal(read, pattern)


def test_a_large_pattern_shows_its_corner():
    lines, shown = pattern_lines(np.eye(500, dtype=bool), 40)
    assert shown == (32, 80)
    assert {len(line) for line in lines} == {40}
    lines = sketch_lines(describe("identity", (500, 500)), 40)
    assert any("first 32 rows and 80 columns" in line for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_fit_and_are_in_proportion(width: int):
    repeated = [Repeated(-0.125, 1), Repeated(0.0, 599), Repeated(1.0, 400)]
    lines = bar_lines(repeated, 1000, width)
    assert max(map(len, lines)) <= max(width, 26)
    assert [line.split()[0] for line in lines] == ["-0.125", "0", "1"]
    assert [line[-7:].strip() for line in lines] == ["0.1 %", "59.9 %", "40.0 %"]
    full = [line.count("█") for line in lines]
    assert full[0] == 0
    assert full[2] == pytest.approx(full[1] * 400 / 599, abs=1)
    assert "▏" in lines[0]
