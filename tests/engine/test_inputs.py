"""Arguments, results and their layout: what is refused, what shape comes back, in which order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import stats

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.engine.batches import batches, shuffle
from initlab.engine.network import Layer, Network, pack, unpack
from initlab.engine.recipe import LOSSES, PRECISIONS, Recipe
from initlab.engine.train import train

MakeProblem = Callable[..., Any]
DATA: dict[str, Any] = {"inputs": np.zeros((2, 5)), "targets": np.zeros((1, 5))}


# Shapes, layout, batch order.


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_trajectory_has_the_shapes_and_formats_it_says(
    problem_of: MakeProblem, engine: str, precision: str, loss: str
):
    outputs = 1 if loss == "binary_cross_entropy" else 2
    problem = problem_of(
        (3, 4, outputs),
        replicas=2,
        loss=loss,
        precision=precision,
        record_steps=(0, 3, 8),
        snapshot_steps=(1, 8),
    )
    found = problem.train(engine=engine)
    count = 4 * 4 + outputs * 5
    assert found.steps.tolist() == [0, 3, 8]
    assert found.cost.shape == (2, 3)
    assert found.final_cost.shape == found.seconds.shape == found.steps_done.shape == (2,)
    assert found.snapshots.shape == (2, 2, count)
    assert found.cost.dtype == found.final_cost.dtype == found.seconds.dtype == np.float64
    assert found.steps.dtype == found.steps_done.dtype == np.int64
    assert (found.seconds > 0).all()
    assert found.snapshots.dtype == precision
    shapes = [(w.shape, b.shape) for w, b in found.layers]
    assert shapes == [((2, 4, 3), (2, 4)), ((2, outputs, 4), (2, outputs))]
    assert {array.dtype for layer in found.layers for array in layer} == {np.dtype(precision)}
    if loss == "binary_cross_entropy":
        assert found.course_cost is not None
        assert found.course_cost.shape == (2, 3)
        assert found.course_cost.dtype == np.float64
    else:
        assert found.course_cost is None
    assert_array_equal(found.snapshots[:, 1], pack(found.layers))
    assert_array_equal(found.cost[:, 2], found.final_cost)


def test_keys_are_0_1_2_if_not_given(problem_of: MakeProblem):
    problem = problem_of((2, 3, 1), replicas=3, batch_size=4)
    without, same, other = (
        pack(problem.train(keys=keys).layers) for keys in (None, [0, 1, 2], [0, 1, 3])
    )
    assert_array_equal(without, same)
    assert_array_equal((without != other).any(axis=1), [False, False, True])


# Parameters end to end.


def test_packed_layers_are_rows_of_weights_with_their_bias_last():
    layers = [
        Layer(np.array([[1.0, 2.0], [4.0, 5.0]]), np.array([3.0, 6.0])),
        Layer(np.array([[7.0, 8.0]]), np.array([9.0])),
    ]
    flat = pack(layers)
    assert flat.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    network = Network((2, 2, 1))
    assert network.parameter_count == 9
    assert network.shapes == ((2, 2), (1, 2))
    back = unpack(network, flat)
    back[1].weight[0, 1] = -8
    assert flat[7] == -8  # views


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=5),
    st.lists(st.integers(1, 3), max_size=2),
    st.sampled_from(PRECISIONS),
)
def test_unpack_undoes_pack(sizes: list[int], leading: list[int], precision: str):
    network, rng = Network(tuple(sizes)), np.random.default_rng(0)
    layers = [
        Layer(
            rng.standard_normal((*leading, *shape)).astype(precision),
            rng.standard_normal((*leading, shape[0])).astype(precision),
        )
        for shape in network.shapes
    ]
    flat = pack(layers)
    assert flat.shape == (*leading, network.parameter_count)
    assert flat.dtype == precision
    for before, after in zip(layers, unpack(network, flat), strict=True):
        assert_array_equal(before.weight, after.weight)
        assert_array_equal(before.bias, after.bias)


# The order of samples.

keys = st.integers(0, 2**64 - 1)


def permutation(key: int, epoch: int, samples: int) -> np.ndarray:
    order = np.full(samples, -1)
    shuffle(np.uint64(key), np.int64(epoch), order)
    return order


@given(keys, st.integers(0, 2**40), st.integers(1, 300))
def test_shuffle_is_a_permutation_that_key_and_epoch_decide(key: int, epoch: int, samples: int):
    order = permutation(key, epoch, samples)
    assert_array_equal(np.sort(order), np.arange(samples))
    assert_array_equal(order, permutation(key, epoch, samples))
    if samples > 30:
        assert (order != permutation(key, epoch + 1, samples)).any()
        assert (order != permutation((key + 1) % 2**64, epoch, samples)).any()


@pytest.mark.parametrize("varied", ["key", "epoch"])
def test_every_permutation_is_as_likely_over_keys_and_epochs(varied: str):
    count = 24_000
    orders = [permutation(*((k, 5) if varied == "key" else (5, k)), 4) for k in range(count)]
    seen = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(seen) == 24
    assert stats.chisquare(seen).pvalue > 1e-4


def test_every_sample_is_as_likely_at_every_place_of_a_large_order():
    samples, count = 64, 6_400
    orders = np.array([permutation(key, 0, samples) for key in range(count)])
    seen = np.array([np.bincount(place, minlength=samples) for place in orders.T])
    assert stats.chisquare(seen.ravel(), ddof=2 * samples - 2).pvalue > 1e-4
    # Neighbours are no more alike than chance has it.
    distances = np.abs(np.diff(orders, axis=1)).mean()
    assert abs(distances - (samples + 1) / 3) < 0.1


@given(keys, st.integers(1, 60), st.integers(1, 80))
def test_batches_of_an_epoch_hold_every_sample_once(key: int, samples: int, size: int):
    per_epoch = -(-samples // size)
    epochs = list(islice(batches(key, samples, size), 3 * per_epoch))
    for epoch in range(3):
        parts = epochs[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert [len(part) for part in parts[:-1]] == [size] * (per_epoch - 1)
        order = np.concatenate(parts)
        assert_array_equal(np.sort(order), np.arange(samples))
        expected = permutation(key, epoch, samples) if size < samples else np.arange(samples)
        assert_array_equal(order, expected)


def test_full_batches_keep_the_samples_in_their_order():
    for size in (None, 7, 8):
        for batch in islice(batches(3, 7, size), 3):
            assert_array_equal(batch, np.arange(7))


# What is refused, and how.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate 0.0 is not a positive finite number"),
        ({"learning_rate": -1.0}, "learning rate -1.0"),
        ({"learning_rate": np.inf}, "learning rate inf"),
        ({"learning_rate": np.nan}, "learning rate nan"),
        ({"steps": 0}, "steps=0; at least 1"),
        ({"batch_size": 0}, "batch size 0; at least 1"),
        ({"batch_size": -3}, "batch size -3"),
        ({"momentum": 1.0}, r"momentum=1.0 is not in \[0, 1\)"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"beta1": 1.5}, "beta1=1.5"),
        ({"beta2": np.nan}, "beta2=nan"),
        ({"epsilon": 0.0}, "epsilon=0.0 is not positive"),
        ({"epsilon": np.nan}, "epsilon=nan"),
        ({"steps": 10, "record_steps": (0, 11)}, "record_steps must rise from 0 or more to 10"),
        ({"steps": 10, "record_steps": (-1, 3)}, "record_steps must rise"),
        ({"steps": 10, "record_steps": (3, 2)}, "record_steps must rise"),
        ({"steps": 10, "record_steps": (3, 3)}, "without repeats"),
        ({"steps": 10, "snapshot_steps": (11,)}, "snapshot_steps must rise"),
    ],
)
def test_recipes_out_of_range_are_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(InvalidValueError, match=message):
        Recipe(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": "cros_entropy"}, "unknown loss 'cros_entropy'; did you mean cross_entropy"),
        ({"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean adam"),
        ({"precision": "float16"}, "unknown precision 'float16'; did you mean float"),
    ],
)
def test_misspelt_names_in_a_recipe_are_answered_with_the_nearest(
    wrong: dict[str, Any], message: str
):
    with pytest.raises(UnknownNameError, match=message):
        Recipe(**wrong)


def test_first_and_last_step_can_be_recorded():
    recipe = Recipe(steps=10, record_steps=(0, 10), snapshot_steps=(0, 10))
    assert recipe.record_steps == (0, 10)


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0), (-1, 2), (3, 4, 0, 1)])
def test_sizes_that_make_no_network_are_refused(sizes: tuple[int, ...]):
    with pytest.raises(InvalidValueError, match="do not make a network"):
        Network(sizes)


def test_network_knows_its_activation_by_its_canonical_name():
    assert Network((2, 1), "Swish").activation == "silu"
    assert Network((2, 1), "leaky_relu(negative_slope=0.2)").activation == "leaky_relu(0.2)"
    with pytest.raises(UnknownNameError, match="did you mean relu"):
        Network((2, 1), "rellu")


def layers_of(*sizes: int, replicas: int = 2) -> list[Layer]:
    return [
        Layer(np.zeros((replicas, *shape)), np.zeros((replicas, shape[0])))
        for shape in Network(sizes).shapes
    ]


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros(5)}, r"inputs \(5,\) and targets \(1, 5\) do not fit each other"),
        ({"targets": np.zeros(5)}, r"targets \(5,\) do not fit"),
        ({"targets": np.zeros((1, 4))}, r"inputs \(2, 5\) and targets \(1, 4\) do not fit"),
        ({"inputs": np.zeros((2, 0)), "targets": np.zeros((1, 0))}, "there are no samples"),
        ({"inputs": np.zeros((3, 5))}, "does not fit 3 features and 1 outputs"),
        ({"targets": np.zeros((2, 5))}, "does not fit 2 features and 2 outputs"),
        ({"layers": layers_of(2, 3)}, "do not fit a network of sizes"),
        ({"layers": layers_of(2, 4, 1)}, "do not fit a network of sizes"),
        ({"layers": layers_of(3, 2, 1)}, "do not fit a network of sizes"),
        ({"layers": [Layer(w[0], b[0]) for w, b in layers_of(2, 3, 1)]}, "do not fit a network"),
        ({"layers": [Layer(w, b[:, :0]) for w, b in layers_of(2, 3, 1)]}, "do not fit a network"),
        (
            {"layers": [layers_of(2, 3, 1)[0], layers_of(2, 3, 1, replicas=4)[1]]},
            r"different numbers of replicas: \[2, 4\]",
        ),
        ({"keys": [1]}, "1 keys for 2 replicas; expected one for each"),
        ({"keys": [1, 2, 3]}, "3 keys for 2 replicas"),
        ({"keys": [1, -1]}, "key -1"),
        ({"keys": [1, 2**64]}, "key 18446744073709551616"),
        ({"layers": layers_of(2, 3, 1, replicas=0)}, "no replicas"),
        ({"engine": "fats"}, "unknown engine 'fats'; did you mean fast"),
        ({"vector_bytes": 24}, "no vectors of 24 bytes; use 64, 32 or 16"),
        ({"vector_bytes": 0}, "no vectors of 0 bytes"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes: dict[str, Any], message: str, engine: str):
    given = {"layers": layers_of(2, 3, 1), **DATA, "engine": engine, **changes}
    with pytest.raises((InvalidValueError, UnknownNameError), match=message):
        train(
            Network((2, 3, 1)),
            Recipe(steps=1),
            given.pop("layers"),
            given.pop("inputs"),
            given.pop("targets"),
            **given,
        )


def test_binary_cross_entropy_of_two_outputs_is_refused():
    with pytest.raises(InvalidValueError, match="needs one output, the network has 2"):
        train(Network((2, 2)), Recipe(steps=1), layers_of(2, 2), np.zeros((2, 5)), np.zeros((2, 5)))
