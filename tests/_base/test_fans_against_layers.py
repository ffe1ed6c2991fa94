"""Fans are what PyTorch's layers compute: terms counted with weights of one, variances sampled.

The tests that name threads hold cases that were reported to other libraries.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from initlab._base.errors import InvalidValueError
from initlab._base.fans import (
    Fans,
    bilinear,
    convolution,
    embedding,
    fans,
    packed,
    transposed_convolution,
)

Forward = Callable[[Tensor], Tensor]
Window = tuple[slice, ...]
EVERYWHERE: Window = (slice(None),)
REDRAWS = 300
VARIANCE = 0.3

# Built where they are used: a factory keeps one test's weights out of another's.
double = partial(dict, bias=False, dtype=torch.float64)
CONVOLUTIONS = {
    "1d": (lambda: nn.Conv1d(6, 4, 3, **double()), (5,)),
    "1d padded": (lambda: nn.Conv1d(6, 4, 3, padding=1, **double()), (4,)),
    "1d kernel 1 stride 3": (lambda: nn.Conv1d(8, 6, 1, stride=3, **double()), (8,)),
    "1d last input unread": (lambda: nn.Conv1d(5, 6, 3, stride=2, **double()), (8,)),
    "1d groups": (lambda: nn.Conv1d(8, 12, 5, groups=4, padding=2, **double()), (6,)),
    "2d": (lambda: nn.Conv2d(4, 8, 3, padding=1, **double()), (4, 5)),
    "2d strided": (lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1, **double()), (8, 7)),
    "2d patches": (lambda: nn.Conv2d(3, 16, 4, stride=4, **double()), (8, 12)),
    "2d uneven": (
        lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 3), groups=2, **double()),
        (7, 6),
    ),
    "2d depthwise": (lambda: nn.Conv2d(16, 16, 3, groups=16, padding=1, **double()), (4, 4)),
    "2d depthwise, two each": (
        lambda: nn.Conv2d(8, 16, 3, stride=2, groups=8, padding=1, **double()),
        (6, 6),
    ),
    "2d same": (lambda: nn.Conv2d(3, 5, (4, 3), padding="same", dilation=2, **double()), (5, 7)),
    "2d valid": (lambda: nn.Conv2d(3, 5, 3, padding="valid", **double()), (5, 4)),
    "2d kernel beyond the map": (lambda: nn.Conv2d(3, 5, 7, padding=3, **double()), (3, 2)),
    "3d": (lambda: nn.Conv3d(3, 4, 3, padding=1, **double()), (3, 4, 2)),
    "3d strided": (lambda: nn.Conv3d(2, 6, (2, 3, 1), (2, 1, 2), **double()), (4, 5, 5)),
    "3d depthwise": (
        lambda: nn.Conv3d(6, 6, 3, groups=6, dilation=2, padding=2, **double()),
        (4,) * 3,
    ),
}
TRANSPOSED = {
    "1d": (lambda: nn.ConvTranspose1d(6, 4, 3, **double()), (5,)),
    "1d kernel 1 stride 2": (lambda: nn.ConvTranspose1d(16, 6, 1, stride=2, **double()), (6,)),
    "1d output padding": (lambda: nn.ConvTranspose1d(5, 6, 3, 2, 1, 1, **double()), (4,)),
    "1d groups": (lambda: nn.ConvTranspose1d(8, 12, 4, 2, groups=4, **double()), (5,)),
    "2d": (lambda: nn.ConvTranspose2d(4, 8, 3, **double()), (3, 4)),
    "2d generator": (lambda: nn.ConvTranspose2d(12, 6, 4, stride=2, padding=1, **double()), (4, 4)),
    "2d first of a generator": (lambda: nn.ConvTranspose2d(12, 6, 4, **double()), (1, 1)),
    "2d uneven": (
        lambda: nn.ConvTranspose2d(
            4, 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=2, dilation=(1, 2), **double()
        ),
        (4, 3),
    ),
    "2d depthwise": (lambda: nn.ConvTranspose2d(8, 8, 3, 2, groups=8, **double()), (3, 4)),
    "3d": (
        lambda: nn.ConvTranspose3d(4, 3, (3, 2, 2), (2, 2, 1), (1, 0, 0), **double()),
        (3, 2, 3),
    ),
}


def read(layer: nn.Module, size: tuple[int, ...] | None) -> Fans:
    """Hand a PyTorch layer's own attributes to the function for its kind."""
    geometry = {
        "groups": layer.groups,
        "stride": layer.stride,
        "dilation": layer.dilation,
        "padding": layer.padding,
        "size": size,
    }
    if layer.transposed:
        geometry["output_padding"] = layer.output_padding
        return transposed_convolution(tuple(layer.weight.shape), **geometry)
    return convolution(tuple(layer.weight.shape), **geometry)


def run(
    forward: Forward, inputs: Tensor, upstream: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the outputs, and the gradient of the inputs for the given gradient of the outputs."""
    inputs.requires_grad_()
    outputs = forward(inputs)
    (gradient,) = torch.autograd.grad(outputs, inputs, upstream(outputs))
    return outputs.detach(), gradient


def counted(
    weight: Tensor,
    forward: Forward,
    shape: tuple[int, ...],
    *,
    inner_outputs: Window = EVERYWHERE,
    inner_inputs: Window = EVERYWHERE,
    unit: float = 1.0,
) -> tuple[float, float]:
    """Count the mean terms of an output, and the mean outputs that an input reaches.

    All weights are one ``unit``, and so are all inputs and gradients: sums count their terms.
    """
    with torch.no_grad():
        weight.fill_(unit)
    outputs, gradient = run(forward, torch.ones(shape, dtype=torch.float64), torch.ones_like)
    return (
        float(outputs[(..., *inner_outputs)].mean()) / unit,
        float(gradient[(..., *inner_inputs)].mean()) / unit,
    )


def assert_sampled(
    found: Fans,
    weight: Tensor,
    forward: Forward,
    draw: Callable[[torch.Generator], Tensor],
    *,
    inner_outputs: Window = EVERYWHERE,
    inner_inputs: Window = EVERYWHERE,
    variance: float = VARIANCE,
) -> None:
    """Meet the variances of outputs and gradients, each within 5 standard errors of its mean.

    Every redraw of weights, inputs and gradients is one independent measurement.
    """
    generator = torch.Generator().manual_seed(1)
    measured = np.empty((REDRAWS, 2))
    for measurement in measured:
        with torch.no_grad():
            weight.normal_(0, math.sqrt(variance), generator=generator)
        outputs, gradient = run(
            forward,
            draw(generator),
            lambda y: torch.randn(y.shape, dtype=y.dtype, generator=generator),
        )
        measurement[0] = outputs[(..., *inner_outputs)].square().mean()
        measurement[1] = gradient[(..., *inner_inputs)].square().mean()
    errors = measured.std(axis=0, ddof=1) / math.sqrt(REDRAWS)
    expected = variance * np.array([found.fan_in, found.fan_out])
    assert (errors < 0.05 * expected).all()  # sharp enough to tell a wrong fan
    assert (np.abs(measured.mean(axis=0) - expected) < 5 * errors).all(), (
        measured.mean(0),
        expected,
    )


def noise(*shape: int) -> Callable[[torch.Generator], Tensor]:
    """Return a draw of white noise of variance 1."""
    return lambda generator: torch.randn(shape, dtype=torch.float64, generator=generator)


def channels(layer: nn.Module, *size: int) -> tuple[int, ...]:
    """Return the shape of a batch of one."""
    return (1, layer.in_channels, *size)


@pytest.mark.parametrize(
    ("make", "size"),
    [*CONVOLUTIONS.values(), *TRANSPOSED.values()],
    ids=[*CONVOLUTIONS, *(f"transposed {name}" for name in TRANSPOSED)],
)
def test_on_a_map_of_given_size(make: Callable[[], nn.Module], size: tuple[int, ...]):
    layer = make()
    found = read(layer, size)
    shape = channels(layer, *size)
    assert counted(layer.weight, layer, shape) == pytest.approx((found.fan_in, found.fan_out))
    assert_sampled(found, layer.weight, layer, noise(*shape))


def middle(layer: nn.Module) -> tuple[tuple[int, ...], Window, Window]:
    """Return a large map's size, and windows of whole strides in the middle of either side."""
    size, coarse, fine = [], [], []
    for axis, step in enumerate(layer.stride):
        reach = layer.dilation[axis] * layer.kernel_size[axis]
        wide = 2 * (reach + 2) + 4  # of the strided side: past what a border can touch
        size.append(wide if layer.transposed else wide * step)
        coarse.append(slice(wide // 2, wide // 2 + 1))
        fine.append(slice(wide // 2 * step, wide // 2 * step + step))
    both = tuple(coarse), tuple(fine)
    return tuple(size), *(both if not layer.transposed else both[::-1])


@pytest.mark.parametrize(
    "make",
    [make for make, _ in (*CONVOLUTIONS.values(), *TRANSPOSED.values())],
    ids=[*CONVOLUTIONS, *(f"transposed {name}" for name in TRANSPOSED)],
)
def test_in_the_interior_of_a_large_map(make: Callable[[], nn.Module]):
    layer = make()
    found = read(layer, None)
    size, outputs, inputs = middle(layer)
    count = counted(
        layer.weight, layer, channels(layer, *size), inner_outputs=outputs, inner_inputs=inputs
    )
    assert count == pytest.approx((found.fan_in, found.fan_out))


@pytest.mark.parametrize("make", [CONVOLUTIONS["2d strided"][0], TRANSPOSED["2d generator"][0]])
def test_variance_in_the_interior_of_a_large_map(make: Callable[[], nn.Module]):
    layer = make()
    size, outputs, inputs = middle(layer)
    assert_sampled(
        read(layer, None),
        layer.weight,
        layer,
        noise(*channels(layer, *size)),
        inner_outputs=outputs,
        inner_inputs=inputs,
    )


geometries = st.fixed_dictionaries(
    {
        "kernel_size": st.integers(1, 5),
        "stride": st.integers(1, 4),
        "dilation": st.integers(1, 3),
        "padding": st.integers(0, 5),
    }
)


@given(geometries, st.integers(1, 9), st.sampled_from([(1, 6, 4), (2, 6, 4), (3, 3, 6)]))
def test_any_convolution(geometry: dict[str, int], size: int, channels: tuple[int, int, int]):
    groups, inputs, outputs = channels
    layer = nn.Conv1d(inputs, outputs, groups=groups, **geometry, **double())
    reach = geometry["dilation"] * (geometry["kernel_size"] - 1) + 1
    if size + 2 * geometry["padding"] < reach:
        with pytest.raises(InvalidValueError, match="leaves no output"):
            read(layer, (size,))
        return
    found = read(layer, (size,))
    count = counted(layer.weight, layer, (1, inputs, size))
    assert count == pytest.approx((found.fan_in, found.fan_out), rel=1e-12)


@given(
    geometries,
    st.integers(0, 3),
    st.integers(1, 9),
    st.sampled_from([(1, 6, 4), (2, 6, 4), (3, 3, 6)]),
)
def test_any_transposed_convolution(
    geometry: dict[str, int], extra: int, size: int, channels: tuple[int, int, int]
):
    groups, inputs, outputs = channels
    extra = min(extra, max(geometry["stride"], geometry["dilation"]) - 1)  # PyTorch asks for that
    layer = nn.ConvTranspose1d(
        inputs, outputs, groups=groups, output_padding=extra, **geometry, **double()
    )
    reach = geometry["dilation"] * (geometry["kernel_size"] - 1) + 1
    if (size - 1) * geometry["stride"] + reach + extra <= 2 * geometry["padding"]:
        with pytest.raises(InvalidValueError, match="leaves no output"):
            read(layer, (size,))
        return
    found = read(layer, (size,))
    count = counted(layer.weight, layer, (1, inputs, size))
    assert count == pytest.approx((found.fan_in, found.fan_out), rel=1e-12)


def test_padding_that_differs_before_and_after():
    layer = nn.Conv2d(3, 5, 3, stride=2, **double())

    def forward(x: Tensor) -> Tensor:
        return layer(functional.pad(x, (0, 1, 2, 1)))  # PyTorch names the last dimension first

    found = convolution((5, 3, 3, 3), stride=2, padding=((2, 1), (0, 1)), size=(6, 6))
    count = counted(layer.weight, forward, (1, 3, 6, 6))
    assert count == pytest.approx((found.fan_in, found.fan_out))

    transposed = nn.ConvTranspose1d(3, 5, 4, stride=2, **double())
    found = transposed_convolution((3, 5, 4), stride=2, padding=((2, 1),), size=5)
    count = counted(transposed.weight, lambda x: transposed(x)[..., 2:-1], (1, 3, 5))
    assert count == pytest.approx((found.fan_in, found.fan_out))


def test_other_padding_than_zeros_fills_every_tap():
    layer = nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", **double())
    found = convolution((6, 4, 3, 3))
    assert counted(layer.weight, layer, (1, 4, 5, 5)) == (found.fan_in, found.fan_out)


def test_dense():
    layer = nn.Linear(24, 10, **double())
    found = fans(tuple(layer.weight.shape))
    assert counted(layer.weight, layer, (1, 24)) == (found.fan_in, found.fan_out)
    assert_sampled(found, layer.weight, layer, noise(1, 24))


def test_bilinear():
    layer = nn.Bilinear(6, 5, 8, **double())
    found = bilinear(tuple(layer.weight.shape))
    second = torch.ones((1, 5), dtype=torch.float64)
    count = counted(layer.weight, lambda x: layer(x, second), (1, 6))
    assert count == (found.fan_in, found.fan_out)
    generator = torch.Generator().manual_seed(2)
    draw = noise(8, 5)
    assert_sampled(found, layer.weight, lambda x: layer(x, draw(generator)), noise(8, 6))


def test_embedding():
    layer = nn.Embedding(30, 12, dtype=torch.float64)
    found = embedding(tuple(layer.weight.shape))

    def forward(one_hot: Tensor) -> Tensor:
        # The layer has no gradient for an index; the product that it stands for has one.
        outputs = one_hot @ layer.weight
        assert torch.equal(outputs, layer(one_hot.argmax(dim=-1)))
        return outputs

    def draw(generator: torch.Generator) -> Tensor:
        tokens = torch.randint(30, (8,), generator=generator)
        return functional.one_hot(tokens, 30).to(torch.float64)

    with torch.no_grad():
        layer.weight.fill_(1.0)
    outputs, gradient = run(forward, draw(torch.Generator()), torch.ones_like)
    assert (float(outputs.mean()), float(gradient.mean())) == (found.fan_in, found.fan_out)
    assert_sampled(found, layer.weight, forward, draw)


def test_packed_attention_by_parts_pytorch_166378_57117():
    """Each of query, key and value has the fans of a matrix of its own.

    Read as one matrix, the packed one has three times the fan_out and Glorot's rule half the
    variance: what ``MultiheadAttention`` starts from. Its output projection, one matrix, is left
    to the rule of ``Linear``, with a third of the variance.
    """
    width = 96
    torch.manual_seed(3)
    layer = nn.MultiheadAttention(width, 4, bias=False, batch_first=True, dtype=torch.float64)
    of_part = packed((3 * width, width), (width,) * 3)
    assert len(set(of_part)) == 1
    assert 1 / of_part[0].average == pytest.approx(1 / width)
    for weight, expected in ((layer.in_proj_weight, 1 / 2), (layer.out_proj.weight, 1 / 3)):
        started = float(weight.detach().square().mean()) * width
        # The square of a uniform number has variance 4/5 of its squared mean.
        assert abs(started - expected) < 5 * expected * math.sqrt(0.8 / weight.numel())

    for part in range(3):
        weight = layer.in_proj_weight.detach()[part * width : (part + 1) * width]
        projected = partial(functional.linear, weight=weight)
        count = counted(weight, projected, (1, width))
        assert count == (of_part[part].fan_in, of_part[part].fan_out)
    # A sequence of one token attends to itself: the layer's output is its value.
    with torch.no_grad():
        layer.out_proj.weight.copy_(torch.eye(width))
    value = layer.in_proj_weight.detach()[2 * width :]
    assert_sampled(of_part[2], value, lambda x: layer(x, x, x)[0], noise(1, 1, width))


def logit(y: Tensor) -> Tensor:
    """Undo the logistic function."""
    return torch.logit(y)


CLOSED, OPEN = -60.0, 60.0  # the gate is 0 or 1 to the last digit

# What the other gates are held at, so that the state shows one gate's pre-activation:
# gate -> (bias of each gate, state before, the state's part that shows, how it is undone).
LSTM_GATES = {
    0: ((0, OPEN, OPEN, OPEN), (0, 0), 1, logit),  # c = σ(i) · 1
    1: ((CLOSED, 0, 0, OPEN), (0, 1), 1, logit),  # c = σ(f) · 1
    2: ((OPEN, OPEN, 0, OPEN), (0, 0), 1, torch.atanh),  # c = tanh(g)
    3: ((CLOSED, OPEN, 0, 0), (0, 60), 0, logit),  # h = σ(o) · tanh(60)
}
GRU_GATES = {
    0: ((0, CLOSED, 0), (0, 0, 1), 0.0, lambda h: logit(torch.atanh(h))),  # h' = tanh(r · 1)
    1: ((0, 0, 0), (0, 0, 0), 1.0, logit),  # h' = z · 1
    2: ((0, CLOSED, 0), (0, 0, 0), 0.0, torch.atanh),  # h' = tanh(n)
}
HIDDEN, INPUTS = 16, 24


def hold(layer: nn.RNNCellBase, biases: tuple[float, ...]) -> None:
    """Set all weights to 0 and the bias of each gate to a number."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias_ih.copy_(torch.tensor(biases, dtype=torch.float64).repeat_interleave(HIDDEN))


@pytest.mark.parametrize("gate", LSTM_GATES)
def test_lstm_by_gates(gate: int):
    layer = nn.LSTMCell(INPUTS, HIDDEN, dtype=torch.float64)
    biases, before, shown, undo = LSTM_GATES[gate]
    hold(layer, biases)
    state = tuple(torch.full((1, HIDDEN), float(s), dtype=torch.float64) for s in before)
    found = packed(tuple(layer.weight_ih.shape), (HIDDEN,) * 4)[gate]
    weight = layer.weight_ih.detach()[gate * HIDDEN : (gate + 1) * HIDDEN]

    def forward(x: Tensor) -> Tensor:
        return undo(layer(x, state)[shown])

    count = counted(weight, forward, (1, INPUTS), unit=0.01)
    assert count == pytest.approx((found.fan_in, found.fan_out))
    assert_sampled(found, weight, forward, noise(1, INPUTS), variance=0.01)


@pytest.mark.parametrize("gate", GRU_GATES)
def test_gru_by_gates(gate: int):
    layer = nn.GRUCell(INPUTS, HIDDEN, dtype=torch.float64)
    biases, recurrent_biases, before, undo = GRU_GATES[gate]
    hold(layer, biases)
    with torch.no_grad():
        recurrent = torch.tensor(recurrent_biases, dtype=torch.float64)
        layer.bias_hh.copy_(recurrent.repeat_interleave(HIDDEN))
    state = torch.full((1, HIDDEN), before, dtype=torch.float64)
    found = packed(tuple(layer.weight_ih.shape), (HIDDEN,) * 3)[gate]
    weight = layer.weight_ih.detach()[gate * HIDDEN : (gate + 1) * HIDDEN]

    def forward(x: Tensor) -> Tensor:
        return undo(layer(x, state))

    count = counted(weight, forward, (1, INPUTS), unit=0.01)
    assert count == pytest.approx((found.fan_in, found.fan_out))
    assert_sampled(found, weight, forward, noise(1, INPUTS), variance=0.01)


def theirs(weight: Tensor) -> tuple[int, int]:
    """Return the fans that PyTorch's initialisers use: read from the shape alone."""
    return nn.init._calculate_fan_in_and_fan_out(weight)


def test_depthwise_fan_out_pytorch_23854_timm_84_keras_11773():
    """A depthwise 3x3 reaches 9 outputs from an input; 576 is what the shape alone suggests."""
    layer = nn.Conv2d(64, 64, 3, groups=64, padding=1, **double())
    found = convolution((64, 1, 3, 3), groups=64, padding=1)
    assert theirs(layer.weight) == (9, 576)
    size, outputs, inputs = middle(layer)
    shape = channels(layer, *size)
    count = counted(layer.weight, layer, shape, inner_outputs=outputs, inner_inputs=inputs)
    assert count == (found.fan_in, found.fan_out) == (9, 9)
    assert fans((64, 1, 3, 3), groups=64) == found


@pytest.mark.parametrize("groups", [1, 2, 8, 64])
def test_grouped_fan_in_mlx_4536(groups: int):
    """The terms of an output come from its own group only, so fan_in falls with the groups."""
    layer = nn.Conv1d(64, 64, 3, groups=groups, **double())
    found = convolution(tuple(layer.weight.shape), groups=groups)
    size, outputs, inputs = middle(layer)
    shape = channels(layer, *size)
    count = counted(layer.weight, layer, shape, inner_outputs=outputs, inner_inputs=inputs)
    assert count == (found.fan_in, found.fan_out) == (192 // groups, 192 // groups)


def test_transposed_fans_pytorch_7865_30079_tensorflow_31192():
    """A transposed convolution from 16 to 256 maps sums 144 terms; read as a plain one, 2304."""
    layer = nn.ConvTranspose2d(16, 256, 3, **double())
    found = transposed_convolution((16, 256, 3, 3))
    assert theirs(layer.weight) == (2304, 144)
    size, outputs, inputs = middle(layer)
    shape = channels(layer, *size)
    count = counted(layer.weight, layer, shape, inner_outputs=outputs, inner_inputs=inputs)
    assert count == (found.fan_in, found.fan_out) == (144, 2304)


def test_connections_are_the_same_counted_from_either_side():
    for stride, padding, size in itertools.product((1, 2, 3), (0, 2), (5, 8)):
        layer = nn.Conv1d(2, 3, 4, stride=stride, padding=padding, **double())
        found = read(layer, (size,))
        outputs = layer(torch.zeros((1, 2, size), dtype=torch.float64))
        assert found.fan_in * outputs.numel() == pytest.approx(found.fan_out * 2 * size)
