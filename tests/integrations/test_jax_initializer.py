"""The initialiser with JAX's signature, against JAX's own and under its transformations."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from initlab import get
from initlab._base.errors import InvalidValueError
from initlab.integrations.jax import initializer, stream_key
from initlab.sampling import Key

KEY = jax.random.key(7)


def drawn(text: str, shape: tuple[int, ...], key: Key) -> np.ndarray:
    out = np.empty(shape, np.float32)
    get(text).fill(out, key, shape=shape)
    return out


@pytest.mark.parametrize("text", ["he_normal", "glorot_uniform", "orthogonal", "truncated_normal"])
def test_a_dense_kernel_is_that_of_pytorch_turned(text: str):
    kernel = initializer(text)(KEY, (5, 8))
    assert np.array_equal(kernel, drawn(text, (8, 5), stream_key(KEY)).T)


def test_a_convolution_kernel_is_that_of_pytorch_turned():
    kernel = initializer("he_normal")(KEY, (3, 2, 5, 8))
    weight = drawn("he_normal", (8, 5, 3, 2), stream_key(KEY))
    assert np.array_equal(kernel, weight.transpose(2, 3, 1, 0))


def test_the_stream_follows_from_the_words_of_the_key():
    assert stream_key(jax.random.key(7)) == Key.derive(7, "", "jax")
    assert stream_key(jax.random.PRNGKey(7)) == Key.derive(7, "", "jax")
    split = jax.random.split(KEY)[1]
    high, low = (int(word) for word in jax.random.key_data(split))
    assert stream_key(split) == Key.derive(high * 2**32 + low, "", "jax")


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_typed_and_raw_keys_give_the_same_under_jit(implementation: str):
    init = initializer("he_normal")
    typed = jax.random.key(3, impl=implementation)
    eager = init(typed, (4, 6))
    with jax.default_prng_impl(implementation):
        raw = jax.random.PRNGKey(3)
        assert np.array_equal(eager, init(raw, (4, 6)))
        for key in (typed, raw):
            compiled = jax.jit(lambda key: init(key, (4, 6)))
            assert np.array_equal(eager, compiled(key))
            assert np.array_equal(eager, compiled(key))


def test_vmap_draws_a_weight_for_each_key():
    init = initializer("orthogonal")
    keys = jax.random.split(KEY, (2, 3))
    both = jax.jit(jax.vmap(jax.vmap(lambda key: init(key, (4, 6)))))(keys)
    assert both.shape == (2, 3, 4, 6)
    for place in np.ndindex(2, 3):
        assert np.array_equal(both[place], init(keys[place], (4, 6)))


def test_a_compiled_loop_draws_anew_from_each_key():
    init = initializer("normal")
    keys = jax.random.split(KEY, 3)
    _, drawn = jax.lax.scan(lambda carry, key: (carry, init(key, (5,))), 0, keys)
    assert np.array_equal(drawn, jnp.stack([init(key, (5,)) for key in keys]))


def test_a_shape_is_known_without_drawing():
    shape = jax.eval_shape(lambda key: initializer("he_normal")(key, (9, 4), jnp.bfloat16), KEY)
    assert shape.shape == (9, 4)
    assert shape.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_narrow_types_are_rounded_alike_eager_and_compiled(dtype: Any):
    init = initializer("he_normal")
    eager = init(KEY, (300, 4), dtype)
    assert eager.dtype == dtype
    compiled = jax.jit(lambda key: init(key, (300, 4), dtype))(KEY)
    assert np.asarray(eager).tobytes() == np.asarray(compiled).tobytes()
    assert np.array_equal(eager, init(KEY, (300, 4)).astype(dtype))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((40, 30), {}),
        ((3, 3, 20, 10), {}),
        ((30, 40), {"in_axis": 1, "out_axis": 0}),
        ((12, 4, 5, 2), {"in_axis": (0, 1), "out_axis": (2, 3)}),
        ((4, 20, 15), {"batch_axis": 0}),
        ((3, 3, 16, 4), {"in_axis": (), "out_axis": (-2, -1)}),
    ],
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_fans_are_those_that_jax_reads(shape: tuple[int, ...], axes: dict[str, object], mode: str):
    make = jax.nn.initializers.variance_scaling
    theirs = make(1.0, mode, "normal", **{"in_axis": -2, "out_axis": -1} | axes)
    their_std = theirs(KEY, shape) / jax.random.normal(KEY, shape)
    ours = initializer(f"variance_scaling(1, {mode!r})", **axes)(KEY, shape)
    our_std = ours / initializer("normal", **axes)(KEY, shape)
    assert np.allclose(our_std, their_std, rtol=1e-5)


def test_an_orthogonal_kernel_that_narrows_has_orthonormal_columns():
    narrow = np.asarray(initializer("orthogonal")(KEY, (30, 10)), np.float64)
    assert np.allclose(narrow.T @ narrow, np.eye(10), atol=1e-5)
    kernel = np.asarray(initializer("orthogonal")(KEY, (3, 3, 4, 10)), np.float64)
    flat = kernel.reshape(36, 10)
    assert np.allclose(flat.T @ flat, np.eye(10), atol=1e-5)


def test_gates_are_orthogonal_along_the_outputs():
    kernel = np.asarray(initializer("gate_orthogonal(4)")(KEY, (6, 24)), np.float64)
    for gate in np.split(kernel, 4, axis=1):
        assert np.allclose(gate.T @ gate, np.eye(6), atol=1e-5)


def test_each_of_a_batch_is_a_weight_of_its_own():
    stack = initializer("orthogonal", batch_axis=0)(KEY, (3, 4, 6))
    for number in range(3):
        expected = drawn("orthogonal", (6, 4), stream_key(KEY).child(number)).T
        assert np.array_equal(stack[number], expected)


def test_an_embedding_is_not_turned():
    table = initializer("tied_embedding")(KEY, (500, 16))
    assert np.array_equal(table, drawn("tied_embedding", (500, 16), stream_key(KEY)))
    bias = initializer("prior_bias(0.01)")(KEY, (3,))
    assert np.allclose(bias, -np.log(99))


def test_scaled_orthogonal_keeps_the_signal_in_the_order_in_out():
    x = np.asarray(jax.random.normal(KEY, (200, 128)))
    y = x @ np.asarray(initializer("scaled_orthogonal")(KEY, (128, 512)))
    assert np.allclose((y**2).mean(1) / (x**2).mean(1), 1, atol=1e-4)


def test_it_serves_a_flax_layer():
    layer = linen.Conv(8, (3, 3), kernel_init=initializer("he_normal"))
    params = jax.jit(layer.init)(KEY, jnp.ones((1, 5, 5, 4)))
    assert params["params"]["kernel"].shape == (3, 3, 4, 8)
    again = layer.init(KEY, jnp.ones((1, 5, 5, 4)))
    assert np.array_equal(params["params"]["kernel"], again["params"]["kernel"])


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "message"),
    [
        (7, (3, 4), None, "is none of JAX's"),
        (jax.random.split(KEY), (3, 4), None, "keys were given for one weight"),
        (KEY, (3, 4), jnp.int32, "dtype int32 is no floating type"),
    ],
)
def test_what_does_not_fit_is_refused(key: Any, shape: Any, dtype: Any, message: str):
    with pytest.raises(InvalidValueError, match=message):
        initializer("he_normal")(key, shape, dtype)


def test_axes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidValueError, match=r"in_axis=-3 is no axis of shape \(3, 4\)"):
        initializer("he_normal", in_axis=-3)(KEY, (3, 4))
    with pytest.raises(InvalidValueError, match="share an axis"):
        initializer("he_normal", in_axis=1)(KEY, (3, 4))
    with pytest.raises(InvalidValueError, match="cannot read fans"):
        initializer("he_normal")(KEY, (3,))


def test_a_sharded_weight_holds_the_same_numbers():
    code = """
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from initlab.integrations.jax import initializer
init, key = initializer("he_normal"), jax.random.key(0)
whole = np.asarray(init(key, (8, 6)))
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
    sharding = NamedSharding(mesh, P("d"))
    parts = init(key, (8, 6), out_sharding=sharding)
    assert parts.sharding == sharding and len(parts.addressable_shards) == 4
    assert np.array_equal(whole, parts)
with jax.set_mesh(mesh):
    for draw in (init, jax.jit(init, static_argnums=(1, 2), static_argnames=("out_sharding",))):
        parts = draw(key, (8, 6), out_sharding=P("d"))
        assert parts.sharding.spec == P("d", None) or parts.sharding.spec == P("d")
        assert np.array_equal(whole, parts)
print("same")
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | flags,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "same\n", done.stderr
