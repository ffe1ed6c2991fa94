"""The same network in NumPy and in PyTorch is adapted to the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from initlab.engine import adaptive
from initlab.engine.network import Layer, Network
from initlab.initializers import get
from initlab.models.data_driven import adapt

TEXTS = [
    "lsuv(tolerance=0.001)",
    "lsuv(target=3)",
    "krahenbuhl(rounds=20, tolerance=0.01)",
    "metainit(steps=20)",
    "gradinit(steps=30)",
    "gradinit(steps=30, optimizer='adam', gamma=10)",
]
MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


@pytest.mark.parametrize("activation", list(MODULES))
@pytest.mark.parametrize("text", TEXTS)
def test_weights_and_biases_agree(text: str, activation: str):
    rng = np.random.default_rng(0)
    network = Network((6, 8, 7, 3), activation)
    layers = [
        Layer(0.7 * rng.standard_normal(shape), 0.1 * rng.standard_normal(shape[0]))
        for shape in network.shapes
    ]
    inputs, labels = rng.standard_normal((6, 45)), rng.integers(3, size=45)
    targets = (np.arange(3)[:, None] == labels).astype(float)
    linears = [nn.Linear(*reversed(shape), dtype=torch.float64) for shape in network.shapes]
    with torch.no_grad():
        for linear, layer in zip(linears, layers, strict=True):
            linear.weight.copy_(torch.from_numpy(layer.weight))
            linear.bias.copy_(torch.from_numpy(layer.bias))
    act = MODULES[activation]
    model = nn.Sequential(linears[0], act(), linears[1], act(), linears[2])
    rule = adaptive.settings(get(text))
    assert rule is not None

    ours = adaptive.adapt(network, layers, rule, "cross_entropy", (inputs, targets), seed=2)
    theirs = adapt(
        model, get(text), torch.from_numpy(inputs.T), targets=torch.from_numpy(labels), seed=2
    )

    for linear, layer in zip(linears, ours.layers, strict=True):
        assert_allclose(linear.weight.detach().numpy(), layer.weight, rtol=1e-8, atol=1e-10)
        assert_allclose(linear.bias.detach().numpy(), layer.bias, rtol=1e-8, atol=1e-10)
    names = [f"{place}.weight" for place in (0, 2, 4)]
    assert_allclose([theirs.factors[name] for name in names], ours.factors, rtol=1e-8)
    assert_allclose([theirs.before, theirs.after], [ours.before, ours.after], rtol=1e-6, atol=1e-12)
    assert theirs.steps == ours.steps
