"""Fans by hand: whole numbers, fractions, empty shapes, all forms of an argument, all refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from initlab._base.errors import InvalidValueError
from initlab._base.fans import (
    Fans,
    bilinear,
    convolution,
    embedding,
    fans,
    packed,
    transposed_convolution,
)
from initlab.initializers.scales import FanScale


def test_by_hand():
    assert fans((5, 3)) == Fans(3, 5)
    assert convolution((5, 3)) == Fans(3, 5)  # without spatial dimensions: dense
    assert transposed_convolution((3, 5)) == Fans(3, 5)
    # Three taps on a map of 4 with one zero on either side: 2, 3, 3 and 2 fall inside.
    assert convolution((8, 4, 3), padding=1, size=4) == Fans(4 * 10 / 4, 8 * 10 / 4, 3)
    # With stride 2 the outputs sit at 0 and 2: 2 and 3 taps; inputs 0, 1, 2, 3 reach 1, 2, 1, 1.
    assert convolution((8, 4, 3), stride=2, padding=1, size=4) == Fans(4 * 5 / 2, 8 * 5 / 4, 3)
    # Kernel 2, stride 2 puts every output under one tap; kernel 3 every second one under two.
    assert transposed_convolution((6, 5, 2), stride=2, size=9) == Fans(6, 10, 2)
    assert transposed_convolution((6, 5, 3), stride=2) == Fans(9, 15, 3)
    assert convolution((8, 4, 3, 3), stride=2) == Fans(36, 18, 9)
    assert embedding((100, 16)) == Fans(1, 16)
    assert bilinear((5, 3, 4)) == Fans(12, 20)
    assert packed((12, 7), (3, 3, 6)) == (Fans(7, 3), Fans(7, 3), Fans(7, 6))
    assert packed((12, 7, 3), (8, 4)) == (Fans(21, 24, 3), Fans(21, 12, 3))


def test_a_fraction_stays_one_and_a_whole_number_prints_as_one():
    found = transposed_convolution((1, 8, 1), stride=4)
    assert (found.fan_in, found.average) == (0.25, 4.125)
    assert repr(found) == "Fans(fan_in=0.25, fan_out=8, receptive=1)"
    assert repr(convolution((8, 4, 3), stride=2, padding=1, size=4)) == (
        "Fans(fan_in=10, fan_out=10, receptive=3)"
    )


def test_a_scale_follows_a_fan_below_1_and_takes_none_for_1():
    rule = FanScale(1.0, "fan_in")
    assert rule.factor((1, 8, 1), transposed_convolution((1, 8, 1), stride=4)) == 2.0
    assert rule.factor((3, 0), None) == 1.0


@pytest.mark.parametrize("read", [fans, convolution, transposed_convolution])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0, 3), (4, 2, 0), (0, 0, 0, 0)])
def test_empty_weights(read: Callable[..., Fans], shape: tuple[int, ...]):
    found = read(shape)
    assert 0 in (found.fan_in, found.fan_out)


def test_empty_weights_on_a_map_and_of_other_kinds():
    for read in (convolution, transposed_convolution):
        assert read((0, 4, 3), size=5, padding=1).receptive == 3
        assert read((4, 2, 0), size=5) == Fans(0, 0, 0)
    assert convolution((4, 2, 0), padding="same", size=5) == Fans(0, 0, 0)
    assert embedding((0, 4)) == Fans(1, 4)
    assert embedding((4, 0)) == Fans(1, 0)
    assert bilinear((0, 3, 4)) == Fans(12, 0)
    assert packed((0, 5), (0, 0)) == (Fans(5, 0), Fans(5, 0))
    assert packed((0, 5), ()) == ()


def test_each_form_of_an_argument():
    read = partial(convolution, (5, 3, 3, 3), size=(6, 7))
    one = read(stride=2, padding=1, dilation=1)
    assert one == read(stride=(2, 2), padding=[1, 1], dilation=(1, 1))
    assert one == read(stride=2, padding=((1, 1), 1))
    assert one == read(stride=np.int64(2), padding=(np.int32(1), np.int32(1)))
    assert read() == read(padding=0) == read(padding="valid")
    assert read(padding="same") == read(padding=1)
    # An odd total goes to the end, as in PyTorch.
    even = partial(convolution, (5, 3, 2), size=4)
    assert even(padding="same") == even(padding=((0, 1),))
    assert convolution(np.zeros((5, 3, 3)).shape, groups=np.int64(5)) == Fans(9, 3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(fans, (3,)), "shape (3,); expected (fan_out, fan_in) or"),
        (partial(fans, ()), "shape ()"),
        (partial(fans, (3, -1)), "shape (3, -1)"),
        (partial(fans, (3, 2.0)), "shape (3, 2.0)"),
        (partial(fans, (4, 2), groups=3), "groups=3 does not divide the 4 outputs"),
        (partial(fans, (4, 2), groups=0), "groups=0 is not a whole number of at least 1"),
        (partial(fans, (4, 2), groups=True), "groups=True is not a whole number"),
        (partial(convolution, (3,)), "expected (out, in / groups, *receptive)"),
        (partial(convolution, (4, 2, 3), groups=3), "groups=3 does not divide the 4 outputs"),
        (partial(convolution, (4, 2, 3), stride=0), "stride=0 is not a whole number of at least 1"),
        (partial(convolution, (4, 2, 3), stride=1.5), "stride=1.5 is not a whole number"),
        (partial(convolution, (4, 2, 3), stride=(1, 2)), "2 numbers; expected one, or 1 for"),
        (partial(convolution, (4, 2, 3), dilation=-1), "dilation=-1 is not a whole number"),
        (partial(convolution, (4, 2, 3), padding=-1), "padding=-1 is not a whole number"),
        (partial(convolution, (4, 2, 3), padding=(1, 1)), "padding=(1, 1) has 2 entries"),
        (partial(convolution, (4, 2, 3), padding=((1, 1, 1),)), "(1, 1, 1); expected (before, "),
        (partial(convolution, (4, 2, 3), padding="full"), "padding='full' does not fit"),
        (partial(convolution, (4, 2, 3), padding="same", stride=2), "of stride 1, 'same'"),
        (partial(convolution, (4, 2, 3), size=0), "size=0 is not a whole number of at least 1"),
        (partial(convolution, (4, 2, 3), size=2), "size=2 leaves no output for a kernel"),
        (partial(convolution, (4, 2, 3), size=(5, 5)), "size=(5, 5) has 2 numbers"),
        (partial(convolution, (4, 2, 3), size=np.array([5, 5])), "has 2 numbers; expected one"),
        (partial(transposed_convolution, (3,)), "expected (in, out / groups, *receptive)"),
        (partial(transposed_convolution, (4, 2), groups=3), "does not divide the 4 inputs"),
        (partial(transposed_convolution, (4, 2, 3), padding="same"), "padding='same' does not fit"),
        (partial(transposed_convolution, (4, 2, 3), output_padding=-1), "output_padding=-1 is not"),
        (partial(transposed_convolution, (4, 2, 3), padding=2, size=1), "leaves no output"),
        (partial(embedding, (4,)), "expected (vocabulary, dimension)"),
        (partial(embedding, (4, 2, 1)), "expected (vocabulary, dimension)"),
        (partial(bilinear, (4, 2)), "expected (out, in1, in2)"),
        (partial(packed, (12,), (12,)), "expected (sum of parts, fan_in)"),
        (partial(packed, (12, 4), (4, 4)), "parts=(4, 4) add up to 8; expected the 12 rows"),
        (partial(packed, (12, 4), (16, -4)), "parts=-4 is not a whole number of at least 0"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_was_given(call: Callable[[], object], message: str):
    with pytest.raises(InvalidValueError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (partial(fans, 5), "cannot read fans from shape 5"),
        (partial(embedding, None), "cannot read fans from shape None"),
        (partial(packed, (9, 3), 5), "parts=5 is no sequence"),
        (
            partial(convolution, (4, 2, 3, 3), stride=np.array([1, 0])),
            "stride=.* is not a whole number",
        ),
        (partial(convolution, (4, 2, 3, 3), stride=np.array([1, 2, 3])), "has 3 numbers"),
    ],
)
def test_what_is_no_sequence(read: Callable[[], Fans], message: str):
    with pytest.raises(InvalidValueError, match=message):
        read()


def test_arrays_are_sequences():
    assert convolution((8, 4, 3, 3), stride=np.array([2, 2])) == convolution((8, 4, 3, 3), stride=2)
    assert convolution((8, 4, 3), stride=np.array(2)) == convolution((8, 4, 3), stride=2)
    padded = convolution((8, 4, 3), padding=np.array([[1, 1]]), size=4)
    assert padded == convolution((8, 4, 3), padding=1, size=4)
    assert packed(np.array([9, 3]), np.array([3, 6])) == packed((9, 3), (3, 6))
