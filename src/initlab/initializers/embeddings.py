"""Initialisers for both ends of a model: embeddings, and the bias of the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans
from initlab._base.numbers import positive
from initlab._base.spec import Call
from initlab._base.streams import Stream
from initlab.initializers._arguments import spec
from initlab.initializers._definition import Array, Initializer, Moments, Shape, plain
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.distributions import Normal, One
from initlab.initializers.scales import Fixed


@dataclass(frozen=True)
class RowScale:
    """gain / sqrt(length of a row): a row drawn with variance 1 gets the squared norm gain².

    Attributes
    ----------
    gain
        Root of the expected squared norm of a row.
    """

    gain: float = 1.0

    def factor(self, shape: Shape, _fans: Fans | None, /) -> float:
        """Return the factor; an embedding sums nothing, so its fans do not matter.

        Raises
        ------
        InvalidValueError
            If the shape has fewer than two axes.
        """
        if len(shape) < 2:
            raise InvalidValueError(f"shape {shape} has no rows; expected (vocabulary, dimension)")
        return self.gain / math.sqrt(math.prod(shape[1:]) or 1)


@dataclass(frozen=True)
class PerClass:
    """One given value for each class; nothing is drawn from the stream.

    Attributes
    ----------
    values
        For a bias of shape ``(len(values),)``.
    """

    values: tuple[float, ...]

    def draw(self, shape: Shape, _stream: Stream, /) -> Array:
        """Return the values."""
        self._check(shape)
        return np.array(self.values)

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean and std of the values."""
        self._check(shape)
        return Moments(float(np.mean(self.values)), float(np.std(self.values)))

    def _check(self, shape: Shape) -> None:
        if shape != (len(self.values),):
            raise InvalidValueError(
                f"shape {shape} does not fit a prior of {len(self.values)} classes; expected "
                f"({len(self.values)},)"
            )


def embedding(std: float = 1.0) -> Initializer:
    """Draw the rows of an embedding from N(0, std²), whatever the shape.

    Parameters
    ----------
    std
        Standard deviation, above 0.

    Raises
    ------
    InvalidValueError
        If it is out of range.
    """
    std = positive("std", std)
    return Initializer(spec(embedding, std=std), Normal(), Fixed(std))


def tied_embedding() -> Initializer:
    """Draw an embedding that is the output layer too from N(0, 1/d): its logits have variance 1.

    A signal of d entries of variance 1, such as a normalisation gives, times such a row.

    Examples
    --------
    >>> tied_embedding().std((50257, 64))
    0.125
    """
    return Initializer(spec(tied_embedding), Normal(), RowScale())


def prior_bias(prior: float | Sequence[float] | NDArray[Any] = 0.01) -> Initializer:
    """Set the output's bias so that the model starts by predicting how frequent each class is.

    Parameters
    ----------
    prior
        A probability between 0 and 1, for outputs that a sigmoid follows: each bias is
        -log((1 - p) / p). Or two or more class probabilities or counts, each above 0, for outputs
        that a softmax follows: the k-th bias is log p_k, with p divided by its sum. A tuple, a list
        or an array.

    Raises
    ------
    InvalidValueError
        If the prior is none; on sampling, if the shape is not ``(classes,)``.

    Examples
    --------
    >>> round(prior_bias(0.01).mean((80,)), 4)
    -4.5951
    """
    if isinstance(prior, (Sequence, np.ndarray)) and not isinstance(prior, str) and np.ndim(prior):
        shares = tuple(positive(f"prior[{place}]", share) for place, share in enumerate(prior))
        if len(shares) < 2:
            raise InvalidValueError(f"prior={shares} has fewer than two classes")
        values = _log_shares(shares)
        text = str(Call("prior_bias", kwargs=(("prior", tuple(plain(p) for p in shares)),)))
        return Initializer(text, PerClass(values), Fixed(1.0))
    prior = positive("prior", prior)
    if prior >= 1:
        raise InvalidValueError(f"prior={prior!r} is not a probability between 0 and 1")
    text = spec(prior_bias, prior=prior)
    return Initializer(text, One(), Fixed(math.log(prior) - math.log1p(-prior)))


def _log_shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    """Return the logarithm of each share of the sum; no sum overflows."""
    exponent = math.frexp(max(shares))[1]
    scaled = [math.ldexp(share, -exponent) for share in shares]
    total = math.fsum(scaled)
    for place, share in enumerate(scaled):
        if not share / total:
            raise InvalidValueError(
                f"prior[{place}]={shares[place]:g} is nothing beside {max(shares):g}; expected "
                "probabilities or counts of one kind"
            )
    return tuple(math.log(share / total) for share in scaled)


ENTRIES = (
    Entry(
        make=embedding,
        family="structured",
        formula="w ~ N(0, std²)",
        std="std",
        assumes="a row is looked up, not summed: no fan plays a part",
        reference="Mikolov, Chen, Corrado & Dean 2013, Efficient Estimation of Word "
        "Representations in Vector Space (rows looked up); Vaswani et al. 2017, Attention Is All "
        "You Need, NeurIPS, sec. 3.4 (embeddings scaled to entries of variance 1)",
        cites=("mikolov2013efficient", "vaswani2017attention"),
        when="embeddings that feed a layer which expects inputs of variance 1",
        when_not="an embedding tied to the output layer: std 1 makes logits of std sqrt(d)",
        variants={
            "pytorch": Variant(
                "nn.Embedding's default",
                "w = nn.init.normal_(torch.empty(shape))",
            ),
            "keras": Variant(
                "Embedding's default is U(-0.05, 0.05)",
                "w = keras.initializers.RandomNormal(stddev=1.0)(shape)",
            ),
            "jax": Variant(
                "Flax's Embed draws from N(0, 1/d)",
                "w = jax.nn.initializers.normal(1.0)(key, shape)",
            ),
        },
        shape=(1000, 64),
        model="draws the embeddings, but for padding rows, which stay 0; leaves all else as it is",
    ),
    Entry(
        make=tied_embedding,
        family="structured",
        formula="w ~ N(0, 1 / d), d the length of a row",
        std="sqrt(1 / d)",
        assumes="a normalised signal of variance 1 at the output; a normalisation, or a factor "
        "sqrt(d), after the embedding",
        reference="Press & Wolf 2017, Using the Output Embedding to Improve Language Models, EACL "
        "(tying); Vaswani et al. 2017, Attention Is All You Need, NeurIPS, sec. 3.4 (the factor)",
        cites=("press2017using", "vaswani2017attention"),
        when="embeddings that are the output layer as well",
        when_not="embeddings added to a signal of variance 1 with neither factor nor normalisation",
        variants={
            "pytorch": Variant(
                "has none: a tied nn.Embedding keeps its N(0, 1), and the loss starts far above "
                "log V",
                "w = nn.init.normal_(torch.empty(shape), std=shape[1] ** -0.5)",
            ),
            "keras": Variant(
                "has none; KerasHub's ReversibleEmbedding starts from Embedding's default",
                "w = keras.initializers.RandomNormal(stddev=shape[1] ** -0.5)(shape)",
            ),
            "jax": Variant(
                "Flax's Embed draws so by default, for attend() to use",
                "w = jax.nn.initializers.normal(shape[1] ** -0.5)(key, shape)",
            ),
        },
        shape=(1000, 64),
        model="draws the embeddings, but for padding rows, which stay 0; leaves all else as it is",
    ),
    Entry(
        make=prior_bias,
        family="structured",
        formula="w = -log((1 - p) / p) for one probability p; w_k = log p_k for several",
        std="0 for one probability; for several the spread of log p_k",
        assumes="an output layer whose logits start near 0 but for the bias",
        reference="Lin, Goyal, Girshick, He & Dollár 2017, Focal Loss for Dense Object Detection, "
        "ICCV, sec. 3.3 and 4.1; Karpathy 2019, A Recipe for Training Neural Networks (init well)",
        cites=("lin2017focal", "karpathy2019recipe"),
        when="rare classes, detection, any data whose class frequencies are known: the first "
        "steps are not spent on learning them",
        when_not="a model that is to be judged on balanced data",
        variants={
            "pytorch": Variant(
                "has none; torchvision's RetinaNet sets it in its own code",
                "w = nn.init.constant_(torch.empty(shape), -math.log((1 - 0.01) / 0.01))",
            ),
            "keras": Variant(
                "Dense(bias_initializer=Constant(b))",
                "w = keras.initializers.Constant(-math.log((1 - 0.01) / 0.01))(shape)",
            ),
            "jax": Variant(
                "Flax: Dense(bias_init=nn.initializers.constant(b))",
                "w = jax.nn.initializers.constant(-math.log((1 - 0.01) / 0.01))(key, shape)",
            ),
        },
        shape=(80,),
        model="sets the bias of the output layer and leaves all else as it is; refuses a model "
        "whose output layer has no bias",
    ),
)
