"""The gain of an activation: what weights have to make up for, in both conventions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from initlab import activations
from initlab._base.errors import InitlabError
from initlab._base.spec import parse_call
from initlab.activations import Activation
from initlab.activations import moments as gaussian
from initlab.activations.moments import GaussianMoments
from initlab.theory.function import AnyFunction, as_activation


@dataclass(frozen=True)
class Gain:
    """What a layer after the activation multiplies its weights' std, 1 / sqrt(fan_in), by.

    Attributes
    ----------
    activation
        Name of φ.
    moments
        Of φ(z), z standard normal.
    gain_second_moment
        E[φ²]^(-1/2): keeps the second moment, which is what weights of mean 0 pass on.
    gain_variance
        Var(φ)^(-1/2): keeps the variance, for centred weights or data (Brock, De & Smith 2021).
    torch_gain
        What ``torch.nn.init.calculate_gain`` returns; ``None`` where it has no number.
    """

    activation: str
    moments: GaussianMoments
    gain_second_moment: float
    gain_variance: float
    torch_gain: float | None


def gain(f: AnyFunction) -> Gain:
    """Return the gain of an activation in both conventions, and PyTorch's.

    They are 1 / sqrt(E[φ(z)²]) and 1 / sqrt(Var φ(z)), z standard normal; infinite for a function
    that gives 0, or a constant.

    Parameters
    ----------
    f
        Activation, by name or as any function.

    Raises
    ------
    UnknownNameError
        If no activation carries the name.
    InvalidValueError
        If the moments do not exist, or as :func:`as_activation` does.

    Examples
    --------
    >>> found = gain("gelu")
    >>> round(found.gain_second_moment, 10), round(found.gain_variance, 10), found.torch_gain
    (1.5335304412, 1.7009262434, None)
    """
    activation = as_activation(f)
    found = gaussian.moments(activation, 1.0)
    return Gain(activation.name, found, _root(found.f2), _root(found.var), torch_gain(activation))


def moments(f: AnyFunction, q: float = 1.0) -> GaussianMoments:
    """Return E[φ], E[φ²], Var φ, E[φ'²], E[φ''²] and E[z φ φ'] for inputs √q z.

    Parameters
    ----------
    f
        Activation, by name or as any function.
    q
        Variance of the input, at least 0.

    Raises
    ------
    InvalidValueError
        If ``q`` is out of range, or a moment does not exist.

    Examples
    --------
    >>> round(moments(lambda x: x**3).f2, 9)  # E[z⁶]
    15.0
    """
    return gaussian.moments(as_activation(f), q)


def torch_gain(activation: Activation) -> float | None:
    """Return PyTorch's number for an activation, which need not follow from its moments.

    tanh's 5/3 and SELU's 3/4 are choices; sigmoid's 1 is that of a linear layer
    (``torch.nn.init.calculate_gain``).
    """
    try:
        if activations.get(activation.name) != activation:
            return None  # another function that goes by the name
    except InitlabError:  # no name of the catalogue
        return None
    call = parse_call(activation.name, "activation")
    if call.name == "leaky_relu":
        slope = float(str(call.args[0])) if call.args else 0.01
        return math.sqrt(2 / (1 + slope**2))
    return _TORCH.get(call.name)


_TORCH = {
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
}


def _root(moment: float) -> float:
    return 1 / math.sqrt(moment) if moment > 0 else math.inf
