"""NumPy, PyTorch and JAX get the same bits, and those that a PyTorch model gets."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

from initlab import initializers
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.integrations import jax as from_jax
from initlab.integrations import numpy as from_numpy
from initlab.integrations import torch as from_torch
from initlab.models import plan

ENTRIES = [initializers.catalogue[name] for name in initializers.names()]
# A weight that is drawn alone can have neither data nor the others of its attention.
SINGLE = [entry for entry in ENTRIES if entry.family != "data-driven" and entry.name != "mimetic"]
SHAPES = {entry.text: entry.shape for entry in SINGLE}


def same_bits(left: object, right: object) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and (left.tobytes() == right.tobytes())
    )


@pytest.mark.parametrize("text", SHAPES)
def test_the_three_adapters_give_the_same_float32_bits(text: str):
    where = {"name": "layers.0.weight", "seed": 5}
    ours = from_numpy.draw(text, SHAPES[text], **where)
    assert ours.dtype == np.float32
    assert ours.shape == SHAPES[text]
    assert same_bits(ours, from_torch.draw(text, SHAPES[text], **where).numpy())
    assert same_bits(ours, from_jax.draw(text, SHAPES[text], **where))
    tensor = torch.empty(SHAPES[text])
    assert from_torch.initializer_(tensor, text, **where) is tensor
    assert same_bits(ours, tensor.numpy())


@pytest.mark.parametrize("text", ["he_normal", "glorot_uniform", "orthogonal"])
def test_a_pytorch_model_gets_these_bits(text: str):
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Linear(9, 4, bias=False)
    )
    plan.make(model, text, seed=3).apply()
    for name in ("0.weight", "2.weight"):
        weight = model.get_parameter(name).detach().numpy()
        assert same_bits(weight, from_jax.draw(text, weight.shape, name=name, seed=3))
        assert same_bits(weight, from_numpy.draw(text, weight.shape, name=name, seed=3))


def test_fans_that_a_shape_does_not_tell_can_be_given():
    model = torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 5, 4, stride=2))
    made = plan.make(model, "he_normal", seed=3)
    made.apply()
    weight = model.get_parameter("0.weight").detach().numpy()
    where = {"name": "0.weight", "seed": 3}
    given = made.facts.parameters["0.weight"].fans
    assert same_bits(weight, from_numpy.draw("he_normal", weight.shape, fans=given, **where))
    assert same_bits(weight, from_jax.draw("he_normal", weight.shape, fans=given, **where))
    assert not same_bits(weight, from_numpy.draw("he_normal", weight.shape, **where))


def test_a_narrow_type_is_rounded_alike():
    where = {"name": "w", "seed": 1}
    half = from_numpy.draw("normal", (999,), dtype=np.float16, **where)
    assert same_bits(half, from_torch.draw("normal", (999,), dtype=torch.float16, **where))
    assert same_bits(half, from_jax.draw("normal", (999,), dtype=jnp.float16, **where))
    brain = from_numpy.draw("normal", (999,), dtype=ml_dtypes.bfloat16, **where)
    tensor = from_torch.draw("normal", (999,), dtype=torch.bfloat16, **where)
    assert same_bits(brain, from_jax.draw("normal", (999,), dtype=jnp.bfloat16, **where))
    assert same_bits(brain.view(np.uint16), tensor.view(torch.uint16).numpy())


def test_a_wide_type_holds_the_float32_numbers():
    wide = from_numpy.draw("normal", (9,), name="w", dtype=np.float64)
    assert wide.dtype == np.float64
    assert same_bits(wide.astype(np.float32), from_numpy.draw("normal", (9,), name="w"))


def test_seed_and_name_each_change_the_stream():
    drawn = {
        from_numpy.draw("normal", (4,), name=name, seed=seed).tobytes()
        for name in ("a", "b")
        for seed in (0, 1)
    }
    assert len(drawn) == 4


def test_a_tensor_is_filled_wherever_and_however_it_is_kept():
    expected = from_torch.draw("orthogonal", (4, 6), name="w")
    turned = torch.empty(6, 4).T
    assert torch.equal(from_torch.initializer_(turned, "orthogonal", name="w"), expected)
    parameter = torch.nn.Parameter(torch.empty(4, 6, dtype=torch.bfloat16))
    assert from_torch.initializer_(parameter, "orthogonal", name="w") is parameter
    assert parameter.requires_grad
    assert parameter.grad_fn is None
    assert torch.equal(parameter.detach(), expected.to(torch.bfloat16))


@pytest.mark.parametrize("text", [entry.text for entry in ENTRIES if entry not in SINGLE])
def test_what_a_weight_alone_cannot_have_is_refused(text: str):
    """Drawn all the same, lsuv is a plain orthogonal draw, and mimetic fits no other projection."""
    message = r"looks at data|draws several weights together"
    with pytest.raises(InvalidValueError, match=message):
        from_numpy.draw(text, (64, 64), name="w")
    with pytest.raises(InvalidValueError, match=message):
        from_jax.draw(text, (64, 64), name="w")
    with pytest.raises(InvalidValueError, match=message):
        from_jax.initializer(text)
    with pytest.raises(InvalidValueError, match=message):
        from_torch.draw(text, (64, 64), name="w")
    tensor = torch.full((64, 64), 7.0)
    with pytest.raises(InvalidValueError, match=message):
        from_torch.initializer_(tensor, text, name="w")
    assert (tensor == 7).all()


def test_an_initializer_that_was_built_by_hand_is_drawn():
    known = initializers.get("normal")
    own = initializers.Initializer("mine", known.distribution, known.scale, shift=2.0)
    ours = from_numpy.draw(own, (3, 4), name="w")
    np.testing.assert_allclose(ours, from_numpy.draw("normal", (3, 4), name="w") + 2, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "beyond"),
    [("float16", 1e5), ("bfloat16", 3.4e38), ("float8_e5m2", 1e5), ("float8_e4m3fn", 1e5)],
)
def test_a_value_beyond_a_narrow_type_is_refused(name: str, beyond: float):
    """Cast, it would be inf, nan or the largest number, as the type and the framework have it."""
    text, message = f"constant({beyond})", f"is beyond dtype (torch.)?{name}, which ends at"
    dtype, torch_dtype = np.dtype(getattr(ml_dtypes, name, name)), getattr(torch, name)
    with pytest.raises(InvalidValueError, match=message):
        from_numpy.draw(text, (3,), name="w", dtype=dtype)
    with pytest.raises(InvalidValueError, match=message):
        from_jax.draw(text, (3,), name="w", dtype=dtype)
    with pytest.raises(InvalidValueError, match=message):
        from_jax.initializer(text)(jax.random.key(0), (3,), dtype)
    with pytest.raises(InvalidValueError, match=message):
        from_torch.draw(text, (3,), name="w", dtype=torch_dtype)
    tensor = torch.ones(3).to(torch_dtype)
    with pytest.raises(InvalidValueError, match=message):
        from_torch.initializer_(tensor, text, name="w")
    assert (tensor.float() == 1).all()


def test_the_largest_number_of_a_narrow_type_is_drawn():
    for value in (65504, -65504):
        assert from_numpy.draw(f"constant({value})", (), name="w", dtype=np.float16) == value
    assert from_torch.draw("constant(448)", (), name="w", dtype=torch.float8_e4m3fn).float() == 448
    assert from_numpy.draw("constant(3.4e38)", (), name="w", dtype=float) == np.float32(3.4e38)


@pytest.mark.parametrize("shape", [5, "ab", (-1, 2), (2.0, 2), (10**12, 10**9), None])
def test_a_shape_that_is_none_is_refused(shape: object):
    for draw in (from_numpy.draw, from_torch.draw, from_jax.draw):
        with pytest.raises(InvalidValueError, match=r"^shape "):
            draw("normal", shape, name="w")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"^shape "):
        from_jax.initializer("normal")(jax.random.key(0), shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [None, 3, b"w", ("layers", 0)])
def test_a_name_that_is_no_text_is_refused(name: object):
    with pytest.raises(InvalidValueError, match=r"^name=.* is no text"):
        from_numpy.draw("normal", (3,), name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["bogus", 3, "V8", "int32", "complex64"])
def test_a_dtype_that_cannot_hold_weights_is_refused(dtype: object):
    for draw in (from_numpy.draw, from_jax.draw):
        with pytest.raises(InvalidValueError, match=r"^dtype .* floating"):
            draw("normal", (3,), name="w", dtype=dtype)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"^dtype .* is no floating type"):
        from_torch.draw("normal", (3,), name="w", dtype=dtype)  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_and_no_dtype_are_taken():
    expected = from_numpy.draw("normal", (3, 2), name="w", seed=3)
    sizes = np.array([3, 2])
    assert same_bits(from_numpy.draw("normal", sizes, name="w", seed=np.int64(3)), expected)  # type: ignore[arg-type]
    assert same_bits(from_jax.draw("normal", sizes, name="w", seed=np.int64(3)), expected)  # type: ignore[arg-type]
    assert same_bits(from_numpy.draw("normal", (3, 2), name="w", seed=3, dtype=None), expected)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_that_is_none_is_refused(seed: object):
    with pytest.raises(InvalidValueError, match="is not a whole number of at least 0"):
        from_numpy.draw("normal", (3,), name="w", seed=seed)  # type: ignore[arg-type]


def test_what_cannot_hold_weights_is_refused():
    with pytest.raises(InvalidValueError, match="dtype int32 is no floating type"):
        from_numpy.draw("normal", (3,), name="w", dtype=np.int32)
    with pytest.raises(InvalidValueError, match="dtype complex64 is no floating type"):
        from_jax.draw("normal", (3,), name="w", dtype=jnp.complex64)
    with pytest.raises(InvalidValueError, match=r"dtype torch.int64 is no floating type"):
        from_torch.initializer_(torch.zeros(3, dtype=torch.int64), "normal", name="w")
    with pytest.raises(InvalidValueError, match="on the meta device"):
        from_torch.initializer_(torch.empty(3, device="meta"), "normal", name="w")
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        from_torch.initializer_(torch.empty(3, 3), "hee_normal", name="w")


@pytest.mark.parametrize("framework", ["torch", "jax", "keras", "flax", "equinox"])
def test_a_missing_framework_is_named_with_its_remedy(framework: str):
    code = (
        f"import sys; sys.modules[{framework!r}] = None\n"
        "from initlab import MissingPackageError\n"
        "import initlab.integrations.numpy\n"
        f"try: import initlab.integrations.{framework}\n"
        "except MissingPackageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"pip install 'initlab[{framework}]'" in done.stdout


def test_wide_types_follow_jax_own_setting():
    with jax.enable_x64(True):
        assert from_jax.draw("normal", (3,), name="w", dtype=jnp.float64).dtype == jnp.float64
    assert from_jax.draw("normal", (3,), name="w", dtype="float64").dtype == jnp.float32
