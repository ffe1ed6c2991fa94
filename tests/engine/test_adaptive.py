"""Data-driven initialisers on the laboratory's networks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.engine import adaptive
from initlab.engine.adaptive import Adapted, GradInit, Krahenbuhl, Lsuv, MetaInit, Settings
from initlab.engine.adaptive.gradients import Surface, gradient_quotient
from initlab.engine.adaptive.rules import Spread, descend_quotient, equalise, split
from initlab.engine.adaptive.settings import KINDS
from initlab.engine.network import Array, Layer, Network, pack

NETWORK = Network((6, 30, 20, 3), "relu")


def _with_defaults(name: str) -> Callable[..., Any]:
    """Return what makes the settings of a rule from those that differ from the catalogue's."""
    return partial(replace, adaptive.settings(initializers.get(name)))


lsuv, krahenbuhl, metainit, gradinit = map(
    _with_defaults, ("lsuv", "krahenbuhl", "metainit", "gradinit")
)
RULES = [lsuv(), krahenbuhl(), metainit(steps=3), gradinit(steps=3)]


def drawn(network: Network = NETWORK, scale: float = 1.0, seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    return [
        Layer(scale * rng.standard_normal(shape), np.zeros(shape[0])) for shape in network.shapes
    ]


def data(samples: int = 60, outputs: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(9)
    x = 1 + 2 * rng.standard_normal((6, samples))
    return x, (np.arange(outputs)[:, None] == rng.integers(outputs, size=samples)).astype(float)


def adapt(rule: Settings, layers: list[Layer] | None = None, seed: int = 0) -> Adapted:
    return adaptive.adapt(NETWORK, layers or drawn(), rule, "cross_entropy", data(), seed)


def outputs(layers: tuple[Layer, ...]) -> list[Array]:
    """Compute each layer's output, written out."""
    signal, found = data()[0], []
    for weight, bias in layers:
        found.append(weight @ signal + bias[:, None])
        signal = np.maximum(found[-1], 0)
    return found


@pytest.mark.parametrize("name", list(KINDS))
def test_arguments_and_defaults_are_the_catalogues(name: str):
    signature = inspect.signature(initializers.catalogue[name].make)
    found = adaptive.settings(initializers.get(name))
    assert found is not None
    assert asdict(found) == {each.name: each.default for each in signature.parameters.values()}
    # The defaults stand in the catalogue alone.
    assert all(field.default is MISSING for field in fields(KINDS[name]))


def test_arguments_are_read_from_the_text():
    texts = {
        "lsuv(tolerance=0.02, steps=3, target=2)": Lsuv(0.02, 3, 2.0),
        "krahenbuhl(rounds=4)": krahenbuhl(rounds=4),
        "metainit(steps=7, rate=0.5, momentum=0.1)": MetaInit(7, 0.5, 0.1),
        "gradinit(optimizer='adam')": gradinit(optimizer="adam"),
    }
    for text, rule in texts.items():
        assert adaptive.settings(initializers.get(text)) == rule
    assert adaptive.settings(initializers.get("he_normal")) is None


@pytest.mark.parametrize("target", [1.0, 0.3])
def test_lsuv_gives_each_layer_the_variance(target: float):
    start = drawn()
    found = adapt(lsuv(tolerance=0.01, target=target), start)
    for out in outputs(found.layers):
        assert out.var() == pytest.approx(target, abs=0.01)
    for old, new, factor in zip(start, found.layers, found.factors, strict=True):
        assert_allclose(new.weight, factor * old.weight)
    assert found.before > 10
    assert found.after < 0.01
    assert found.steps == 3


def test_lsuv_leaves_a_layer_within_the_tolerance():
    first = adapt(lsuv(tolerance=0.001))
    again = adapt(lsuv(tolerance=0.1), list(first.layers))
    assert again.factors == (1.0, 1.0, 1.0)
    assert again.steps == 0


def test_lsuv_meets_the_target_with_biases_of_any_correlation():
    layers = drawn()
    layers[1].bias[:] = 0.4 * np.random.default_rng(1).standard_normal(20)
    found = adapt(lsuv(tolerance=1e-9), layers)
    assert outputs(found.layers)[1].var() == pytest.approx(1, abs=1e-9)


def test_lsuv_notes_what_it_cannot_scale():
    layers = drawn()
    layers[0].bias[:] = -1000.0
    found = adapt(lsuv(), layers)
    assert found.factors[1] == 1.0
    assert found.notes == (
        "layer 2: left as it is: its output does not vary",
        "layer 3: left as it is: its output does not vary",
    )
    layers = drawn()
    layers[2].bias[:] = [-9.0, 0.0, 9.0]
    assert adapt(lsuv(), layers).notes == (
        "layer 3: its bias alone has variance 54; scaled as if it had none",
    )


def test_krahenbuhl_within_layers():
    for out in outputs(adapt(krahenbuhl(rounds=0)).layers):
        assert_allclose(out.mean(axis=1), 0, atol=1e-12)
        assert_allclose(out.std(axis=1), 1)


def test_krahenbuhl_between_layers():
    """Within a layer means stay 0 and units alike; the output keeps its size: it is homogeneous."""
    found = adapt(krahenbuhl(rounds=30, tolerance=1e-3))
    outs = outputs(found.layers)
    for out in outs:
        assert_allclose(out.mean(axis=1), 0, atol=1e-12)
        assert_allclose(out.std(axis=1), out[0].std())
    assert outs[-1].std() == pytest.approx(1, abs=1e-9)
    assert found.before > 1.5
    assert found.after < 1.003


def test_krahenbuhl_leaves_units_that_do_not_vary():
    layers = drawn()
    layers[0].weight[4] = 0
    found = adapt(krahenbuhl(), layers)
    assert found.notes == ("layer 1: 1 of 30 channels do not vary; left",)
    assert all(np.isfinite(layer.weight).all() for layer in found.layers)


def test_equalising_homogeneous_rates_by_hand():
    """Rates fall with the square of the factors: a quarter of the way in each round."""
    rates = {"a": 16.0, "b": 1.0}

    def rescale(factors: dict[str, float]) -> None:
        for name, factor in factors.items():
            rates[name] /= factor**2

    found = equalise(krahenbuhl(rounds=2, tolerance=0.01), lambda: rates, rescale)
    assert found.before == pytest.approx(16)
    assert found.after == pytest.approx(2)  # 16 → 4 → 2
    assert rates["a"] * rates["b"] == pytest.approx(16)


def test_rounds_that_make_it_worse_are_undone():
    """Here rates grow with the factors."""
    rates = {"a": 16.0, "b": 1.0}

    def rescale(factors: dict[str, float]) -> None:
        for name, factor in factors.items():
            rates[name] *= factor**2

    found = equalise(krahenbuhl(), lambda: rates, rescale)
    assert rates == pytest.approx({"a": 16.0, "b": 1.0})
    assert found == (
        pytest.approx(16),
        pytest.approx(16),
        0,
        ("in 10 rounds the layers' rates of change came within a factor 16 only",),
    )


def test_the_spread_finds_the_root():
    spread = Spread(product=2.0, covariance=0.3, shift=0.5, square=3.0)
    factor = spread.factor(lsuv(target=1.5))
    assert 2 * factor**2 + 2 * 0.3 * factor + 0.5 == pytest.approx(1.5)
    assert factor > 0
    assert Spread(4.0, 0.0, 0.0, 5.0).factor(lsuv()) == 0.5  # the paper's 1 / std


def test_the_gradient_quotient_against_the_whole_hessian():
    network = Network((6, 4, 3), "tanh")
    surface = Surface(network, "cross_entropy", *data())
    flat = pack(drawn(network))
    gradient = surface.gradient(flat)
    step = 1e-5
    hessian = np.stack(
        [
            (surface.gradient(flat + step * axis) - surface.gradient(flat - step * axis))
            / (2 * step)
            for axis in np.eye(len(flat))
        ]
    )
    assert_allclose(hessian, hessian.T, atol=1e-8)
    terms = [
        abs((g - hg) / (g + math.copysign(1e-5, g)) - 1)
        for g, hg in zip(gradient, hessian @ gradient, strict=True)
    ]
    assert gradient_quotient(surface, flat) == pytest.approx(np.mean(terms), rel=1e-5)


def test_metainit_lowers_the_quotient_it_reports():
    found = adapt(metainit(steps=20))
    surface = Surface(NETWORK, "cross_entropy", *data())
    assert found.before == gradient_quotient(surface, pack(drawn()))
    assert found.after == pytest.approx(gradient_quotient(surface, pack(found.layers)), rel=1e-6)
    assert found.after < 0.8 * found.before
    assert_array_equal(found.layers[0].bias, 0)


def test_signed_momentum_by_hand():
    """Slope 1 by each factor: norms fall by .1, then by .09 + .1; never by more than half."""
    found = descend_quotient(metainit(steps=2), [1.0, 0.1], lambda s: (sum(s), [1.0, 1.0]))
    assert found.factors == pytest.approx((1 - 0.1 - 0.19, 0.25))
    assert (found.before, found.after) == pytest.approx((2.0, 0.71 + 0.25))


def test_the_best_factors_are_kept_not_the_last():
    values = iter([5.0, 2.0, 7.0, math.nan])
    found = descend_quotient(metainit(steps=9), [1.0], lambda _: (next(values), [1.0]))
    assert found.after == 2.0
    assert found.factors == pytest.approx((0.9,))
    assert found.notes == ("the gradient quotient is not finite after 3 steps; stopped there",)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gradinit_lowers_the_loss_after_a_step(optimizer: str):
    rule = gradinit(steps=60, gamma=5.0 if optimizer == "sgd" else 50.0, optimizer=optimizer)
    found = adapt(rule, drawn(scale=0.4))
    assert found.after < 0.8 * found.before
    assert found.notes == ()
    assert min(found.factors) >= 0.01


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 30])
def test_half_of_the_samples_are_shared(samples: int):
    parts = split(range(samples))
    assert set(parts.step) | set(parts.after) == set(range(samples))
    if samples >= 3:
        assert len(set(parts.step) & set(parts.after)) == samples // 3
        assert len(parts.step) == 2 * (samples // 3)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_the_given_layers_stay_and_the_result_follows_from_the_seed(rule: Settings):
    start = drawn()
    one, same = adapt(rule, start, seed=4), adapt(rule, start, seed=4)
    for given, fresh in zip(start, drawn(), strict=True):
        assert_array_equal(given.weight, fresh.weight)
        assert_array_equal(given.bias, 0)
    assert_array_equal(pack(one.layers), pack(same.layers))
    if isinstance(rule, GradInit | Krahenbuhl):
        assert one.after != adapt(rule, start, seed=5).after


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("scale", [0.0, 1e200], ids=["zeros", "overflowing"])
def test_extreme_weights_give_no_nan(rule: Settings, scale: float):
    found = adapt(rule, drawn(scale=scale))
    assert np.isfinite(pack(found.layers)).all()


def test_no_samples_are_refused():
    with pytest.raises(InvalidValueError, match="no samples"):
        adaptive.adapt(NETWORK, drawn(), lsuv(), "cross_entropy", data(samples=0))
