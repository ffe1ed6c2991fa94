"""Starting weights: the published ones, and paired ones."""

from __future__ import annotations

import io
import json
from html import unescape
from typing import cast

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rich.console import Console

from initlab._base.records import dumps
from initlab.data import load
from initlab.engine.network import Network
from initlab.experiments import execute, starts
from initlab.experiments.plan import Experiment, Job, plan
from initlab.experiments.run import run
from initlab.report import html
from initlab.report.comparison import Comparison
from initlab.report.tables import HappenedTable

PUBLISHED = Experiment(draw="published")
SEEDED = Experiment(draw="seeded")


def test_the_published_he_weights():
    first, second = starts.draw(Job(PUBLISHED, "he_normal", 3), Network((2, 4, 1))).layers
    expected = [
        [1.78862847, 0.43650985],
        [0.09649747, -1.8634927],
        [-0.2773882, -0.35475898],
        [-0.08274148, -0.62700068],
    ]
    assert_allclose(first.weight, expected, atol=5e-9)
    assert_allclose(second.weight, [[-0.03098412, -0.33744411, -0.92904268, 0.62552248]], atol=5e-9)
    assert_array_equal(first.bias, np.zeros(4))


def test_the_published_large_weights():
    first, second = starts.draw(Job(PUBLISHED, "normal(std=10)", 3), Network((3, 2, 1))).layers
    expected = [[17.88628473, 4.36509851, 0.96497468], [-18.63492703, -2.77388203, -3.54758979]]
    assert_allclose(first.weight, expected, atol=5e-9)
    assert_allclose(second.weight, [[-0.82741481, -6.27000677]], atol=5e-9)


def test_seeded_starts_are_paired_across_initializers():
    network = Network((3, 6, 6, 1))
    he, large = (
        starts.draw(Job(SEEDED, init, 8), network).layers for init in ("he_normal", "normal(10)")
    )
    for ours, theirs, (_, fan_in) in zip(he, large, network.shapes, strict=True):
        assert_allclose(ours.weight / np.sqrt(2 / fan_in), theirs.weight / 10)


def test_seeds_layers_and_batches_have_streams_of_their_own():
    network = Network((5, 5, 5, 1))
    one = starts.draw(Job(SEEDED, "normal", 0), network).layers
    other = starts.draw(Job(SEEDED, "normal", 1), network).layers
    assert not np.isclose(one[0].weight, one[1].weight).any()
    assert not np.isclose(one[0].weight, other[0].weight).any()
    keys = [starts.batch_key(seed) for seed in range(100)]
    assert len(set(keys)) == 100
    assert all(0 <= key < 2**64 for key in keys)
    assert max(keys) > 2**60


def test_a_layers_draw_does_not_depend_on_the_layers_before_it():
    wide = starts.draw(Job(SEEDED, "normal", 4), Network((50, 7, 3))).layers
    narrow = starts.draw(Job(SEEDED, "normal", 4), Network((2, 7, 3))).layers
    assert_array_equal(wide[1].weight, narrow[1].weight)


def test_stacking_puts_replicas_first():
    network = Network((2, 4, 1))
    drawn = [starts.draw(Job(SEEDED, "normal", seed), network).layers for seed in range(3)]
    stacked = starts.stack(drawn)
    assert [layer.weight.shape for layer in stacked] == [(3, 4, 2), (3, 1, 4)]
    assert_array_equal(stacked[1].weight[2], drawn[2][1].weight)
    assert stacked[0].bias.shape == (3, 4)


@pytest.mark.parametrize("draw", ["published", "seeded"])
def test_a_data_driven_start_is_drawn_and_then_adapted(draw: str):
    """LSUV: each layer an orthonormal draw times one factor, its output of variance 1."""
    dataset = load("circles")
    (job,) = plan(["lsuv(tolerance=0.01)"], Experiment(draw=draw), [3], dataset)
    network = job.experiment.network(dataset)
    layers = starts.draw(job, network, dataset.train_matrices()).layers
    plain = starts.draw(Job(job.experiment, "orthogonal", 3), network).layers
    signal = dataset.train_matrices()[0]
    for layer, start in zip(layers, plain, strict=True):
        ratio = layer.weight / start.weight
        assert_allclose(ratio, ratio[0, 0])
        output = layer.weight @ signal + layer.bias[:, None]
        assert abs(output.var() - 1) < 0.01
        signal = np.maximum(output, 0)


def test_the_data_are_loaded_where_they_are_needed_and_not_given():
    dataset = load("circles")
    (job,) = plan(["lsuv"], Experiment(), [3], dataset)
    network = job.experiment.network(dataset)
    given = starts.draw(job, network, dataset.train_matrices()).layers
    for ours, loaded in zip(given, starts.draw(job, network).layers, strict=True):
        assert_array_equal(ours.weight, loaded.weight)


def test_data_driven_runs_do_not_depend_on_threads_or_chunks():
    inits = ["lsuv", "krahenbuhl", "metainit(steps=3)", "gradinit(steps=3)", "he_normal"]
    jobs = plan(inits, Experiment(steps=50), seeds=2)
    one = run(jobs, threads=1, chunk=10).runs
    other = run(jobs, threads=2, chunk=1).runs
    assert [record.init for record in one] == [init for init in inits for _ in range(2)]
    for ours, theirs in zip(one, other, strict=True):
        assert (ours.cost, ours.final_cost) == (theirs.cost, theirs.final_cost)
    first = {record.cost[0] for record in one}
    assert len(first) == len(jobs)  # every start and seed is another


def test_what_a_data_driven_start_could_not_do_is_recorded_and_shown_once():
    """One step cannot bring the gradient's norm down to a millionth."""
    results = execute(["gradinit(steps=1, gamma=1e-6)", "he_normal"], seeds=2, steps=5)
    adapted, _, plain, _ = results.runs
    assert adapted.adaptation is not None
    assert plain.adaptation is None
    (note,) = adapted.adaptation.notes
    assert note.startswith("the gradient's norm is ")
    assert note.endswith(", above gamma=1e-06, even after 1 steps")
    gradinit, he = results.summaries()
    assert gradinit.notes == (f"{note} (or much alike, 2 of 2 runs)",)
    assert he.notes == ()
    document = json.loads(dumps(results.to_document()))
    assert document["runs"][0]["adaptation"]["notes"] == [note]
    assert document["runs"][2]["adaptation"] is None
    assert document["summary"][0]["notes"] == list(gradinit.notes)
    console = Console(width=200, file=io.StringIO())
    console.print(HappenedTable(results))
    page = unescape(html.fragment(results))
    for text in (repr(Comparison(results)), page, cast("io.StringIO", console.file).getvalue()):
        assert text.count(f"when adapted, {note} (or") == 1


def test_the_record_says_how_far_a_data_driven_start_came():
    """Before: the largest distance of a layer's variance from 1, as the weights were drawn."""
    (record,) = run(plan(["lsuv(tolerance=0.01)"], Experiment(steps=5), [3])).runs
    (job,) = plan(["orthogonal"], Experiment(), [3])
    dataset = load("circles")
    signal = dataset.train_matrices()[0]
    variances: list[float] = []
    for layer in starts.draw(job, job.experiment.network(dataset)).layers:
        output = layer.weight @ signal
        variances.append(output.var())
        signal = np.maximum(output, 0)
    assert record.adaptation is not None
    assert 0 < record.adaptation.after < 0.01 < record.adaptation.before
    assert record.adaptation.steps > 0
    assert record.adaptation.before == pytest.approx(max(abs(v - 1) for v in variances))
