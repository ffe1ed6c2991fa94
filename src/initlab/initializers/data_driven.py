"""Data-driven initialisers: what they draw before they see data, and how far they then go.

On a weight alone, without a model and a batch, each is its first draw.
"""

from __future__ import annotations

from typing import Literal, get_args

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import finite, positive
from initlab.initializers._arguments import count, one_of, spec
from initlab.initializers._definition import Initializer
from initlab.initializers._entry import Entry, Framework, Variant
from initlab.initializers.distributions import Normal
from initlab.initializers.orthogonal import Orthogonal
from initlab.initializers.scales import FanScale, Fixed

OptimizerName = Literal["sgd", "adam"]

OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)


def lsuv(tolerance: float = 0.1, steps: int = 10, target: float = 1.0) -> Initializer:
    """Draw orthonormal weights; on a model, then scale each layer's output to a variance.

    Parameters
    ----------
    tolerance
        How far from the target the variance may stay.
    steps
        At most so many corrections of a layer.
    target
        The variance, above 0.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    tolerance, steps = positive("tolerance", tolerance), count("steps", steps)
    target = positive("target", target)
    text = spec(lsuv, tolerance=tolerance, steps=steps, target=target)
    return Initializer(text, Orthogonal(), Fixed(1.0))


def krahenbuhl(rounds: int = 10, tolerance: float = 0.1) -> Initializer:
    """Draw from N(0, 1 / fan_in); on a model, then give all layers the same rate of change.

    Parameters
    ----------
    rounds
        At most so many passes that balance the layers against each other.
    tolerance
        Stop once no layer's rate is farther from their geometric mean, in logarithm.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    rounds, tolerance = count("rounds", rounds), positive("tolerance", tolerance)
    text = spec(krahenbuhl, rounds=rounds, tolerance=tolerance)
    return Initializer(text, Normal(), FanScale(1.0, "fan_in"))


def metainit(steps: int = 100, rate: float = 0.1, momentum: float = 0.9) -> Initializer:
    """Draw as he_normal; on a model, then tune the norm of each weight for a steady gradient.

    Parameters
    ----------
    steps
        How many.
    rate
        Step of the signed gradient.
    momentum
        At least 0 and below 1.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    steps, rate = count("steps", steps), positive("rate", rate)
    momentum = finite("momentum", momentum)
    if not 0 <= momentum < 1:
        raise InvalidValueError(f"momentum={momentum!r} is not at least 0 and below 1")
    text = spec(metainit, steps=steps, rate=rate, momentum=momentum)
    return Initializer(text, Normal(), FanScale(2.0, "fan_in"))


def gradinit(
    steps: int = 100, rate: float = 0.01, gamma: float = 1.0, optimizer: OptimizerName = "sgd"
) -> Initializer:
    """Draw as he_normal; on a model, then learn a factor of each weight for a good first step.

    Parameters
    ----------
    steps
        How many.
    rate
        Learning rate of the factors; the step that is looked at has 0.1 (sgd) or 0.001 (adam).
    gamma
        Bound on the gradient's norm, above 0.
    optimizer
        ``"sgd"`` or ``"adam"``: who takes the first step.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    steps, rate, gamma = count("steps", steps), positive("rate", rate), positive("gamma", gamma)
    optimizer = one_of("optimizer", optimizer, OPTIMIZERS)
    text = spec(gradinit, steps=steps, rate=rate, gamma=gamma, optimizer=optimizer)
    return Initializer(text, Normal(), FanScale(2.0, "fan_in"))


_HE_DRAW: dict[Framework, str] = {
    "pytorch": "w = nn.init.kaiming_normal_(torch.empty(shape))",
    "keras": 'w = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")(shape)',
    "jax": 'w = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")(key, shape)',
}

ENTRIES = (
    Entry(
        make=lsuv,
        family="data-driven",
        formula="w = a row or column of Q / s, Q orthonormal, Haar-distributed; s = 1 before data "
        "are seen, then such that the layer's output has the target's variance",
        std="sqrt(1 / max(rows, columns)) before data are seen",
        assumes="a batch that looks like the data; layers passed in the order in which they run",
        reference="Mishkin & Matas 2016, All You Need is a Good Init, ICLR (arXiv 2015), "
        "algorithm 1",
        cites=("mishkin2016all",),
        when="activations, poolings and merges for which no gain is known",
        when_not="models whose normalisation does the same; a batch of a few samples",
        variants={
            "pytorch": Variant(
                "has none; ports run through the modules in the order of registration, which is "
                "not that of execution",
                "w = nn.init.orthogonal_(torch.empty(shape))",
            ),
            "keras": Variant("has none", "w = keras.initializers.Orthogonal()(shape)"),
            "jax": Variant("has none", "w = jax.nn.initializers.orthogonal()(key, shape)"),
        },
        model="needs a batch: in execution order, divides each weight by the std of its layer's "
        "output until the variance is within the tolerance of the target; biases 0",
    ),
    Entry(
        make=krahenbuhl,
        family="data-driven",
        formula="w ~ N(0, 1 / fan_in) before data are seen; each output channel is then scaled to "
        "variance 1 and its bias set to take its mean to 0, and layers are scaled against each "
        "other until all change at the same rate",
        std="sqrt(1 / fan_in) before data are seen",
        assumes="a batch that looks like the data; layers one after the other",
        reference="Krähenbühl, Doersch, Donahue & Darrell 2016, Data-dependent Initializations of "
        "Convolutional Neural Networks, ICLR (arXiv 2015), algorithms 1 and 2",
        cites=("krahenbuhl2016data",),
        when="plain convolution networks, above all with features that are learnt elsewhere",
        when_not="networks with normalisation; graphs where layers run side by side",
        variants={
            "pytorch": Variant(
                "has none; the first draw's size does not matter, it is divided out",
                "w = nn.init.normal_(torch.empty(shape), std=math.prod(shape[1:]) ** -0.5)",
            ),
            "keras": Variant(
                "has none",
                'w = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")'
                "(shape)",
            ),
            "jax": Variant(
                "has none",
                'w = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")(key, shape)',
            ),
        },
        model="needs a batch: normalises each channel of each layer's output, then balances the "
        "layers' rates of change; sets biases too",
    ),
    Entry(
        make=metainit,
        family="data-driven",
        formula="w ~ s · N(0, 2 / fan_in); s = 1 before data are seen, then the s of each weight "
        "that makes the gradient change least along a step: the mean of |H g / g| is smallest",
        std="sqrt(2 / fan_in) before data are seen",
        assumes="a twice differentiable loss; the paper feeds noise and random labels, not data",
        reference="Dauphin & Schoenholz 2019, MetaInit: Initializing Learning by Learning to "
        "Initialize, NeurIPS, algorithm 1",
        cites=("dauphin2019metainit",),
        when="architectures without normalisation and without a rule of their own",
        when_not="ReLU networks of large batches where memory is short: it needs second "
        "derivatives",
        variants={
            "pytorch": Variant(
                "has none; the paper's appendix is PyTorch, with 500 steps",
                _HE_DRAW["pytorch"],
            ),
            "keras": Variant("has none", _HE_DRAW["keras"]),
            "jax": Variant("has none", _HE_DRAW["jax"]),
        },
        model="needs a batch and a loss: changes the norm of each weight by signed gradient steps; "
        "biases 0",
    ),
    Entry(
        make=gradinit,
        family="data-driven",
        formula="w ~ s · N(0, 2 / fan_in); s = 1 before data are seen, then the s of each weight "
        "for which the loss after one step is smallest, given |g| <= gamma",
        std="sqrt(2 / fan_in) before data are seen",
        assumes="batches that look like the data; the optimiser named is the one that trains",
        reference="Zhu, Ni, Xu, Kong, Huang & Goldstein 2021, GradInit: Learning to Initialize "
        "Neural Networks for Stable and Efficient Training, NeurIPS, algorithm 1",
        cites=("zhu2021gradinit",),
        when="architectures that only train with a warm-up",
        when_not="models that train well as they are: it costs some hundred steps with second "
        "derivatives",
        variants={
            "pytorch": Variant(
                "has none; the authors start from nn.Module's own start", _HE_DRAW["pytorch"]
            ),
            "keras": Variant("has none", _HE_DRAW["keras"]),
            "jax": Variant("has none", _HE_DRAW["jax"]),
        },
        model="needs a batch and a loss: learns one factor for each parameter, of weights none "
        "below 0.01; biases stay 0",
    ),
)
