"""The catalogue of activations: value, derivative and reference, each defined once."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable
from functools import cache

from initlab._base.catalogue import Catalogue
from initlab._base.errors import InvalidValueError
from initlab._base.spec import parse_call
from initlab.activations import rectifiers, sigmoidal, smooth
from initlab.activations._definition import Activation, Operations

catalogue: Catalogue[Callable[..., Activation]] = Catalogue(
    "activation",
    {
        make.__name__: make
        for make in (
            rectifiers.identity,
            rectifiers.relu,
            rectifiers.leaky_relu,
            sigmoidal.tanh,
            sigmoidal.sigmoid,
            sigmoidal.softsign,
            smooth.softplus,
            rectifiers.elu,
            rectifiers.selu,
            smooth.gelu,
            smooth.silu,
            smooth.mish,
            smooth.sin,
            sigmoidal.erf,
            sigmoidal.hardtanh,
        )
    },
    aliases={"linear": "identity", "logistic": "sigmoid", "swish": "silu"},
)


def get(name: str | Activation) -> Activation:
    """Return the activation of a name, with arguments where it takes any.

    Parameters
    ----------
    name
        ``"relu"``, ``"leaky_relu(0.2)"``, or an activation, which is returned as it is.

    Raises
    ------
    UnknownNameError
        If no activation carries the name.
    InvalidValueError
        If the text cannot be read or an argument is not a finite number.

    Examples
    --------
    >>> get("leaky_relu(0.2)")([-1.0, 2.0])
    array([-0.2,  2. ])
    """
    return name if isinstance(name, Activation) else _parsed(name)


@cache  # names are looked up at every step of the reference engine
def _parsed(name: str) -> Activation:
    call = parse_call(name, "activation", "leaky_relu(0.1)")
    make = catalogue[call.name]
    arguments = [_finite(value, name) for value in call.args]
    keywords = {key: _finite(value, name) for key, value in call.kwargs}
    signature = inspect.signature(make)
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        accepted = ", ".join(f"{key}={p.default:g}" for key, p in signature.parameters.items())
        raise InvalidValueError(
            f"activation {name!r} does not fit: {error}; "
            f"accepted: {make.__name__}{f'({accepted})' if accepted else ', without arguments'}"
        ) from error
    made = make(*arguments, **keywords)
    # However it is spelled, it is one activation: equal, and what is known of one is of the other.
    return made if made.name == name else _parsed(made.name)


def _finite(value: object, text: str) -> float:
    """Return an argument as a number, or refuse it."""
    with contextlib.suppress(OverflowError):  # an integer beyond the largest float
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
    raise InvalidValueError(f"argument {value!r} of activation {text!r} is not a finite number")


__all__ = ["Activation", "Operations", "catalogue", "get"]
