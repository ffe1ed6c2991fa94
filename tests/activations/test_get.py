"""How a name, with or without arguments, becomes an activation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from initlab import activations
from initlab._base.errors import InitlabError, InvalidValueError, UnknownNameError


@pytest.mark.parametrize(
    ("alias", "name"), [("linear", "identity"), ("logistic", "sigmoid"), ("swish", "silu")]
)
def test_aliases_lead_to_the_canonical_name(alias: str, name: str):
    assert activations.get(alias).name == name


@pytest.mark.parametrize("text", ["relu", "ReLU", " relu ", "RELU()"])
def test_letter_case_and_space_do_not_matter(text: str):
    assert activations.get(text).name == "relu"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leaky_relu", [-0.02, 3.0]),
        ("leaky_relu(0.2)", [-0.4, 3.0]),
        ("leaky_relu(negative_slope=0.25)", [-0.5, 3.0]),
        ("Leaky_ReLU(-1)", [2.0, 3.0]),
        ("elu(2)", [2 * (np.exp(-2.0) - 1), 3.0]),
        ("elu(alpha=0.5)", [0.5 * (np.exp(-2.0) - 1), 3.0]),
    ],
)
def test_arguments_reach_the_formula(text: str, expected: list[float]):
    np.testing.assert_allclose(activations.get(text)([-2.0, 3.0]), expected, rtol=1e-15)


def test_the_default_argument_is_left_out_of_the_name():
    assert activations.get("leaky_relu(0.01)").name == "leaky_relu"
    assert activations.get("elu(alpha=1)").name == "elu"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("rleu", "relu"), ("tahn", "tanh"), ("sigmod", "sigmoid"), ("leakyrelu(0.1)", "leaky_relu")],
)
def test_a_misspelt_name_is_answered_with_the_nearest(text: str, nearest: str):
    with pytest.raises(UnknownNameError, match=f"did you mean .*{nearest}") as caught:
        activations.get(text)
    assert nearest in caught.value.suggestions
    assert "\n" not in str(caught.value)


def test_a_name_like_no_other_is_answered_with_the_whole_list():
    with pytest.raises(UnknownNameError) as caught:
        activations.get("zzzz")
    assert all(name in str(caught.value) for name in activations.catalogue)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot read activation"),
        ("relu +", "cannot read activation"),
        ("leaky_relu(0.1", "cannot read activation"),
        ("leaky relu", "cannot read activation"),
        ("relu.relu", "cannot read activation"),
        ("relu(1)", "accepted: relu, without arguments"),
        ("leaky_relu(0.1, 0.2)", r"accepted: leaky_relu\(negative_slope=0.01\)"),
        ("leaky_relu(slope=0.1)", r"accepted: leaky_relu\(negative_slope=0.01\)"),
        ("leaky_relu(0.1, negative_slope=0.2)", "multiple values"),
        ("leaky_relu('0.1')", "'0.1' .* is not a finite number"),
        ("leaky_relu(True)", "True .* is not a finite number"),
        ("leaky_relu(None)", "None .* is not a finite number"),
        ("leaky_relu((1, 2))", "is not a finite number"),
        ("leaky_relu(1e999)", "inf .* is not a finite number"),
        ("leaky_relu(-1e999)", "-inf .* is not a finite number"),
        ("elu(1" + 400 * "0" + ")", "is not a finite number"),
        ("elu(x)", "is not a number"),
        ("elu(__import__('os').getcwd())", "is not a number"),
    ],
)
def test_bad_text_is_refused_in_one_line(text: str, said: str):
    with pytest.raises(InvalidValueError, match=said) as caught:
        activations.get(text)
    assert isinstance(caught.value, InitlabError)
    assert "\n" not in str(caught.value)


def test_derivatives_at_kinks_are_those_from_the_left_or_zero():
    assert activations.get("relu").slope(0.0) == 0.0
    assert activations.get("leaky_relu(0.2)").slope(0.0) == 0.2
    assert_array_equal(activations.get("hardtanh").slope([-1.0, 1.0]), [0.0, 0.0])
    assert activations.get("selu").slope(0.0) == 1.0507009873554805 * 1.6732632423543772
    assert activations.get("elu(0.5)").slope(0.0) == 0.5
