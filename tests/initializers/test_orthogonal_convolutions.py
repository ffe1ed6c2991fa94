"""Orthogonal kernels as operations: PyTorch's convolution keeps norms, or its transpose does."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from initlab._base.streams import stream
from initlab.initializers import get

CONVOLUTIONS = {3: nn.functional.conv1d, 4: nn.functional.conv2d, 5: nn.functional.conv3d}
SHAPES = [
    (6, 6, 3),
    (7, 4, 4),
    (4, 7, 5),
    (6, 6, 3, 3),
    (8, 3, 5, 5),
    (3, 8, 3, 3),
    (5, 4, 3, 2),
    (4, 5, 1, 4),
    (5, 3, 3, 3, 3),
    (3, 4, 2, 1, 3),
]


def circular(weight: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Convolve with circular padding and stride 1: as many positions come out as went in."""
    padding = [side for size in reversed(weight.shape[2:]) for side in (size - 1, 0)]
    return CONVOLUTIONS[weight.ndim](nn.functional.pad(inputs, padding, mode="circular"), weight)


def norms(array: torch.Tensor) -> np.ndarray:
    return array.flatten(1).norm(dim=1).detach().numpy()


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_orthogonal_convolution_keeps_norms(shape: tuple[int, ...], size: int):
    weight = torch.from_numpy(get("conv_orthogonal(gain=1.5)").sample(shape, stream(0, "init")))
    generator = torch.Generator().manual_seed(0)
    spatial = (size,) * len(shape[2:])
    inputs = torch.randn(
        3, shape[1], *spatial, generator=generator, dtype=torch.float64, requires_grad=True
    )
    outputs = circular(weight, inputs)
    assert outputs.shape == (3, shape[0], *spatial)
    if shape[0] >= shape[1]:
        np.testing.assert_allclose(norms(outputs), 1.5 * norms(inputs), rtol=1e-12)
    if shape[0] <= shape[1]:
        cotangent = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(outputs, inputs, cotangent)
        np.testing.assert_allclose(norms(gradient), 1.5 * norms(cotangent), rtol=1e-12)


def test_a_flattened_orthogonal_kernel_does_not():
    weight = torch.from_numpy(get("orthogonal").sample((6, 6, 3, 3), stream(0, "init")))
    channels = torch.from_numpy(stream(0, "inputs").standard_normal((20, 6, 1, 1)))
    inputs = channels.expand(20, 6, 5, 5)
    ratio = norms(circular(weight, inputs)) / norms(inputs)
    assert ratio.max() > 1.1
    assert ratio.min() < 0.9


def test_how_the_energy_is_spread_over_the_taps():
    # With E[P] = I/2, three taps hold 1/4, 1/2 and 1/4 of the squares; a delta kernel would not.
    source = stream(0, "taps")
    kernels = np.stack([get("conv_orthogonal").sample((6, 6, 3), source) for _ in range(400)])
    shares = np.mean(kernels**2, axis=(1, 2)) * 6
    error = shares.std(axis=0, ddof=1) / np.sqrt(len(shares))
    assert (np.abs(shares.mean(axis=0) - [0.25, 0.5, 0.25]) < 5 * error).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("text", ["conv_orthogonal", "delta_orthogonal"])
def test_a_kernel_of_one_tap_is_an_orthogonal_matrix(text: str):
    for shape in ((6, 4), (4, 6, 1), (5, 5, 1, 1)):
        weight = get(text).sample(shape, stream(0, "init"))
        expected = get("orthogonal").sample(shape, stream(0, "init"))
        np.testing.assert_allclose(weight, expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 6, 3, 3), (8, 3, 5), (3, 8, 3, 3), (5, 4, 4)], ids=str)
def test_a_delta_kernel_rotates_each_position_by_itself(shape: tuple[int, ...]):
    weight = torch.from_numpy(get("delta_orthogonal(gain=2)").sample(shape, stream(0, "init")))
    centre = weight[(..., *(size // 2 for size in shape[2:]))].numpy()
    assert np.count_nonzero(weight) == np.count_nonzero(centre) == shape[0] * shape[1]
    values = np.linalg.svd(centre, compute_uv=False)
    np.testing.assert_allclose(values, 2, rtol=1e-12)
    # Zero padding does it no harm.
    size = (2, shape[1], *(6,) * len(shape[2:]))
    inputs = torch.from_numpy(stream(0, "inputs").standard_normal(size))
    outputs = CONVOLUTIONS[len(shape)](inputs, weight, padding=[size // 2 for size in shape[2:]])
    core = outputs[(..., *(slice(6) for _ in shape[2:]))]
    np.testing.assert_allclose(core, np.einsum("oi,bi...->bo...", centre, inputs), atol=1e-12)


def test_the_number_of_blas_threads_changes_no_bit():
    code = (
        "import hashlib; from initlab._base.streams import stream; "
        "from initlab.initializers import get; "
        "texts = [('orthogonal', (700, 500)), ('conv_orthogonal', (160, 120, 3, 3))]; "
        "bits = b''.join(get(t).sample(s, stream(0, 'init')).tobytes() for t, s in texts); "
        "print(hashlib.sha256(bits).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }
    assert len(found) == 1
