"""The same names in PyTorch draw from the same distributions, wherever the catalogue says so."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from initlab._base.fans import fans
from initlab._base.streams import stream
from initlab.initializers import get

SHAPES = [(300, 150), (40, 600), (64, 32, 3, 3), (24, 40, 11)]


def torch_draw(
    fill: Callable[..., torch.Tensor], shape: tuple[int, ...], **arguments: float | str
) -> np.ndarray:
    """Fill a float64 tensor from PyTorch's own generator."""
    generator = torch.Generator().manual_seed(1)
    return fill(torch.empty(shape, dtype=torch.float64), generator=generator, **arguments).numpy()


CASES = [
    ("normal(std=0.3, mean=0.1)", nn.init.normal_, {"std": 0.3, "mean": 0.1}),
    ("uniform(bound=0.2)", nn.init.uniform_, {"a": -0.2, "b": 0.2}),
    # PyTorch's bounds are absolute: the same distribution only where they are written out.
    ("truncated_normal(std=0.02)", nn.init.trunc_normal_, {"std": 0.02, "a": -0.04, "b": 0.04}),
    ("glorot_normal(gain=1.7)", nn.init.xavier_normal_, {"gain": 1.7}),
    ("glorot_uniform", nn.init.xavier_uniform_, {}),
    ("he_normal", nn.init.kaiming_normal_, {"nonlinearity": "relu"}),
    ("he_uniform", nn.init.kaiming_uniform_, {"nonlinearity": "relu"}),
    ("he_normal(slope=0.5)", nn.init.kaiming_normal_, {"a": 0.5}),
    (
        "he_uniform(slope=0.5, mode='fan_out')",
        nn.init.kaiming_uniform_,
        {"a": 0.5, "mode": "fan_out"},
    ),
    ("lecun_normal", nn.init.kaiming_normal_, {"nonlinearity": "linear"}),
    ("lecun_uniform", nn.init.kaiming_uniform_, {"nonlinearity": "linear"}),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("text", "fill", "arguments"), CASES)
def test_same_distribution(
    text: str,
    fill: Callable[..., torch.Tensor],
    arguments: dict[str, float | str],
    shape: tuple[int, ...],
):
    theirs = torch_draw(fill, shape, **arguments).ravel()
    ours = get(text).sample(shape, stream(0, "torch", text)).ravel()
    # 6 standard errors of a normal's variance, the widest of the distributions here.
    variance = np.mean((theirs - get(text).mean(shape)) ** 2)
    assert abs(variance / get(text).std(shape) ** 2 - 1) < 6 * math.sqrt(2 / theirs.size)
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_bounds_of_kaiming_uniform(shape: tuple[int, ...], mode: str):
    theirs = torch_draw(nn.init.kaiming_uniform_, shape, a=math.sqrt(5), mode=mode)
    bound = math.sqrt(3) * get(f"he_uniform(slope={math.sqrt(5)!r}, mode={mode!r})").std(shape)
    assert bound * (1 - 40 / theirs.size) < np.abs(theirs).max() <= bound * (1 + 1e-14)


def test_default_linear_has_a_third_of_lecuns_variance():
    layer = nn.Linear(500, 400)
    variance = float(layer.weight.detach().double().var())
    expected = get("lecun_normal").std((400, 500)) ** 2 / 3
    assert abs(variance / expected - 1) < 6 * math.sqrt(0.8 / 200_000)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0, 5.0])
def test_gain_of_a_rectifier(slope: float):
    gain = nn.init.calculate_gain("leaky_relu", slope)
    assert get(f"he_normal(slope={slope})").std((3, 1)) == pytest.approx(gain, rel=1e-14)


def test_trunc_normal_of_a_small_std_is_not_cut():
    theirs = torch_draw(nn.init.trunc_normal_, (1000, 500), std=0.02)
    assert np.abs(theirs).max() > 2 * 0.02
    assert theirs.std() == pytest.approx(0.02, rel=0.005)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 2, 2)])
def test_orthogonal(shape: tuple[int, ...]):
    generator = torch.Generator().manual_seed(1)
    source = stream(0, "torch", str(shape))
    orthogonal, empty = get("orthogonal(gain=1.5)"), torch.empty(shape, dtype=torch.float64)
    theirs = np.stack(
        [
            nn.init.orthogonal_(empty, gain=1.5, generator=generator).numpy().copy()
            for _ in range(400)
        ]
    )
    ours = np.stack([orthogonal.sample(shape, source) for _ in range(400)])
    for row in (0, 2):
        index = (slice(None), row, 1, *[0] * (len(shape) - 2))
        assert stats.ks_2samp(ours[index], theirs[index]).pvalue > 1e-4


@pytest.mark.parametrize(
    "layer", [nn.Linear(7, 5), nn.Conv1d(6, 4, 3), nn.Conv2d(6, 4, (3, 2)), nn.Conv3d(2, 4, 2)]
)
def test_fans_are_what_the_layer_sums(layer: nn.Linear):
    # Counted on the layer itself: a unit at one input reaches fan_out outputs; fan_in inputs
    # reach one output.
    found = fans(tuple(layer.weight.shape))
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.zero_()
        spatial = (7,) * (layer.weight.ndim - 2)
        inputs = torch.ones((1, layer.weight.shape[1], *spatial))
        center = (0, 0, *[3] * len(spatial))
        fan_in = float(layer(inputs)[center if spatial else (0, 0)])
        inputs.zero_()
        inputs[center if spatial else (0, 0)] = 1.0
        fan_out = float(layer(inputs).sum())
    assert (found.fan_in, found.fan_out) == (fan_in, fan_out)
