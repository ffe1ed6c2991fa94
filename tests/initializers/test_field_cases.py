"""What people ran into with other libraries, each with the thread that tells it."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from initlab import activations
from initlab._base.streams import stream
from initlab.initializers import get
from initlab.sampling import Key


def second_moment(values: np.ndarray) -> float:
    return float(np.mean(values**2))


def test_pytorchs_default_loses_a_factor_of_six_under_relu():
    # pytorch#15314, #57109, #18182, #6950: Var(w) = 1 / (3 fan_in).
    n = 600
    inputs = np.maximum(stream(0, "inputs").standard_normal((n, 400)), 0)
    ratio = second_moment(get("pytorch_default").sample((n, n), stream(0, "init")) @ inputs)
    # The squares of 400 inputs of 600 dimensions: their mean has an error of about 0.5 %.
    assert ratio == pytest.approx(1 / 6, rel=0.03)
    kept = second_moment(get("he_normal").sample((n, n), stream(0, "init")) @ inputs)
    assert kept == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_a_gain_for_activations_that_pytorch_knows_none_for(name: str):
    # pytorch#54030, digantamisra98/Mish#37.
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain(name)
    function = getattr(nn.functional, name)
    signal = torch.from_numpy(stream(0, "inputs", name).standard_normal((500, 800)))
    for layer in range(10):
        weight = get(f"activation_matched('{name}')").sample((500, 500), stream(0, "init", layer))
        signal = torch.from_numpy(weight) @ function(signal)
    # One layer's second moment has an error of about sqrt(8 / 500 / 500); ten of them add up.
    assert second_moment(signal.numpy()) == pytest.approx(1, rel=0.25)


def test_the_selu_gain_of_pytorch_shrinks_the_signal():
    # pytorch#54055, #53694, #50664: std .797 after one layer, .206 after 30.
    assert nn.init.calculate_gain("selu") == 0.75
    stds: dict[str, list[float]] = {"selu_normal": [], "lecun_normal(gain=0.75)": []}
    for text, found in stds.items():
        signal = stream(0, "inputs").standard_normal((400, 300))
        for layer in range(30):
            weight = get(text).sample((400, 400), stream(0, "init", layer))
            signal = activations.get("selu")(weight @ signal)
            found.append(float(signal.std()))
    ours, theirs = stds.values()
    assert min(ours) > 0.9
    assert max(ours) < 1.1
    assert theirs[-1] == pytest.approx(0.206, abs=0.03)


def test_bounds_of_a_truncated_normal_in_stds_and_absolute():
    # pytorch#155588, #145498, algorithmic-efficiency#819, flax#4091: std 1 gives .880, std .02 is
    # not truncated at all and has outliers of .096.
    assert get("truncated_normal").std((4, 4)) == pytest.approx(0.880, abs=5e-4)
    theirs = get("truncated_normal(std=0.02, low=-2, high=2)")
    assert theirs.std((4, 4)) == pytest.approx(0.02, rel=1e-12)
    for text, largest in (("truncated_normal(std=0.02)", 0.04), (theirs.spec, 0.12)):
        sample = get(text).sample((1000, 500), stream(0, "init"))
        filled = np.empty((1000, 500), np.float32)
        get(text).fill(filled, Key.derive(0, "w"), shape=filled.shape)
        for weight in (sample, filled):
            assert np.abs(weight).max() <= largest
    assert np.abs(sample).max() > 0.08
    corrected = get("truncated_normal(std=0.02, corrected=True)")
    assert corrected.std((4, 4)) == pytest.approx(0.02, rel=1e-12)


def test_gates_that_are_orthogonal_one_by_one():
    # cleanrl#358: orthogonal over stacked gates leaves each gate singular values of .0036 to .87.
    shape = tuple(nn.LSTM(128, 128).weight_hh_l0.shape)
    ours = get("gate_orthogonal").sample(shape, stream(0, "init")).reshape(4, 128, 128)
    values = np.linalg.svd(ours, compute_uv=False)
    np.testing.assert_allclose(values, 1, rtol=1e-12)
    assert all(np.abs(a @ b.T).max() > 0.1 for a, b in pairwise(ours))  # drawn apart
    stacked = get("orthogonal").sample(shape, stream(0, "init")).reshape(4, 128, 128)
    values = np.linalg.svd(stacked, compute_uv=False)
    assert values.min() < 0.02
    assert 0.8 < values.max() < 0.95


@pytest.mark.parametrize(("inputs", "outputs"), [(128, 512), (512, 128), (200, 200)])
@pytest.mark.parametrize("taps", [(), (3,), (3, 3)])
def test_scale_correction_reads_out_before_in(inputs: int, outputs: int, taps: tuple[int, ...]):
    # Reading the shape as [in, out] gives a ratio of .25 for 128 to 512, and 4 for 512 to 128.
    weight = torch.from_numpy(
        get("scaled_orthogonal").sample((outputs, inputs, *taps), stream(0, "init"))
    )
    layers = {0: nn.functional.linear, 1: nn.functional.conv1d, 2: nn.functional.conv2d}
    noise = torch.from_numpy(stream(0, "noise").standard_normal((300, inputs, *(4,) * len(taps))))
    arguments = {"padding": "same"} if taps else {}
    found = layers[len(taps)](noise, weight, **arguments)
    ratio = second_moment(found.numpy()) / second_moment(noise.numpy())
    # A widening layer keeps every norm; a narrowing one on average over the inputs.
    error = 1e-12 if outputs >= inputs else 5 * math.sqrt(2 / found.numel())
    assert abs(ratio - 1) < error


def test_one_initializer_draws_afresh_for_every_parameter():
    # keras-hub#352, ktrain#510, lczero-training#218: one object used twice repeated its weights.
    initializer = get("he_normal")
    first, second = np.empty((2, 30, 40), np.float32)
    initializer.fill(first, Key.derive(0, "layers.0.weight"), shape=(30, 40))
    initializer.fill(second, Key.derive(0, "layers.1.weight"), shape=(30, 40))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / math.sqrt(first.size)


def test_orthogonal_for_half_precision_is_computed_in_more():
    # transformers#47225, pytorch#9315: QR fails in half precision. Ours comes in float32, to round.
    weight = np.empty((64, 64), np.float32)
    get("orthogonal").fill(weight, Key.derive(0, "w"), shape=weight.shape)
    np.testing.assert_allclose(weight @ weight.T, np.eye(64), atol=1e-6)
    for dtype, error in ((torch.float16, 2e-3), (torch.bfloat16, 2e-2)):
        rounded = torch.from_numpy(weight).to(dtype).double().numpy()
        np.testing.assert_allclose(rounded @ rounded.T, np.eye(64), atol=error)
