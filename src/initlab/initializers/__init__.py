"""The catalogue of initialisers: distribution, scale rule and documentation, each defined once."""

from __future__ import annotations

import inspect

from initlab._base.catalogue import Catalogue
from initlab._base.errors import InvalidValueError
from initlab._base.spec import Call, Literal, parse_call
from initlab.initializers import (
    activation_scaling,
    attention,
    convolutional,
    data_driven,
    depth_aware,
    elementary,
    embeddings,
    mup,
    orthogonal,
    patterns,
    recurrent,
    structured,
    transformer_depth,
    variance_scaling,
)
from initlab.initializers._definition import (
    Distribution,
    Elementwise,
    Initializer,
    Moments,
    Scale,
    require_shape,
)
from initlab.initializers._entry import FAMILIES, FRAMEWORKS, Entry, Variant
from initlab.initializers.mup import mup_attention_scale, mup_learning_rate
from initlab.initializers.transformer_depth import deepnorm_alpha, deepnorm_beta

catalogue: Catalogue[Entry] = Catalogue(
    "initializer",
    {
        entry.name: entry
        for module in (
            elementary,
            patterns,
            variance_scaling,
            activation_scaling,
            orthogonal,
            convolutional,
            depth_aware,
            transformer_depth,
            mup,
            structured,
            attention,
            recurrent,
            embeddings,
            data_driven,
        )
        for entry in module.ENTRIES
    },
    aliases={
        "gaussian": "normal",
        "xavier_normal": "glorot_normal",
        "xavier_uniform": "glorot_uniform",
        "kaiming_normal": "he_normal",
        "kaiming_uniform": "he_uniform",
        "standard_uniform": "pytorch_default",
        "eye": "identity",
    },
)


def get(text: str | Call | Initializer) -> Initializer:
    """Return the initialiser of a name, with arguments where it takes any.

    Parameters
    ----------
    text
        ``"he_normal"``, ``"normal(std=10)"``, ``"normal(10)"``, such a text already parsed, or an
        initialiser, which is returned as it is.

    Raises
    ------
    UnknownNameError
        If no initialiser carries the name.
    InvalidValueError
        If the text cannot be read, or the arguments do not fit the initialiser; the message lists
        those that it takes.

    Examples
    --------
    >>> get("xavier_normal(gain=1.5)")
    <initializer glorot_normal(gain=1.5)>
    >>> get("normal(10)") == get("normal(std=10)")
    True
    """
    if isinstance(text, Initializer):
        return text
    call = text if isinstance(text, Call) else parse_call(text, "initializer")
    entry = catalogue[call.name]
    try:
        # Outside the call itself, so that a TypeError of ours is not taken for the user's.
        inspect.signature(entry.make).bind(*call.args, **dict(call.kwargs))
    except TypeError as error:
        raise _refusal(text, entry, error) from error
    try:
        return entry.make(*call.args, **dict(call.kwargs))
    except InvalidValueError as error:
        raise _refusal(text, entry, error) from error


def _refusal(text: str | Call, entry: Entry, error: Exception) -> InvalidValueError:
    return InvalidValueError(f"initializer {str(text)!r}: {error}; accepted: {entry.signature}")


def arguments(initializer: Initializer) -> dict[str, Literal]:
    """Return every argument of an initialiser by name, those left at their defaults included.

    Examples
    --------
    >>> arguments(get("normal(std=10)"))
    {'std': 10, 'mean': 0.0}
    """
    call = parse_call(initializer.spec, "initializer")
    signature = inspect.signature(catalogue[call.name].make)
    bound = signature.bind(*call.args, **dict(call.kwargs))
    bound.apply_defaults()
    return dict(bound.arguments)


def names() -> tuple[str, ...]:
    """Return the canonical name of every initialiser, in the catalogue's order."""
    return tuple(catalogue)


__all__ = [
    "FAMILIES",
    "FRAMEWORKS",
    "Distribution",
    "Elementwise",
    "Entry",
    "Initializer",
    "Moments",
    "Scale",
    "Variant",
    "arguments",
    "catalogue",
    "deepnorm_alpha",
    "deepnorm_beta",
    "get",
    "mup_attention_scale",
    "mup_learning_rate",
    "names",
    "require_shape",
]
