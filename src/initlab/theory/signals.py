"""What an initialisation does to signals and gradients, layer by layer, before anything is run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab._base.numbers import not_negative, within
from initlab.initializers import Initializer
from initlab.theory.blocks import (
    Activate,
    Block,
    Dense,
    Dropout,
    Residual,
    Sized,
    Weighted,
    require_blocks,
)
from initlab.theory.function import as_activation
from initlab.theory.states import LEAST, State, activate, drop, normalise

_BEYOND = 1e300  # a variance of weights that floats do not hold


@dataclass(frozen=True)
class LayerSignal:
    """What is predicted at one layer, over draws of the weights, in the limit of great width.

    Attributes
    ----------
    layer
        ``"dense 300-300"``, ``"conv 3-64, 3x3"``, ``"residual"`` (the sum of stream and branch).
    depth
        Layers with weights up to here, this one included.
    weight_std
        Standard deviation of an entry of the weight; ``None`` for a sum.
    variance
        E[z²] of what the layer gives: its pre-activations, of mean 0.
    correlation
        Of two inputs' pre-activations, E[z z'] / E[z²]; ``nan`` where they are 0 or have exploded,
        or φ oscillates too fast for the integral.
    mean, second_moment
        E[x], E[x²] of what the next layer with weights is fed: φ(z) where an activation follows,
        after dropout and normalisation where there are any; of z where nothing follows.
    gradient
        E[(∂/∂z)²] in units of that at the network's last layer.
    fluctuation
        Standard deviation over draws, relative to ``variance``, of one input's mean of z² over the
        units of the layer, for independent entries (those of orthogonal weights make it less), to
        first order in 1 / width; exactly for ReLU and its like with normal entries. ``None`` where
        the theory does not give it: at a convolution, whose positions differ in what they are fed,
        at a residual sum, after either and after a normalisation, and once a signal has vanished
        or exploded.
    """

    layer: str
    depth: int
    weight_std: float | None
    variance: float
    correlation: float
    mean: float
    second_moment: float
    gradient: float
    fluctuation: float | None

    @property
    def std(self) -> float:
        """Standard deviation of what the next layer is fed."""
        return math.sqrt(max(self.second_moment - self.mean**2, 0.0))


@dataclass(frozen=True)
class Signal:
    """The prediction for a network.

    Attributes
    ----------
    init
        The initialisation, as it is printed.
    input_second_moment, input_correlation
        What the network is fed: mean of x² over features, and the correlation of two inputs.
    bias_var
        σb² of every layer.
    layers
        In the order in which they run.
    """

    init: str
    input_second_moment: float
    input_correlation: float
    bias_var: float
    layers: tuple[LayerSignal, ...]


class _Passed(NamedTuple):
    """What comes of a block: state behind it, layers met, factor on the squared gradient.

    Gradients of the layers are in units of that behind the block.
    """

    state: State
    layers: tuple[LayerSignal, ...]
    backward: float


def signal(
    network: Sized | Iterable[Block],
    init: str | Initializer,
    *,
    bias_var: float = 0.0,
    input_second_moment: float = 1.0,
    input_correlation: float = 0.5,
) -> Signal:
    """Predict moments, correlation and gradient at every layer of a random network.

    Forward, with n inputs of a layer: E[z²] = n Var(w) E[x²] + σb², E[z z'] = n Var(w) E[x x'] +
    σb², and x = φ(z) of Gaussian z (Poole et al. 2016). Backward, with n' the fan-out:
    E[(∂/∂x)²] = n' Var(w) E[(∂/∂z)²], times E[φ'(z)²] through φ (Schoenholz et al. 2017): so
    fan_in ≠ fan_out makes gradients change where signals do not. A residual sum adds second
    moments, stream and branch being independent (Yang & Schoenholz 2017); dropout divides E[x²] by
    what is kept, not E[x x'].

    Parameters
    ----------
    network
        A network with sizes and an activation, or blocks, see :mod:`initlab.theory.blocks`.
    init
        Initialisation of every weight that does not name its own.
    bias_var
        σb², at least 0.
    input_second_moment
        Mean of x² over the features of an input.
    input_correlation
        Of two inputs, from -1 to 1.

    Raises
    ------
    InvalidValueError
        If an argument is out of range, widths do not fit, the initialisation is not one of
        independent or orthogonal entries of mean 0, an activation is fed something that is not
        Gaussian or has no moments, or a residual branch has no weights.

    Examples
    --------
    >>> from initlab.theory.blocks import fully_connected
    >>> deep = fully_connected((300,) * 51, "relu")
    >>> he, xavier = signal(deep, "he_normal"), signal(deep, "glorot_normal")
    >>> round(he.layers[-1].variance, 9), f"{xavier.layers[-1].variance:.1e}"
    (2.0, '1.8e-15')
    """
    blocks = require_blocks(network)
    if not any(isinstance(block, Weighted) for block in _leaves(blocks)):
        raise InvalidValueError("the network has no layer with weights; expected one at least")
    initializer = initializers.get(init)
    second = not_negative("input_second_moment", input_second_moment)
    correlation = within("input_correlation", input_correlation, -1.0, 1.0)
    walk = _Walk(initializer, not_negative("bias_var", bias_var))
    fed = State(
        mean=0.0,
        second=second,
        distance=(1 - correlation) * second,
        normal=False,
        units=None,
        mapped=False,
        relative=0.0,
        kurtosis=0.0,
    )
    layers = walk.run(blocks, fed).layers
    unit = layers[-1].gradient
    return Signal(
        initializer.spec,
        second,
        correlation,
        walk.bias_var,
        tuple(
            replace(layer, gradient=layer.gradient / unit if unit > 0 else math.nan)
            for layer in layers
        ),
    )


def weight_variance(initializer: Initializer, block: Weighted) -> float:
    """Return Var(w) of a layer's weight, if mean-field theory applies to it.

    Raises
    ------
    InvalidValueError
        If the entries have another mean than 0, no known variance, or follow from data.
    """
    initializer = initializers.get(block.init) if block.init is not None else initializer
    entry = initializers.catalogue[initializer.name]
    std = initializer.std(block.shape, fans=block.fans)
    if entry.family == "data-driven":
        why = "adapts its weights to data"
    elif std is None:
        why = f"has no known variance for shape {block.shape}"
    elif abs(initializer.mean(block.shape, fans=block.fans)) > 1e-12 * std:
        why = "gives entries of a common mean or a fixed pattern"
    else:
        return min(std * std, _BEYOND)
    raise InvalidValueError(
        f"{initializer.spec} {why}: mean-field theory is about random weights of mean 0, such as "
        "he_normal or orthogonal"
    )


def _fits(block: Weighted, state: State) -> bool:
    """Return whether a layer takes as many values as there are; maps are flattened if need be."""
    if state.units is None:
        return True
    if state.mapped and isinstance(block, Dense):
        return block.inputs % state.units == 0
    return block.inputs == state.units


def _leaves(blocks: Iterable[Block]) -> Iterable[Block]:
    for block in blocks:
        if isinstance(block, Residual):
            yield from _leaves(block.branch)
        yield block


class _Walk:
    """Goes through the blocks in the order in which they run."""

    def __init__(self, initializer: Initializer, bias_var: float) -> None:
        self.initializer, self.bias_var = initializer, bias_var
        self.depth = 0

    def run(self, blocks: Iterable[Block], state: State) -> _Passed:
        """Go through blocks one after the other, then back."""
        steps: list[tuple[list[LayerSignal], float]] = []
        for block in blocks:
            state, layers, backward = self._step(block, state)
            if not layers and steps:  # what the layer before hands on
                before = next((each for each, _ in reversed(steps) if each), None)
                if before:
                    before[-1] = replace(before[-1], mean=state.mean, second_moment=state.second)
            steps.append((list(layers), backward))
        met: list[LayerSignal] = []
        gradient = 1.0
        for layers, backward in reversed(steps):
            met[:0] = [replace(each, gradient=each.gradient * gradient) for each in layers]
            gradient *= backward
        return _Passed(state, tuple(met), gradient)

    def _step(self, block: Block, state: State) -> _Passed:
        if isinstance(block, Weighted):
            return self._weigh(block, state)
        if isinstance(block, Residual):
            return self._add(block, state)
        if isinstance(block, Activate):
            after, backward = activate(as_activation(block.f), state)
        elif isinstance(block, Dropout):
            after, backward = drop(block.rate, state)
        else:
            after, backward = normalise(state)
        return _Passed(after, (), backward)

    def _weigh(self, block: Weighted, state: State) -> _Passed:
        if not _fits(block, state):
            raise InvalidValueError(
                f"{block} is fed {state.units} {'channels' if state.mapped else 'values'}; "
                f"expected {block.inputs}"
            )
        self.depth += 1
        variance = weight_variance(self.initializer, block)
        factor = variance * block.fans.fan_in
        second = factor * state.second + self.bias_var
        if second < LEAST:
            second = 0.0
        relative = state.fluctuation if state.units is not None else state.relative
        mapped = not isinstance(block, Dense)
        if second == 0 or not math.isfinite(second) or mapped:
            relative = None  # positions of a map share weights, but not what they are fed
        elif relative is not None:
            relative *= (factor * state.second / second) ** 2
        after = State(
            0.0,
            second,
            factor * state.distance,
            normal=True,
            units=block.units,
            mapped=mapped,
            relative=relative,
            kurtosis=2.0,
        )
        return _Passed(
            after,
            (self._note(str(block), math.sqrt(variance), after),),
            variance * block.fans.fan_out,
        )

    def _add(self, block: Residual, state: State) -> _Passed:
        depth = self.depth
        branch = self.run(block.branch, state)
        if self.depth == depth:
            raise InvalidValueError(
                "a residual branch without weights depends on the stream that it is added to; "
                "expected a Dense or Convolution layer in it"
            )
        square = block.scale * block.scale
        added = branch.state
        if None not in {state.units, added.units} and state.units != added.units:
            raise InvalidValueError(
                f"a residual branch gives {added.units} values, the stream has {state.units}; "
                "expected as many"
            )
        after = state._replace(
            mean=state.mean + block.scale * added.mean,
            second=state.second + 2 * block.scale * state.mean * added.mean + square * added.second,
            distance=state.distance + square * added.distance,
            normal=state.normal and added.normal,
            relative=None,
            kurtosis=math.nan,
        )
        layers = [replace(each, gradient=square * each.gradient) for each in branch.layers]
        return _Passed(
            after,
            (*layers, self._note("residual", None, after)),
            1 + square * branch.backward,
        )

    def _note(self, name: str, weight_std: float | None, state: State) -> LayerSignal:
        spread = state.fluctuation
        return LayerSignal(
            layer=name,
            depth=self.depth,
            weight_std=weight_std,
            variance=state.second,
            correlation=state.correlation,
            mean=state.mean,
            second_moment=state.second,
            gradient=1.0,
            fluctuation=None if spread is None else math.sqrt(spread),
        )
