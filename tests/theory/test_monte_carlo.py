"""What is predicted, against networks that are drawn and run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from initlab import activations, initializers
from initlab._base.streams import stream
from initlab.theory import (
    Activate,
    Convolution,
    Dense,
    Dropout,
    LayerNorm,
    LayerSignal,
    Residual,
    chi,
    fully_connected,
    moments,
    signal,
)

torch = pytest.importorskip("torch")

Floats = NDArray[np.floating[Any]]

SIGMAS = 5


@pytest.fixture(autouse=True)
def one_thread():
    """Keep PyTorch from waiting for cores that others use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def two_inputs(features: int, correlation: float, rng: np.random.Generator) -> Floats:
    """Return two inputs (features, 2) of mean square 1 and exactly this correlation."""
    basis, _ = np.linalg.qr(rng.standard_normal((features, 2)))
    mixed = correlation * basis[:, 0] + math.sqrt(1 - correlation**2) * basis[:, 1]
    return math.sqrt(features) * np.stack([basis[:, 0], mixed], axis=1)


@dataclass
class Measured:
    """Means over the units of each layer, ``(layers,)``; E[z z'] as a correlation."""

    variance: Floats
    correlation: Floats
    mean: Floats
    second_moment: Floats
    slope_second: Floats
    gradient: Floats


def run(
    name: str, init: str, *, width: int, depth: int, bias_var: float, correlation: float, seed: int
) -> Measured:
    """Draw one network of equal widths, send two inputs forward and a gradient back."""
    activation, initializer = activations.get(name), initializers.get(init)
    rng = stream(seed, "test", "inputs")
    x = two_inputs(width, correlation, rng)
    weights: list[Floats] = []
    z: list[Floats] = []
    for layer in range(depth):
        weight = initializer.sample((width, width), stream(seed, "test", layer))
        weights.append(weight.astype(np.float32))
        bias = math.sqrt(bias_var) * rng.standard_normal((width, 1))
        z.append(weight @ x + bias)
        x = activation(z[-1])
    back = rng.standard_normal(width)
    gradients = [back]
    for weight, before in zip(reversed(weights), reversed(z[:-1]), strict=False):
        back = activation.slope(before[:, 0]) * (weight.T @ back)
        gradients.append(back)
    squares = np.array([np.square(g).mean() for g in reversed(gradients)])
    return Measured(
        variance=np.array([np.square(a[:, 0]).mean() for a in z]),
        correlation=np.array([a[:, 0] @ a[:, 1] / np.linalg.norm(a, axis=0).prod() for a in z]),
        mean=np.array([activation(a[:, 0]).mean() for a in z]),
        second_moment=np.array([np.square(activation(a[:, 0])).mean() for a in z]),
        slope_second=np.array([np.square(activation.slope(a[:, 0])).mean() for a in z]),
        gradient=squares / squares[-1],
    )


def average(runs: Sequence[Measured], field: str) -> Floats:
    return np.mean([getattr(each, field) for each in runs], axis=0)


def slope_by_log(function: Callable[[float], float], q: float) -> float:
    """Return d function / d ln q."""
    return (function(q * 1.01) - function(q / 1.01)) / (2 * math.log(1.01))


DRAWS = 2


@pytest.mark.parametrize(
    ("name", "init", "width", "depth", "bias_var"),
    [
        ("relu", "he_normal", 1000, 50, 0.0),
        ("tanh", "glorot_normal", 1000, 50, 0.0),
        ("gelu", "activation_matched('gelu')", 1000, 50, 0.0),
        ("elu", "lecun_normal", 1000, 50, 0.2),
        ("sin", "he_uniform", 1000, 20, 0.1),
        ("relu", "orthogonal(gain=1.4142135623730951)", 400, 30, 0.0),
    ],
)
def test_layers_of_a_wide_network(name: str, init: str, width: int, depth: int, bias_var: float):
    """Hold the mean over a few draws to the prediction, each within five standard errors.

    The standard error of a mean of z² is the predicted fluctuation f over √draws. To that comes
    what the limit of infinite width itself leaves out, of the next order: f².
    """
    sizes = (width,) * (depth + 1)
    found = signal(
        fully_connected(sizes, name), init, bias_var=bias_var, input_correlation=0.6
    ).layers
    runs = [
        run(name, init, width=width, depth=depth, bias_var=bias_var, correlation=0.6, seed=seed)
        for seed in range(DRAWS)
    ]
    errors = SIGMAS / math.sqrt(DRAWS)
    spread = np.array([layer.fluctuation for layer in found])
    q = np.array([layer.variance for layer in found])

    assert np.all(np.abs(average(runs, "variance") / q - 1) <= errors * spread + spread**2)

    # That of E[φ²] is handed on to the next layer, where the bias dilutes it.
    handed_on = spread[1:] / (1 - bias_var / q[1:])
    seconds = np.array([layer.second_moment for layer in found])[:-1]
    off = np.abs(average(runs, "second_moment")[:-1] / seconds - 1)
    assert np.all(off <= errors * handed_on + handed_on**2)

    # A mean of φ(z) differs by its own spread over √n, and as E[φ] follows q.
    for k, layer in enumerate(found[:-1]):
        follows = abs(slope_by_log(lambda v: moments(name, v).f, layer.variance))
        allowed = errors * (layer.std / math.sqrt(width) + follows * spread[k])
        assert abs(average(runs, "mean")[k] - layer.mean) <= allowed + layer.std * spread[k] ** 2

    weight_var = width * found[0].weight_std ** 2
    require_steps(runs, name, weight_var, bias_var, width)
    require_correlations(runs, found, name, width, errors)
    require_gradients(runs, found, name, width, errors)


def require_steps(
    runs: Sequence[Measured], name: str, weight_var: float, bias_var: float, width: int
) -> None:
    """Hold each layer to what follows from the one before, where errors do not add up.

    Given x, z are n Gaussians of variance σw² mean(x²) + σb², and the mean of φ(z)² has a relative
    variance of (E[φ⁴] / E[φ²]² - 1) / n: 5/n for ReLU, for the others no more than 6/n. Steps being
    independent, their average is within five times √(6 / (n · steps)), which is about 4 %.
    """
    ratios = []
    for each in runs:
        q = weight_var * each.second_moment[:-1] + bias_var
        expected = np.array([moments(name, v).f2 for v in q.tolist()])
        ratios.append(each.second_moment[1:] / expected)
    error = math.sqrt(6 / (width * np.size(ratios)))
    assert abs(np.mean(ratios) - 1) <= SIGMAS * error
    # Back through a layer likewise, the mean of φ'² being measured.
    ratios = [
        each.gradient[:-1] / each.gradient[1:] / (weight_var * each.slope_second[:-1])
        for each in runs
    ]
    error = math.sqrt(8 / (width * np.size(ratios)))
    assert abs(np.mean(ratios) - 1) <= SIGMAS * error


def require_correlations(
    runs: Sequence[Measured], found: Sequence[LayerSignal], name: str, width: int, errors: float
) -> None:
    """Hold correlations to the prediction.

    Of n pairs of Gaussians, that of the sample has the standard error (1 - c²) / √n. A layer adds
    this and, before, that of φ, of which the same is thought; what there was before is multiplied
    by the slope of the map of correlations, which by convexity is largest at 1.
    """
    variance = 0.0
    for k, layer in enumerate(found):
        c = layer.correlation
        if k > 0:
            q, before = found[k - 1].variance, found[k - 1].correlation
            weight_var = width * layer.weight_std**2
            slope = chi(name, q=q, weight_var=weight_var, c=before) * q / layer.variance
            variance = slope**2 * variance + (1 - before**2) ** 2 / width
        variance += (1 - c * c) ** 2 / width
        allowed = errors * math.sqrt(variance) + variance
        assert abs(average(runs, "correlation")[k] - c) <= allowed


def require_gradients(
    runs: Sequence[Measured], found: Sequence[LayerSignal], name: str, width: int, errors: float
) -> None:
    """Hold ratios of squared gradients to the prediction.

    Each layer back multiplies the mean square by one of n terms whose relative variance is
    3 E[φ'⁴] / E[φ'²]² - 1, taken to be at most 8, and by E[φ'²], which follows q.
    """
    followed = 0.0
    for steps, k in enumerate(reversed(range(len(found) - 1)), start=1):
        layer = found[k]
        slope = slope_by_log(lambda v: math.log(moments(name, v).df2), layer.variance)
        followed += abs(slope) * layer.fluctuation
        own = math.sqrt((1 + 8 / width) ** steps - 1)
        allowed = errors * (own + followed) + own**2 + followed**2
        assert abs(math.log(average(runs, "gradient")[k] / layer.gradient)) <= allowed


def squares_after_relu(width: int, depth: int, draws: int, seed: int) -> Floats:
    """Return |h|² / |h0|² behind each layer of He-ReLU networks, ``(draws, depth + 1)``."""
    rng = np.random.default_rng(seed)
    h = np.broadcast_to(rng.standard_normal(width).astype(np.float32), (draws, width))
    squares = [np.square(h).sum(axis=1)]
    for _ in range(depth):
        weights = rng.standard_normal((draws, width, width), dtype=np.float32)
        weights *= np.float32(math.sqrt(2 / width))
        h = np.maximum(np.einsum("dij,dj->di", weights, h), 0)
        squares.append(np.square(h).sum(axis=1))
    found = np.stack(squares, axis=1).astype(np.float64)
    return found / found[:, :1]


def step_moment(width: int, power: int) -> float:
    """Return E[(|h'|² / |h|²)^power] of a He-ReLU layer, summed over how many units are on.

    Of n units of z ~ N(0, 2|h|²/n), K are above 0, binomially: |h'|² / |h|² is 2/n times a sum of K
    squares of standard normals, a χ² of K degrees of freedom, whose moments are K (K + 2) ...
    """
    total = 0.0
    for on in range(width + 1):
        chance = math.comb(width, on) / 2**width
        total += chance * math.prod(on + 2 * k for k in range(power))
    return total * (2 / width) ** power


@pytest.mark.parametrize(("width", "depth", "draws"), [(50, 10, 4000), (20, 4, 20_000)])
def test_second_moments_of_the_squared_length_of_narrow_relu_networks(
    width: int, depth: int, draws: int
):
    """E[(|h_L|² / |h_0|²)²] = (1 + 5/n)^L, where infinite width has 1."""
    growth = 1 + 5 / width
    assert step_moment(width, 1) == pytest.approx(1, rel=1e-12)
    assert step_moment(width, 2) == pytest.approx(growth, rel=1e-12)
    squares = np.concatenate(
        [squares_after_relu(width, depth, draws // 20, seed) for seed in range(20)]
    )
    for layer in range(1, depth + 1):
        expected = growth**layer
        variance = step_moment(width, 4) ** layer - expected**2
        error = math.sqrt(variance / draws)
        assert abs(np.square(squares[:, layer]).mean() - expected) <= SIGMAS * error
    # Steps are independent of each other, so that all of them show the 5 to a few percent.
    steps = squares[:, 1:] / squares[:, :-1]
    error = math.sqrt((step_moment(width, 4) - growth**2) / steps.size)
    assert abs(np.square(steps).mean() - growth) <= SIGMAS * error
    assert SIGMAS * error < 1 / width


def means_of_squares(
    sizes: tuple[int, ...],
    name: str,
    weight_var: float,
    draws: int,
    seed: int,
    dropout: float = 0.0,
) -> Floats:
    """Return the means of z² over the units of each layer, ``(draws, layers)``."""
    rng, activation = np.random.default_rng(seed), activations.get(name)
    x = np.ones((draws, sizes[0]), dtype=np.float32)
    found: list[Floats] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        weights = rng.standard_normal((draws, fan_out, fan_in), dtype=np.float32)
        z = np.einsum("dij,dj->di", weights, x) * np.float32(math.sqrt(weight_var / fan_in))
        found.append(np.square(z, dtype=np.float64).mean(axis=1))
        x = activation(z)
        if dropout:
            x *= (rng.random(x.shape, dtype=np.float32) >= dropout) / np.float32(1 - dropout)
    return np.stack(found, axis=1)


def require_fluctuation(
    found: Sequence[LayerSignal], measured: Floats, relative: float = 0.0
) -> None:
    """Hold the relative variance over draws to the square of the fluctuation.

    Parameters
    ----------
    found
        Prediction of each layer.
    measured
        Means of z², ``(draws, layers)``.
    relative
        What an approximation may be off by, besides five standard errors.
    """
    for layer, means in zip(found, measured.T, strict=True):
        squares = np.square(means / layer.variance - 1)
        error = squares.std(ddof=1) / math.sqrt(squares.size)
        expected = layer.fluctuation**2
        assert abs(squares.mean() - expected) <= SIGMAS * error + relative * expected
        assert SIGMAS * error < 0.5 * expected  # or there is no telling


@pytest.mark.parametrize("sizes", [(30,) * 7, (10, 40, 20, 50, 25)])
@pytest.mark.parametrize(("name", "weight_var"), [("relu", 2.0), ("identity", 1.0)])
def test_fluctuation_of_narrow_networks_is_exact(
    name: str, weight_var: float, sizes: tuple[int, ...]
):
    init = "he_normal" if weight_var == 2 else "lecun_normal"
    found = signal(fully_connected(sizes, name), init).layers
    measured = np.concatenate(
        [means_of_squares(sizes, name, weight_var, 500, seed) for seed in range(20)]
    )
    require_fluctuation(found, measured)
    for layer, means in zip(found, measured.T, strict=True):
        error = layer.variance * layer.fluctuation / math.sqrt(means.size)
        assert abs(means.mean() - layer.variance) <= SIGMAS * error


def test_fluctuation_with_dropout_is_exact_too():
    blocks = [Dense(40, 40), Activate("relu"), Dropout(0.3), Dense(40, 40), Activate("relu")]
    found = signal([*blocks, Dropout(0.3), Dense(40, 40)], "he_normal").layers
    measured = np.concatenate(
        [means_of_squares((40,) * 4, "relu", 2.0, 500, seed, dropout=0.3) for seed in range(20)]
    )
    require_fluctuation(found, measured)


def test_fluctuation_of_tanh_to_first_order():
    sizes = (200,) * 9
    found = signal(fully_connected(sizes, "tanh"), "normal(std=0.1)").layers
    measured = np.concatenate(
        [means_of_squares(sizes, "tanh", 2.0, 100, seed) for seed in range(10)]
    )
    # The next order in 1 / width: a few units of f² itself, which is about 2 %.
    require_fluctuation(found, measured, relative=0.1)


def test_orthogonal_weights_fluctuate_less_than_is_predicted():
    # |W x| = |x|: z² has the same mean as x², whatever the draw.
    found = signal(fully_connected((40,) * 6, "relu"), "orthogonal(gain=1.4142135623730951)").layers
    measured = []
    for seed in range(300):
        x = np.ones((40, 1))
        means = []
        for layer in range(5):
            weight = initializers.get("orthogonal").sample((40, 40), stream(seed, "test", layer))
            z = math.sqrt(2) * weight @ x
            means.append(float(np.square(z).mean()))
            x = np.maximum(z, 0)
        measured.append(means)
    spread = np.array(measured).std(axis=0)
    assert spread[0] == pytest.approx(0, abs=1e-12)
    for layer, each in zip(found, spread, strict=True):
        assert each < layer.variance * layer.fluctuation


def drawn(init: str, block: Dense | Convolution, seed: int, key: int) -> Any:
    """Return a weight of a layer as a tensor, float32."""
    weight = initializers.get(init).sample(block.shape, stream(seed, "test", key), fans=block.fans)
    return torch.from_numpy(weight.astype(np.float32))


def test_a_stack_of_convolutions_is_its_fans():
    """Strides and groups, around a torus: every position has all its taps.

    Within five standard errors over draws, which the theory does not give for maps; they have to be
    small for that to say something. Gradients multiply by a fan-out in place of a fan-in.
    """
    stack = [
        Convolution((48, 16, 3, 3)),
        Convolution((64, 48, 3, 3), stride=2),
        Convolution((96, 16, 5, 5), groups=4),
        Convolution((64, 96, 1, 1)),
        Convolution((64, 64, 3, 3), stride=(1, 2)),
    ]
    blocks = [each for layer in stack for each in (layer, Activate("relu"))][:-1]
    found = signal(blocks, "he_normal").layers
    draws = 40
    variances, gradients = [], []
    for seed in range(draws):
        torch.manual_seed(seed)
        x = torch.randn(1, 16, 16, 16)
        x /= x.square().mean().sqrt()
        kept = []
        for key, layer in enumerate(stack):
            reach = layer.shape[2] // 2
            padded = torch.nn.functional.pad(x, (reach,) * 4, mode="circular")
            weight = drawn("he_normal", layer, seed, key)
            z = torch.nn.functional.conv2d(
                padded, weight.requires_grad_(), stride=layer.stride, groups=layer.groups
            )
            z.retain_grad()
            kept.append(z)
            x = torch.relu(z)
        kept[-1].backward(torch.randn_like(kept[-1]))
        variances.append([float(z.detach().square().mean()) for z in kept])
        gradients.append([float(z.grad.square().mean()) for z in kept])
    for k, layer in enumerate(found):
        assert layer.fluctuation is None
        shares = np.array(variances)[:, k] / layer.variance
        error = shares.std(ddof=1) / math.sqrt(draws)
        assert abs(shares.mean() - 1) <= SIGMAS * error
        assert SIGMAS * error < 0.35
        ratios = np.array(gradients)[:, k] / np.array(gradients)[:, -1]
        error = ratios.std(ddof=1) / math.sqrt(draws)
        # The last gradient is drawn, and divided by: 1 / (64 · 32) of its square.
        assert abs(ratios.mean() - layer.gradient) <= SIGMAS * error + 1e-3
        assert SIGMAS * error < 0.3 * layer.gradient or k == len(found) - 1


def test_borders_leave_taps_out():
    layer = Convolution((64, 32, 3, 3), padding=1, size=6, stride=2)
    found = signal((layer,), "normal(std=0.1)").layers[0]
    assert found.variance < 0.9 * 288 * 0.01
    samples = []
    for seed in range(60):
        torch.manual_seed(seed)
        x = torch.randn(1, 32, 6, 6)
        weight = drawn("normal(std=0.1)", layer, seed, 0)
        z = torch.nn.functional.conv2d(x, weight, stride=2, padding=1)
        samples.append(float(z.square().mean()))
    error = np.std(samples, ddof=1) / math.sqrt(len(samples))
    assert abs(np.mean(samples) - found.variance) <= SIGMAS * error
    assert SIGMAS * error < 0.05 * found.variance


def through(blocks: Sequence[Any], x: Any, init: str, seed: int, kept: list[Any]) -> Any:
    """Run blocks by PyTorch; keep what each layer of the prediction gives."""
    for block in blocks:
        if isinstance(block, Dense):
            x = torch.nn.functional.linear(x, drawn(init, block, seed, len(kept)))
            kept.append(x)
        elif isinstance(block, Activate):
            x = getattr(torch.nn.functional, block.f.name)(x)
        elif isinstance(block, Dropout):
            x = torch.nn.functional.dropout(x, block.rate, training=True)
        elif isinstance(block, LayerNorm):
            x = torch.nn.functional.layer_norm(x, x.shape[-1:])
        else:
            x = x + block.scale * through(block.branch, x, init, seed, kept)
            kept.append(x)
        if x.requires_grad:
            x.retain_grad()
    return x


N = 256
RELU, GELU = Activate("relu"), Activate("gelu")

BLOCKS: dict[str, tuple[str, Sequence[Any]]] = {
    "residual": (
        "he_normal",
        [Dense(N, N), *[Residual((RELU, Dense(N, N)), 0.5)] * 6, RELU, Dense(N, N)],
    ),
    "two layers in a branch": (
        "glorot_normal",
        [Dense(N, N), *[Residual((GELU, Dense(N, 2 * N), RELU, Dense(2 * N, N)))] * 3],
    ),
    "a branch that ends in an activation": (
        "he_normal",
        [Dense(N, N), *[Residual((Dense(N, N), RELU), 0.3)] * 3, Dense(N, N)],
    ),
    "normalised branches": (
        "lecun_normal",
        [Dense(N, N), *[Residual((LayerNorm(), GELU, Dense(N, N)))] * 4, LayerNorm(), Dense(N, N)],
    ),
    "normalised layers": (
        "normal(std=0.2)",
        [*[Dense(N, N), LayerNorm(), Activate("tanh")] * 4, Dense(N, N)],
    ),
    "normalised after the activation": (
        "lecun_normal",
        [*[Dense(N, N), RELU, LayerNorm()] * 4, Dense(N, N)],
    ),
    "dropout": (
        "he_normal",
        [Dropout(0.1), *[Dense(N, N), RELU, Dropout(0.25)] * 4, Dense(N, N)],
    ),
    "all of them": (
        "he_normal",
        [
            Dense(N, N),
            *[Residual((LayerNorm(), RELU, Dropout(0.2), Dense(N, N)), 0.7)] * 3,
            LayerNorm(),
            Dense(N, N),
        ],
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_pytorch(name: str):
    """Hold second moments, covariances and gradients to means over many draws.

    Five standard errors of those draws; and what the limit of infinite width leaves out, a few
    parts in 256.
    """
    init, blocks = BLOCKS[name]
    found = signal(blocks, init, input_correlation=0.5).layers
    draws = 60
    second, product, gradient = [], [], []
    for seed in range(draws):
        torch.manual_seed(seed)
        inputs = two_inputs(N, 0.5, stream(seed, "test", "inputs")).T.astype(np.float32)
        kept: list[Any] = []
        x = torch.tensor(inputs, requires_grad=True)
        through(blocks, x, init, seed, kept)
        kept[-1].backward(torch.randn_like(kept[-1]))
        values = [z.detach().double() for z in kept]
        second.append([float(z.square().mean()) for z in values])
        product.append([float((z[0] * z[1]).mean()) for z in values])
        squares = np.array([float(z.grad.square().mean()) for z in kept])
        gradient.append(squares / squares[-1])
    predictions = (
        (second, [layer.variance for layer in found]),
        (product, [layer.correlation * layer.variance for layer in found]),
        (gradient, [layer.gradient for layer in found]),
    )
    for samples, expected in predictions:
        sizes = expected if samples is gradient else [layer.variance for layer in found]
        for values, value, size in zip(np.transpose(samples), expected, sizes, strict=True):
            error = values.std(ddof=1) / math.sqrt(draws)
            assert abs(values.mean() - value) <= SIGMAS * error + 3 / N * size
            assert SIGMAS * error < 0.25 * size
