"""The signal through a network, layer by layer, against arithmetic by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import special

from initlab import activations, initializers
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.engine.network import Network
from initlab.theory import (
    Activate,
    Convolution,
    Dense,
    Dropout,
    LayerNorm,
    Residual,
    Signal,
    fully_connected,
    moments,
    signal,
    variance_map,
)

RELU, TANH = Activate("relu"), Activate("tanh")


def relu_correlation(c: float) -> float:
    """Return that after a ReLU (Cho & Saul 2009: the arc-cosine kernel of order 1)."""
    c = min(c, 1.0)
    return (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / math.pi


def variances(found: Signal) -> list[float]:
    return [layer.variance for layer in found.layers]


def gradients(found: Signal) -> list[float]:
    return [layer.gradient for layer in found.layers]


def correlations(found: Signal) -> list[float]:
    return [layer.correlation for layer in found.layers]


def test_he_on_relu_keeps_the_variance_and_the_gradient():
    found = signal(fully_connected((50,) * 11, "relu"), "he_normal", input_second_moment=3)
    assert [layer.layer for layer in found.layers] == ["dense 50-50"] * 10
    assert [layer.depth for layer in found.layers] == list(range(1, 11))
    assert variances(found) == pytest.approx([6] * 10, rel=1e-12)
    assert gradients(found) == pytest.approx([1] * 10, rel=1e-12)
    expected = list(itertools.accumulate(range(9), lambda c, _: relu_correlation(c), initial=0.5))
    assert correlations(found) == pytest.approx(expected, rel=1e-10)
    for layer in found.layers:
        assert layer.weight_std == pytest.approx(0.2, rel=1e-15)
    for layer in found.layers[:-1]:
        assert layer.mean == pytest.approx(math.sqrt(6 / (2 * math.pi)), rel=1e-10)
        assert layer.second_moment == pytest.approx(3, rel=1e-12)
        assert layer.std == pytest.approx(math.sqrt(3 - 3 / math.pi), rel=1e-10)
    last = found.layers[-1]  # nothing follows: it hands on z
    assert (last.mean, last.second_moment) == (0, last.variance)
    assert (found.init, found.input_second_moment, found.input_correlation, found.bias_var) == (
        *("he_normal", 3.0, 0.5),
        0.0,
    )


def test_glorot_between_layers_of_different_width():
    # Var(w) = 2 / (fan_in + fan_out); ReLU halves E[z²] and E[(∂/∂x)²].
    sizes = (100, 300, 50, 200)
    found = signal(fully_connected(sizes, "relu"), "glorot_uniform")
    weights = [2 / 400, 2 / 350, 2 / 250]
    q1 = 100 * weights[0]
    q2 = 300 * weights[1] * q1 / 2
    q3 = 50 * weights[2] * q2 / 2
    assert variances(found) == pytest.approx([q1, q2, q3], rel=1e-12)
    g2 = 200 * weights[2] / 2
    g1 = 50 * weights[1] / 2 * g2
    assert gradients(found) == pytest.approx([g1, g2, 1], rel=1e-12)
    assert [layer.weight_std for layer in found.layers] == pytest.approx(np.sqrt(weights))


def test_a_layer_of_tanh_is_that_of_the_variance_map():
    found = signal(
        fully_connected((70, 40, 40), "tanh"), "lecun_normal", bias_var=0.3, input_second_moment=2
    )
    first, second = found.layers
    assert first.variance == pytest.approx(2.3, rel=1e-12)
    assert second.variance == pytest.approx(
        variance_map("tanh", 2.3, weight_var=1, bias_var=0.3), rel=1e-12
    )
    assert first.second_moment == pytest.approx(moments("tanh", 2.3).f2, rel=1e-12)
    assert first.gradient == pytest.approx(moments("tanh", 2.3).df2, rel=1e-12)


def test_bias_is_common_to_all_inputs():
    found = signal(
        fully_connected((8, 16, 4), "identity"),
        "lecun_uniform",
        bias_var=0.5,
        input_second_moment=2,
        input_correlation=-0.25,
    )
    assert variances(found) == pytest.approx([2.5, 3.0], rel=1e-12)
    assert correlations(found) == pytest.approx([(-0.5 + 0.5) / 2.5, (0 + 0.5) / 3], abs=1e-12)
    assert gradients(found) == pytest.approx([4 / 16, 1], rel=1e-12)


@pytest.mark.parametrize("correlation", [-1, -0.3, 0, 1])
def test_inputs_of_any_correlation(correlation: float):
    found = signal((Dense(5, 5), RELU, Dense(5, 5)), "he_normal", input_correlation=correlation)
    expected = [correlation, relu_correlation(correlation)]
    assert correlations(found) == pytest.approx(expected, abs=1e-12)


def test_inputs_that_are_0_leave_the_bias():
    dark = signal(fully_connected((5, 5, 5), "relu"), "he_normal", input_second_moment=0)
    assert variances(dark) == [0, 0]
    assert all(math.isnan(c) for c in correlations(dark))
    lit = signal(
        fully_connected((5, 5, 5), "relu"), "he_normal", input_second_moment=0, bias_var=0.5
    )
    assert variances(lit) == pytest.approx([0.5, 1.0], rel=1e-12)
    assert correlations(lit) == pytest.approx([1, 1], rel=1e-12)


def test_dropout_divides_the_second_moment_by_what_is_kept_and_leaves_the_product():
    found = signal(
        (Dense(9, 9), RELU, Dropout(0.2), Dense(9, 9)), "he_normal", input_correlation=0.5
    )
    first, second = found.layers
    assert first.second_moment == pytest.approx(1 / 0.8, rel=1e-12)
    assert first.mean == pytest.approx(math.sqrt(2 / (2 * math.pi)), rel=1e-10)
    assert second.variance == pytest.approx(2 / 0.8, rel=1e-12)
    product = 2 * relu_correlation(0.5)  # E[z z'] of the second layer without dropout
    assert second.correlation * second.variance == pytest.approx(product, rel=1e-10)
    assert first.gradient == pytest.approx(2 * 0.5 / 0.8, rel=1e-12)
    # The same input twice, with other values dropped, is no longer the same.
    same = signal((Dropout(0.5), Dense(9, 9)), "lecun_normal", input_correlation=1)
    assert variances(same) == pytest.approx([2], rel=1e-12)
    assert correlations(same) == pytest.approx([0.5], rel=1e-12)
    kept = signal((Dense(9, 9), Dropout(0), RELU, Dense(9, 9)), "he_normal")
    assert variances(kept) == pytest.approx([2, 2], rel=1e-12)


def test_layer_normalisation_takes_the_mean_away_and_gradients_with_the_scale():
    found = signal((Dense(9, 9), LayerNorm(), RELU, Dense(9, 9)), "normal(std=5)")
    first, second = found.layers
    assert first.variance == pytest.approx(9 * 25, rel=1e-12)
    assert first.second_moment == pytest.approx(0.5, rel=1e-12)  # of ReLU at variance 1
    assert second.variance == pytest.approx(9 * 25 / 2, rel=1e-12)
    assert second.correlation == pytest.approx(relu_correlation(0.5), rel=1e-10)
    assert first.gradient == pytest.approx(9 * 25 * 0.5 / (9 * 25), rel=1e-12)
    # After ReLU the mean goes: the correlation becomes that of the deviations from it.
    after = signal((Dense(9, 9), RELU, LayerNorm(), Dense(9, 9)), "he_normal")
    second_moment, mean = 1.0, math.sqrt(1 / math.pi)
    spread = second_moment - mean**2
    assert after.layers[0].mean == 0
    assert after.layers[0].second_moment == 1
    assert after.layers[1].variance == pytest.approx(2, rel=1e-12)
    covariance = second_moment * relu_correlation(0.5) - mean**2
    assert after.layers[1].correlation == pytest.approx(covariance / spread, rel=1e-10)
    assert after.layers[0].gradient == pytest.approx(2 * 0.5 / spread, rel=1e-10)


def test_layer_normalisation_of_inputs():
    found = signal((LayerNorm(), Dense(9, 9)), "lecun_normal", input_second_moment=40)
    assert variances(found) == pytest.approx([1], rel=1e-12)
    assert correlations(found) == pytest.approx([0.5], rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.5, -0.5])
def test_each_residual_block_adds_what_its_branch_gives(scale: float):
    # With Glorot on equal widths Var(w) = 1 / n: the branch of a ReLU gives q / 2, χ is 1/2.
    block = Residual((RELU, Dense(30, 30)), scale)
    found = signal((Dense(30, 30), *[block] * 4), "glorot_normal")
    assert [layer.layer for layer in found.layers] == [
        "dense 30-30",
        *["dense 30-30", "residual"] * 4,
    ]
    assert [layer.depth for layer in found.layers] == [1, 2, 2, 3, 3, 4, 4, 5, 5]
    growth = 1 + scale**2 / 2
    sums = found.layers[2::2]
    assert [layer.variance for layer in sums] == pytest.approx(
        [growth**n for n in range(1, 5)], rel=1e-12
    )
    assert [layer.gradient for layer in sums] == pytest.approx(
        [growth ** (4 - n) for n in range(1, 5)], rel=1e-12
    )
    assert found.layers[0].gradient == pytest.approx(growth**4, rel=1e-12)
    # The branch gets the gradient of the sum, times the scale.
    assert [layer.gradient for layer in found.layers[1::2]] == pytest.approx(
        [scale**2 * layer.gradient for layer in sums], rel=1e-12
    )
    assert {layer.weight_std for layer in sums} == {None}
    # Covariances add up as variances do.
    c, q = 0.5, 1.0
    for layer in sums:
        added = scale**2 * q / 2
        c = (c * q + added * relu_correlation(c)) / (q + added)
        q += added
        assert layer.correlation == pytest.approx(c, rel=1e-9)


def test_a_branch_that_ends_in_an_activation_adds_its_mean_too():
    block = Residual((Dense(30, 30), RELU), 2.0)
    found = signal((Dense(30, 30), block, Dense(30, 30), block), "he_normal")
    mean = math.sqrt(4 / (2 * math.pi))  # of ReLU at q = 4
    first = found.layers[2]
    assert first.mean == pytest.approx(2 * mean, rel=1e-10)
    assert first.second_moment == pytest.approx(2 + 4 * 2, rel=1e-12)
    q = 2 * first.second_moment
    assert found.layers[3].variance == pytest.approx(q, rel=1e-12)
    # The stream is a layer of mean 0 once more, and the next branch adds E[φ²] of what 2q makes.
    assert found.layers[5].variance == pytest.approx(q + 4 * q, rel=1e-12)
    # Two branches in a row: the means multiply.
    twice = signal((Dense(30, 30), block, block), "he_normal").layers
    m1, s1 = twice[2].mean, twice[2].second_moment
    m2 = math.sqrt(2 * s1 / (2 * math.pi))
    assert twice[4].mean == pytest.approx(m1 + 2 * m2, rel=1e-10)
    assert twice[4].second_moment == pytest.approx(s1 + 4 * m1 * m2 + 4 * s1, rel=1e-10)


def test_branches_within_branches():
    inner = Residual((RELU, Dense(6, 6)), 0.5)
    found = signal((Dense(6, 6), Residual((RELU, Dense(6, 6), inner))), "he_normal")
    q = 2.0
    branch = q * (1 + 0.25)
    assert variances(found) == pytest.approx([q, q, q, branch, q + branch], rel=1e-12)
    assert gradients(found) == pytest.approx([1 + 1.25, 1.25, 0.25, 1, 1], rel=1e-12)
    assert [layer.depth for layer in found.layers] == [1, 2, 3, 3, 3]


def test_normalisation_before_the_branch_leaves_the_stream_alone():
    block = Residual((LayerNorm(), RELU, Dense(20, 20)))
    found = signal((Dense(20, 20), *[block] * 3), "he_normal")
    assert variances(found)[2::2] == pytest.approx([3, 4, 5], rel=1e-12)  # each adds 1
    assert gradients(found)[2::2] == pytest.approx([4 / 3 * 5 / 4, 5 / 4, 1], rel=1e-12)


def test_a_convolution_is_its_fans():
    blocks = (
        Convolution((16, 3, 5, 5)),
        RELU,
        Convolution((32, 16, 3, 3), stride=2),
        RELU,
        Convolution((64, 8, 3, 3), groups=4, padding=1),
        RELU,
        Convolution((64, 1, 3, 3), groups=64),
        RELU,
        Dense(64 * 49, 10),
    )
    found = signal(blocks, "he_normal")
    assert [layer.layer for layer in found.layers] == [
        "conv 3-16, 5x5",
        "conv 16-32, 3x3",
        "conv 32-64, 3x3",
        "conv 64-64, 3x3",
        "dense 3136-10",
    ]
    fan_in = [75, 144, 72, 9, 3136]
    assert [layer.weight_std for layer in found.layers] == pytest.approx(
        [math.sqrt(2 / n) for n in fan_in], rel=1e-12
    )
    assert variances(found) == pytest.approx([2] * 5, rel=1e-12)
    # Backward each tap reaches out / groups · 9 / stride² values; ReLU halves.
    steps = [(32 * 9 / 4) / 144, (16 * 9) / 72, 9 / 9, 10 / 3136]
    expected = [math.prod(steps[k:]) for k in range(5)]
    assert gradients(found) == pytest.approx(expected, rel=1e-12)


def test_borders_count_where_the_size_is_given():
    # 2, 3, 3 and 2 taps on four positions: 10 in the mean of a fan of 12.
    inside, bordered = (
        signal((Convolution((8, 4, 3), padding=1, size=size),), "normal(std=0.1)")
        for size in (None, 4)
    )
    assert variances(inside) == pytest.approx([0.12], rel=1e-12)
    assert variances(bordered) == pytest.approx([0.10], rel=1e-12)


def test_a_layer_may_have_an_initialisation_of_its_own():
    blocks = (Dense(10, 10), RELU, Dense(10, 10, init="normal(std=0.1)"), RELU, Dense(10, 4))
    found = signal(blocks, "he_normal")
    assert [layer.weight_std for layer in found.layers] == pytest.approx(
        [math.sqrt(0.2), 0.1, math.sqrt(0.2)]
    )
    assert variances(found) == pytest.approx([2, 0.1, 0.1], rel=1e-12)
    convolved = signal((Convolution((5, 10, 1), init="normal(std=2)"),), "he_normal")
    assert variances(convolved) == pytest.approx([40], rel=1e-12)


def test_an_initialiser_and_a_network_are_taken_as_well_as_a_name_and_blocks():
    network = Network((20, 30, 5), "tanh")
    named = signal(fully_connected((20, 30, 5), "tanh"), "glorot_normal")
    assert signal(network, initializers.get("glorot_normal")) == named
    assert signal(iter(fully_connected((20, 30, 5), "tanh")), "xavier_normal") == named
    assert signal(fully_connected([20, 30, 5], np.tanh), "glorot_normal").layers[1].variance == (
        pytest.approx(named.layers[1].variance, rel=1e-10)
    )
    assert signal(Dense(3, 4), "lecun_normal").layers[0].variance == pytest.approx(1)


def test_a_function_of_ones_own_gives_the_same_as_the_catalogue():
    def gelu(x: Any) -> Any:
        return x * special.ndtr(x)

    own = signal(fully_connected((64,) * 9, gelu), "he_normal", bias_var=0.1)
    known = signal(fully_connected((64,) * 9, "gelu"), "he_normal", bias_var=0.1)
    for found, expected in zip(own.layers, known.layers, strict=True):
        assert dataclasses.astuple(found)[2:] == pytest.approx(
            dataclasses.astuple(expected)[2:], rel=1e-9
        )


def test_fluctuation_of_relu_networks():
    # Of n values z²: 2/n. ReLU: E[φ⁴] / E[φ²]² = 6, so that each layer multiplies E[(mean x²)²] by
    # 1 + 5/n; the units of the layer itself by 1 + 2/n.
    sizes = (7, 20, 30, 40)
    found = signal(fully_connected(sizes, "relu"), "he_uniform")
    expected = [1 + 2 / 20, (1 + 5 / 20) * (1 + 2 / 30), (1 + 5 / 20) * (1 + 5 / 30) * (1 + 2 / 40)]
    for layer, second in zip(found.layers, expected, strict=True):
        assert layer.fluctuation == pytest.approx(math.sqrt(second - 1), rel=1e-10)
    # A network that is linear passes on all of z: 1 + 2/n each.
    linear = signal(fully_connected(sizes, "identity"), "lecun_normal").layers[-1]
    product = (1 + 2 / 20) * (1 + 2 / 30) * (1 + 2 / 40)
    assert linear.fluctuation == pytest.approx(math.sqrt(product - 1), rel=1e-10)


def test_fluctuation_is_diluted_by_bias_and_increased_by_dropout():
    # Half of the variance comes from the bias: a relative variance of 5/n counts a quarter.
    biased = signal((Dense(9, 20), RELU, Dense(20, 30)), "he_normal", bias_var=2).layers[-1]
    q1, q2 = 4, 4 + 2
    share = (4 / q2) ** 2
    assert (biased.variance, q1) == (pytest.approx(q2), 4)
    expected = 5 / 20 * share + 2 / 30 * (1 + 5 / 20 * share)
    assert biased.fluctuation == pytest.approx(math.sqrt(expected), rel=1e-10)
    # Kept at 1/2, E[x⁴] / E[x²]² becomes 12.
    dropped = signal((Dense(9, 20), RELU, Dropout(0.5), Dense(20, 30)), "he_normal").layers[-1]
    expected = 11 / 20 + 2 / 30 * (1 + 11 / 20)
    assert dropped.fluctuation == pytest.approx(math.sqrt(expected), rel=1e-10)


def test_fluctuation_of_saturated_units_is_that_of_the_last_layer():
    found = signal(fully_connected((40,) * 6, "tanh"), "normal(std=10)")
    assert found.layers[-1].fluctuation == pytest.approx(math.sqrt(2 / 40), rel=0.01)


def test_fluctuation_is_left_open_where_there_is_no_theory():
    for blocks in (
        (Dense(9, 9), Residual((RELU, Dense(9, 9))), RELU, Dense(9, 9)),
        (Dense(9, 9), LayerNorm(), RELU, Dense(9, 9)),
        (Dropout(0.5), Dense(9, 9)),
    ):
        found = signal(blocks, "he_normal")
        assert found.layers[-1].fluctuation is None
    inside = signal((Dense(9, 9), Residual((RELU, Dense(9, 9)))), "he_normal").layers
    assert inside[-1].fluctuation is None
    assert signal(fully_connected((9, 9, 9), "relu"), "zeros").layers[-1].fluctuation is None


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "softplus", "gelu"])
def test_weights_of_0_leave_the_values_at_0(name: str):
    found = signal(fully_connected((30,) * 4, name), "zeros")
    assert variances(found) == [0, 0, 0]
    assert gradients(found) == [0, 0, 1]
    assert all(math.isnan(c) for c in correlations(found))
    at_0 = float(activations.get(name)(0.0))
    for layer in found.layers[:-1]:
        assert (layer.weight_std, layer.mean, layer.second_moment) == (0, at_0, at_0**2)
        assert layer.std == 0


UNBOUNDED = ["identity", "relu", "leaky_relu", "softplus", "gelu"]


@pytest.mark.parametrize("name", UNBOUNDED)
def test_an_explosion_ends_in_infinity(name: str):
    found = signal(fully_connected((100,) * 101, name), "normal(std=10)")
    last = next(k for k, q in enumerate(variances(found)) if q == math.inf)
    assert 35 < last < 45  # 10^150, by a factor of 5000 to 10000 a layer
    assert all(a < b for a, b in itertools.pairwise(variances(found)[: last + 1]))
    assert set(variances(found)[last:]) == {math.inf}
    assert variances(found)[-1] == math.inf
    assert math.isnan(found.layers[-1].correlation)
    assert found.layers[-1].fluctuation is None
    assert found.layers[-1].std == math.inf
    assert gradients(found)[0] == math.inf
    assert gradients(found)[-1] == 1
    # Far from 0, each is piecewise linear, and the variance grows by a factor.
    factor = 1e4 * moments(name, 1e20).f2 / 1e20
    assert variances(found)[20] / variances(found)[19] == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "sigmoid"])
def test_a_bounded_function_stays_bounded(name: str):
    found = signal(fully_connected((100,) * 26, name), "normal(std=10)")
    limit = 1e4 * (0.5 if name == "sigmoid" else 1)  # E[φ²] → 1, or P(z > 0)
    assert variances(found)[-1] == pytest.approx(limit, rel=0.02)
    assert all(before > 1 for before in gradients(found)[:-1])


@pytest.mark.parametrize(
    "function", [lambda x: x**2, lambda x: x**3, lambda x: x**6, np.exp, np.sinh]
)
def test_a_function_that_grows_faster_explodes_faster(function: Any):
    found = signal(fully_connected((100,) * 101, function), "normal(std=10)")
    assert variances(found)[0] == pytest.approx(1e4)
    assert variances(found)[10:] == [math.inf] * 90
    square = signal(fully_connected((100,) * 4, lambda x: x**2), "lecun_normal")
    assert variances(square) == pytest.approx([1, 3, 27], rel=1e-10)  # E[z⁴] = 3


def test_signals_beyond_what_is_a_number():
    for name, last in (("relu", math.inf), ("hardtanh", 1e302)):
        found = signal(fully_connected((100,) * 4, name), "normal(std=1e170)")
        assert variances(found)[-1] == pytest.approx(last)
    normed = signal(
        (Dense(9, 9), RELU, Dense(9, 9), RELU, LayerNorm(), Dense(9, 9)), "normal(std=1e170)"
    )
    assert normed.layers[-1].variance == pytest.approx(9e300)
    scaled = signal((Dense(9, 9), Residual((RELU, Dense(9, 9)), 1e200)), "he_normal")
    assert scaled.layers[-1].variance == math.inf


@pytest.mark.parametrize("name", list(activations.catalogue))
def test_a_signal_that_vanishes_ends_in_0(name: str):
    found = signal(fully_connected((100,) * 101, name), "normal(std=1e-3)")
    if float(activations.get(name)(0.0)) != 0:
        limit = 1e-4 * float(activations.get(name)(0.0)) ** 2
        assert variances(found)[-1] == pytest.approx(limit, rel=1e-3)
        return
    assert variances(found)[-1] == 0
    assert math.isnan(found.layers[-1].correlation)
    assert found.layers[-1].fluctuation is None
    assert found.layers[-1].std == 0
    assert gradients(found)[0] == 0


def test_a_sine_of_large_numbers_has_a_variance_but_no_correlation():
    found = signal(fully_connected((100,) * 4, "sin"), "normal(std=10)")
    assert variances(found) == pytest.approx([1e4, 5e3, 5e3], rel=1e-10)
    assert [math.isnan(c) for c in correlations(found)] == [False, True, True]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((Dense(9, 8), RELU, Dense(9, 9)), "dense 9-9 is fed 8 values; expected 9"),
        ((Dense(9, 8), Dense(4, 4)), "dense 4-4 is fed 8 values; expected 4"),
        ((Dense(9, 8), RELU, Dense(16, 2)), "dense 16-2 is fed 8 values; expected 16"),
        (
            (Convolution((8, 3, 3, 3)), RELU, Convolution((8, 4, 3, 3))),
            "conv 4-8, 3x3 is fed 8 channels; expected 4",
        ),
        (
            (Convolution((8, 3, 3, 3)), RELU, Convolution((8, 8, 3, 3), groups=2)),
            "conv 16-8, 3x3 is fed 8 channels; expected 16",
        ),
        ((Convolution((8, 3, 3, 3)), RELU, Dense(12, 3)), "is fed 8 channels; expected 12"),
        (
            (Dense(9, 8), Residual((RELU, Dense(8, 9)))),
            "a residual branch gives 9 values, the stream has 8",
        ),
        ((RELU, Dense(9, 9)), "relu is fed something that is not Gaussian"),
        ((Dense(9, 9), RELU, RELU, Dense(9, 9)), "relu is fed something that is not Gaussian"),
        ((Dense(9, 9), RELU, Dropout(0.1), RELU), "relu is fed something that is not Gaussian"),
        ((Dense(9, 9), Dropout(0.1), TANH), "tanh is fed something that is not Gaussian"),
        ((Dense(9, 9), RELU, LayerNorm(), TANH), "tanh is fed something that is not Gaussian"),
        (
            (Dense(9, 9), Residual((Dense(9, 9), RELU)), TANH),
            "tanh is fed something that is not Gaussian",
        ),
        (
            (Residual((Dense(9, 9), TANH, Dense(9, 9))), TANH, Dense(9, 9)),
            "tanh is fed something that is not Gaussian",
        ),
        ((Dense(9, 9), Residual((RELU,))), "a residual branch without weights depends on"),
        ((Dense(9, 9), Residual(())), "a residual branch without weights depends on"),
        ((), "the network has no layer with weights"),
        ((Dropout(0.5), LayerNorm()), "the network has no layer with weights"),
        ((Dense(9, 9), "relu"), "'relu' is no part of a network; expected sizes"),
        ((Dense(9, 9), None), "None is no part of a network"),
        ((3, 4), "3 is no part of a network"),
        ("relu", "'r' is no part of a network"),
        (None, "None is no part of a network"),
        (7, "7 is no part of a network"),
    ],
)
def test_networks_that_do_not_fit_are_refused(blocks: Any, message: str):
    with pytest.raises(InvalidValueError, match=message) as caught:
        signal(blocks, "he_normal")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0, 3), "fan_in"),
        (lambda: Dense(3, 2.5), "fan_out"),
        (lambda: Dense(True, 3), "fan_in"),
        (lambda: Convolution((8,)), "cannot read fans from shape"),
        (lambda: Convolution(8), "cannot read fans from shape"),
        (lambda: Convolution((8, 4, 3), groups=3), "groups=3 does not divide"),
        (lambda: Convolution((8, 4, 3), size=1), "leaves no output"),
        (lambda: Convolution((8, 4, 3), stride=0), "stride"),
        (lambda: Dropout(1), "dropout=1 drops everything"),
        (lambda: Dropout(-0.1), "dropout=-0.1 is not between"),
        (lambda: Dropout("a"), "dropout='a' is not a finite number"),
        (lambda: Residual((Dense(3, 3),), math.nan), "scale=nan"),
        (lambda: Residual((3,)), "3 is no part of a network"),
        (lambda: Residual(None), "None is no part of a network"),
        (lambda: Activate(None), "f=None is neither"),
        (lambda: Activate(np.sign), "sign jumps"),
        (lambda: fully_connected((3,), "relu"), "do not make a network"),
        (lambda: fully_connected((), "relu"), "do not make a network"),
        (lambda: fully_connected(3, "relu"), "is no sequence"),
        (lambda: fully_connected((3, 0), "relu"), "fan_out"),
        (lambda: fully_connected((3, 2), math.tanh), "fails on an array"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(make: Any, message: str):
    with pytest.raises(InvalidValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("init", "why"),
    [
        ("constant(0.5)", "gives entries of a common mean or a fixed pattern"),
        ("ones", "gives entries of a common mean or a fixed pattern"),
        ("identity", "gives entries of a common mean or a fixed pattern"),
        ("normal(mean=0.1, std=1)", "gives entries of a common mean or a fixed pattern"),
        ("lsuv", "adapts its weights to data"),
        ("krahenbuhl", "adapts its weights to data"),
    ],
)
def test_initialisations_that_are_not_of_mean_0_are_refused(init: str, why: str):
    for blocks in (
        fully_connected((9, 9, 9), "relu"),
        (Dense(9, 9), RELU, Dense(9, 9, init=init)),
    ):
        with pytest.raises(InvalidValueError, match=f"{why}: mean-field theory is about") as caught:
            signal(blocks, init if blocks[-1] == Dense(9, 9) else "he_normal")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", initializers.catalogue)
def test_every_initialiser_gives_a_signal_or_says_why_not(name: str):
    example = initializers.catalogue[name].example or name
    reasons: list[str] = []
    for blocks in (
        fully_connected((12, 12, 12), "relu"),
        (Convolution((8, 8, 3, 3)), RELU, Convolution((8, 8, 3, 3))),
    ):
        try:
            found = signal(blocks, example)
        except InvalidValueError as error:
            reasons.append(str(error))
        else:
            for layer, block in zip(found.layers, blocks[::2], strict=True):
                initializer = initializers.get(example)
                assert layer.weight_std == pytest.approx(
                    initializer.std(block.shape, fans=block.fans), rel=1e-12
                )
    assert all("\n" not in reason for reason in reasons)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bias_var": -1}, "bias_var=-1 is negative"),
        ({"bias_var": math.inf}, "bias_var=inf"),
        ({"bias_var": "0"}, "bias_var='0'"),
        ({"input_second_moment": -0.1}, "input_second_moment=-0.1 is negative"),
        ({"input_second_moment": math.nan}, "input_second_moment=nan"),
        ({"input_correlation": 1.1}, "input_correlation=1.1 is not between -1 and 1"),
        ({"input_correlation": None}, "input_correlation=None"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(InvalidValueError, match=message):
        signal(fully_connected((9, 9), "relu"), "he_normal", **arguments)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        signal(fully_connected((9, 9), "relu"), "he_norml")
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        signal((Dense(9, 9, init="he_norml"),), "zeros")
    with pytest.raises(UnknownNameError, match="did you mean relu"):
        fully_connected((9, 9, 9), "rellu")


def test_layer_normalisation_of_equal_values_is_refused():
    for blocks in ((Dense(9, 9), LayerNorm()), (Dense(9, 9), Activate("sigmoid"), LayerNorm())):
        with pytest.raises(InvalidValueError, match="is fed values that are all the same"):
            signal(blocks, "zeros")


def test_results_are_records():
    found = signal(fully_connected((9, 9, 9), "tanh"), "he_normal")
    for record in (found, found.layers[0], Dense(9, 9), LayerNorm(), Residual((Dense(9, 9),))):
        field = dataclasses.fields(record)[0].name if dataclasses.fields(record) else "x"
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(record, field, 1)
    assert isinstance(found.layers, Sequence)
    assert hash(found) == hash(signal(fully_connected((9, 9, 9), "tanh"), "he_normal"))
