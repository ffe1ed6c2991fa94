"""A model as facts: what each parameter is, what runs before and after it, with which fans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from initlab._base.fans import Fans

Kind = Literal[
    "linear",
    "convolution",
    "transposed_convolution",
    "bilinear",
    "embedding",
    "recurrent",  # input-to-hidden and hidden-to-hidden, gates packed along axis 0
    "bias",
    "norm_scale",
    "norm_shift",
    "scale",  # multiplies a signal, outside of a normalisation
    "position",  # is added to a signal, with more axes than a bias, or joined to it as a token
    "slope",  # of a PReLU
    "unknown",
]

# Kinds whose entries are summed over: the ones that fans make sense for.
WEIGHT_KINDS: frozenset[Kind] = frozenset(
    {"linear", "convolution", "transposed_convolution", "bilinear", "recurrent"}
)


@dataclass(frozen=True)
class Part:
    """One of the matrices that are stacked along a parameter's first axis.

    Attributes
    ----------
    label
        ``"query"``, ``"forget"``, ...; empty if the parameter is one matrix.
    start, stop
        Its rows.
    fans
        Of this matrix alone, as the layer computes it; None where it sums nothing.
    """

    label: str
    start: int
    stop: int
    fans: Fans | None = None


@dataclass(frozen=True)
class Branch:
    """The residual branch that a parameter stands in.

    Attributes
    ----------
    stream
        Number of the residual stream: a run of additions onto the same signal.
    index, count
        Which branch of the stream, from 0, and how many there are.
    weights
        The branch's weights in execution order, by name.
    scales
        Its normalisation scales and free factors in execution order, by name.
    end
        What sets the size of its output: the last weight, or the scale that comes after it. None
        if nothing in it does.
    normalised
        True if the branch reads the stream through a normalisation (pre-norm), or ends in one.
    post_norm
        True if the sum is normalised right after the addition.
    """

    stream: int
    index: int
    count: int
    weights: tuple[str, ...]
    scales: tuple[str, ...]
    end: str | None
    normalised: bool
    post_norm: bool


@dataclass(frozen=True)
class Attention:
    """A parameter's part in an attention.

    Attributes
    ----------
    module
        Qualified name of the module that holds all its projections.
    roles
        ``query``, ``key``, ``value`` or ``output``; several for a packed projection, in the order
        of its parts: heads that keep their three parts together have each role once a head.
    heads
        Number of heads, where known.
    """

    module: str
    roles: tuple[Literal["query", "key", "value", "output"], ...]
    heads: int | None = None


@dataclass(frozen=True)
class ParameterFact:
    """One parameter, told once even if several modules share it.

    Attributes
    ----------
    name
        Qualified name, the first one of a tied parameter.
    tied
        Its other names.
    module
        Qualified name of the module that holds it; empty for the model itself.
    module_type
        That module's class name.
    kind
        What it does.
    shape
        Its axes.
    dtype
        ``"float32"``, ...
    parts
        The matrices in it, along axis 0; one, over all rows, if it is not packed.
    order
        Place in execution order among all parameters that were seen to run; None if it was not.
    calls
        How often one forward pass uses it.
    activation
        What follows: ``"relu"``, ``"gelu"``, ... or a description; empty if nothing does before the
        next weight, or it is not known.
    input_second_moment
        E[x²] of what the layer is fed, when every layer before it gives mean 0 and its
        ``output_variance``.
    output_variance
        What the layer is to give: 1, or the share of its residual branch in the stream.
    bias_variance
        How much of it the layer's bias is to give: 0, but for the edge of chaos.
    input_first
        True if a two-dimensional weight is kept as ``(in, out)``.
    output
        True if what it computes reaches the model's output with no weight after it.
    branch, attention
        Where it stands, if it stands in one.
    offset
        Number that the model adds to it before use: 1 for a normalisation's scale that is kept as
        its distance from 1.
    bias_of
        For a bias: the name of its weight.
    gates
        For recurrent parameters: ``"lstm"``, ``"gru"`` or ``"rnn"``; empty otherwise.
    hidden_to_hidden
        True for the recurrent weight that reads the last hidden state, and for its bias.
    groups
        Of a convolution.
    padding
        For an embedding: the row that stays 0, if there is one.
    sources
        Where the module computes this tensor from others (weight normalisation, a parametrisation,
        pruning): the parameters that it is computed from.
    """

    name: str
    module: str
    module_type: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str = "float32"
    tied: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    order: int | None = None
    calls: int = 0
    activation: str = ""
    input_second_moment: float = 1.0
    output_variance: float = 1.0
    bias_variance: float = 0.0
    input_first: bool = False
    output: bool = False
    branch: Branch | None = None
    attention: Attention | None = None
    offset: float = 0.0
    bias_of: str = ""
    gates: str = ""
    hidden_to_hidden: bool = False
    groups: int = 1
    padding: int | None = None
    sources: tuple[str, ...] = ()

    @property
    def fans(self) -> Fans | None:
        """Fans of the first part."""
        return self.parts[0].fans if self.parts else None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it goes by."""
        return (self.name, *self.tied)

    @property
    def stored(self) -> tuple[str, ...]:
        """The parameters that hold it: itself, or what it is computed from."""
        return self.sources or (self.name,)


@dataclass(frozen=True)
class ModelFacts:
    """A model's parameters, in registration order, and what is known of how they run.

    Attributes
    ----------
    parameters
        By name; tied parameters once.
    traced
        True if the model was seen to run; else the order is that of registration.
    notes
        What could not be found out, and why, each one line.
    depth
        Number of weights on the longest way from input to output, as far as known.
    """

    parameters: Mapping[str, ParameterFact]
    traced: bool = True
    notes: tuple[str, ...] = ()
    depth: int = 0
    branches: tuple[Branch, ...] = field(default=())

    def in_order(self) -> tuple[ParameterFact, ...]:
        """Parameters in execution order; those that did not run come last."""
        last = len(self.parameters)
        return tuple(
            sorted(
                self.parameters.values(),
                key=lambda fact: last if fact.order is None else fact.order,
            )
        )
