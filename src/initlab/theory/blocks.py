"""What a network is made of, as far as the theory goes: blocks in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

from initlab._base.errors import InvalidValueError
from initlab._base.fans import Fans, Padding, PerDimension, convolution, fans
from initlab._base.numbers import finite
from initlab._base.whole import require_whole
from initlab.theory.function import AnyFunction, as_activation
from initlab.theory.maps import dropout_rate


@dataclass(frozen=True)
class Dense:
    """A fully-connected layer.

    Attributes
    ----------
    fan_in, fan_out
        Inputs and outputs.
    init
        Initialisation of its weight, where it is another than the network's.
    """

    fan_in: int
    fan_out: int
    init: str | None = None

    def __post_init__(self) -> None:
        require_whole("fan_in", self.fan_in, 1)
        require_whole("fan_out", self.fan_out, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight, ``(fan_out, fan_in)``."""
        return (self.fan_out, self.fan_in)

    @property
    def fans(self) -> Fans:
        """Its fans."""
        return fans(self.shape)

    @property
    def inputs(self) -> int:
        """Values that it is fed."""
        return self.fan_in

    @property
    def units(self) -> int:
        """Values that a mean over its outputs is made of."""
        return self.fan_out

    def __str__(self) -> str:
        return f"dense {self.fan_in}-{self.fan_out}"


@dataclass(frozen=True)
class Convolution:
    """A convolution, which the theory sees as its fans: positions are alike.

    Attributes
    ----------
    shape
        ``(out, in / groups, *receptive)``.
    groups, stride, padding, dilation, size
        As in :func:`initlab._base.fans.convolution`; without ``size``, borders are left out.
    init
        As in :class:`Dense`.
    """

    shape: tuple[int, ...]
    groups: int = 1
    stride: PerDimension = 1
    padding: Padding = 0
    dilation: PerDimension = 1
    size: PerDimension | None = None
    init: str | None = None

    def __post_init__(self) -> None:
        _ = self.fans  # refused now rather than later
        object.__setattr__(self, "shape", tuple(self.shape))

    @property
    def fans(self) -> Fans:
        """Its fans, by its geometry."""
        return convolution(
            self.shape,
            groups=self.groups,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            size=self.size,
        )

    @property
    def inputs(self) -> int:
        """Input channels, those of all groups."""
        return self.shape[1] * self.groups

    @property
    def units(self) -> int:
        """Output channels."""
        return self.shape[0]

    def __str__(self) -> str:
        kernel = "x".join(map(str, self.shape[2:]))
        return f"conv {self.inputs}-{self.shape[0]}, {kernel}"


@dataclass(frozen=True)
class Activate:
    """An activation.

    Attributes
    ----------
    f
        By name or as any function.
    """

    f: AnyFunction

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", as_activation(self.f))


@dataclass(frozen=True)
class Dropout:
    """Dropout in training: a share of values is set to 0, the others divided by what is kept.

    Attributes
    ----------
    rate
        That share, from 0 to below 1; drawn anew for every input.
    """

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", dropout_rate(self.rate))


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation: each input's values are brought to mean 0 and variance 1."""


@dataclass(frozen=True)
class Residual:
    """x + scale · branch(x).

    Attributes
    ----------
    branch
        Blocks, one with weights at least: what they add has to be independent of x. They end where
        the width is that of x.
    scale
        Factor on the branch.
    """

    branch: tuple[Block, ...]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "branch", require_blocks(self.branch))
        object.__setattr__(self, "scale", finite("scale", self.scale))


Block = Dense | Convolution | Activate | Dropout | LayerNorm | Residual
Weighted = Dense | Convolution


@runtime_checkable
class Sized(Protocol):
    """A fully-connected network by its sizes, such as :class:`initlab.engine.network.Network`."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units per layer, inputs first."""
        ...

    @property
    def activation(self) -> str:
        """Name of the hidden activation."""
        ...


def fully_connected(sizes: Sequence[int], activation: AnyFunction) -> tuple[Block, ...]:
    """Return the blocks of a fully-connected network: dense layers, activations between them.

    Parameters
    ----------
    sizes
        Units per layer, inputs first, at least two.
    activation
        Of the hidden layers.

    Raises
    ------
    InvalidValueError
        If the sizes do not make a network.

    Examples
    --------
    >>> [str(block) for block in fully_connected((2, 10, 1), "relu")][::2]
    ['dense 2-10', 'dense 10-1']
    """
    try:
        sizes = tuple(sizes)
    except TypeError:
        raise InvalidValueError(f"sizes={sizes!r} is no sequence of whole numbers") from None
    if len(sizes) < 2:
        raise InvalidValueError(
            f"sizes={sizes!r} do not make a network; expected at least an input and an output size"
        )
    phi = Activate(activation)
    blocks: list[Block] = []
    for fan_in, fan_out in pairwise(sizes):
        blocks += [Dense(fan_in, fan_out), phi]
    return tuple(blocks[:-1])


def require_blocks(network: Sized | Iterable[Block]) -> tuple[Block, ...]:
    """Return a network as blocks.

    Raises
    ------
    InvalidValueError
        If it is neither blocks nor sizes with an activation.
    """
    if isinstance(network, Sized):
        return fully_connected(network.sizes, network.activation)
    try:
        given: tuple[object, ...] = tuple(network)
    except TypeError:
        given = (network,)
    blocks: list[Block] = []
    for block in given:
        if not isinstance(block, Block):
            raise InvalidValueError(
                f"{block!r} is no part of a network; expected sizes and an activation, as "
                "initlab.engine.network.Network has them, or a sequence of Dense, Convolution, "
                "Activate, Dropout, LayerNorm and Residual"
            )
        blocks.append(block)
    return tuple(blocks)
