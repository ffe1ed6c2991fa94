"""Any block of a parameter that is drawn alone equals that block of the whole."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab.models import draw
from initlab.models.assignment import Assignment, Piece
from initlab.sampling import Key

FANS = Fans(7.0, 5.0)


def assigned(
    shape: tuple[int, ...], cuts: Any, texts: Any, *, swapped: bool = False, stream: Any = None
):
    rows = shape[0] if shape else 1
    bounds = [0, *sorted({cut for cut in cuts if 0 < cut < rows}), rows]
    pieces = tuple(
        Piece(
            initializers.get(texts[place % len(texts)]),
            start,
            stop,
            FANS,
            swapped=swapped,
            stream=stream,
        )
        for place, (start, stop) in enumerate(pairwise(bounds))
    )
    return Assignment("layers.0.weight", pieces, "a test")


@st.composite
def cases(draw_from: Any, smallest_axes: int = 0):
    shape = tuple(draw_from(st.lists(st.integers(1, 9), min_size=smallest_axes, max_size=4)))
    offsets = tuple(draw_from(st.integers(0, size)) for size in shape)
    sizes = tuple(
        draw_from(st.integers(0, size - offset))
        for size, offset in zip(shape, offsets, strict=True)
    )
    cuts = draw_from(st.lists(st.integers(1, 8), max_size=3))
    return shape, offsets, sizes, cuts


def cut_out(whole: np.ndarray, offsets: tuple[int, ...], sizes: tuple[int, ...]):
    return whole[tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))]


@given(cases(), st.sampled_from([("normal",), ("zeros", "he_normal"), ("truncated_normal(0.02)",)]))
@settings(max_examples=150, deadline=None)
def test_a_block_of_independent_entries_is_that_block_of_the_whole(case: Any, texts: Any):
    shape, offsets, sizes, cuts = case
    one = assigned(shape, cuts, texts)
    block = draw.block(one, shape, 3, offsets, sizes)
    np.testing.assert_array_equal(block, cut_out(draw.draw(one, shape, 3), offsets, sizes))


@given(cases(smallest_axes=2), st.sampled_from(["plain", "swapped", "mixed", "swapped mixed"]))
@settings(max_examples=60, deadline=None)
def test_a_block_of_rotations_is_that_block_of_the_whole(case: Any, kind: str):
    shape, offsets, sizes, cuts = case
    one = assigned(
        shape,
        cuts,
        ("orthogonal", "normal") if "mixed" in kind else ("orthogonal",),
        swapped="swapped" in kind,
    )
    block = draw.block(one, shape, 3, offsets, sizes)
    np.testing.assert_array_equal(block, cut_out(draw.draw(one, shape, 3), offsets, sizes))


def test_an_embedding_keeps_its_padding_row_in_every_block():
    pieces = (
        Piece(initializers.get("embedding"), 0, 2),
        Piece(initializers.get("zeros"), 2, 3),
        Piece(initializers.get("embedding"), 3, 6),
    )
    one = Assignment("wte.weight", pieces, "a test")
    whole = draw.draw(one, (6, 4), 0)
    assert not whole[2].any()
    assert whole[[0, 1, 3, 4, 5]].all()
    np.testing.assert_array_equal(draw.block(one, (6, 4), 0, (1, 1), (4, 2)), whole[1:5, 1:3])


def test_a_whole_parameter_has_the_stream_of_its_name():
    one = assigned((300, 7), (), ("normal(std=2)",))
    expected = np.empty((300, 7), np.float32)
    initializers.get("normal(std=2)").fill(
        expected, Key.derive(5, "layers.0.weight"), shape=(300, 7)
    )
    np.testing.assert_array_equal(draw.draw(one, (300, 7), 5), expected)


def test_pieces_are_independent_and_differ_from_the_whole():
    parts = draw.draw(assigned((512, 64), (256,), ("normal",)), (512, 64), 0)
    whole = draw.draw(assigned((512, 64), (), ("normal",)), (512, 64), 0)
    bound = 5 / np.sqrt(256 * 64)
    for first, second in ((parts[:256], parts[256:]), (parts[256:], whole[256:]), (parts, whole)):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < bound


@pytest.mark.parametrize("change", [{"seed": 2}, {"name": "layers.1.weight"}])
def test_another_seed_or_name_gives_independent_numbers(change: Any):
    one = assigned((64, 64), (), ("normal",))
    other = Assignment(change.get("name", one.name), one.pieces, "a test")
    first = draw.draw(one, (64, 64), 1)
    second = draw.draw(other, (64, 64), change.get("seed", 1))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / 64


def test_a_shared_stream_takes_the_place_of_the_name():
    one = assigned((4, 4), (), ("normal",), stream="attention")
    other = Assignment("another", one.pieces, "a test")
    np.testing.assert_array_equal(draw.draw(one, (4, 4), 0), draw.draw(other, (4, 4), 0))


def test_a_swapped_rotation_is_orthogonal_from_inputs_to_outputs():
    # A transposed convolution keeps (in, out, ...): 6 inputs, 2 outputs, 2 taps.
    one = assigned((6, 2, 2), (), ("orthogonal",), swapped=True)
    weight = draw.draw(one, (6, 2, 2), 0)
    matrix = weight.swapaxes(0, 1).reshape(2, 12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "shape", "said"),
    [
        ("orthogonal", (4,), "'w', orthogonal: cannot read fans from shape"),
        ("gate_orthogonal(gates=4)", (6, 3), "'w', gate_orthogonal: gates=4 does not divide"),
        ("normal(std=1e39)", (4,), "'w', normal.*: std must be a finite float32"),
        ("prior_bias((1, 2, 3))", (4,), "'w', prior_bias"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_drawn(
    text: str, shape: tuple[int, ...], said: str
):
    one = Assignment("w", (Piece(initializers.get(text), 0, shape[0]),), "a test")
    with pytest.raises(InvalidValueError, match=said):
        draw.check(one, shape)
