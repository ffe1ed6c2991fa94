"""The structured initialisers: what each is made for, on arrays, by quadrature or in PyTorch."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats
from scipy.linalg import hadamard

from initlab._base.errors import InvalidValueError
from initlab._base.fans import embedding as embedding_fans
from initlab._base.streams import stream
from initlab.initializers import get
from initlab.initializers.embeddings import prior_bias


def draw(text: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draw one weight; every call with the same seed starts from the same stream."""
    return get(text).sample(shape, stream(seed, "structured"))


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (1, 1)])
def test_zero_hadamard_does_not_widen_with_more_than_the_identity(shape: tuple[int, int]):
    assert_array_equal(draw("zero_hadamard", shape), np.eye(*shape))


@pytest.mark.parametrize(("rows", "order"), [(4, 4), (5, 8), (100, 128)])
def test_zero_hadamard_widens_by_the_papers_matrix(rows: int, order: int):
    c = 2 ** (-(math.log2(order) - 1) / 2)
    weight = draw("zero_hadamard", (rows, 3))
    assert_allclose(weight, c * hadamard(order)[:rows, :3], rtol=1e-15)


def test_zero_hadamard_has_orthogonal_columns_of_squared_norm_2():
    weight = draw("zero_hadamard", (64, 48))
    assert_allclose(weight.T @ weight, 2 * np.eye(48), atol=1e-14)


@pytest.mark.parametrize("kernel", [(3,), (3, 3), (1, 5, 3)])
def test_zero_hadamard_sits_at_the_centre_of_a_kernel(kernel: tuple[int, ...]):
    weight = draw("zero_hadamard", (8, 4, *kernel))
    centre = tuple(size // 2 for size in kernel)
    assert_array_equal(weight[(..., *centre)], draw("zero_hadamard", (8, 4)))
    assert np.count_nonzero(weight) == 32


@pytest.mark.parametrize(
    "shape", [(4, 4), (3, 7), (12, 5), (4, 1), (37, 36), (8, 4, 3, 3), (0, 3), (3, 0)]
)
def test_zero_hadamard_moments_are_those_of_its_entries(shape: tuple[int, ...]):
    weight, initializer = draw("zero_hadamard", shape), get("zero_hadamard")
    mean, std = (weight.mean(), weight.std()) if weight.size else (0, 0)
    assert initializer.mean(shape) == pytest.approx(mean, abs=1e-15)
    assert initializer.std(shape) == pytest.approx(std, abs=1e-15)


def test_zero_hadamard_of_a_vocabulary_is_no_larger_than_its_weight():
    initializer = get("zero_hadamard")
    tracemalloc.start()
    # c² out · in / size is 2^(1-16); the mean is far below.
    assert initializer.std((50257, 768)) == pytest.approx(2**-7.5, rel=1e-4)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.reset_peak()
    weight = draw("zero_hadamard", (1_500, 16))
    assert tracemalloc.get_traced_memory()[1] < 5 * weight.nbytes + 2**16
    tracemalloc.stop()
    assert_allclose(weight, 2**-5 * hadamard(2048)[:1_500, :16], rtol=1e-15)


def test_siren_first_layer_makes_sines_of_every_phase():
    source = stream(0, "siren")
    x = source.uniform(-1, 1, (400, 1))
    sines = np.sin(30 * x @ get("siren(first=True)").sample((500, 1), source).T)
    # E sin² = (1 - Si(60) / 60) / 2 for w and x uniform in [-1, 1]; samples share x and w.
    expected = (1 - special.sici(60)[0] / 60) / 2
    assert np.mean(sines**2) == pytest.approx(expected, abs=5 * 0.36 / math.sqrt(400))
    # Near to the arcsine distribution, and far from the normal one of that variance.
    arcsine = stats.arcsine(loc=-1, scale=2)
    assert stats.kstest(sines.ravel(), arcsine.cdf).statistic < 0.05
    assert stats.kstest(sines.ravel(), stats.norm(scale=0.5**0.5).cdf).statistic > 0.08


@pytest.mark.parametrize("omega", [1, 30])
def test_siren_hidden_layers_have_phases_of_variance_1(omega: int):
    width, source = 300, stream(0, "siren")
    for _ in range(5):
        sines = np.sin(source.uniform(-math.pi, math.pi, (width,)))
        weight = get(f"siren(omega={omega})").sample((4000, width), source)
        phases = omega * weight @ sines
        scale = np.mean(sines**2) / 0.5  # of this draw of inputs
        assert np.mean(phases**2) == pytest.approx(scale, abs=5 * math.sqrt(2 / 4000))


def test_siren_bounds():
    first, hidden = draw("siren(first=True)", (400, 5)), draw("siren", (400, 6))
    assert 0.199 < np.abs(first).max() <= 1 / 5
    assert 0.0331 < np.abs(hidden).max() <= 1 / 30


def log_norm_drift(text: str, width: int, *, relu: bool) -> float:
    """Return the exact mean of log |W^T D δ|² - log |δ|², D the 0-1 mask of half the units."""
    active = np.arange(1, width + 1) if relu else np.array([width])
    share = stats.binom.pmf(active, width, 0.5) if relu else np.ones(1)
    log_chi2 = special.digamma(active / 2) + math.log(2)
    std = get(text).std((width, width))
    return float((share / share.sum()) @ log_chi2) + 2 * math.log(std)


@pytest.mark.parametrize("width", [16, 32, 100])
def test_random_walk_has_next_to_no_drift(width: int):
    drift = log_norm_drift("random_walk", width, relu=True)
    assert abs(drift) < 0.05 * abs(log_norm_drift("he_normal", width, relu=True))
    linear = log_norm_drift("random_walk('linear')", width, relu=False)
    assert abs(linear) < 0.05 * abs(log_norm_drift("lecun_normal", width, relu=False))


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_random_walk_keeps_the_log_norm_of_a_gradient(activation: str):
    width, depth, runs, relu = 20, 50, 200, activation == "relu"
    source = stream(0, "walk", activation)
    text = f"random_walk({activation!r})"
    weights = get(text).sample((runs * depth * width, width), source)
    weights = weights.reshape(runs, depth, width, width)
    gradient = source.standard_normal((runs, width))
    start = np.log(np.sum(gradient**2, axis=1))
    for layer in range(depth):
        if relu:
            gradient = gradient * (source.uniform(0, 1, (runs, width)) < 0.5)
        gradient = np.einsum("roi,ro->ri", weights[:, layer], gradient)
    moved = np.log(np.sum(gradient**2, axis=1)) - start
    error = 5 * moved.std() / math.sqrt(runs)
    assert abs(moved.mean()) < error
    rule = "he_normal" if relu else "lecun_normal"
    assert depth * log_norm_drift(rule, width, relu=relu) < -error  # would be seen


def test_irnn_is_a_square_identity():
    assert_array_equal(draw("irnn(scale=0.5)", (3, 3)), 0.5 * np.eye(3))
    initializer = get("irnn(0.5)")
    assert (initializer.mean((4, 4)), initializer.std((4, 4))) == (0.125, math.sqrt(3) / 8)
    for shape in [(4, 3), (4,), (2, 2, 2)]:
        with pytest.raises(InvalidValueError, match="without gates"):
            initializer.sample(shape, stream(0, "unused"))


def test_forget_bias_is_that_of_torchs_forget_gate():
    lstm = torch.nn.LSTM(2, 3)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0.copy_(torch.from_numpy(draw("forget_bias(2)", (12,))))
        cell = torch.tensor([[[1.0, -2.0, 0.5]]])
        _, (_, after) = lstm(torch.zeros(1, 1, 2), (torch.zeros(1, 1, 3), cell))
    torch.testing.assert_close(after, torch.sigmoid(torch.tensor(2.0)) * cell)
    for shape in [(6,), (4, 2), ()]:
        with pytest.raises(InvalidValueError, match="LSTM"):
            get("forget_bias").std(shape)


def test_forget_bias_moments():
    bias = draw("forget_bias(-2)", (20,))
    initializer = get("forget_bias(-2)")
    assert initializer.mean((20,)) == bias.mean()
    assert initializer.std((20,)) == pytest.approx(bias.std())


def test_tied_embedding_gives_logits_of_variance_1():
    table = draw("tied_embedding", (4000, 64))
    signal = np.ones(64)  # any signal of second moment 1, such as a normalisation gives
    assert np.mean((table @ signal) ** 2) == pytest.approx(1, abs=5 * math.sqrt(2 / 4000))
    assert get("embedding").std((4000, 64)) == 1  # logits of std 8


def test_embeddings_do_not_follow_fans():
    shape = (50, 16)
    for text, std in [("embedding(std=0.5)", 0.5), ("tied_embedding", 0.25)]:
        assert get(text).std(shape) == get(text).std(shape, fans=embedding_fans(shape)) == std


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
def test_prior_bias_is_the_prior_behind_a_sigmoid(prior: float):
    assert_allclose(special.expit(draw(f"prior_bias({prior})", (7,))), prior, rtol=1e-14)


@pytest.mark.parametrize("prior", [(0.9, 0.09, 0.01), (2, 1, 1, 4)])
def test_prior_bias_is_the_shares_behind_a_softmax(prior: tuple[float, ...]):
    bias = draw(f"prior_bias({prior})", (len(prior),))
    assert_allclose(special.softmax(bias), np.array(prior) / sum(prior), rtol=1e-14)
    initializer = get(f"prior_bias({prior})")
    assert initializer.mean(bias.shape) == pytest.approx(bias.mean())
    assert initializer.std(bias.shape) == pytest.approx(bias.std())
    assert get(initializer.spec) == initializer


def test_prior_bias_of_the_focal_loss_paper():
    assert get("prior_bias").mean((80,)) == pytest.approx(-4.59512, abs=1e-5)


def test_prior_bias_refuses_another_number_of_classes():
    with pytest.raises(InvalidValueError, match="2 classes"):
        draw("prior_bias((0.5, 0.5))", (3,))
    with pytest.raises(InvalidValueError, match="2 classes"):
        get("prior_bias((0.5, 0.5))").std((1, 2))


@pytest.mark.parametrize(
    "text",
    [
        "siren(omega=0)",
        "siren(first=2)",
        "random_walk('tanh')",
        "irnn(scale=0)",
        "forget_bias('open')",
        "embedding(std=-1)",
        "tied_embedding(1)",
        "prior_bias(1)",
        "prior_bias(0)",
        "prior_bias((0.5, 0))",
        "prior_bias((1,))",
        "lsuv(tolerance=0)",
        "lsuv(steps=0)",
        "krahenbuhl(rounds=0)",
        "metainit(momentum=1)",
        "metainit(momentum=-0.1)",
        "gradinit(gamma=0)",
        "gradinit(optimizer='lion')",
    ],
)
def test_unfit_arguments_are_refused(text: str):
    with pytest.raises(InvalidValueError, match="accepted: "):
        get(text)


def test_a_prior_may_be_any_sequence():
    expected = prior_bias((1, 2, 5))
    for prior in ([1, 2, 5], np.array([1, 2, 5]), np.array([1.0, 2.0, 5.0], np.float32)):
        assert prior_bias(prior) == expected
    assert prior_bias(np.float64(0.25)) == prior_bias(0.25)
    for prior in ("abc", np.array(["a", "b"]), [1], None, {1: 2}):
        with pytest.raises(InvalidValueError, match="prior"):
            prior_bias(prior)  # pyright: ignore[reportArgumentType] - that is the test


def test_a_prior_of_extreme_counts():
    assert prior_bias((1e308, 1e308)).mean((2,)) == pytest.approx(-math.log(2), rel=1e-15)
    with pytest.raises(InvalidValueError, match=r"prior\[0\]=.* is nothing beside 1e\+308"):
        prior_bias((1e-320, 1e308))


def test_gates_without_entries_need_no_draws():
    assert draw("gate_orthogonal(gates=1000000000000)", (0, 4)).shape == (0, 4)
