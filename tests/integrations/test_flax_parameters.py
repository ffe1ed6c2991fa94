"""New weights for Flax models: Linen's variables, NNX states and modules."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.core import freeze

from initlab import get
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.integrations import numpy as from_numpy
from initlab.integrations.flax import initialize
from initlab.integrations.layouts import Layout
from initlab.sampling import Key

KEY = jax.random.key(0)


class Network(linen.Module):
    """A bit of everything that has parameters."""

    @linen.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = linen.Embed(50, 16, name="embed")(tokens)
        x = linen.LayerNorm(name="norm")(x)
        x = linen.MultiHeadDotProductAttention(4, name="attention")(x)
        x = linen.Conv(12, (3,), name="conv")(x)
        x = linen.BatchNorm(use_running_average=True, name="batch_norm")(x)
        x = linen.PReLU(name="slope")(x)
        x = linen.DenseGeneral((4, 5), name="general")(x)
        return linen.Dense(7, name="head")(x.reshape(*x.shape[:-2], -1))


@pytest.fixture(scope="module")
def variables() -> Any:
    return Network().init(KEY, jnp.zeros((2, 9), jnp.int32))


class Recurrent(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)])
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
        self.embed = nnx.Embed(5, 4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.cell = nnx.OptimizedLSTMCell(3, 4, rngs=rngs)


def flat(tree: Any) -> dict[str, np.ndarray]:
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def torch_bits(text: str, name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return from_numpy.draw(text, shape, name=name, seed=seed)


def test_each_kind_of_parameter_gets_its_own(variables: Any):
    params = initialize(variables["params"], "he_normal", seed=4)
    assert np.array_equal(
        params["head"]["kernel"], torch_bits("he_normal", "head.kernel", (7, 20), 4).T
    )
    assert np.array_equal(
        params["conv"]["kernel"],
        torch_bits("he_normal", "conv.kernel", (12, 16, 3), 4).transpose(2, 1, 0),
    )
    assert np.array_equal(
        params["embed"]["embedding"], torch_bits("embedding", "embed.embedding", (50, 16), 4)
    )
    for name, value in flat(params).items():
        if name.endswith("bias"):
            assert not np.any(value), name
        if name.endswith("scale"):
            assert np.all(np.asarray(value) == 1), name
    assert params["slope"]["negative_slope"] == 0.25


def test_the_variables_of_a_model_keep_what_is_not_trained(variables: Any):
    before = jax.tree.map(np.array, variables)
    new = initialize(variables, "he_normal", seed=4)
    assert new["batch_stats"] is variables["batch_stats"]
    assert jax.tree.structure(new) == jax.tree.structure(variables)
    assert jax.tree.all(jax.tree.map(np.array_equal, before, variables))
    alone = initialize(variables["params"], "he_normal", seed=4)
    assert jax.tree.all(jax.tree.map(np.array_equal, alone, new["params"]))
    frozen = initialize(freeze(variables), "he_normal", seed=4)
    assert type(frozen) is type(freeze(variables))
    assert jax.tree.all(jax.tree.map(np.array_equal, frozen.unfreeze(), new))
    assert Network().apply(new, jnp.zeros((2, 9), jnp.int32)).shape == (2, 9, 7)


@pytest.mark.parametrize("role", ["query", "key", "value", "out"])
def test_the_projections_of_an_attention_are_matrices(variables: Any, role: str):
    params = initialize(variables["params"], "orthogonal")
    kernel = np.asarray(params["attention"][role]["kernel"], np.float64)
    matrix = kernel.reshape(16, 16)  # (in, heads · size) or (heads · size, out)
    assert kernel.shape == ((4, 4, 16) if role == "out" else (16, 4, 4))
    assert np.allclose(matrix.T @ matrix, np.eye(16), atol=1e-5)


def test_a_general_dense_kernel_is_told_by_its_bias(variables: Any):
    params = initialize(variables["params"], "orthogonal")
    kernel = np.asarray(params["general"]["kernel"], np.float64).reshape(12, 20)
    assert np.allclose(kernel @ kernel.T, np.eye(12), atol=1e-5)


def test_stacked_layers_are_drawn_one_by_one():
    class Block(linen.Module):
        @linen.compact
        def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return linen.Dense(6)(x), None

    stack = linen.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
    variables = stack.init(KEY, jnp.zeros((2, 6)), None)
    kernel = initialize(variables, "orthogonal")["params"]["Dense_0"]["kernel"]
    assert kernel.shape == (3, 6, 6)
    for number, matrix in enumerate(np.asarray(kernel)):
        out = np.empty((6, 6), np.float32)
        key = Key.derive(0, "Dense_0.kernel").child(number)
        get("orthogonal").fill(out, key, shape=(6, 6))
        assert np.array_equal(matrix, out.T)


def test_axes_that_cannot_be_told_are_refused_and_can_be_given():
    params = {"mix": {"kernel": jnp.zeros((4, 4, 4)), "bias": jnp.zeros((4, 4))}}
    with pytest.raises(InvalidValueError, match=r"'mix\.kernel': its axes cannot be told"):
        initialize(params, "orthogonal")
    given = [("mix", Layout(in_axis=0, out_axis=(1, 2)))]
    kernel = np.asarray(initialize(params, "orthogonal", layouts=given)["mix"]["kernel"])
    assert np.allclose(kernel.reshape(4, 16) @ kernel.reshape(4, 16).T, np.eye(4), atol=1e-5)
    with pytest.raises(InvalidValueError, match="layouts: 'mixx' matches no parameter"):
        initialize(params, "orthogonal", layouts=[("mixx", Layout())])


def test_an_nnx_module_makes_a_new_one_and_keeps_the_rest():
    model = Recurrent(nnx.Rngs(0))
    before = jax.tree.map(lambda leaf: leaf, nnx.state(model, nnx.Param))
    new = initialize(model, "glorot_normal", seed=2)
    assert isinstance(new, Recurrent)
    assert new is not model
    assert jax.tree.all(jax.tree.map(np.array_equal, before, nnx.state(model, nnx.Param)))
    assert np.array_equal(
        new.layers[1].kernel[...], torch_bits("glorot_normal", "layers.1.kernel", (4, 4), 2).T
    )
    assert np.array_equal(new.norm.mean[...], model.norm.mean[...])
    assert new.dropout.rngs.count[...] == model.dropout.rngs.count[...]
    hidden = new.layers[1](new.layers[0](jnp.ones((2, 3))))
    assert hidden.shape == (2, 4)
    state = initialize(nnx.state(model), "glorot_normal", seed=2)
    assert isinstance(state, nnx.State)
    params = nnx.state(new, nnx.Param)
    assert jax.tree.all(jax.tree.map(np.array_equal, nnx.filter_state(state, nnx.Param), params))


def test_the_packed_gates_of_an_nnx_cell_are_orthogonal_one_by_one():
    """cleanrl#358: one orthogonal matrix over the stacked gates leaves none of them so."""
    model = initialize(Recurrent(nnx.Rngs(0)), "orthogonal")
    for gate in np.split(np.asarray(model.cell.dense_h.kernel[...], np.float64), 4, axis=1):
        assert np.allclose(gate.T @ gate, np.eye(4), atol=1e-5)


def test_shapes_alone_become_weights():
    whole = initialize(Recurrent(nnx.Rngs(0)), "he_normal")
    shapes = nnx.eval_shape(lambda: Recurrent(nnx.Rngs(0)))
    made = initialize(shapes, "he_normal")
    left, right = (nnx.state(model, nnx.Param) for model in (whole, made))
    assert jax.tree.all(jax.tree.map(np.array_equal, left, right))


def test_partitioned_parameters_keep_their_boxes():
    init = linen.with_partitioning(linen.initializers.lecun_normal(), (None, "model"))
    variables = linen.Dense(4, kernel_init=init).init(KEY, jnp.ones((2, 3)))
    new = initialize(variables, "he_normal")
    box = new["params"]["kernel"]
    assert isinstance(box, linen.Partitioned)
    assert box.names == (None, "model")
    assert np.array_equal(box.unbox(), torch_bits("he_normal", "kernel", (4, 3), 0).T)


def test_the_first_rule_that_matches_counts(variables: Any):
    rules = [
        ("head", "zeros"),
        ("*.bias", "constant(0.5)"),
        ("conv", "keep"),
        ("embed.embedding", "normal(std=0.02)"),
        ("*", "he_normal"),
    ]
    params = initialize(variables["params"], rules)
    assert not np.any(params["head"]["kernel"])
    assert not np.any(params["head"]["bias"])
    assert np.all(np.asarray(params["general"]["bias"]) == 0.5)
    assert params["conv"]["kernel"] is variables["params"]["conv"]["kernel"]
    assert np.asarray(params["embed"]["embedding"]).std() < 0.03


def test_what_is_kept_stays_and_changes_nothing_else(variables: Any):
    whole = flat(initialize(variables["params"], "he_normal"))
    part = flat(initialize(variables["params"], "he_normal", keep=("attention", "*.scale")))
    old = flat(variables["params"])
    for name, value in part.items():
        kept = name.startswith("attention") or name.endswith("scale")
        assert np.array_equal(value, old[name] if kept else whole[name]), name


def test_a_parameter_depends_on_seed_and_path_alone(variables: Any):
    whole = initialize(variables["params"], "he_normal", seed=1)
    alone = initialize({"head": variables["params"]["head"]}, "he_normal", seed=1)
    other = initialize({"head": variables["params"]["head"]}, "he_normal", seed=2)
    assert np.array_equal(whole["head"]["kernel"], alone["head"]["kernel"])
    assert not np.array_equal(whole["head"]["kernel"], other["head"]["kernel"])


def test_types_are_kept_and_what_is_no_weight_is_left_alone():
    params = {
        "half": {"kernel": jnp.zeros((3, 4), jnp.bfloat16)},
        "plain": {"kernel": np.zeros((3, 4), np.float64)},
        "empty": {"kernel": jnp.zeros((0, 4))},
        "whole": {"kernel": jnp.zeros((3, 4), jnp.int8)},
        "complex": {"kernel": jnp.zeros((3, 4), jnp.complex64)},
        "random": {"kernel": KEY},
    }
    new = initialize(params, "he_normal")
    assert new["half"]["kernel"].dtype == jnp.bfloat16
    assert isinstance(new["plain"]["kernel"], np.ndarray)
    assert new["plain"]["kernel"].dtype == np.float64
    for name in ("empty", "whole", "complex", "random"):
        assert new[name]["kernel"] is params[name]["kernel"]
    assert initialize({}, "he_normal") == {}


def test_a_value_beyond_a_narrow_type_is_refused():
    params = {"half": {"kernel": jnp.zeros((3, 4), jnp.float16)}}
    with pytest.raises(InvalidValueError, match=r"'half\.kernel': .* is beyond dtype float16"):
        initialize(params, "constant(1e5)")


class Convolution(nnx.Module):
    """One convolution, in a module."""

    def __init__(self, make: Any, outputs: int, **arguments: Any) -> None:
        self.layers = nnx.List([make(32, outputs, rngs=nnx.Rngs(0), **arguments)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[0](x)


@pytest.mark.parametrize(
    ("make", "outputs", "arguments"),
    [
        (nnx.Conv, 60, {"kernel_size": (3, 3), "strides": 2}),
        (nnx.Conv, 60, {"kernel_size": (3,), "feature_group_count": 4}),
        (nnx.ConvTranspose, 60, {"kernel_size": (4, 4), "strides": (2, 2)}),
        (nnx.ConvTranspose, 60, {"kernel_size": (4, 4), "strides": 2, "transpose_kernel": True}),
        (nnx.ConvTranspose, 60, {"kernel_size": 5}),
    ],
)
def test_an_nnx_convolution_keeps_the_second_moment(
    make: Any, outputs: int, arguments: dict[str, Any]
):
    model = initialize(Convolution(make, outputs, **arguments), "variance_scaling(1)", seed=1)
    axes = len(model.layers[0].kernel_size)
    x = jax.random.normal(KEY, (8 if axes == 2 else 99, *(24,) * axes, 32))
    y = np.asarray(model(x))
    inside = y[(slice(None), *[slice(3, -3)] * axes)]
    # A sum of some 60 channels' squared weights, 24 or more each: 3.7 % standard error at most.
    assert abs((inside**2).mean() - 1) < 0.15


def test_the_fan_out_of_a_depthwise_convolution_is_that_of_one_channel():
    arguments = {"kernel_size": (3, 3), "feature_group_count": 2000, "rngs": nnx.Rngs(0)}
    model = nnx.List([nnx.Conv(2000, 2000, **arguments)])
    (layer,) = initialize(model, "variance_scaling(1, 'fan_out')")
    # keras#11773: 9, not 9 · 2000; the relative standard error of a variance is sqrt(2 / 18000).
    assert abs(np.asarray(layer.kernel[...]).var() * 9 - 1) < 5 * np.sqrt(2 / 18000)
    # A tree of arrays does not tell; the layout does.
    kernel = {"kernel": np.zeros((3, 3, 1, 2000), np.float32)}
    given = [("kernel", Layout(groups=2000))]
    told = initialize(kernel, "variance_scaling(1, 'fan_out')", layouts=given)["kernel"]
    assert abs(told.var() * 9 - 1) < 5 * np.sqrt(2 / 18000)


def test_a_layout_that_is_given_comes_before_what_a_module_tells():
    model = Convolution(nnx.Conv, 60, kernel_size=(3,))
    given = [("layers.0", Layout(groups=4))]
    new = initialize(model, "variance_scaling(1, 'fan_out')", layouts=given)
    # An input reaches 3 places of 60 outputs, or of 15 if there are 4 groups.
    assert abs(np.asarray(new.layers[0].kernel[...]).var() * 15 * 3 - 1) < 5 * np.sqrt(2 / 5760)
    with pytest.raises(InvalidValueError, match="layouts: 'layer' matches no parameter"):
        initialize(model, "he_normal", layouts=[("layer", Layout())])


def test_a_convolution_that_spreads_its_input_is_asked_about():
    model = Convolution(nnx.Conv, 6, kernel_size=(3,), input_dilation=2)
    with pytest.raises(InvalidValueError, match="its layer spreads its input"):
        initialize(model, "he_normal")
    given = [("layers.0.kernel", Layout(strides=(2,), transposed=True))]
    assert np.any(initialize(model, "he_normal", layouts=given).layers[0].kernel[...])


def test_stacked_nnx_convolutions_are_drawn_one_by_one():
    make = nnx.vmap(lambda key: nnx.Conv(6, 6, (1,), strides=2, rngs=nnx.Rngs(key)))
    stack = initialize(make(jax.random.split(KEY, 3)), "orthogonal")
    for matrix in np.asarray(stack.kernel[...], np.float64):
        assert np.allclose(matrix[0] @ matrix[0].T, np.eye(6), atol=1e-5)


def test_it_runs_under_jit(variables: Any):
    compiled = jax.jit(lambda params: initialize(params, "he_normal"))(variables["params"])
    eager = initialize(variables["params"], "he_normal")
    assert jax.tree.all(jax.tree.map(np.array_equal, compiled, eager))


def test_a_parameter_without_a_known_part_is_not_guessed_at():
    params = {"position": jnp.zeros((1, 9, 4)), "dense": {"kernel": jnp.zeros((4, 4))}}
    with pytest.raises(InvalidValueError, match=r"no rule is known for 'position' of shape"):
        initialize(params, "he_normal")
    new = initialize(params, [("position", "normal(std=0.02)"), ("*", "he_normal")])
    assert 0 < np.abs(new["position"]).max() < 0.2
    assert not np.any(initialize(params, "he_normal", keep="position")["position"])


@pytest.mark.parametrize(
    ("how", "arguments", "message"),
    [
        ("auto", {}, "'auto' looks at how a model runs"),
        ("lsuv", {}, "'lsuv' looks at data"),
        ("gpt2", {}, "'gpt2' looks at the whole model"),
        ("mimetic", {}, "'mimetic' draws several weights together"),
        ([("attention.query", "mimetic('query', heads=4)")], {}, "draws several weights together"),
        ([("haed", "zeros")], {}, "'haed' matches no parameter; the tree has attention.key.bias"),
        ("zeros", {"keep": "haed"}, "'haed' matches no parameter"),
        ("zeros", {"seed": -1}, "seed=-1 is not a whole number"),
    ],
)
def test_what_cannot_be_done_is_refused(
    variables: Any, how: Any, arguments: dict[str, Any], message: str
):
    with pytest.raises(InvalidValueError, match=message):
        initialize(variables, how, **arguments)


def test_a_wrong_tree_or_name_is_refused(variables: Any):
    with pytest.raises(InvalidValueError, match="a tree of type list is none of Flax's"):
        initialize([jnp.zeros((3, 4))], "he_normal")
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        initialize(variables, "hee_normal")
