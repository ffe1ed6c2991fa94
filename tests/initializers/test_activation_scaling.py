"""Gains from moments against published ones, PyTorch's, and layers that are fed a signal."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from initlab import activations
from initlab._base.errors import UnknownNameError
from initlab._base.fans import Fans
from initlab._base.streams import stream
from initlab.initializers import get


def gain(text: str) -> float:
    std = get(text).std((3, 100))
    assert std is not None
    return 10 * std


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0])
def test_a_rectifiers_gain_is_hes(slope: float):
    found = gain(f"activation_matched('leaky_relu({slope})')")
    assert found == pytest.approx(nn.init.calculate_gain("leaky_relu", slope), rel=1e-9)
    assert gain("activation_matched('relu')") == pytest.approx(math.sqrt(2), rel=1e-9)


def test_known_gains():
    # SELU is made to keep both moments; ReLU's variance is (1 - 1/π) / 2 (Brock et al. 2021).
    assert gain("activation_matched('selu')") == pytest.approx(1, abs=1e-6)
    assert gain("activation_matched('selu', 'variance')") == pytest.approx(1, abs=1e-6)
    relu = gain("activation_matched('relu', 'variance')")
    assert relu == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-9)
    assert gain("activation_matched('identity')") == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "tanh", "softplus", "elu"])
def test_gains_by_quadrature_of_pytorchs_function(name: str):
    function = getattr(nn.functional, name)

    def moment(power: int) -> float:
        def integrand(z: float) -> float:
            return float(function(torch.tensor(z, dtype=torch.float64))) ** power * stats.norm.pdf(
                z
            )

        return sum(
            integrate.quad(integrand, *ends, epsabs=1e-12)[0] for ends in ((-12, 0), (0, 12))
        )

    expected = moment(2)
    assert gain(f"activation_matched('{name}')") == pytest.approx(expected**-0.5, rel=1e-7)
    variance = expected - moment(1) ** 2
    found = gain(f"activation_matched('{name}', 'variance')")
    assert found == pytest.approx(variance**-0.5, rel=1e-7)


def test_the_variance_convention_keeps_the_variance_of_centred_weights():
    n, samples = 800, 500
    weight = get("activation_matched('relu', 'variance')").sample((n, n), stream(0, "init"))
    weight = weight - weight.mean(axis=1, keepdims=True)
    outputs = weight @ activations.get("relu")(stream(0, "z").standard_normal((n, samples)))
    per_unit = outputs.var(axis=1, ddof=1)
    error = per_unit.std(ddof=1) / math.sqrt(n)
    assert abs(per_unit.mean() - (1 - 1 / n)) < 5 * error


def test_modes_and_fans():
    shape = (50, 200)
    base = get("activation_matched('gelu')").std((7, 1))
    for mode, fan in (("fan_in", 200), ("fan_out", 50), ("fan_avg", 125)):
        found = get(f"activation_matched('gelu', mode='{mode}')").std(shape)
        assert found == pytest.approx(base / math.sqrt(fan), rel=1e-12)
    for text in ("autoinit", "selu_normal", "activation_matched('gelu')"):
        given = get(text).std(shape, fans=Fans(50, 1))
        assert given == pytest.approx(2 * get(text).std(shape), rel=1e-12)
    given = get("pytorch_default").std(shape, fans=Fans(50, 1))
    assert given == pytest.approx(2 * get("pytorch_default").std(shape), rel=1e-12)


def test_unknown_activations_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="gelu"):
        get("activation_matched('gellu')")


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (1.0, 1.0), (0.5, 3.0), (-2.0, 0.1)])
def test_autoinit_makes_the_outputs_of_second_moment_1(shift: float, scale: float):
    n, samples = 300, 300
    inputs = shift + scale * stream(0, "inputs").standard_normal((n, samples))
    initializer = get(f"autoinit({shift**2 + scale**2})")
    weight = initializer.sample((2000, n), stream(0, "init"))
    per_unit = np.mean((weight @ inputs) ** 2, axis=1)
    # The inputs at hand have a second moment of their own.
    expected = np.mean(inputs**2) / (shift**2 + scale**2)
    assert abs(per_unit.mean() - expected) < 5 * per_unit.std(ddof=1) / math.sqrt(2000)


@pytest.mark.parametrize(
    "layer", [nn.Linear(300, 200), nn.Conv2d(30, 40, (3, 5)), nn.Conv1d(64, 40, 7)]
)
def test_pytorch_default_is_how_its_layers_start(layer: nn.Linear):
    theirs = layer.weight.detach().numpy()
    ours = get("pytorch_default").sample(theirs.shape, stream(0, "init")).astype(np.float32)
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-4
    bound = math.prod(theirs.shape[1:]) ** -0.5
    for weight in (ours, theirs):
        assert bound * (1 - 40 / weight.size) < np.abs(weight).max() <= bound * (1 + 1e-6)
