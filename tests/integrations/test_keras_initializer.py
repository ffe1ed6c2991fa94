"""The Keras initialiser, in Keras's own layers and files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from initlab import get
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.integrations.keras import Initializer
from initlab.sampling import Key

# Keras converts its variables to NumPy in the way of before NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"
)

LAYERS = keras.layers


def drawn(text: str, shape: tuple[int, ...], seed: int, layer: str, call: int) -> np.ndarray:
    out = np.empty(shape, np.float32)
    get(text).fill(out, Key.derive(seed, layer, "keras").child(call), shape=shape)
    return out


def array(values: object) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(values))


def network(initializer: object, *, layers: int = 3) -> keras.Model:
    hidden = [LAYERS.Dense(6, kernel_initializer=initializer) for _ in range(layers)]
    return keras.Sequential([keras.Input((6,)), *hidden])


def kernels(model: keras.Model) -> list[np.ndarray]:
    return [array(weight) for weight in model.weights if len(weight.shape) > 1]


def test_it_is_what_keras_takes_for_an_initializer():
    initializer = Initializer("he_normal", seed=1)
    assert keras.initializers.get(initializer) is initializer
    values = initializer((5, 8))
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    assert np.array_equal(array(values), drawn("he_normal", (8, 5), 1, "", 0).T)


def test_a_layer_gets_the_bits_of_its_stream():
    layer = LAYERS.Conv2D(8, 3, kernel_initializer=Initializer("he_normal", seed=2), name="stem")
    layer.build((None, 9, 9, 4))
    expected = drawn("he_normal", (8, 4, 3, 3), 2, "stem", 0).transpose(2, 3, 1, 0)
    assert np.array_equal(array(layer.kernel), expected)


# keras-hub#352, ktrain#510 and lczero-training#218: one Keras initializer object that serves
# several layers gives all of them the same weights.


def test_keras_own_initializer_repeats_its_weights():
    first, *others = kernels(network(keras.initializers.HeNormal(seed=3)))
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("seed", [3, None])
def test_one_object_that_serves_several_layers_does_not(seed: int | None):
    found = kernels(network(Initializer("he_normal", seed=seed)))
    assert len({kernel.tobytes() for kernel in found}) == 3


def test_a_model_is_reproducible_from_the_seed():
    first, again, other = (
        kernels(network(Initializer("he_normal", seed=seed))) for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_without_a_seed_the_seed_of_keras_counts():
    found: list[list[np.ndarray]] = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        found.append(kernels(network(Initializer("he_normal"))))
    assert all(np.array_equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not np.array_equal(found[0][0], found[2][0])


def test_two_objects_without_a_seed_do_not_repeat_each_other():
    left, right = Initializer("he_normal"), Initializer("he_normal")
    assert not np.array_equal(array(left((4, 4))), array(right((4, 4))))
    assert not np.array_equal(array(left((4, 4))), array(left.clone()((4, 4))))


@pytest.mark.parametrize("seed", [5, None])
def test_the_projections_of_an_attention_differ(seed: int | None):
    """Keras makes an object for each from one configuration: keras-hub#352 again."""
    layer = LAYERS.MultiHeadAttention(
        2, 4, kernel_initializer=Initializer("glorot_normal", seed=seed)
    )
    layer.build((None, 5, 8), (None, 5, 8))
    query, key, value = (
        array(dense.kernel) for dense in (layer.query_dense, layer.key_dense, layer.value_dense)
    )
    assert not np.array_equal(query, key)
    assert not np.array_equal(query, value)
    assert not np.array_equal(key, value)


@pytest.mark.parametrize(
    "names", [("fc_0", "fc_1"), ("hidden", "hidden_1"), ("dense2d_1", "dense2d")]
)
def test_layers_of_a_users_own_names_have_streams_of_their_own(names: tuple[str, str]):
    found: list[np.ndarray] = []
    for name in names:
        layer = LAYERS.Dense(4, kernel_initializer=Initializer("he_normal", seed=0), name=name)
        layer.build((None, 4))
        assert np.array_equal(array(layer.kernel), drawn("he_normal", (4, 4), 0, name, 0).T)
        found.append(array(layer.kernel))
    assert not np.array_equal(*found)


@pytest.mark.parametrize(
    ("make", "shape", "stream"),
    [
        (lambda init: LAYERS.Dense(4, kernel_initializer=init), (None, 4), "dense"),
        (lambda init: LAYERS.Conv2D(4, 1, kernel_initializer=init), (None, 1, 1, 4), "conv2d"),
        (lambda init: LAYERS.GRUCell(4, kernel_initializer=init), (None, 4), "gru_cell"),
    ],
)
def test_the_number_that_keras_gives_to_a_layer_counts_for_nothing(
    make: Callable[[object], keras.Layer], shape: tuple[int | None, ...], stream: str
):
    for _ in range(2):  # the second has a number at any rate
        layer = make(Initializer("normal", seed=0))
        layer.build(shape)
        key = Key.derive(0, stream, "keras").child(0)
        rows = array(layer.kernel).reshape(4, -1).T
        expected = np.empty((4, 4), np.float32)
        get("normal").fill(expected, key.child(0) if stream == "gru_cell" else key, shape=(4, 4))
        assert np.array_equal(rows[:4], expected), layer.name


# --- axes and fans, against what the layers compute -----------------------------------------------


def input_variance(layer: keras.Layer, shape: tuple[int, ...]) -> float:
    """Return the mean square of a layer's outputs for white noise, borders and bias left out."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return float((array(layer(x)) ** 2).mean())


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda init: LAYERS.Dense(64, kernel_initializer=init), (400, 50)),
        (lambda init: LAYERS.Conv1D(64, 5, kernel_initializer=init), (40, 50, 20)),
        (lambda init: LAYERS.Conv2D(64, 3, strides=2, kernel_initializer=init), (9, 25, 25, 30)),
        (lambda init: LAYERS.Conv2D(64, 3, groups=4, kernel_initializer=init), (9, 25, 25, 32)),
        (lambda init: LAYERS.DepthwiseConv2D(5, depthwise_initializer=init), (9, 25, 25, 300)),
        (
            lambda init: LAYERS.DepthwiseConv2D(5, depth_multiplier=2, depthwise_initializer=init),
            (9, 25, 25, 200),
        ),
        (
            lambda init: LAYERS.SeparableConv2D(
                99, 5, depthwise_initializer=init, pointwise_initializer=init
            ),
            (9, 25, 25, 300),
        ),
        (
            lambda init: LAYERS.EinsumDense(
                "abc,cde->abde", (None, 8, 16), kernel_initializer=init
            ),
            (20, 30, 40),
        ),
        (
            lambda init: LAYERS.EinsumDense("abde,dec->abc", (None, 90), kernel_initializer=init),
            (20, 30, 8, 10),
        ),
    ],
)
def test_he_normal_doubles_the_second_moment_of_white_noise(
    make: Callable[[object], keras.Layer], shape: tuple[int, ...]
):
    # Per output channel the sum of squared weights is that of fan_in normals; with k channels of
    # fan n in all, its relative standard error is sqrt(2 / (n k)), below 0.02 in each case here.
    layer = make(Initializer("variance_scaling(2)", seed=1))
    separable = isinstance(layer, LAYERS.SeparableConv2D)
    assert abs(input_variance(layer, shape) / (4 if separable else 2) - 1) < 0.1


@pytest.mark.parametrize("strides", [1, 2])
def test_a_transposed_convolution_keeps_the_second_moment(strides: int):
    layer = LAYERS.Conv2DTranspose(
        40, 4, strides=strides, kernel_initializer=Initializer("variance_scaling(1)", seed=1)
    )
    x = np.random.default_rng(0).standard_normal((4, 16, 16, 60)).astype(np.float32)
    inside = array(layer(x))[:, 4:-4, 4:-4]
    assert abs((inside**2).mean() - 1) < 0.1


def test_a_depthwise_fan_out_is_that_of_one_channel():
    layer = LAYERS.DepthwiseConv2D(
        3, depthwise_initializer=Initializer("he_normal(mode='fan_out')", seed=1)
    )
    layer.build((None, 9, 9, 2000))
    # keras#11773: 9, not 9 · 2000; the relative standard error of a variance is sqrt(2 / 18000).
    assert abs(array(layer.kernel).var() / (2 / 9) - 1) < 5 * np.sqrt(2 / 18000)


@pytest.mark.parametrize(("cell", "gates"), [(LAYERS.LSTM, 4), (LAYERS.GRU, 3)])
def test_each_gate_of_a_recurrent_layer_is_orthogonal(cell: type[keras.Layer], gates: int):
    """cleanrl#358: one orthogonal matrix over the stacked gates leaves none of them so."""
    layer = cell(6, recurrent_initializer=Initializer("orthogonal", seed=1))
    layer.build((None, 5, 4))
    for gate in np.split(array(layer.cell.recurrent_kernel).astype(np.float64), gates, axis=1):
        assert np.allclose(gate.T @ gate, np.eye(6), atol=1e-5)


def test_an_embedding_and_a_bias_are_drawn_as_they_stand():
    layer = LAYERS.Embedding(50, 8, embeddings_initializer=Initializer("tied_embedding", seed=1))
    layer.build()
    expected = drawn("tied_embedding", (50, 8), 1, "embedding", 0)
    assert np.array_equal(array(layer.embeddings), expected)
    dense = LAYERS.Dense(3, bias_initializer=Initializer("prior_bias(0.01)"))
    dense.build((None, 4))
    assert np.allclose(array(dense.bias), -np.log(99))


def test_axes_that_are_given_take_the_place_of_what_the_layer_tells():
    values = array(Initializer("he_normal", seed=1, in_axis=1, out_axis=0)((8, 5)))
    assert np.array_equal(values, drawn("he_normal", (8, 5), 1, "", 0))


# --- configuration and files ----------------------------------------------------------------------


def test_the_configuration_makes_an_equal_object():
    initializer = Initializer("xavier_normal(gain=1.5)", seed=4, in_axis=(0, 1), out_axis=2)
    config = initializer.get_config()
    assert config == {
        "text": "glorot_normal(gain=1.5)",
        "seed": 4,
        "in_axis": [0, 1],
        "out_axis": 2,
    }
    again = Initializer.from_config(config)
    assert again.get_config() == config
    assert np.array_equal(array(initializer((3, 4, 5))), array(again((3, 4, 5))))


def test_keras_reads_back_what_it_wrote():
    initializer = Initializer("he_normal", seed=4)
    written = keras.initializers.serialize(initializer)
    assert written["registered_name"] == "initlab>Initializer"
    again = keras.initializers.deserialize(written)
    assert isinstance(again, Initializer)
    assert again.get_config() == initializer.get_config()
    assert initializer.clone().get_config() == initializer.get_config()


def test_a_saved_model_is_loaded_with_weights_and_initializers(tmp_path: Path):
    model = network(Initializer("he_normal", seed=4))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[0].kernel_initializer, Initializer)
    for left, right in zip(kernels(model), kernels(again), strict=True):
        assert np.array_equal(left, right)


def test_a_model_is_rebuilt_from_its_configuration():
    model = network(Initializer("he_normal"))
    again = keras.Sequential.from_config(model.get_config())
    assert len({kernel.tobytes() for kernel in kernels(again)}) == 3
    assert keras.models.model_from_json(model.to_json()).count_params() == model.count_params()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_other_types_are_rounded_from_the_same_numbers(dtype: str):
    values = Initializer("normal", seed=1)((40,), dtype=dtype)
    expected = keras.ops.cast(Initializer("normal", seed=1)((40,)), dtype)
    assert np.array_equal(array(values), array(expected))


def test_what_does_not_fit_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        Initializer("hee_normal")
    with pytest.raises(InvalidValueError, match="seed=-1 is not a whole number"):
        Initializer("normal", seed=-1)
    with pytest.raises(InvalidValueError, match="dtype int32 is no floating type"):
        Initializer("normal")((3,), dtype="int32")
    with pytest.raises(InvalidValueError, match="shape 5 is not a sequence"):
        Initializer("normal")(5)  # type: ignore[arg-type]


def test_a_value_beyond_a_narrow_type_is_refused():
    for dtype in ("float16", "float8_e4m3fn"):
        with pytest.raises(InvalidValueError, match=f"is beyond dtype {dtype}"):
            Initializer("constant(1e5)")((3,), dtype=dtype)
    assert np.all(array(Initializer("constant(60000)")((3,), dtype="float16")) == 60000)


@pytest.mark.parametrize("text", ["lsuv", "gradinit", "mimetic('key')"])
def test_what_a_weight_alone_cannot_have_is_refused(text: str):
    with pytest.raises(InvalidValueError, match=r"looks at data|draws several weights together"):
        Initializer(text)


def test_a_seed_that_is_given_leaves_the_global_generator_alone():
    keras.utils.set_random_seed(1)
    expected = Initializer("normal").seed
    keras.utils.set_random_seed(1)
    Initializer("normal", seed=np.int64(5))  # type: ignore[arg-type]
    assert Initializer("normal").seed == expected


def test_the_torch_backend_gets_the_same_weights():
    code = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
from initlab.integrations.keras import Initializer
init = Initializer("he_normal", seed=7)
model = keras.Sequential([
    keras.Input((9, 9, 3)),
    keras.layers.Conv2D(4, 3, kernel_initializer=init),
    keras.layers.Conv2DTranspose(5, 3, kernel_initializer=init),
])
assert keras.backend.backend() == "torch"
assert model(np.ones((2, 9, 9, 3), np.float32)).shape == (2, 9, 9, 5)
kernels = [keras.ops.convert_to_numpy(w) for w in model.weights if len(w.shape) > 1]
sys.stdout.buffer.write(b"".join(kernel.tobytes() for kernel in kernels))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    init = Initializer("he_normal", seed=7)
    model = keras.Sequential(
        [
            keras.Input((9, 9, 3)),
            LAYERS.Conv2D(4, 3, kernel_initializer=init),
            LAYERS.Conv2DTranspose(5, 3, kernel_initializer=init),
        ]
    )
    assert done.stdout == b"".join(kernel.tobytes() for kernel in kernels(model))
