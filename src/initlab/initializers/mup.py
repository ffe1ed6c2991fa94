"""Maximal update parametrisation: starts and learning rates that carry over to other widths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from initlab._base.fans import Fans
from initlab._base.fans import fans as read_fans
from initlab._base.numbers import positive
from initlab.initializers._arguments import count, flag, one_of, spec
from initlab.initializers._definition import Initializer, Shape
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.distributions import Normal, One
from initlab.initializers.scales import FanScale, Fixed

WidthKind = Literal["hidden", "input", "readout"]
Optimizer = Literal["sgd", "adam"]

WIDTH_KINDS: tuple[WidthKind, ...] = get_args(WidthKind)
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)


@dataclass(frozen=True)
class ReadoutScale:
    """gain · sqrt(base_width) / fan_in: at the base width the same as 1 / sqrt(fan_in).

    Attributes
    ----------
    base_width
        Fan-in of this weight in the base model.
    gain
        A further factor.
    """

    base_width: int
    gain: float = 1.0

    def factor(self, shape: Shape, fans: Fans | None, /) -> float:
        """Return the factor; an empty weight, whose fan may be 0, counts as fan 1."""
        fans = fans or read_fans(shape)
        return self.gain * math.sqrt(self.base_width) / (fans.fan_in or 1)


def mup(
    kind: WidthKind = "hidden",
    base_width: int | None = None,
    gain: float = 1.0,
    *,
    zero: bool = False,
) -> Initializer:
    """Draw a weight so that learning rates found on a narrow base model hold for a wide one.

    Parameters
    ----------
    kind
        ``"hidden"`` if both axes grow with the width, ``"input"`` if only the outputs do,
        ``"readout"`` if only the inputs do.
    base_width
        Fan-in of this weight in the base model; ``None`` takes its own: the model is the base.
        Only a readout starts differently for it; hidden and input weights differ in their learning
        rates, which :func:`mup_learning_rate` gives.
    gain
        Factor for the activation, above 0: sqrt(2) for ReLU.
    zero
        Start at 0, as the paper advises for readouts and queries.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> mup("readout").std((10, 256)), mup("readout", base_width=64).std((10, 256))
    (0.0625, 0.03125)
    """
    kind, gain, zero = one_of("kind", kind, WIDTH_KINDS), positive("gain", gain), flag("zero", zero)
    base_width = None if base_width is None else count("base_width", base_width)
    text = spec(mup, kind=kind, base_width=base_width, gain=gain, zero=zero)
    if zero:
        return Initializer(text, One(), Fixed(0.0))
    if kind == "readout" and base_width is not None:
        return Initializer(text, Normal(), ReadoutScale(base_width, gain))
    return Initializer(text, Normal(), FanScale(1.0, "fan_in", gain))


def mup_learning_rate(kind: WidthKind, optimizer: Optimizer, *, into: float, out: float) -> float:
    """Return what the base model's learning rate is multiplied by for one weight.

    Parameters
    ----------
    kind
        As for :func:`mup`; biases and the parameters of a normalisation are ``"input"``.
    optimizer
        ``"sgd"``, or ``"adam"`` for every optimiser that normalises the gradient per entry.
    into, out
        Fan-in and fan-out of the weight, each divided by that of the base model. What does not grow
        with the width has the ratio 1.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> mup_learning_rate("hidden", "adam", into=4, out=4)
    0.25
    >>> mup_learning_rate("input", "sgd", into=1, out=4)
    4.0
    """
    kind, optimizer = one_of("kind", kind, WIDTH_KINDS), one_of("optimizer", optimizer, OPTIMIZERS)
    into, out = positive("into", into), positive("out", out)
    if optimizer == "adam":
        return 1.0 if kind == "input" else 1 / into
    return {"input": out, "hidden": out / into, "readout": 1 / into}[kind]


def mup_attention_scale(head: int, base_head: int | None = None) -> float:
    """Return muP's factor of attention logits: 1/d in place of 1 / sqrt(d), the same at the base.

    Parameters
    ----------
    head
        d, the width of a head.
    base_head
        That of the base model; ``None`` gives 1/d itself.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> mup_attention_scale(64, base_head=64), mup_attention_scale(256, base_head=64)
    (0.125, 0.03125)
    """
    head = count("head", head)
    base = 1 if base_head is None else count("base_head", base_head)
    return math.sqrt(base) / head


ENTRIES = (
    Entry(
        make=mup,
        family="depth-aware",
        formula="w ~ N(0, gain² / fan_in) for input and hidden weights; readout: "
        "w ~ N(0, gain² base_width / fan_in²); zero: w = 0",
        std="gain / sqrt(fan_in); readout: gain sqrt(base_width) / fan_in; zero: 0",
        assumes="learning rates per weight: times 1 / r for hidden weights and the readout under "
        "Adam; times r for input weights and biases, 1 / r for the readout under SGD, where r is "
        "the width over that of the base model; attention logits scaled by 1/d, not 1/sqrt(d)",
        reference="Yang, Hu, Babuschkin, Sidor, Liu, Farhi, Ryder, Pachocki, Chen & Gao 2022, "
        "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer, "
        "table 3; Yang & Hu 2021, Tensor Programs IV: Feature Learning in Infinite-Width Neural "
        "Networks, ICML",
        cites=("yang2022tensor", "yang2021tensor"),
        when="learning rates found on a small model are to hold for a wide one",
        when_not="one learning rate for all weights: the start alone does not carry over",
        variants={
            "pytorch": Variant(
                "has none; the package mup keeps the readout's variance constant and multiplies "
                "its input by 1 / r instead, with Adam's rate unchanged for it: table 8 of the "
                "paper, the same function",
                "w = nn.init.normal_(torch.empty(shape), std=math.sqrt(64) / shape[1])",
            ),
            "keras": Variant(
                "has none; RandomNormal with that std",
                "w = keras.initializers.RandomNormal(stddev=math.sqrt(64) / shape[0])(shape)",
            ),
            "jax": Variant(
                "has none; normal with that std",
                "w = jax.nn.initializers.normal(math.sqrt(64) / shape[0])(key, shape)",
            ),
        },
        shape=(64, 256),
        example="mup('readout', base_width=64)",
        model="takes base_width as the base model's width, that of the signal which the output "
        "layer reads, and every other width in the same ratio; the output layer is the readout, "
        "weights fed from outside (not from another weight) are input weights, the rest hidden. "
        "initlab.models.schemes.mup_learning_rates gives each parameter's learning rate, and "
        "initlab.initializers.mup_attention_scale the factor of attention logits, which stands in "
        "the forward pass",
    ),
)
