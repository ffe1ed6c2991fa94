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

SHAPES = {
    initializers.catalogue[name].text: initializers.catalogue[name].shape
    for name in initializers.names()
}


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


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_that_is_none_is_refused(seed: object):
    with pytest.raises(InvalidValueError, match="is not a whole number of 0 or more"):
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
