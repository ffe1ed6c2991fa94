"""Initialisers whose variance follows the fans: LeCun, Glorot, He and their common form.

A pre-activation is a sum of fan_in terms; weights of variance 1 / fan_in keep its second moment at
that of the inputs. What the activation takes away, the gain gives back.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from initlab._base.numbers import finite, positive
from initlab.initializers._arguments import one_of, spec
from initlab.initializers._definition import Initializer
from initlab.initializers._entry import Entry, Variant
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
    "Trade, sec. 4.6, eq. 16"
)
_GLOROT = (
    "Glorot & Bengio 2010, Understanding the Difficulty of Training Deep Feedforward Neural "
    "Networks, AISTATS, eq. 12 (variance) and 16 (uniform)"
)
_HE = (
    "He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers: Surpassing Human-Level Performance "
    "on ImageNet Classification, ICCV, eq. 10 (fan_in), 14 (fan_out), 15 (slope)"
)
_LECUN_ASSUMES = (
    "independent weights; inputs of second moment 1; an activation that keeps it, linear or scaled "
    "to"
)
_LECUN_WHEN = "linear layers; SELU, which it keeps at mean 0 and variance 1; tanh near 0"
_LECUN_WHEN_NOT = "ReLU and its relatives without their gain: each layer halves the second moment"
_GLOROT_ASSUMES = (
    "independent weights; an activation that is the identity near 0 (symmetric, slope 1) and "
    "pre-activations small enough to stay there"
)
_GLOROT_WHEN = (
    "tanh, softsign and other activations that are linear and symmetric near 0; attention and "
    "linear output layers"
)
_GLOROT_WHEN_NOT = (
    "deep ReLU networks (layers of equal width halve the second moment; 30 of them stall) and "
    "sigmoid, which is not symmetric: both break the assumption of the derivation"
)
_HE_ASSUMES = (
    "independent weights of symmetric distribution; zero biases; a rectifier of the given slope "
    "before the layer (fan_in) or after it (fan_out)"
)
_HE_WHEN = "ReLU and leaky ReLU at any depth; a usual start for GELU, SiLU and Mish"
_HE_WHEN_NOT = (
    "tanh and sigmoid in deep networks, which it saturates; SELU; residual networks without "
    "normalisation, whose branches add up"
)
_CUT = (
    "draws from a normal distribution cut at 2 stds and divides the std by 0.87962566: "
    "variance_scaling with distribution='truncated_normal'"
)
_KAIMING = (
    "takes its gain by the activation's name and reads fan_out over all groups of a convolution; "
    "nn.Linear and nn.Conv start from kaiming_uniform_(a=sqrt(5)): pytorch_default"
)

ENTRIES = (
    Entry(
        make=lecun_normal,
        family="variance scaling",
        formula="w ~ N(0, gain² / fan_in)",
        std="gain · sqrt(1 / fan_in)",
        assumes=_LECUN_ASSUMES,
        reference=_LECUN,
        cites=("lecun1998efficient",),
        when=_LECUN_WHEN,
        when_not=_LECUN_WHEN_NOT,
        variants={
            "pytorch": Variant(
                "under another name: kaiming_normal_(nonlinearity='linear')",
                'w = nn.init.kaiming_normal_(torch.empty(shape), nonlinearity="linear")',
            ),
            "keras": Variant(
                f"LecunNormal {_CUT}",
                'w = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                f"lecun_normal, the default of Flax's Dense, {_CUT}",
                'w = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")(key, shape)',
            ),
        },
    ),
    Entry(
        make=lecun_uniform,
        family="variance scaling",
        formula="w ~ U(-b, b), b = gain · sqrt(3 / fan_in)",
        std="gain · sqrt(1 / fan_in)",
        assumes=_LECUN_ASSUMES,
        reference=_LECUN,
        cites=("lecun1998efficient",),
        when=f"{_LECUN_WHEN}; the bounded sibling of lecun_normal",
        when_not=_LECUN_WHEN_NOT,
        variants={
            "pytorch": Variant(
                "under another name: kaiming_uniform_(nonlinearity='linear')",
                'w = nn.init.kaiming_uniform_(torch.empty(shape), nonlinearity="linear")',
            ),
            "keras": Variant(
                "LecunUniform is the same", "w = keras.initializers.LecunUniform()(shape)"
            ),
            "jax": Variant(
                "lecun_uniform is the same", "w = jax.nn.initializers.lecun_uniform()(key, shape)"
            ),
        },
    ),
    Entry(
        make=glorot_normal,
        family="variance scaling",
        formula="w ~ N(0, 2 gain² / (fan_in + fan_out))",
        std="gain · sqrt(2 / (fan_in + fan_out))",
        assumes=_GLOROT_ASSUMES,
        reference=_GLOROT,
        cites=("glorot2010understanding",),
        when=_GLOROT_WHEN,
        when_not=_GLOROT_WHEN_NOT,
        variants={
            "pytorch": Variant(
                "xavier_normal_ is the same", "w = nn.init.xavier_normal_(torch.empty(shape))"
            ),
            "keras": Variant(
                f"GlorotNormal {_CUT}",
                'w = keras.initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                f"glorot_normal {_CUT}",
                'w = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "normal")(key, shape)',
            ),
        },
    ),
    Entry(
        make=glorot_uniform,
        family="variance scaling",
        formula="w ~ U(-b, b), b = gain · sqrt(6 / (fan_in + fan_out))",
        std="gain · sqrt(2 / (fan_in + fan_out))",
        assumes=_GLOROT_ASSUMES,
        reference=_GLOROT,
        cites=("glorot2010understanding",),
        when=_GLOROT_WHEN,
        when_not=_GLOROT_WHEN_NOT,
        variants={
            "pytorch": Variant(
                "xavier_uniform_ is the same", "w = nn.init.xavier_uniform_(torch.empty(shape))"
            ),
            "keras": Variant(
                "GlorotUniform, the default of Dense, is the same",
                "w = keras.initializers.GlorotUniform()(shape)",
            ),
            "jax": Variant(
                "glorot_uniform is the same", "w = jax.nn.initializers.glorot_uniform()(key, shape)"
            ),
        },
    ),
    Entry(
        make=he_normal,
        family="variance scaling",
        formula="w ~ N(0, 2 / ((1 + slope²) fan))",
        std="sqrt(2 / ((1 + slope²) fan))",
        assumes=_HE_ASSUMES,
        reference=_HE,
        cites=("he2015delving",),
        when=_HE_WHEN,
        when_not=_HE_WHEN_NOT,
        variants={
            "pytorch": Variant(
                f"kaiming_normal_ is the same; it {_KAIMING}",
                'w = nn.init.kaiming_normal_(torch.empty(shape), nonlinearity="relu")',
            ),
            "keras": Variant(
                f"HeNormal {_CUT}",
                'w = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                f"he_normal {_CUT}",
                'w = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")(key, shape)',
            ),
        },
    ),
    Entry(
        make=he_uniform,
        family="variance scaling",
        formula="w ~ U(-b, b), b = sqrt(6 / ((1 + slope²) fan))",
        std="sqrt(2 / ((1 + slope²) fan))",
        assumes=_HE_ASSUMES,
        reference=_HE,
        cites=("he2015delving",),
        when=f"{_HE_WHEN}; the bounded sibling of he_normal",
        when_not=_HE_WHEN_NOT,
        variants={
            "pytorch": Variant(
                f"kaiming_uniform_ is the same; it {_KAIMING}",
                'w = nn.init.kaiming_uniform_(torch.empty(shape), nonlinearity="relu")',
            ),
            "keras": Variant("HeUniform is the same", "w = keras.initializers.HeUniform()(shape)"),
            "jax": Variant(
                "he_uniform is the same", "w = jax.nn.initializers.he_uniform()(key, shape)"
            ),
        },
    ),
    Entry(
        make=variance_scaling,
        family="variance scaling",
        formula="w ~ D with mean 0 and variance scale / fan, D normal, uniform or truncated "
        "normal (cut at 2 stds, corrected)",
        std="sqrt(scale / fan)",
        assumes="independent weights; that the scale makes up for what the activation takes away",
        reference="LeCun, Bottou, Orr & Müller 1998; Glorot & Bengio 2010; He, Zhang, Ren & Sun "
        "2015, whose rules it unites; the name is TensorFlow's: Abadi et al. 2016, TensorFlow: A "
        "System for Large-Scale Machine Learning, OSDI",
        cites=(
            "lecun1998efficient",
            "glorot2010understanding",
            "he2015delving",
            "abadi2016tensorflow",
        ),
        when="a rule between the named ones, or another library's variant of one",
        when_not="where a named rule says the same: its name tells the reader why",
        variants={
            "pytorch": Variant(
                "no function of this kind; kaiming_normal_ with a gain from calculate_gain",
                "w = torch.randn(shape) * math.sqrt(1.0 / math.prod(shape[1:]))",
            ),
            "keras": Variant(
                "the default of VarianceScaling is the truncated normal, and its 'normal' means "
                "truncated",
                'w = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                "variance_scaling has no defaults, and a fan_geo_avg besides",
                'w = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")(key, shape)',
            ),
        },
    ),
)
