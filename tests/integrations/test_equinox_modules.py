"""New weights for Equinox modules, against PyTorch's layers and Equinox's own computation."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from initlab._base.errors import InvalidValueError
from initlab.integrations import numpy as from_numpy
from initlab.integrations.equinox import initialize
from initlab.models import plan

KEY = jax.random.key(0)


class Everything(eqx.Module):
    """A layer of each kind."""

    layers: list[Any]
    norm: eqx.nn.LayerNorm
    batch_norm: eqx.nn.BatchNorm
    counter: jax.Array

    def __init__(self) -> None:
        nn = eqx.nn
        self.layers = [
            nn.Linear(3, 4, key=KEY),
            nn.Conv2d(4, 6, 3, key=KEY),
            nn.LSTMCell(3, 4, key=KEY),
            nn.GRUCell(3, 4, key=KEY),
            nn.Embedding(5, 4, key=KEY),
            nn.MultiheadAttention(2, 4, key=KEY),
            nn.PReLU(),
            jax.nn.relu,
        ]
        self.norm = nn.LayerNorm((2, 4))
        self.batch_norm = nn.BatchNorm(4, "batch", mode="batch")
        self.counter = jnp.zeros((), jnp.int32)


def test_a_module_gets_the_weights_of_the_pytorch_module_of_the_same_names():
    theirs = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Linear(9, 4))
    plan.make(theirs, "he_normal", seed=3).apply()
    layers = [eqx.nn.Linear(6, 9, key=KEY), eqx.nn.Lambda(jax.nn.relu)]
    ours = initialize([*layers, eqx.nn.Linear(9, 4, key=KEY)], "he_normal", seed=3)
    for place in (0, 2):
        assert np.array_equal(ours[place].weight, theirs[place].weight.detach().numpy())
        assert np.array_equal(ours[place].bias, theirs[place].bias.detach().numpy())


def test_each_kind_of_parameter_gets_its_own():
    old = Everything()
    new = initialize(old, "he_normal", seed=4)
    assert isinstance(new, Everything)
    assert np.array_equal(
        new.layers[1].weight,
        from_numpy.draw("he_normal", (6, 4, 3, 3), name="layers.1.weight", seed=4),
    )
    assert np.array_equal(
        new.layers[4].weight, from_numpy.draw("embedding", (5, 4), name="layers.4.weight", seed=4)
    )
    for bias in (new.layers[0].bias, new.layers[1].bias, new.layers[3].bias_n, new.norm.bias):
        assert not np.any(bias)
    assert np.all(np.asarray(new.norm.weight) == 1)
    assert np.all(np.asarray(new.batch_norm.weight) == 1)
    assert new.layers[6].negative_slope == 0.25
    assert new.layers[7] is jax.nn.relu
    assert not np.array_equal(new.layers[5].query_proj.weight, new.layers[5].key_proj.weight)


def test_what_is_not_trained_stays_and_so_does_the_module_given():
    old = Everything()
    before = [np.array(leaf) for leaf in jax.tree.leaves(eqx.filter(old, eqx.is_array))]
    new = initialize(old, "he_normal")
    assert new.counter is old.counter
    assert new.batch_norm.batch_state_index.init[1] is old.batch_norm.batch_state_index.init[1]
    after = jax.tree.leaves(eqx.filter(old, eqx.is_array))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert jax.tree.structure(new) == jax.tree.structure(old)


@pytest.mark.parametrize(("place", "gates"), [(2, 4), (3, 3)])
def test_each_gate_of_a_cell_is_orthogonal(place: int, gates: int):
    """cleanrl#358: one orthogonal matrix over the stacked gates leaves none of them so."""
    cell = initialize(Everything(), "orthogonal").layers[place]
    for gate in np.split(np.asarray(cell.weight_hh, np.float64), gates):
        assert np.allclose(gate @ gate.T, np.eye(4), atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: eqx.nn.Linear(60, 80, key=KEY),
        lambda: eqx.nn.Conv1d(40, 60, 5, key=KEY),
        lambda: eqx.nn.Conv2d(32, 60, 3, stride=2, groups=4, key=KEY),
        lambda: eqx.nn.ConvTranspose2d(32, 60, 4, key=KEY),
        lambda: eqx.nn.ConvTranspose2d(32, 60, 4, stride=2, key=KEY),
        lambda: eqx.nn.ConvTranspose2d(32, 60, 4, stride=2, groups=4, key=KEY),
    ],
)
def test_a_layer_keeps_the_second_moment_of_white_noise(make: Any):
    layer = initialize(make(), "variance_scaling(1)", seed=1)
    axes = layer.weight.ndim - 2
    sizes = (layer.weight.shape[1] * getattr(layer, "groups", 1), *(24,) * axes)
    batch = jax.random.normal(KEY, (16 if axes else 4000, *sizes))
    y = np.asarray(jax.vmap(layer)(batch))[(..., *[slice(5, -5)] * axes)]
    # The sum of some 60 channels' squared weights, about 60 · 60 of them: 2.4 % standard error.
    assert abs((y**2).mean() - 1) < 0.1


def test_layers_that_were_stacked_are_drawn_one_by_one():
    keys = jax.random.split(KEY, 3)
    stack = eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 4, key=key))(keys)
    new = initialize({"stack": stack}, "orthogonal")["stack"]
    assert new.weight.shape == (3, 4, 4)
    for matrix in np.asarray(new.weight, np.float64):
        assert np.allclose(matrix @ matrix.T, np.eye(4), atol=1e-5)
    assert not np.array_equal(new.weight[0], new.weight[1])


def test_tied_weights_stay_tied():
    class Tied(eqx.Module):
        shared: eqx.nn.Shared

        def __init__(self) -> None:
            parts = (eqx.nn.Embedding(5, 4, key=KEY), eqx.nn.Linear(4, 5, key=KEY))
            self.shared = eqx.nn.Shared(
                parts, lambda both: both[1].weight, lambda both: both[0].weight
            )

    embedding, head = initialize(Tied(), "he_normal").shared()
    assert embedding.weight is head.weight
    assert np.asarray(embedding.weight).std() > 0


def test_shapes_alone_become_weights():
    make = lambda: eqx.nn.MLP(2, 1, 8, 2, key=KEY)  # noqa: E731 - once as it is, once as shapes
    whole, made = (
        initialize(model, "he_normal") for model in (make(), eqx.filter_eval_shape(make))
    )
    assert eqx.tree_equal(whole, made)
    assert made(jnp.ones(2)).shape == (1,)


def test_rules_and_keep():
    rules = [("layers.0", "zeros"), ("*.bias", "constant(0.5)"), ("*", "he_normal")]
    old = Everything()
    new = initialize(old, rules, keep="layers.5")
    assert not np.any(new.layers[0].weight)
    assert not np.any(new.layers[0].bias)
    assert np.all(np.asarray(new.layers[1].bias) == 0.5)
    assert new.layers[5].query_proj.weight is old.layers[5].query_proj.weight


def test_a_parameter_without_a_known_part_is_not_guessed_at():
    model = [eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=KEY))]
    with pytest.raises(InvalidValueError, match=r"no rule is known for '0.g' of shape \(4, 1\)"):
        initialize(model, "he_normal")
    new = initialize(model, [("0.g", "ones"), ("*", "he_normal")])
    assert np.all(np.asarray(new[0].g) == 1)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(InvalidValueError, match="'auto' looks at how a model runs"):
        initialize(Everything(), "auto")
    with pytest.raises(InvalidValueError, match="'mimetic' draws several weights together"):
        initialize(Everything(), "mimetic")
    with pytest.raises(InvalidValueError, match="'krahenbuhl' looks at data"):
        initialize(Everything(), [("layers", "krahenbuhl"), ("*", "zeros")])
    with pytest.raises(InvalidValueError, match=r"the tree has layers\.0\.wei"):
        initialize(Everything(), [("layer", "zeros")])
