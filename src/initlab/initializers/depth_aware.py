"""Initialisers for residual networks: how much a branch may add at the start.

A sum of many branches grows with their number. Each of these keeps the sum, or the first update of
it, at one size whatever the depth: by small weights, by a last weight of 0, or by a factor of 0.
"""

from __future__ import annotations

from initlab._base.numbers import finite
from initlab.initializers._arguments import count, flag, spec
from initlab.initializers._definition import Initializer
from initlab.initializers._entry import Entry, Framework, Variant
from initlab.initializers.distributions import Normal, One
from initlab.initializers.scales import FanScale, Fixed


def fixup(blocks: int = 1, layers: int = 2, *, last: bool = False) -> Initializer:
    """Draw a weight of a residual branch so that one step of training changes any depth alike.

    He's normal distribution times blocks^(-1 / (2 layers - 2)); the last weight of a branch is 0.

    Parameters
    ----------
    blocks
        Number of residual branches in the network, at least 1.
    layers
        Number of weights in the branch, at least 2; at least 1 with ``last``.
    last
        True for the last weight of a branch, which starts at 0.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> fixup(blocks=16).std((8, 2)), fixup(blocks=16, last=True).std((8, 2))
    (0.25, 0.0)
    """
    blocks, last = count("blocks", blocks), flag("last", last)
    layers = count("layers", layers, 1 if last else 2)
    text = spec(fixup, blocks=blocks, layers=layers, last=last)
    if last:
        return Initializer(text, One(), Fixed(0.0))
    gain = blocks ** (-1 / (2 * layers - 2))
    return Initializer(text, Normal(), FanScale(2.0, "fan_in", gain))


def rezero(alpha: float = 0.0) -> Initializer:
    """Set the factor of a residual branch, x + factor · branch(x), to ``alpha``.

    Parameters
    ----------
    alpha
        The factor at the start; the paper's is 0.

    Raises
    ------
    InvalidValueError
        If it is not a finite number.
    """
    alpha = finite("alpha", alpha)
    return Initializer(spec(rezero, alpha=alpha), One(), Fixed(alpha))


def skipinit(alpha: float = 0.0) -> Initializer:
    """Set the factor at the end of a residual branch to ``alpha``.

    Parameters
    ----------
    alpha
        The factor at the start: 0, or a small constant such as 1 / sqrt(branches).

    Raises
    ------
    InvalidValueError
        If it is not a finite number.
    """
    alpha = finite("alpha", alpha)
    return Initializer(spec(skipinit, alpha=alpha), One(), Fixed(alpha))


def zero_gamma() -> Initializer:
    """Set the scale of a branch's last normalisation to 0; nothing is drawn from the stream."""
    return Initializer(spec(zero_gamma), One(), Fixed(0.0))


_FACTOR: dict[Framework, Variant] = {
    "pytorch": Variant(
        "no function of this name; the factor is a parameter of the module: "
        "nn.Parameter(torch.zeros(1))",
        "w = nn.init.constant_(torch.empty(shape), 0.0)",
    ),
    "keras": Variant(
        "no initializer of this name; the factor is a weight of the layer: "
        "add_weight(shape=(), initializer='zeros')",
        "w = keras.initializers.Constant(0.0)(shape)",
    ),
    "jax": Variant(
        "no initializer of this name; Flax: self.param('alpha', nn.initializers.zeros, ())",
        "w = jax.nn.initializers.constant(0.0)(key, shape)",
    ),
}

ENTRIES = (
    Entry(
        make=fixup,
        family="depth-aware",
        formula="w ~ N(0, 2 blocks^(-1 / (layers - 1)) / fan_in); the last weight of a branch: "
        "w = 0",
        std="blocks^(-1 / (2 layers - 2)) · sqrt(2 / fan_in); last: 0",
        assumes="branches of ReLU layers without normalisation, all of the same number of weights; "
        "a scalar bias before each layer and activation and a scalar factor in each branch, which "
        "the model must bring",
        reference="Zhang, Dauphin & Ma 2019, Fixup Initialization: Residual Learning Without "
        "Normalization, ICLR, sec. 3",
        cites=("zhang2019fixup",),
        when="deep residual networks without normalisation",
        when_not="branches that are normalised: the scale is divided out again; branches of one "
        "weight, for which the exponent has no meaning",
        variants={
            "pytorch": Variant(
                "has none; the authors' ResNets take fan_out in place of fan_in",
                "w = torch.empty(shape)\n"
                "nn.init.normal_(w, std=24 ** -0.5 * math.sqrt(2 / math.prod(shape[1:])))",
            ),
            "keras": Variant(
                "has none; VarianceScaling does it with scale = 2 blocks^(-1 / (layers - 1))",
                'w = keras.initializers.VarianceScaling(2 / 24, "fan_in", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                "has none; variance_scaling does it with scale = 2 blocks^(-1 / (layers - 1))",
                'w = jax.nn.initializers.variance_scaling(2 / 24, "fan_in", "normal")(key, shape)',
            ),
        },
        example="fixup(blocks=24)",
        model="counts the branches and their weights: draws the weights of a branch as above, sets "
        "the last one of each and the output layer to 0, biases to 0, and draws weights outside "
        "of branches from he_normal. The scalar biases and factors of the paper are part of the "
        "model, not of its start: without them the paper's result is not promised",
    ),
    Entry(
        make=rezero,
        family="depth-aware",
        formula="w = alpha, where w is the factor in x + w · branch(x)",
        std="0",
        assumes="a trainable factor at the end of each residual branch",
        reference="Bachlechner, Majumder, Mao, Cottrell & McAuley 2021, ReZero is All You Need: "
        "Fast Convergence at Large Depth, UAI (arXiv 2020), eq. 1",
        cites=("bachlechner2021rezero",),
        when="deep residual networks and transformers: each branch starts closed and opens at its "
        "own pace",
        when_not="a model without such factors; a weight decay on them",
        variants=_FACTOR,
        shape=(1,),
        model="sets the factors that end a residual branch, draws other weights from "
        "glorot_uniform, biases 0; refuses a model that has no such factor",
    ),
    Entry(
        make=skipinit,
        family="depth-aware",
        formula="w = alpha, where w is the factor in x + w · branch(x)",
        std="0",
        assumes="a trainable factor at the end of each residual branch",
        reference="De & Smith 2020, Batch Normalization Biases Residual Blocks Towards the "
        "Identity Function in Deep Networks, NeurIPS, sec. 4",
        cites=("de2020batch",),
        when="residual networks without normalisation: it alone brings most of what batch "
        "normalisation does for depth",
        when_not="a model without such factors; large batches and learning rates, where batch "
        "normalisation still helps",
        variants=_FACTOR,
        shape=(1,),
        model="sets the factors that end a residual branch, draws other weights from he_normal, "
        "biases 0; refuses a model that has no such factor",
    ),
    Entry(
        make=zero_gamma,
        family="depth-aware",
        formula="w = 0, where w is the scale γ of a branch's last normalisation",
        std="0",
        assumes="a normalisation with a scale at the end of each residual branch",
        reference="Goyal et al. 2017, Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour, "
        "sec. 5.1",
        cites=("goyal2017accurate",),
        when="residual networks with batch normalisation, above all in large batches: every block "
        "starts as the identity",
        when_not="normalisation at the entry of the branch, or after the sum, where a 0 would cut "
        "off the signal",
        variants={
            "pytorch": Variant(
                "torchvision's ResNets do it with zero_init_residual=True; the default is 1",
                "w = nn.init.zeros_(torch.empty(shape))",
            ),
            "keras": Variant(
                "BatchNormalization(gamma_initializer='zeros'); the default is 1",
                "w = keras.initializers.Zeros()(shape)",
            ),
            "jax": Variant(
                "Flax: BatchNorm(scale_init=nn.initializers.zeros); the default is 1",
                "w = jax.nn.initializers.zeros(key, shape)",
            ),
        },
        shape=(64,),
        model="sets the normalisation scale that ends a residual branch to 0 and every other one "
        "to 1, draws weights from he_normal, biases 0; refuses a model where no branch ends in "
        "one",
    ),
)
