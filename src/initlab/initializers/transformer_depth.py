"""Initialisers for the branches of a transformer, by its number of layers."""

from __future__ import annotations

import math
from typing import Literal, get_args

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import positive
from initlab.initializers._arguments import count, flag, one_of, spec
from initlab.initializers._definition import Initializer
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.distributions import Normal, Uniform
from initlab.initializers.embeddings import RowScale
from initlab.initializers.scales import FanScale, Fixed

FixupSide = Literal["encoder", "decoder", "embedding"]
StackKind = Literal["encoder_only", "decoder_only", "encoder", "decoder"]

FIXUP_SIDES: tuple[FixupSide, ...] = get_args(FixupSide)
STACK_KINDS: tuple[StackKind, ...] = get_args(StackKind)


def t_fixup(layers: int = 1, side: FixupSide = "encoder") -> Initializer:
    """Draw a weight of a transformer that is trained without layer normalisation and warm-up.

    Parameters
    ----------
    layers
        N, the layers of the encoder for ``"encoder"``, of the decoder for ``"decoder"``; for
        ``"embedding"`` those of the side that reads it.
    side
        ``"encoder"`` and ``"decoder"`` are for value and output projections and for both weights of
        the feed-forward branch: Glorot's uniform distribution times 0.67 N^(-1/4) or (9 N)^(-1/4).
        ``"embedding"`` is for token embeddings: N(0, 1/d) times (9 N)^(-1/4).

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> t_fixup(16).std((3, 3)) == 0.67 / 2 * (1 / 3) ** 0.5
    True
    """
    layers, side = count("layers", layers), one_of("side", side, FIXUP_SIDES)
    text = spec(t_fixup, layers=layers, side=side)
    if side == "embedding":
        return Initializer(text, Normal(), RowScale((9 * layers) ** -0.25))
    gain = 0.67 * layers**-0.25 if side == "encoder" else (9 * layers) ** -0.25
    return Initializer(text, Uniform(), FanScale(3.0, "fan_avg", gain))


def _stack(
    layers: int, kind: StackKind, decoder_layers: int | None
) -> tuple[int, StackKind, int | None]:
    """Return the three arguments; the last is None but for an encoder."""
    layers, kind = count("layers", layers), one_of("kind", kind, STACK_KINDS)
    if decoder_layers is not None:
        decoder_layers = count("decoder_layers", decoder_layers)
    elif kind == "encoder":
        raise InvalidValueError(
            "kind='encoder' asks for decoder_layers, those of the same model's decoder; a model "
            "without one is 'encoder_only'"
        )
    return layers, kind, decoder_layers if kind == "encoder" else None


def deepnorm_beta(layers: int, kind: StackKind, decoder_layers: int | None = None) -> float:
    """Return DeepNorm's gain β of a branch's weights.

    Arguments and errors as for :func:`deepnorm`; ``decoder_layers`` matter for an ``"encoder"``.
    """
    layers, kind, decoder_layers = _stack(layers, kind, decoder_layers)
    if decoder_layers is not None:
        return 0.87 * (layers**4 * decoder_layers) ** (-1 / 16)
    return ((12 if kind == "decoder" else 8) * layers) ** -0.25


def deepnorm_alpha(layers: int, kind: StackKind, decoder_layers: int | None = None) -> float:
    """Return DeepNorm's factor α in norm(α x + branch(x)).

    Arguments and errors as for :func:`deepnorm`; ``decoder_layers`` matter for an ``"encoder"``.

    Examples
    --------
    >>> deepnorm_alpha(8, "encoder_only")
    2.0
    """
    layers, kind, decoder_layers = _stack(layers, kind, decoder_layers)
    if decoder_layers is not None:
        return 0.81 * (layers**4 * decoder_layers) ** (1 / 16)
    return ((3 if kind == "decoder" else 2) * layers) ** 0.25


def deepnorm(
    layers: int = 1, kind: StackKind = "encoder_only", decoder_layers: int | None = None
) -> Initializer:
    """Draw a weight of a post-norm transformer whose sums are norm(α x + branch(x)).

    Glorot's normal distribution times β, for value and output projections and both weights of the
    feed-forward branch; queries and keys have the gain 1. α is part of the model:
    :func:`deepnorm_alpha`.

    Parameters
    ----------
    layers
        Layers of the stack that the weight stands in.
    kind
        ``"encoder_only"`` or ``"decoder_only"`` for a model of one stack, ``"encoder"`` or
        ``"decoder"`` for the two of an encoder-decoder model.
    decoder_layers
        Layers of the decoder, without which an ``"encoder"`` cannot be drawn; for the other kinds
        only ``None``, or 1, which changes nothing.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> round(deepnorm(2).std((8, 8)) / (1 / 8) ** 0.5, 12)  # β = 16^(-1/4)
    0.5
    """
    given = decoder_layers
    layers, kind, decoder_layers = _stack(layers, kind, decoder_layers)
    if decoder_layers is None and given not in {None, 1}:
        raise InvalidValueError(f"decoder_layers={given} is for kind='encoder', not {kind!r}")
    gain = deepnorm_beta(layers, kind, decoder_layers)
    text = spec(deepnorm, layers=layers, kind=kind, decoder_layers=decoder_layers)
    return Initializer(text, Normal(), FanScale(1.0, "fan_avg", gain))


def gpt2(std: float = 0.02, layers: int = 1, *, residual: bool = False) -> Initializer:
    """Draw from N(0, std²); a projection onto the residual stream from N(0, std² / (2 layers)).

    Parameters
    ----------
    std
        Standard deviation, above 0.
    layers
        Layers of the transformer; each adds two branches to the stream.
    residual
        True for the last weight of a branch.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.

    Examples
    --------
    >>> gpt2(layers=8, residual=True).std((4, 4))
    0.005
    """
    std, layers, residual = (
        positive("std", std),
        count("layers", layers),
        flag("residual", residual),
    )
    text = spec(gpt2, std=std, layers=layers, residual=residual)
    return Initializer(text, Normal(), Fixed(std / math.sqrt(2 * layers) if residual else std))


def depth_scaled(layer: int = 1, alpha: float = 1.0) -> Initializer:
    """Draw a weight of a transformer's l-th layer from Glorot's uniform, times alpha / sqrt(l).

    Parameters
    ----------
    layer
        l, counted from 1.
    alpha
        Above 0; the paper takes 1 and allows less.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    layer, alpha = count("layer", layer), positive("alpha", alpha)
    text = spec(depth_scaled, layer=layer, alpha=alpha)
    return Initializer(text, Uniform(), FanScale(3.0, "fan_avg", alpha / math.sqrt(layer)))


ENTRIES = (
    Entry(
        make=t_fixup,
        family="depth-aware",
        formula="w ~ U(-b, b), b = g sqrt(6 / (fan_in + fan_out)), g = 0.67 N^(-1/4) in an encoder "
        "and (9 N)^(-1/4) in a decoder; embeddings: w ~ N(0, g² / d), g = (9 N)^(-1/4)",
        std="g · sqrt(2 / (fan_in + fan_out)); embeddings: g · sqrt(1 / d)",
        assumes="a transformer without layer normalisation, trained by Adam; embeddings multiplied "
        "by sqrt(d) in the model",
        reference="Huang, Pérez, Ba & Volkovs 2020, Improving Transformer Optimization Through "
        "Better Initialization, ICML, sec. 3.3 (T-Fixup)",
        cites=("huang2020improving",),
        when="deep transformers without normalisation and warm-up",
        when_not="transformers with layer normalisation; queries and keys, which keep "
        "glorot_uniform's size",
        variants={
            "pytorch": Variant(
                "has none; the authors' fairseq draws queries and keys at 1 / sqrt(2) of Glorot's "
                "size, its default",
                "w = nn.init.xavier_uniform_(torch.empty(shape), gain=0.67 * 6 ** -0.25)",
            ),
            "keras": Variant(
                "has none; VarianceScaling does it with scale = g²",
                'w = keras.initializers.VarianceScaling(0.67**2 / 6**0.5, "fan_avg", "uniform")'
                "(shape)",
            ),
            "jax": Variant(
                "has none; variance_scaling does it with scale = g²",
                'w = jax.nn.initializers.variance_scaling(0.67**2 / 6**0.5, "fan_avg", "uniform")'
                "(key, shape)",
            ),
        },
        example="t_fixup(layers=6)",
        model="draws value and output projections and feed-forward weights as above, all other "
        "weights from glorot_uniform, embeddings as said; N follows from the number of branches, "
        "two a layer in an encoder and three in a decoder",
    ),
    Entry(
        make=deepnorm,
        family="depth-aware",
        formula="w ~ N(0, 2 β² / (fan_in + fan_out)), β = (8 N)^(-1/4) for one stack of N layers; "
        "with both: 0.87 (N^4 M)^(-1/16) in an encoder of N layers, (12 M)^(-1/4) in a decoder of "
        "M",
        std="β · sqrt(2 / (fan_in + fan_out))",
        assumes="post-norm sums norm(α x + branch(x)): α = (2 N)^(1/4) for one stack; "
        "0.81 (N^4 M)^(1/16) and (3 M)^(1/4) for encoder and decoder",
        reference="Wang, Ma, Dong, Huang, Zhang & Wei 2022, DeepNet: Scaling Transformers to 1,000 "
        "Layers, fig. 2",
        cites=("wang2022deepnet",),
        when="post-norm transformers of hundreds of layers",
        when_not="pre-norm transformers; post-norm ones without α; queries and keys, whose gain "
        "is 1",
        variants={
            "pytorch": Variant(
                "has none; xavier_normal_ with gain β is the paper's own code",
                "w = nn.init.xavier_normal_(torch.empty(shape), gain=(8 * 18) ** -0.25)",
            ),
            "keras": Variant(
                "has none; GlorotNormal is cut at two stds, VarianceScaling's untruncated_normal "
                "is not",
                "w = keras.initializers.VarianceScaling("
                '(8 * 18) ** -0.5, "fan_avg", "untruncated_normal")(shape)',
            ),
            "jax": Variant(
                "has none; glorot_normal is cut at two stds, variance_scaling's normal is not",
                'w = jax.nn.initializers.variance_scaling((8 * 18) ** -0.5, "fan_avg", "normal")'
                "(key, shape)",
            ),
        },
        example="deepnorm(layers=18)",
        model="draws value and output projections and feed-forward weights as above, queries, keys "
        "and all other weights from glorot_normal; layers follow from the number of branches. α "
        "stands in the forward pass, where no initialiser reaches: without it the network starts "
        "with branches too small, and the reason says so; initlab.initializers.deepnorm_alpha "
        "gives it",
    ),
    Entry(
        make=gpt2,
        family="depth-aware",
        formula="w ~ N(0, std²); projections onto the residual stream: w ~ N(0, std² / (2 layers))",
        std="std; residual: std / sqrt(2 layers)",
        assumes="a pre-norm transformer of two branches a layer",
        reference="Radford, Wu, Child, Luan, Amodei & Sutskever 2019, Language Models are "
        "Unsupervised Multitask Learners, sec. 2.3",
        cites=("radford2019language",),
        when="pre-norm decoders of GPT-2's kind",
        when_not="a width far from GPT-2's 768 to 1600: 0.02 does not follow the fan; post-norm",
        variants={
            "pytorch": Variant(
                "has none; transformers' GPT-2 does it by the parameter's name, c_proj.weight, and "
                "models copied from it often lose the scaling",
                "w = nn.init.normal_(torch.empty(shape), std=0.02 / math.sqrt(2 * 12))",
            ),
            "keras": Variant(
                "has none; RandomNormal with that std",
                "w = keras.initializers.RandomNormal(stddev=0.02 / math.sqrt(2 * 12))(shape)",
            ),
            "jax": Variant(
                "has none; normal with that std",
                "w = jax.nn.initializers.normal(0.02 / math.sqrt(2 * 12))(key, shape)",
            ),
        },
        example="gpt2(layers=12, residual=True)",
        model="draws every weight, embeddings and positions from N(0, std²) and the last weight of "
        "each residual branch with std / sqrt(number of branches); normalisation 1 and 0, biases "
        "0",
    ),
    Entry(
        make=depth_scaled,
        family="depth-aware",
        formula="w ~ U(-b, b), b = alpha sqrt(6 / (fan_in + fan_out)) / sqrt(layer)",
        std="alpha · sqrt(2 / ((fan_in + fan_out) layer))",
        assumes="a post-norm transformer",
        reference="Zhang, Titov & Sennrich 2019, Improving Deep Transformer with Depth-Scaled "
        "Initialization and Merged Attention, EMNLP, sec. 4, eq. 7 (DS-Init)",
        cites=("zhang2019improving",),
        when="post-norm transformers of a few dozen layers",
        when_not="pre-norm transformers, whose gradients do not vanish; hundreds of layers, where "
        "deepnorm holds",
        variants={
            "pytorch": Variant(
                "has none; xavier_uniform_ with gain alpha / sqrt(layer)",
                "w = nn.init.xavier_uniform_(torch.empty(shape), gain=4 ** -0.5)",
            ),
            "keras": Variant(
                "has none; VarianceScaling does it with scale = alpha² / layer",
                'w = keras.initializers.VarianceScaling(1 / 4, "fan_avg", "uniform")(shape)',
            ),
            "jax": Variant(
                "has none; variance_scaling does it with scale = alpha² / layer",
                'w = jax.nn.initializers.variance_scaling(1 / 4, "fan_avg", "uniform")(key, shape)',
            ),
        },
        example="depth_scaled(layer=4)",
        model="counts layers along each residual stream (a cross-attention makes it three "
        "branches a layer, else two) and draws every weight in them as above, weights outside of "
        "branches from glorot_uniform",
    ),
)
