"""What is told about runs from starts that were built to go wrong in one known way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initlab.data import load
from initlab.engine import train as engine
from initlab.engine.network import Layer, Network
from initlab.experiments import chunks, execute, starts
from initlab.experiments.plan import Experiment, plan
from initlab.experiments.records import RunRecord
from initlab.experiments.run import run
from initlab.experiments.story import tell

Draw = Callable[[Network], Sequence[Layer]]
Tell = Callable[..., RunRecord]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Run an experiment from a start of the test's own, under a name that tells nothing."""

    def trained(draw: Draw, **fields: Any) -> RunRecord:
        start = lambda _job, network, _data: starts.Start(tuple(draw(network)))  # noqa: E731 - short
        monkeypatch.setattr(chunks.starts, "draw", start)
        if fields["steps"] <= 500:  # the plain engine, which compiles nothing
            plain = functools.partial(engine.train, engine="reference")
            monkeypatch.setattr(chunks, "train", plain)
        return run(plan(["he_normal"], Experiment(**fields), seeds=1)).runs[0]

    return trained


def normal(scale: float | None = None, seed: int = 0) -> Draw:
    """Draw N(0, scale²) weights, He's scale if none is given."""

    def draw(network: Network) -> list[Layer]:
        rng = np.random.default_rng(seed)
        return [
            Layer(rng.standard_normal((out, into)) * (scale or np.sqrt(2 / into)), np.zeros(out))
            for out, into in network.shapes
        ]

    return draw


def constant(value: float) -> Draw:
    return lambda network: [Layer(np.full(s, value), np.zeros(s[0])) for s in network.shapes]


def with_biases(draw: Draw, layer: int, units: int, value: float) -> Draw:
    def drawn(network: Network) -> list[Layer]:
        layers = list(draw(network))
        layers[layer - 1].bias[:units] = value
        return layers

    return drawn


def test_zeros(train: Tell):
    record = train(constant(0.0), steps=20)
    expected = (
        "hidden units identical (10 of 10 in layer 1, 5 of 5 in layer 2); gradients exactly zero"
    )
    assert (record.status, record.what_happened) == ("stalled", expected)
    one_hidden = train(constant(0.0), steps=20, hidden=10)
    assert one_hidden.what_happened == "hidden units identical (10 of 10); gradients exactly zero"


def test_zeros_where_the_output_bias_can_still_learn_the_classes_shares(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((60, 2))
    np.savez(tmp_path / "uneven.npz", x=x, y=np.arange(60) % 3 == 0)
    (run,) = execute(["zeros"], data=tmp_path / "uneven.npz", steps=50).runs
    assert run.final_cost < run.cost[0]
    assert run.what_happened.endswith("weight gradients exactly zero, only the output bias moves")


def test_zeros_of_tanh_units_are_told_the_same(train: Tell):
    record = train(constant(0.0), steps=20, activation="tanh")
    assert record.what_happened.startswith("hidden units identical (10 of 10 in layer 1")
    assert record.what_happened.endswith("gradients exactly zero")


def test_a_constant_start_has_gradients_but_copies(train: Tell):
    record = train(constant(0.1), steps=2000)
    assert record.what_happened == (
        "hidden units identical (10 of 10 in layer 1, 5 of 5 in layer 2)"
    )
    assert record.evidence.start[0].weight_gradient_norm > 0


def test_many_layers_of_copies_are_counted(train: Tell):
    record = train(constant(0.1), steps=20, hidden=(4,) * 6)
    assert "4 of 4 in layer 3, and 3 more layers)" in record.what_happened


def test_copies_that_part_are_said_to_be_so_at_the_start():
    record = run(plan(["zeros"], Experiment(steps=1))).runs[0]
    end = tuple(replace(layer, identical_units=0) for layer in record.evidence.end)
    apart = replace(record.evidence, end=end)
    told = tell(apart, "stalled", record.steps, record.careful_cost, record.final_cost)
    assert told.startswith("hidden units identical at step 0 (10 of 10 in layer 1")


def test_dead_units(train: Tell):
    record = train(with_biases(normal(), 2, 4, -100.0), steps=20)
    assert record.what_happened == "layer 2: 4 of 5 units dead"


def test_a_dead_layer_is_the_cause_and_what_is_behind_it_is_not_told(train: Tell):
    record = train(with_biases(normal(), 1, 10, -100.0), steps=20, hidden=(10, 5, 5))
    assert record.evidence.start[1].identical_units == 5
    assert record.what_happened == "layer 1: 10 of 10 units dead; gradients exactly zero"


def test_a_unit_lost_by_chance_is_not_told(train: Tell):
    record = train(with_biases(normal(), 2, 1, -100.0), steps=15_000)
    assert (record.status, record.what_happened) == ("converged", "healthy")
    assert record.evidence.start[1].dead_units >= 1


def test_units_that_die_in_training(train: Tell):
    record = train(normal(), learning_rate=10.0, steps=50)
    assert record.evidence.start[1].dead_units == 0
    assert record.what_happened == "layer 2: 5 of 5 units dead at the end"


def test_what_follows_from_a_bad_start_is_not_told(train: Tell):
    bad = train(with_biases(normal(), 2, 4, -100.0), learning_rate=10.0, steps=50)
    assert bad.evidence.end[0].dead_units + bad.evidence.end[1].dead_units > 5
    assert bad.what_happened == "layer 2: 4 of 5 units dead"


def test_saturated_outputs(train: Tell):
    record = train(normal(10.0, seed=1), steps=200)
    count = record.evidence.saturated_outputs_start
    wrong = record.evidence.saturated_wrong_start
    assert count > 200
    assert 100 < wrong < 200
    expected = f"{count} of 300 outputs saturated at step 0, {wrong} of them wrong"
    assert expected in record.what_happened


def test_saturated_hidden_units(train: Tell):
    record = train(normal(30.0), steps=200, activation="tanh", hidden=10)
    share = record.evidence.start[0].saturated
    assert share > 0.8
    assert f"activations saturated at step 0 ({share:.0%} in layer 1)" in record.what_happened


def test_gradients_vanish_through_deep_sigmoid_layers(train: Tell):
    record = train(normal(0.2), hidden=(16,) * 8, activation="sigmoid", steps=300)
    start = record.evidence.start
    ratio = start[0].gradient_std / start[-1].gradient_std
    assert 1e-9 < ratio < 1e-4
    told = record.what_happened
    assert told.startswith("gradient shrinks ")
    assert told.endswith(" from layer 9 to layer 1")
    assert float(told.split()[2]) == pytest.approx(ratio, rel=0.51)


def test_activations_vanish_and_the_rest_follows(train: Tell):
    record = train(normal(0.01), hidden=(16,) * 8, activation="tanh", steps=300)
    told = record.what_happened
    assert told.startswith("activations shrink ")
    assert told.endswith(" from layer 1 to layer 8")
    assert ";" not in told


def test_activations_explode_and_the_rest_follows(train: Tell):
    record = train(normal(3.0), hidden=(32,) * 7, steps=5, learning_rate=1e-12)
    assert record.what_happened.startswith("activations grow ")
    assert record.evidence.saturated_outputs_start > 200
    assert "saturated" not in record.what_happened


def test_too_large_a_learning_rate_ends_in_nan(train: Tell):
    record = train(normal(), learning_rate=1e20, steps=100, activation="elu")
    assert record.status == "diverged"
    first = next(
        (s for s, c in zip(record.steps, record.careful_cost, strict=True) if not np.isfinite(c)),
        None,
    )
    where = "after the last step" if first is None else f"at step {first}"
    assert record.what_happened.startswith(("cost nan ", "cost inf "))
    assert where in record.what_happened


def test_a_finite_rise_is_told_as_one(train: Tell):
    record = train(normal(), learning_rate=1e4, steps=3, activation="tanh")
    assert record.status == "diverged"
    first, last = record.careful_cost[0], record.final_cost
    assert record.what_happened.startswith(f"cost rose from {first:.3g} to {last:.3g}")
    also_dead = train(normal(), learning_rate=100.0, steps=50)
    assert also_dead.what_happened.startswith("cost rose from 1.39 to ")
    assert "; layer 1: 10 of 10 units dead at the end" in also_dead.what_happened


def test_a_healthy_run_that_is_not_done(train: Tell):
    record = train(normal(), steps=3000)
    assert (record.status, record.what_happened) == ("stalled", "still falling at the last step")


def test_a_healthy_run_that_hardly_moves(train: Tell):
    record = train(normal(), steps=3000, learning_rate=1e-6)
    assert (
        record.what_happened == f"hardly falling at cost {record.final_cost:.3g}, signals healthy"
    )


def test_a_collapse_to_one_answer(train: Tell):
    """A linear model of classes that no line parts: all it learns is their frequency."""
    record = train(normal(1.0), steps=4000, hidden=(), learning_rate=1.0)
    spread = record.evidence.output_spread_end
    assert spread < 0.05
    flat = replace(record.evidence, output_spread_end=0.001)
    told = tell(flat, record.status, record.steps, record.careful_cost, record.final_cost)
    assert told == "same output for every sample at the end"


def test_the_name_of_the_start_tells_nothing(train: Tell):
    """The start above is called he_normal throughout, whatever it is."""
    assert train(constant(0.0), steps=1).init == "he_normal"
    real = run(plan(["zeros"], Experiment(steps=20), seeds=1)).runs[0]
    assert train(constant(0.0), steps=20).what_happened == real.what_happened


def test_a_squared_error_has_no_saturated_outputs(train: Tell):
    record = train(normal(10.0), steps=5, loss="squared_error", learning_rate=1e-9)
    assert "outputs saturated" not in record.what_happened


def test_the_data_of_these_tests_is_as_assumed():
    assert len(load("circles").train_x) == 300
