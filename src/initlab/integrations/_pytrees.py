"""New values for the parameters of a tree, by name: what Flax and Equinox share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab._base.patterns import matches
from initlab._base.streams import require_seed
from initlab.initializers import Initializer
from initlab.integrations import _weights, layouts
from initlab.integrations.layouts import KERNEL, WHOLE, Layout
from initlab.sampling import Key

How = str | Initializer
Rules = Sequence[tuple[str, How]]
Kind = Literal["weight", "bias", "norm_scale", "slope", "embedding", "unknown"]

KEEP = "keep"
_NEUTRAL = {"bias": "zeros", "norm_scale": "ones", "slope": "constant(0.25)"}


@dataclass(frozen=True)
class Leaf:
    """One parameter of a tree.

    Attributes
    ----------
    name
        Its path, joined by dots.
    kind
        What it does, as far as names and modules tell.
    value
        Has shape and dtype: an array, or the shape of one.
    layout
        Of a weight: which axis is which. A text says why that cannot be told.
    """

    name: str
    kind: Kind
    value: Any
    layout: Layout | str = KERNEL


def dotted(path: Iterable[Any]) -> str:
    """Return the name of a path: its keys, attributes and numbers, joined by dots."""
    return ".".join(_text(key) for key in path)


def _text(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def is_parameter(value: object) -> bool:
    """Tell whether a leaf is an array of floats that has entries."""
    if not isinstance(value, (jax.Array, np.ndarray, jax.ShapeDtypeStruct)):
        return False
    return bool(jnp.issubdtype(value.dtype, jnp.floating)) and value.size > 0


def drawn(
    leaves: Iterable[Leaf], how: How | Rules, *, seed: int, keep: str | Sequence[str]
) -> dict[str, Any]:
    """Return the new value of every parameter that gets one, by name.

    Raises
    ------
    UnknownNameError
        If no initialiser carries a name.
    InvalidValueError
        If a rule cannot be read, needs more than the tree, or matches nothing; or if it is not
        known what a parameter is for.
    """
    found, seed = list(leaves), require_seed(seed)
    rules = [("*", how)] if isinstance(how, (str, Initializer)) else list(how)
    wanted = [(pattern, _read(pattern, one)) for pattern, one in rules]
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    _check_patterns([*kept, *(pattern for pattern, _ in wanted)], found)
    values: dict[str, Any] = {}
    for leaf in found:
        if any(matches(pattern, leaf.name) for pattern in kept):
            continue
        rule = next((rule for rule in wanted if matches(rule[0], leaf.name)), None)
        if rule is not None and rule[1] is not None:
            initializer, layout = _decide(leaf, rule[0], rule[1])
            key = Key.derive(seed, leaf.name)
            new = layouts.draw(initializer, key, leaf.value.shape, layout)
            values[leaf.name] = _like(leaf, new)
    return values


def _read(pattern: str, how: How) -> Initializer | None:
    """Return the initialiser of a rule; None for ``"keep"``."""
    word = how.strip().lower() if isinstance(how, str) else ""
    if word == KEEP:
        return None
    if word == "auto":
        raise InvalidValueError(
            "'auto' looks at how a model runs, which is traced for PyTorch alone; name an "
            "initialiser, such as 'he_normal'"
        )
    initializer = _weights.single(how)
    if pattern == "*" and _weights.looks_at_models(initializer):
        raise InvalidValueError(
            f"{initializer.spec!r} looks at the whole model, which is read for PyTorch alone; give "
            f"it in rules for the parameters that it is meant for, [('layers.0', "
            f"{initializer.spec!r}), ('*', 'he_normal')]"
        )
    return initializer


def _check_patterns(patterns: Sequence[str], leaves: Sequence[Leaf]) -> None:
    """Refuse a pattern that matches nothing: it is a slip of the pen."""
    names = [leaf.name for leaf in leaves]
    for pattern in patterns:
        if pattern != "*" and not any(matches(pattern, name) for name in names):
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise InvalidValueError(
                f"{pattern!r} matches no parameter; the tree has {shown or 'none'}"
            )


def _decide(leaf: Leaf, pattern: str, initializer: Initializer) -> tuple[Initializer, Layout]:
    """Return what a parameter is drawn from, and in which layout."""
    named = pattern.rpartition(".")[2] == leaf.name.rpartition(".")[2]
    if leaf.kind == "embedding":
        fits = named or initializer.name in layouts.TABLES
        layout = WHOLE if isinstance(leaf.layout, str) else leaf.layout
        return (initializer if fits else initializers.get("embedding")), layout
    if leaf.kind == "weight" or (named and leaf.kind == "unknown"):
        if isinstance(leaf.layout, str):
            raise InvalidValueError(f"{leaf.name!r}: {leaf.layout}")
        return initializer, leaf.layout
    if named:
        return initializer, WHOLE
    if leaf.kind == "unknown":
        raise InvalidValueError(
            f"no rule is known for {leaf.name!r} of shape {tuple(leaf.value.shape)}; give it one "
            f"of its own, ({leaf.name!r}, 'normal(std=0.02)'), or leave it out with keep="
        )
    return initializers.get(_NEUTRAL[leaf.kind]), WHOLE


def _like(leaf: Leaf, new: layouts.Float32) -> Any:
    """Return new values of the kind and type, and in the place, of the old ones."""
    old = leaf.value
    try:
        values = _weights.rounded(new, old.dtype)
    except InvalidValueError as error:
        raise InvalidValueError(f"{leaf.name!r}: {error}") from error
    if isinstance(old, np.ndarray):
        return values
    if isinstance(old, Tracer):
        return jnp.asarray(values)
    sharding = old.sharding
    return jnp.asarray(values) if sharding is None else jax.device_put(values, sharding)
