"""Mimetic initialisation: the products that the paper prescribes, and parts that fit together."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from initlab._base.errors import InvalidValueError
from initlab.initializers import get
from initlab.sampling import CounterStream, Key


def part(name: str, shape: tuple[int, int], seed: int = 0, arguments: str = "") -> np.ndarray:
    """Draw one part from the start of the stream that all four share."""
    key = Key.derive(seed, "layers.0.attention")
    return get(f"mimetic({name!r}{arguments})").sample(shape, CounterStream(key))


def test_query_and_key_make_a_noisy_positive_diagonal():
    width = 120
    product = part("query", (width, width)).T @ part("key", (width, width))
    diagonal = np.diagonal(product)
    rest = product[~np.eye(width, dtype=bool)]
    # 0.7 Z + 0.7 I, the entries of Z of variance 1 / width.
    assert diagonal.mean() == pytest.approx(0.7, abs=5 * 0.7 / width)
    assert rest.mean() == pytest.approx(0, abs=5 * 0.7 / width**1.5)
    assert np.mean(rest**2) * width == pytest.approx(0.49, rel=5 * math.sqrt(2 / rest.size))


def test_value_and_output_make_a_noisy_negative_diagonal():
    width = 120
    # What the layer computes is W_O W_V x.
    product = part("output", (width, width)) @ part("value", (width, width))
    rest = product[~np.eye(width, dtype=bool)]
    assert np.diagonal(product).mean() == pytest.approx(-0.4, abs=5 * 0.4 / width)
    assert np.mean(rest**2) * width == pytest.approx(0.16, rel=5 * math.sqrt(2 / rest.size))


def test_arguments_set_noise_and_diagonal():
    width = 30
    quiet = ", alpha_qk=0, beta_qk=2, alpha_vo=0, beta_vo=-3"
    query, key = (part(name, (width, width), 0, quiet) for name in ("query", "key"))
    value, output = (part(name, (width, width), 0, quiet) for name in ("value", "output"))
    assert_allclose(query.T @ key, 2 * np.eye(width), atol=1e-12)
    assert_allclose(output @ value, 3 * np.eye(width), atol=1e-12)


def test_a_head_is_the_best_approximation_of_its_rank():
    width, rank = 24, 6
    # The first head of four reads the same noise as the only head of one, whose product is whole.
    whole = part("query", (width, width)).T @ part("key", (width, width))
    query, key = (part(name, (width, width), 0, ", heads=4")[:rank] for name in ("query", "key"))
    u, s, vt = np.linalg.svd(whole)
    assert_allclose(query.T @ key, (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-6)
    # Both share the singular values evenly.
    assert_allclose(query @ query.T, np.diag(s[:rank]), atol=1e-6)
    assert_allclose(key @ key.T, np.diag(s[:rank]), atol=1e-6)


def test_heads_differ():
    width, rank = 24, 6
    query, key = (part(name, (width, width), 0, ", heads=4") for name in ("query", "key"))
    heads = [query[i : i + rank].T @ key[i : i + rank] for i in range(0, width, rank)]
    for place, one in enumerate(heads):
        assert np.trace(one) > 0
        assert all(np.abs(one - other).max() > 0.01 for other in heads[place + 1 :])


def test_narrow_attention():
    value, output = part("value", (8, 20), 3), part("output", (20, 8), 3)
    whole = part("output", (20, 20), 3) @ part("value", (20, 20), 3)
    u, s, vt = np.linalg.svd(whole)
    assert_allclose(output @ value, (u[:, :8] * s[:8]) @ vt[:8], atol=1e-6)


def test_parts_of_different_keys_do_not_fit():
    width = 120
    product = part("query", (width, width), 0).T @ part("key", (width, width), 1)
    assert np.diagonal(product).mean() < 0.35


@pytest.mark.parametrize("name", ["query", "key", "value", "output"])
def test_entries_have_mean_0_whatever_signs_lapack_chooses(name: str):
    means = [part(name, (6, 6), seed, ", heads=2").mean() for seed in range(400)]
    assert abs(np.mean(means)) < 5 * np.std(means) / math.sqrt(400)
    assert get(f"mimetic({name!r})").mean((6, 6)) == 0
    assert get(f"mimetic({name!r})").std((6, 6)) is None


@pytest.mark.parametrize("name", ["query", "output"])
def test_a_slice_is_that_of_the_whole(name: str):
    key, initializer = Key.derive(0, "attention"), get(f"mimetic({name!r}, heads=2)")
    whole, slice_ = np.empty(64, np.float32), np.empty(10, np.float32)
    initializer.fill(whole, key, shape=(8, 8))
    initializer.fill(slice_, key, shape=(8, 8), start=20)
    np.testing.assert_array_equal(slice_, whole[20:30])


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("mimetic", (8,)),
        ("mimetic", (8, 4, 4)),
        ("mimetic", (12, 8)),
        ("mimetic(heads=3)", (8, 8)),
        ("mimetic('value')", (12, 8)),
        ("mimetic('output')", (8, 12)),
    ],
)
def test_unfit_shapes_are_refused(text: str, shape: tuple[int, ...]):
    with pytest.raises(InvalidValueError, match="projection"):
        get(text).std(shape)


def test_more_heads_allow_more_inner_entries():
    query, key = (part(name, (16, 8), 0, ", heads=4") for name in ("query", "key"))
    assert query.shape == key.shape == (16, 8)


@pytest.mark.parametrize(
    "text",
    ["mimetic('q')", "mimetic(heads=0)", "mimetic(alpha_qk='a')", "mimetic(alpha_qk=0, beta_qk=0)"],
)
def test_unfit_arguments_are_refused(text: str):
    with pytest.raises(InvalidValueError, match="accepted: "):
        get(text)
