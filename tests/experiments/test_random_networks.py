"""Random networks are what the theory speaks of: their inputs, their weights, their gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from initlab._base.errors import InitlabError
from initlab.engine.network import Layer
from initlab.experiments import MeasuredSignal, measure_signal
from initlab.experiments.random_networks import _measured, _two_inputs
from initlab.theory import as_activation, fully_connected, signal

FIELDS = ("variance", "correlation", "mean", "second_moment", "gradient")


def arrays(found: MeasuredSignal) -> dict[str, np.ndarray]:
    return {name: getattr(found, name) for name in FIELDS}


@pytest.mark.parametrize("correlation", [-1.0, -0.3, 0.0, 0.5, 0.999_999, 1.0])
@pytest.mark.parametrize("features", [2, 3, 50, 1000])
def test_inputs_have_exactly_the_mean_square_and_the_correlation(features: int, correlation: float):
    x = _two_inputs(features, correlation, np.random.default_rng(0))
    assert x.shape == (features, 2)
    assert_allclose(np.square(x).mean(axis=0), 1, rtol=1e-13)
    assert_allclose(x[:, 0] @ x[:, 1] / features, correlation, atol=1e-13)


def test_a_single_input_has_a_correlation_of_its_sign():
    stream = np.random.default_rng(0)
    assert_array_equal(np.ptp(_two_inputs(1, 0.3, stream)), 0)
    one, other = _two_inputs(1, -0.3, stream)[0]
    assert one == -other
    assert abs(one) == 1


@pytest.mark.parametrize(("second", "correlation"), [(1.0, 0.5), (3.5, -0.8), (1e-8, 1.0)])
def test_rotations_keep_what_was_asked_for(second: float, correlation: float):
    """Orthogonal weights keep lengths and angles: what comes out is what was put in."""
    found = measure_signal(
        (30,) * 4,
        "identity",
        "orthogonal",
        input_second_moment=second,
        input_correlation=correlation,
        draws=3,
    )
    assert found.variance.shape == (3, 3)
    assert_allclose(found.variance, second, rtol=1e-12)
    assert_allclose(found.second_moment, second, rtol=1e-12)
    assert_allclose(found.correlation, correlation, rtol=1e-12)
    assert_allclose(found.gradient, 1, rtol=1e-12)


def torch_signal(
    layers: list[Layer], inputs: np.ndarray, delta: np.ndarray, phi: Any
) -> dict[str, np.ndarray]:
    """Compute what is measured with PyTorch, gradients by its automatic differentiation."""
    post = torch.tensor(inputs)
    pres: list[torch.Tensor] = []
    posts: list[torch.Tensor] = []
    for weight, bias in layers:
        pre = torch.tensor(weight) @ post + torch.tensor(bias)[:, None]
        pres.append(pre.requires_grad_() if not pres else pre)
        post = phi(pre)
        posts.append(post)
    posts[-1] = pres[-1]
    output = torch.tensor(delta) @ pres[-1][:, 0]
    gradients = [g[:, 0].square().mean() for g in torch.autograd.grad(output, pres)]
    return {
        "variance": np.array([p.square().mean().item() for p in pres]),
        "correlation": np.array([torch.cosine_similarity(*p.T, dim=0).item() for p in pres]),
        "mean": np.array([p.mean().item() for p in posts]),
        "second_moment": np.array([p.square().mean().item() for p in posts]),
        "gradient": np.array([(g / gradients[-1]).item() for g in gradients]),
    }


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        ("relu", torch.relu),
        ("tanh", torch.tanh),
        ("gelu", torch.nn.functional.gelu),
        ("leaky_relu(0.2)", lambda x: torch.nn.functional.leaky_relu(x, 0.2)),
    ],
)
@pytest.mark.parametrize("sizes", [(4, 7, 5, 3), (3, 1), (2, 6, 1)])
def test_what_is_measured_against_autograd(name: str, phi: Any, sizes: tuple[int, ...]):
    rng = np.random.default_rng(0)
    layers = [
        Layer(rng.standard_normal((out, into)), rng.standard_normal(out))
        for into, out in pairwise(sizes)
    ]
    inputs, delta = rng.standard_normal((sizes[0], 2)), rng.standard_normal(sizes[-1])
    found = dict(zip(FIELDS, _measured(as_activation(name), layers, inputs, delta), strict=True))
    expected = torch_signal(layers, inputs, delta, phi)
    for field in FIELDS:
        assert_allclose(found[field], expected[field], rtol=1e-12, err_msg=field)


def test_a_seed_gives_the_same_networks_whatever_their_number():
    one = measure_signal((20,) * 4, "relu", "he_normal", draws=2, seed=5)
    more = measure_signal((20,) * 4, "relu", "he_normal", draws=4, seed=5)
    other = measure_signal((20,) * 4, "relu", "he_normal", draws=2, seed=6)
    for field in FIELDS:
        assert_array_equal(getattr(more, field)[:2], getattr(one, field))
    assert not np.intersect1d(one.variance, other.variance).size


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the one that is not to be touched
    measure_signal((5, 5), "relu", "he_normal", draws=1)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002 - the global stream is what is meant


def test_draws_differ_as_independent_networks_do():
    """One draw says nothing of the next.

    The mean of z² over 4 normal units, fed inputs of mean square 1, is χ²(4) / 4: of mean 1 and
    variance 2 / 4.
    """
    draws = 2000
    found = measure_signal((4, 4), "identity", "lecun_normal", input_correlation=1.0, draws=draws)
    assert len(np.unique(found.variance)) == draws
    values = found.variance[:, 0]
    assert abs(values.mean() - 1) < 4.5 * math.sqrt(0.5 / draws)
    neighbours = (values[1:] - 1) @ (values[:-1] - 1) / (draws - 1) / 0.5
    assert abs(neighbours) < 4.5 / math.sqrt(draws)


def test_biases_are_normal_of_the_variance_asked_for():
    """With weights of 0, z is the bias of both inputs alike: the mean of z² is χ²(n) / n."""
    units, draws, bias_var = 500, 20, 0.3
    found = measure_signal((3, units), "tanh", "zeros", bias_var=bias_var, draws=draws)
    bound = 4.5 * math.sqrt(2 / (units * draws))
    assert abs(found.variance.mean() / bias_var - 1) < bound
    assert_allclose(found.correlation, 1, rtol=1e-12)
    assert_allclose(found.mean.mean(), 0, atol=4.5 * math.sqrt(bias_var / (units * draws)))


CASES: Mapping[str, dict[str, Any]] = {
    "relu": {"init": "he_normal"},
    "tanh": {"init": "lecun_normal", "bias_var": 0.2, "input_correlation": -0.4},
    "gelu": {"init": "glorot_uniform", "input_second_moment": 2.0},
    "sigmoid": {"init": "orthogonal"},
}


@pytest.mark.parametrize(("activation", "options"), CASES.items(), ids=CASES)
def test_wide_networks_do_what_is_predicted(activation: str, options: dict[str, Any]):
    """Means over draws lie within 4.5 standard errors; the theory leaves out terms of 1 / width."""
    sizes, draws = (400,) * 4, 30
    found = measure_signal(sizes, activation, draws=draws, **options)
    expected = signal(fully_connected(sizes, activation), **options)
    for field, measured in arrays(found).items():
        predicted = np.array([getattr(layer, field) for layer in expected.layers])
        error = measured.std(axis=0, ddof=1) / math.sqrt(draws)
        size = np.maximum(np.abs(predicted), 0.1)
        assert (np.abs(measured.mean(axis=0) - predicted) < 4.5 * error + 4 / 400 * size).all(), (
            field
        )


def test_a_signal_that_vanishes_shows_zeros_and_no_correlation():
    found = measure_signal((10,) * 4, "relu", "zeros", draws=2)
    for field in ("variance", "mean", "second_moment"):
        assert_array_equal(getattr(found, field), 0)
    assert np.isnan(found.correlation).all()
    assert_array_equal(found.gradient, [[0, 0, 1]] * 2)


def test_small_signals_keep_their_correlation():
    """Their squares are nothing to float64, their directions are still there."""
    found = measure_signal((10,) * 2, "identity", "orthogonal", input_second_moment=1e-300, draws=2)
    assert_allclose(found.correlation, 0.5, rtol=1e-12)


def test_a_signal_that_explodes_shows_inf_and_no_gradient_of_0():
    found = measure_signal((10,) * 6, "relu", "normal(std=1e200)", draws=3)
    assert np.isinf(found.variance[:, 0]).all()
    assert np.isnan(found.variance[:, -1]).all()
    # Units that are nan have no slope; ReLU's is 0 there, and a gradient of 0 would be made up.
    assert not (found.gradient == 0).any()
    assert_array_equal(found.gradient[:, -1], 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"draws": 0}, "draws=0"),
        ({"draws": 2.5}, "draws=2.5"),
        ({"draws": True}, "draws=True"),
        ({"seed": -1}, "seed"),
        ({"bias_var": -0.1}, "bias_var=-0.1 is negative"),
        ({"bias_var": math.nan}, "bias_var=nan"),
        ({"input_second_moment": -1}, "input_second_moment=-1 is negative"),
        ({"input_second_moment": math.inf}, "input_second_moment=inf"),
        ({"input_correlation": 1.5}, "input_correlation=1.5 is not between -1 and 1"),
        ({"init": "he_norml"}, "did you mean he_normal"),
        ({"activation": "rellu"}, "did you mean relu"),
        ({"activation": 3}, "f=3"),
        ({"sizes": (5,)}, r"sizes=\(5,\) do not make a network"),
        ({"sizes": ()}, r"sizes=\(\) do not make a network"),
        ({"sizes": 5}, "sizes=5"),
        ({"sizes": (5, 0)}, "0 is not a whole number of at least 1"),
        ({"sizes": (2.5, 3)}, "2.5 is not a whole number"),
    ],
)
def test_bad_arguments(changed: dict[str, Any], words: str):
    usual = {"sizes": (5, 5), "activation": "relu", "init": "he_normal", "draws": 1}
    with pytest.raises(InitlabError, match=words):
        measure_signal(**{**usual, **changed})
