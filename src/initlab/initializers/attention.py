"""Mimetic initialisation: attention that starts out looking like a trained one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from initlab._base.errors import InvalidValueError
from initlab._base.numbers import finite
from initlab._base.streams import Stream
from initlab.initializers._arguments import count, one_of, spec
from initlab.initializers._definition import Array, Initializer, Moments, Shape
from initlab.initializers._entry import Entry, Variant
from initlab.initializers.orthogonal import one_blas_thread
from initlab.initializers.scales import Fixed

AttentionPart = Literal["query", "key", "value", "output"]

ATTENTION_PARTS: tuple[AttentionPart, ...] = get_args(AttentionPart)
LARGEST_FACTOR = 1e100


@dataclass(frozen=True)
class Mimetic:
    """One of the four projections of an attention, all of which one stream decides.

    Two parts fit together if they are drawn from streams of the same key, each from its start: the
    stream holds first the noise of value and output, then that of query and key, head by head.

    Attributes
    ----------
    part
        Which projection.
    heads
        Number of heads.
    alpha, beta
        Of this part's product: noise and diagonal; the latter is negative for value and output.
    """

    part: AttentionPart
    heads: int
    alpha: float
    beta: float

    def draw(self, shape: Shape, stream: Stream, /) -> Array:
        """Draw the projection: ``(inner, width)``, or ``(width, inner)`` for the output."""
        inner, width = self._sizes(shape)
        if not inner * width:
            return np.zeros(shape)
        product, signs = self._product(width, stream)
        if self.part in {"value", "output"}:
            left, right = _factors(product, inner, signs)
            return np.ascontiguousarray(left.T if self.part == "value" else right)
        heads: list[Array] = []
        for _ in range(self.heads):
            product, signs = self._product(width, stream)
            left, right = _factors(product, inner // self.heads, signs)
            heads.append(left.T if self.part == "query" else right.T)
        return np.ascontiguousarray(np.concatenate(heads))

    def moments(self, shape: Shape, /) -> Moments:
        """Return mean 0: signs are random; the std follows from singular values, in no formula."""
        self._sizes(shape)
        return Moments(0.0, None)

    def _product(self, width: int, stream: Stream) -> tuple[Array, Array]:
        noise = stream.standard_normal((width, width))
        signs = np.where(stream.standard_normal((width,)) < 0, -1.0, 1.0)
        return self.alpha / math.sqrt(width) * noise + self.beta * np.eye(width), signs

    def _sizes(self, shape: Shape) -> tuple[int, int]:
        if len(shape) == 2:
            inner, width = shape[::-1] if self.part == "output" else shape
            rank = inner // self.heads if self.part in {"query", "key"} else inner
            if inner % self.heads == 0 and rank <= width:
                return inner, width
        form = "(width, inner)" if self.part == "output" else "(inner, width)"
        raise InvalidValueError(
            f"shape {shape} is no {self.part} projection of {self.heads} heads; expected {form}, "
            "inner a multiple of the heads and (in a head, for query and key) at most the width"
        )


def _factors(product: Array, rank: int, signs: Array) -> tuple[Array, Array]:
    """Split a matrix into left · right^T, its best approximation of this rank.

    Both have the square roots of the singular values in them. Only the wanted ones are computed;
    the sign of each pair, which LAPACK chooses at will, is replaced by the random one.
    """
    from scipy import linalg  # noqa: PLC0415 - 100 ms that only this draw needs

    width = len(product)
    with one_blas_thread():
        squares, right = linalg.eigh(product.T @ product, subset_by_index=(width - rank, width - 1))
    right = right[:, ::-1]
    largest = right[np.abs(right).argmax(axis=0), np.arange(rank)]
    right = right * np.where(largest < 0, -1.0, 1.0) * signs[:rank]
    roots = np.maximum(squares[::-1], np.finfo(float).tiny) ** 0.25
    with one_blas_thread():
        left = product @ right
    return left / roots, right * roots


def mimetic(
    part: AttentionPart = "query",
    heads: int = 1,
    *,
    alpha_qk: float = 0.7,
    beta_qk: float = 0.7,
    alpha_vo: float = 0.4,
    beta_vo: float = 0.4,
) -> Initializer:
    """Draw a projection of an attention so that the products look like those of trained models.

    With Z of entries N(0, 1/width): W_Q W_K^T is in each head the best approximation of
    alpha_qk Z + beta_qk I of the head's rank, and W_V W_O is alpha_vo Z - beta_vo I, where W is the
    transpose of a PyTorch weight.

    Parameters
    ----------
    part
        ``"query"``, ``"key"``, ``"value"`` or ``"output"``. The four fit together if each is drawn
        from the start of a stream of the same key.
    heads
        Number of heads.
    alpha_qk, beta_qk
        Noise and diagonal of query times key.
    alpha_vo, beta_vo
        Noise and, made negative, diagonal of value times output.

    Raises
    ------
    InvalidValueError
        If an argument is out of range; on sampling, if the shape is not that of the part.

    Examples
    --------
    >>> import numpy as np
    >>> from initlab._base.streams import stream
    >>> parts = [mimetic(part, alpha_vo=0) for part in ("value", "output")]
    >>> value, output = (part.sample((5, 5), stream(0, "attention")) for part in parts)
    >>> np.allclose(output @ value, -0.4 * np.eye(5))
    True
    """
    part, heads = one_of("part", part, ATTENTION_PARTS), count("heads", heads)
    alpha_qk, beta_qk = _factor("alpha_qk", alpha_qk), _factor("beta_qk", beta_qk)
    alpha_vo, beta_vo = _factor("alpha_vo", alpha_vo), _factor("beta_vo", beta_vo)
    text = spec(
        mimetic,
        part=part,
        heads=heads,
        alpha_qk=alpha_qk,
        beta_qk=beta_qk,
        alpha_vo=alpha_vo,
        beta_vo=beta_vo,
    )
    inner = part in {"query", "key"}
    alpha, beta = (alpha_qk, beta_qk) if inner else (alpha_vo, -beta_vo)
    if not (alpha or beta):
        raise InvalidValueError(f"alpha and beta of {part} are both 0; expected one that is not")
    return Initializer(text, Mimetic(part, heads, alpha, beta), Fixed(1.0))


def _factor(name: str, value: object) -> float:
    """Return a number whose square is finite, with room for sums."""
    number = finite(name, value)
    if abs(number) > LARGEST_FACTOR:
        raise InvalidValueError(
            f"{name}={number:g} is not from -{LARGEST_FACTOR:g} to {LARGEST_FACTOR:g}"
        )
    return number


ENTRIES = (
    Entry(
        make=mimetic,
        family="structured",
        formula="w from the singular value decomposition U S V^T of A: W_Q = U S^(1/2), "
        "W_K = V S^(1/2), cut to each head's rank, A = 0.7 Z + 0.7 I, Z ~ N(0, 1/width); "
        "W_V = U S^(1/2), W_O = S^(1/2) V^T, A = 0.4 Z - 0.4 I",
        std="no closed form",
        assumes="self-attention on a signal with additive position embeddings (the paper: sinusoid)"
        "; four projections of one width, drawn together",
        reference="Trockman & Kolter 2023, Mimetic Initialization of Self-Attention Layers, ICML, "
        "sec. 4",
        cites=("trockman2023mimetic",),
        when="vision transformers on small data sets; to a lesser degree language models",
        when_not="cross-attention, where the identity has no meaning; grouped queries; rotary "
        "positions, which turn query and key before their product",
        variants={
            "pytorch": Variant(
                "has none; nn.MultiheadAttention draws its packed projection from xavier_uniform_",
                "heads, width = 4, shape[1]\n"
                "a = 0.7 * torch.randn(heads, width, width) / width**0.5 + 0.7 * torch.eye(width)\n"
                "u, s, _ = torch.linalg.svd(a)\n"
                "rank = shape[0] // heads\n"
                "u = u * torch.sign(torch.randn(heads, 1, width))\n"
                "w = (u * s[:, None].sqrt())[:, :, :rank].transpose(1, 2).reshape(shape)",
            ),
            "keras": Variant(
                "has none; MultiHeadAttention draws each projection from GlorotUniform",
                "heads, width = 4, shape[0]\n"
                "noise = keras.random.normal((heads, width, width)) / width**0.5\n"
                "u, s, _ = ops.svd(0.7 * noise + 0.7 * ops.eye(width))\n"
                "rank = shape[1] // heads\n"
                "u = u * ops.sign(keras.random.normal((heads, 1, width)))\n"
                "w = (u * ops.sqrt(s)[:, None])[:, :, :rank]\n"
                "w = ops.reshape(ops.transpose(w, (1, 0, 2)), shape)",
            ),
            "jax": Variant(
                "has none; Flax's MultiHeadDotProductAttention draws from lecun_normal",
                "heads, width = 4, shape[0]\n"
                "noise = jax.random.normal(key, (heads, width, width)) / width**0.5\n"
                "u, s, _ = jnp.linalg.svd(0.7 * noise + 0.7 * jnp.eye(width))\n"
                "rank = shape[1] // heads\n"
                "signs = jax.random.normal(jax.random.fold_in(key, 1), (heads, 1, width))\n"
                "w = (u * jnp.sign(signs) * jnp.sqrt(s)[:, None])[:, :, :rank]\n"
                "w = w.transpose(1, 0, 2).reshape(shape)",
            ),
        },
        shape=(64, 64),
        example="mimetic('query', heads=4)",
        model="draws the four projections of each attention together, packed or not, with the "
        "model's own number of heads; an attention that they do not fit (grouped queries, "
        "cross-attention, other widths) and all other weights from truncated_normal(0.02); biases "
        "0; refuses a model where none fits",
        joint=True,
    ),
)
