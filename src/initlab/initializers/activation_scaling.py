"""Variance scaling that starts from what the activation does to the signal."""

from __future__ import annotations

import math
from typing import Literal, get_args

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import positive
from initlab.initializers._arguments import one_of, spec
from initlab.initializers._definition import Initializer
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.distributions import Normal, Uniform
from initlab.initializers.scales import FAN_MODES, FanMode, FanScale

Convention = Literal["second_moment", "variance"]

CONVENTIONS: tuple[Convention, ...] = get_args(Convention)


def selu_normal() -> Initializer:
    """Draw from N(0, 1 / fan_in), for which SELU has its fixed point at mean 0 and variance 1.

    Examples
    --------
    >>> selu_normal().std((7, 100))
    0.1
    """
    return Initializer(spec(selu_normal), Normal(), FanScale(1.0, "fan_in"))


def activation_matched(
    activation: str, convention: Convention = "second_moment", mode: FanMode = "fan_in"
) -> Initializer:
    """Draw from N(0, gain² / fan), the gain from the activation's own moments under N(0, 1).

    Parameters
    ----------
    activation
        That before the layer: a name of :mod:`initlab.activations`, ``"gelu"``,
        ``"leaky_relu(0.2)"``.
    convention
        ``"second_moment"``: gain² = 1 / E[φ(z)²], which keeps that of the pre-activations where
        weights have mean 0. ``"variance"``: gain² = 1 / Var φ(z), for layers whose weights are
        centred, each row to mean 0.
    mode
        ``"fan_in"``, ``"fan_out"``, or ``"fan_avg"``, the mean of the two.

    Raises
    ------
    UnknownNameError
        If no activation carries the name.
    InvalidValueError
        If an argument is out of range, or the activation has no moment to match: a constant one.

    Examples
    --------
    >>> round(activation_matched("gelu").std((7, 100)), 6)
    0.153353
    >>> activation_matched("relu").std((7, 200)) == 0.1
    True
    """
    from initlab import activations  # noqa: PLC0415 - 400 ms that only this rule needs
    from initlab.activations import moments  # noqa: PLC0415 - likewise

    if not isinstance(activation, str):  # pyright: ignore[reportUnnecessaryIsInstance] - the user's text
        raise InvalidValueError(f"activation={activation!r} is not a name such as 'gelu'")
    function = activations.get(activation)
    convention = one_of("convention", convention, CONVENTIONS)
    mode = one_of("mode", mode, FAN_MODES)
    measure = moments.second_moment if convention == "second_moment" else moments.variance
    moment = measure(function)
    if not 0 < moment < math.inf:
        raise InvalidValueError(
            f"activation={activation!r} has a {convention.replace('_', ' ')} of {moment:g} under "
            "N(0, 1); it must be finite and above 0"
        )
    text = spec(activation_matched, activation=function.name, convention=convention, mode=mode)
    return Initializer(text, Normal(), FanScale(1 / moment, mode))


def autoinit(input_second_moment: float = 1.0) -> Initializer:
    """Draw from N(0, 1 / (fan_in E[x²])): outputs of variance 1, whatever the inputs are.

    Parameters
    ----------
    input_second_moment
        E[x²] of what the layer is fed, mean² + variance, above 0.

    Raises
    ------
    InvalidValueError
        If the moment is out of range.

    Examples
    --------
    After dropout that keeps 80 %:

    >>> autoinit(1.25).std((7, 80))
    0.1
    """
    moment = positive("input_second_moment", input_second_moment)
    text = spec(autoinit, input_second_moment=moment)
    return Initializer(text, Normal(), FanScale(1 / moment, "fan_in"))


def pytorch_default() -> Initializer:
    """Draw from U(-b, b), b = 1 / sqrt(fan_in), where PyTorch's linear layers start.

    Examples
    --------
    >>> pytorch_default().std((7, 300)) ** 2 * 900
    1.0
    """
    return Initializer(spec(pytorch_default), Uniform(), FanScale(1.0, "fan_in"))


_UNTRUNCATED = '(1.0, "fan_in", "untruncated_normal")(shape)'

ENTRIES = (
    Entry(
        make=selu_normal,
        family="variance scaling",
        formula="w ~ N(0, 1 / fan_in)",
        std="sqrt(1 / fan_in)",
        assumes="SELU with its two constants; inputs standardised to mean 0 and variance 1; biases "
        "of 0; alpha dropout if any",
        reference="Klambauer, Unterthiner, Mayr & Hochreiter 2017, Self-Normalizing Neural "
        "Networks, NeurIPS, sec. 2 (weights of mean 0 and variance 1 / n)",
        cites=("klambauer2017self",),
        when="SELU networks: the mapping of mean and variance has its attracting fixed point at "
        "0 and 1",
        when_not="ELU and other activations; lecun_normal is the same rule where nothing is SELU",
        variants={
            "pytorch": Variant(
                "under another name; kaiming_normal_(nonlinearity='selu') has a gain of 3/4, "
                "under which the variance shrinks",
                'w = nn.init.kaiming_normal_(torch.empty(shape), nonlinearity="linear")',
            ),
            "keras": Variant(
                "lecun_normal, which Keras recommends for selu, is cut at 2 stds",
                f"w = keras.initializers.VarianceScaling{_UNTRUNCATED}",
            ),
            "jax": Variant(
                "lecun_normal is cut at 2 stds",
                'w = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")(key, shape)',
            ),
        },
    ),
    Entry(
        make=activation_matched,
        family="variance scaling",
        formula="w ~ N(0, gain² / fan), gain² = 1 / E[φ(z)²] or 1 / Var φ(z), z ~ N(0, 1)",
        std="sqrt(1 / (fan · E[φ(z)²])), or with Var φ(z) in its place",
        assumes="pre-activations near N(0, 1), as wide layers have them; for the convention "
        "variance, weights that sum to 0 over the inputs of each unit",
        reference="Poole, Lahiri, Raghu, Sohl-Dickstein & Ganguli 2016, Exponential Expressivity "
        "in Deep Neural Networks through Transient Chaos, NeurIPS, eq. 3 (second moment); Brock, "
        "De & Smith 2021, Characterizing Signal Propagation to Close the Performance Gap in "
        "Unnormalized ResNets, ICLR, sec. 4 (variance)",
        cites=("poole2016exponential", "brock2021characterizing"),
        when="GELU, SiLU, Mish, softplus and any activation for which no gain is published",
        when_not="inputs that are no pre-activations of scale 1; a deep plain network of an "
        "activation that is not homogeneous: its fixed point at 1 may repel",
        variants={
            "pytorch": Variant(
                "calculate_gain knows no gain for GELU, SiLU and Mish, and raises",
                "z, p = np.polynomial.hermite_e.hermegauss(64)\n"
                "second_moment = p @ nn.functional.gelu(torch.tensor(z)).numpy() ** 2 / p.sum()\n"
                "w = torch.randn(shape) / math.sqrt(second_moment * math.prod(shape[1:]))",
            ),
            "keras": Variant(
                "none",
                "z, p = np.polynomial.hermite_e.hermegauss(64)\n"
                "y = ops.convert_to_numpy(keras.activations.gelu(z, approximate=False))\n"
                "scale = float(p.sum() / (p @ y**2))\n"
                'w = keras.initializers.VarianceScaling(scale, "fan_in", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                "none",
                "z, p = np.polynomial.hermite_e.hermegauss(64)\n"
                "scale = p.sum() / (p @ np.array(jax.nn.gelu(z, approximate=False)) ** 2)\n"
                'w = jax.nn.initializers.variance_scaling(scale, "fan_in", "normal")(key, shape)',
            ),
        },
        example="activation_matched('gelu')",
    ),
    Entry(
        make=autoinit,
        family="variance scaling",
        formula="w ~ N(0, 1 / (fan_in · E[x²]))",
        std="sqrt(1 / (fan_in · input_second_moment))",
        assumes="the second moment of the layer's input is known, by tracking it through the "
        "layers before",
        reference="Bingham & Miikkulainen 2023, AutoInit: Analytic Signal-Preserving Weight "
        "Initialization for Neural Networks, AAAI (the rule for layers with weights)",
        cites=("bingham2023autoinit",),
        when="after anything that changes the signal and has no gain of its own: dropout, pooling, "
        "sums, products, concatenation",
        when_not="where the moment is not known: 1 stands for standardised inputs, and is wrong "
        "after a rectifier",
        variants={
            "pytorch": Variant(
                "none", "w = torch.randn(shape) / math.sqrt(1.0 * math.prod(shape[1:]))"
            ),
            "keras": Variant(
                "none; the authors' package wraps Keras models",
                f"w = keras.initializers.VarianceScaling{_UNTRUNCATED}",
            ),
            "jax": Variant(
                "none",
                'w = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")(key, shape)',
            ),
        },
    ),
    Entry(
        make=pytorch_default,
        family="variance scaling",
        formula="w ~ U(-b, b), b = 1 / sqrt(fan_in)",
        std="sqrt(1 / (3 fan_in))",
        assumes="something else sets the scale of the signal: few layers, or normalisation",
        reference="Glorot & Bengio 2010, Understanding the Difficulty of Training Deep Feedforward "
        "Neural Networks, AISTATS, eq. 1 (there the standard initialisation); Paszke et al. 2019, "
        "PyTorch: An Imperative Style, High-Performance Deep Learning Library, NeurIPS",
        cites=("glorot2010understanding", "paszke2019pytorch"),
        when="to reproduce or judge a network that was left at PyTorch's defaults, or a course's "
        "1 / sqrt(n) rule",
        when_not="deep networks without normalisation: under ReLU the second moment falls by 6 a "
        "layer",
        variants={
            "pytorch": Variant(
                "what nn.Linear and nn.Conv do, written as kaiming_uniform_ with a slope of "
                "sqrt(5); their biases are drawn from the same interval, ours are 0",
                "w = nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5))",
            ),
            "keras": Variant(
                "not by name; the default of Dense is glorot_uniform",
                'w = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")(shape)',
            ),
            "jax": Variant(
                "not by name; the default of Flax's Dense is a truncated lecun_normal",
                'w = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")(key, shape)',
            ),
        },
    ),
)
