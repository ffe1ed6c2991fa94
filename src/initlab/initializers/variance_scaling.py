"""Initialisers whose variance follows the fans: LeCun, Glorot, He and their common form.

A pre-activation is a sum of fan_in terms; weights of variance 1 / fan_in keep its second moment at
that of the inputs. What the activation takes away, the gain gives back.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from initlab.initializers._arguments import finite, one_of, positive, spec
from initlab.initializers._definition import Entry, Initializer
from initlab.initializers.distributions import Normal, TruncatedNormal, Uniform
from initlab.initializers.scales import FAN_MODES, FanMode, FanScale

DistributionName = Literal["normal", "uniform", "truncated_normal"]

DISTRIBUTIONS: tuple[DistributionName, ...] = get_args(DistributionName)

_TRUNCATED = TruncatedNormal(2.0)


def lecun_normal(gain: float = 1.0) -> Initializer:
    """Draw from N(0, gain² / fan_in), which keeps the variance of a linear layer's signal.

    Parameters
    ----------
    gain
        Factor for the activation that follows, above 0.

    Raises
    ------
    InvalidValueError
        If the gain is out of range.
    """
    gain = positive("gain", gain)
    return Initializer(spec(lecun_normal, gain=gain), Normal(), FanScale(1.0, "fan_in", gain))


def lecun_uniform(gain: float = 1.0) -> Initializer:
    """Draw from U(-b, b), b = gain · sqrt(3 / fan_in): :func:`lecun_normal`'s variance."""
    gain = positive("gain", gain)
    return Initializer(spec(lecun_uniform, gain=gain), Uniform(), FanScale(3.0, "fan_in", gain))


def glorot_normal(gain: float = 1.0) -> Initializer:
    """Draw from N(0, 2 gain² / (fan_in + fan_out)), a compromise of forward and backward signal.

    Parameters
    ----------
    gain
        Factor for the activation that follows, above 0.

    Raises
    ------
    InvalidValueError
        If the gain is out of range.
    """
    gain = positive("gain", gain)
    return Initializer(spec(glorot_normal, gain=gain), Normal(), FanScale(1.0, "fan_avg", gain))


def glorot_uniform(gain: float = 1.0) -> Initializer:
    """Draw from U(-b, b), b = gain · sqrt(6 / (fan_in + fan_out)): that of the paper's eq. 16.

    Its variance is :func:`glorot_normal`'s, and so are the argument and the errors.
    """
    gain = positive("gain", gain)
    return Initializer(spec(glorot_uniform, gain=gain), Uniform(), FanScale(3.0, "fan_avg", gain))


def he_normal(slope: float = 0.0, mode: FanMode = "fan_in") -> Initializer:
    """Draw from N(0, 2 / ((1 + slope²) fan)), which keeps the second moment through a rectifier.

    Parameters
    ----------
    slope
        Of the rectifier's negative side: 0 for ReLU, ``negative_slope`` for a leaky one.
    mode
        ``"fan_in"`` keeps the forward signal, ``"fan_out"`` the gradients, ``"fan_avg"`` lies
        between.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> he_normal().std((5, 10)) == (2 / 10) ** 0.5
    True
    """
    slope, mode = finite("slope", slope), one_of("mode", mode, FAN_MODES)
    scale = FanScale(2.0, mode, _rectifier_gain(slope))
    return Initializer(spec(he_normal, slope=slope, mode=mode), Normal(), scale)


def he_uniform(slope: float = 0.0, mode: FanMode = "fan_in") -> Initializer:
    """Draw from U(-b, b), b = sqrt(6 / ((1 + slope²) fan)): :func:`he_normal`'s variance."""
    slope, mode = finite("slope", slope), one_of("mode", mode, FAN_MODES)
    scale = FanScale(6.0, mode, _rectifier_gain(slope))
    return Initializer(spec(he_uniform, slope=slope, mode=mode), Uniform(), scale)


def variance_scaling(
    scale: float = 1.0,
    mode: FanMode = "fan_in",
    distribution: DistributionName = "normal",
) -> Initializer:
    """Draw with mean 0 and variance scale / fan, from the distribution asked for.

    Parameters
    ----------
    scale
        Variance times fan, above 0: 1 for LeCun's and Glorot's rule, 2 for He's.
    mode
        ``"fan_in"``, ``"fan_out"``, or ``"fan_avg"``, the mean of the two.
    distribution
        ``"normal"``, ``"uniform"``, or ``"truncated_normal"``: cut at two standard deviations,
        then corrected to the variance asked for.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    What Keras and JAX call he_normal:

    >>> variance_scaling(2, distribution="truncated_normal")
    <initializer variance_scaling(scale=2, distribution='truncated_normal')>
    """
    scale, mode = positive("scale", scale), one_of("mode", mode, FAN_MODES)
    distribution = one_of("distribution", distribution, DISTRIBUTIONS)
    text = spec(variance_scaling, scale=scale, mode=mode, distribution=distribution)
    if distribution == "normal":
        return Initializer(text, Normal(), FanScale(scale, mode))
    if distribution == "uniform":
        return Initializer(text, Uniform(), FanScale(3.0 * scale, mode))
    return Initializer(text, _TRUNCATED, FanScale(scale, mode, 1 / _TRUNCATED.std))


def _rectifier_gain(slope: float) -> float:
    # sqrt(2) of He's gain stands in the scale's numerator: sqrt(2 / fan) is what published code
    # computes, to the last bit.
    return 1 / math.hypot(1.0, slope)


_LECUN = (
    "LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, in Neural Networks: Tricks of the "
    "Trade, sec. 4.6, eq. 16; Klambauer, Unterthiner, Mayr & Hochreiter 2017, Self-Normalizing "
    "Neural Networks, NeurIPS (for SELU)"
)
_GLOROT = (
    "Glorot & Bengio 2010, Understanding the Difficulty of Training Deep Feedforward Neural "
    "Networks, AISTATS, eq. 12 (variance) and 16 (uniform)"
)
_HE = (
    "He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers: Surpassing Human-Level Performance "
    "on ImageNet Classification, ICCV, eq. 10 (fan_in), 14 (fan_out), 15 (slope)"
)
_LECUN_WHEN = "SELU, which it keeps at mean 0 and variance 1; linear layers; tanh near 0"
_LECUN_WHEN_NOT = "ReLU and its relatives without their gain: each layer halves the second moment"
_GLOROT_WHEN = (
    "tanh, softsign and other activations that are linear and symmetric near 0; attention and "
    "linear output layers"
)
_GLOROT_WHEN_NOT = (
    "deep ReLU networks (layers of equal width halve the second moment; 30 of them stall) and "
    "sigmoid, which is not symmetric: both break the assumption of the derivation"
)
_HE_WHEN = "ReLU and leaky ReLU at any depth; a usual start for GELU, SiLU and Mish"
_HE_WHEN_NOT = (
    "tanh and sigmoid in deep networks, which it saturates; SELU; residual networks without "
    "normalisation, whose branches add up"
)
_TRUNCATED_ELSEWHERE = (
    "Keras and JAX draw from a normal distribution cut at 2 stds and divide the std by "
    "0.87962566: variance_scaling with distribution='truncated_normal'; "
)
_KAIMING = (
    "takes its gain by the activation's name and reads fan_out over all groups of a convolution; "
    "nn.Linear and nn.Conv start from kaiming_uniform_(a=sqrt(5)), a third of lecun's variance"
)

ENTRIES = (
    Entry(
        lecun_normal,
        formula="w ~ N(0, gain² / fan_in)",
        std="gain · sqrt(1 / fan_in)",
        reference=_LECUN,
        when=_LECUN_WHEN,
        when_not=_LECUN_WHEN_NOT,
        differs=f"{_TRUNCATED_ELSEWHERE}it is the default of Flax's Dense; PyTorch has it as "
        "kaiming_normal_(nonlinearity='linear')",
    ),
    Entry(
        lecun_uniform,
        formula="w ~ U(-b, b), b = gain · sqrt(3 / fan_in)",
        std="gain · sqrt(1 / fan_in)",
        reference=_LECUN,
        when=f"{_LECUN_WHEN}; the bounded sibling of lecun_normal",
        when_not=_LECUN_WHEN_NOT,
        differs="the same in Keras and JAX; PyTorch has it as kaiming_uniform_(nonlinearity="
        "'linear'); course texts also call U(-1/sqrt(fan_in), 1/sqrt(fan_in)) standard, a third "
        "of this variance",
    ),
    Entry(
        glorot_normal,
        formula="w ~ N(0, 2 gain² / (fan_in + fan_out))",
        std="gain · sqrt(2 / (fan_in + fan_out))",
        reference=_GLOROT,
        when=_GLOROT_WHEN,
        when_not=_GLOROT_WHEN_NOT,
        differs=f"{_TRUNCATED_ELSEWHERE}PyTorch's xavier_normal_ is this one",
    ),
    Entry(
        glorot_uniform,
        formula="w ~ U(-b, b), b = gain · sqrt(6 / (fan_in + fan_out))",
        std="gain · sqrt(2 / (fan_in + fan_out))",
        reference=_GLOROT,
        when=_GLOROT_WHEN,
        when_not=_GLOROT_WHEN_NOT,
        differs="the same in PyTorch (xavier_uniform_), Keras (the default of Dense) and JAX",
    ),
    Entry(
        he_normal,
        formula="w ~ N(0, 2 / ((1 + slope²) fan))",
        std="sqrt(2 / ((1 + slope²) fan))",
        reference=_HE,
        when=_HE_WHEN,
        when_not=_HE_WHEN_NOT,
        differs=f"{_TRUNCATED_ELSEWHERE}PyTorch's kaiming_normal_ is not cut; it {_KAIMING}",
    ),
    Entry(
        he_uniform,
        formula="w ~ U(-b, b), b = sqrt(6 / ((1 + slope²) fan))",
        std="sqrt(2 / ((1 + slope²) fan))",
        reference=_HE,
        when=f"{_HE_WHEN}; the bounded sibling of he_normal",
        when_not=_HE_WHEN_NOT,
        differs=f"the same in Keras, JAX and PyTorch, whose kaiming_uniform_ {_KAIMING}",
    ),
    Entry(
        variance_scaling,
        formula="w ~ D with mean 0 and variance scale / fan, D normal, uniform or truncated "
        "normal (cut at 2 stds, corrected)",
        std="sqrt(scale / fan)",
        reference="LeCun, Bottou, Orr & Müller 1998; Glorot & Bengio 2010; He, Zhang, Ren & Sun "
        "2015, whose rules it unites; the name is TensorFlow's: Abadi et al. 2016, TensorFlow: A "
        "System for Large-Scale Machine Learning, OSDI",
        when="a rule between the named ones, or another library's variant of one",
        when_not="where a named rule says the same: its name tells the reader why",
        differs="Keras' default is the truncated normal, and its 'normal' means truncated; JAX "
        "has no defaults and a fan_geo_avg besides; PyTorch has no function of this kind",
    ),
)
