"""Writes one assignment as lines of plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.initializers import Initializer
from initlab.initializers.distributions import (
    BoundedNormal,
    Normal,
    One,
    TruncatedNormal,
    Uniform,
)
from initlab.initializers.orthogonal import CentreOrthogonal, GateOrthogonal, Orthogonal
from initlab.models import draw, snippets
from initlab.models.assignment import Assignment, Piece
from initlab.models.facts import ParameterFact
from initlab.sampling import Key

# The longest vector that is written out entry by entry.
_SHORT = 1000
_HALF = {"float16", "bfloat16"}
# For shapes with so many axes, the catalogue's PyTorch code makes the weight that is drawn here.
_AXES = {
    "identity": (2,),
    "irnn": (2,),
    "sparse": (2,),
    "zero_hadamard": (2,),
    "dirac": (3, 4, 5),
    "conv_orthogonal": (3, 4, 5),
}

LONGEST = 92
"""Characters of a line, without its indentation by up to 8."""


@dataclass
class Context:
    """What the lines need around them.

    Attributes
    ----------
    exact
        Repeat the very numbers.
    helpers
        Functions, each once, in order.
    generator
        Functions of the random generator.
    """

    exact: bool
    helpers: dict[str, None] = field(default_factory=dict[str, None])
    generator: dict[str, None] = field(default_factory=dict[str, None])


def statements(
    one: Assignment, fact: ParameterFact, target: str, name: str, context: Context
) -> list[str]:
    """Write the lines that set a parameter.

    Parameters
    ----------
    one, fact
        The parameter.
    target, name
        Expressions that stand for its tensor and for its name.
    context
        Takes note of the functions that the lines call.

    Raises
    ------
    InvalidValueError
        If an initialiser has no plain form.
    """
    if not fact.sources:
        return _set(one, fact, target, name, context)
    if not all(".parametrizations." in f".{source}" for source in fact.sources):
        raise InvalidValueError(
            f"as_code: {one.name!r} is computed by a hook of its module; keep it, or initialise "
            "before adding the hook"
        )
    context.helpers[snippets.ASSIGN] = None
    lines = _set(one, fact, "weight", name, context)
    return [f"weight = torch.empty({fact.shape})", *lines, f"assign(model, {name}, weight)"]


def _set(
    one: Assignment, fact: ParameterFact, target: str, name: str, context: Context
) -> list[str]:
    values = _constants(one, fact)
    if values is not None:
        return [f"{target}.copy_(torch.tensor({values}))"]
    if context.exact:
        return _exact(one, fact, target, name, context)
    lines: list[str] = []
    for piece in _joined(one.pieces):
        shape = _shape(piece, fact)
        lines += _drawn(_place(target, piece, fact), piece, shape, fact.dtype, context)
    return lines


def _shape(piece: Piece, fact: ParameterFact) -> tuple[int, ...]:
    return (piece.stop - piece.start, *fact.shape[1:]) if fact.shape else ()


def _rows(fact: ParameterFact) -> int:
    return fact.shape[0] if fact.shape else 1


def _place(target: str, piece: Piece, fact: ParameterFact) -> str:
    whole = piece.start == 0 and piece.stop == _rows(fact)
    return target if whole else f"{target}[{piece.start}:{piece.stop}]"


def _constants(one: Assignment, fact: ParameterFact) -> list[float] | None:
    """Return the entries of a short vector that is neither random nor all alike; else None."""
    if len(fact.shape) != 1 or not 1 < fact.shape[0] <= _SHORT:
        return None
    if len(one.pieces) < 4 and all(_is_constant(piece.initializer) for piece in one.pieces):
        return None
    first, second = (draw.draw(one, fact.shape, seed) for seed in (0, 1))
    if not np.array_equal(first, second) or (first == first[0]).all():
        return None
    return [float(str(value)) for value in first]


def _is_constant(initializer: Initializer) -> bool:
    return isinstance(initializer.distribution, One)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Join neighbours that are drawn alike, entry by entry: they may as well be drawn together."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        alike = last is not None and replace(piece, start=last.start, stop=last.stop) == last
        if last is not None and alike and draw.is_elementwise(piece):
            joined[-1] = replace(last, stop=piece.stop)
        else:
            joined.append(piece)
    return joined


def _drawn(
    place: str, piece: Piece, shape: tuple[int, ...], dtype: str, context: Context
) -> list[str]:
    """Write the call of ``torch.nn.init`` that draws a piece."""
    distribution = piece.initializer.distribution
    if draw.is_elementwise(piece):
        return _elementwise(place, piece, shape, dtype)
    if piece.swapped:
        place, shape = f"{place}.transpose(0, 1)", (shape[1], shape[0], *shape[2:])
    factor = piece.initializer.scale.factor(shape, piece.fans)
    simple = not piece.swapped and dtype not in _HALF
    if isinstance(distribution, Orthogonal):
        return [_rotation(place, shape, factor, simple=simple)]
    if isinstance(distribution, GateOrthogonal):
        gate = (shape[0] // distribution.gates, *shape[1:])
        part = _rotation("part", gate, factor, simple=simple)
        return [f"for part in {place}.chunk({distribution.gates}):", f"    {part}"]
    if isinstance(distribution, CentreOrthogonal):
        centre = "".join(f", {size // 2}" for size in shape[2:])
        lines = [f"nn.init.zeros_({place})"] if centre else []
        place = f"{place}[:, :{centre}]" if centre else place
        return [*lines, _rotation(place, shape[:2], factor, simple=simple and not centre)]
    return _variant(place, piece, shape, context)


def _elementwise(place: str, piece: Piece, shape: tuple[int, ...], dtype: str) -> list[str]:
    distribution = piece.initializer.distribution
    factor, mean = piece.initializer.scale.factor(shape, piece.fans), piece.initializer.shift
    size = abs(factor)
    if isinstance(distribution, One):
        names = {0.0: f"zeros_({place})", 1.0: f"ones_({place})"}
        call = names.get(factor + mean, f"constant_({place}, {factor + mean!r})")
    elif isinstance(distribution, Normal):
        call = f"normal_({place}, mean={mean!r}, std={size!r})"
    elif isinstance(distribution, Uniform):
        call = f"uniform_({place}, {mean - size!r}, {mean + size!r})"
    else:
        low, high = (mean + bound * size for bound in _bounds(piece.initializer))
        numbers = f"mean={mean!r}, std={size!r}, a={low!r}, b={high!r}"
        if dtype in _HALF:  # drawn in half precision, some would lie far out
            values = f"values = nn.init.trunc_normal_(torch.empty({shape}), {numbers})"
            return [values, f"{place}.copy_(values)"]
        call = f"trunc_normal_({place}, {numbers})"
    return [f"nn.init.{call}"]


def _bounds(initializer: Initializer) -> tuple[float, float]:
    """Return the bounds of a truncated normal distribution, in stds."""
    distribution = initializer.distribution
    if isinstance(distribution, TruncatedNormal):
        return -distribution.cut, distribution.cut
    if isinstance(distribution, BoundedNormal):
        return distribution.low, distribution.high
    raise InvalidValueError(f"as_code: there is no plain PyTorch for {initializer.spec!r}")


def _rotation(place: str, shape: tuple[int, ...], gain: float, *, simple: bool) -> str:
    if simple:
        return f"nn.init.orthogonal_({place}, gain={gain!r})"
    return f"{place}.copy_(nn.init.orthogonal_(torch.empty({shape}), gain={gain!r}))"


def _variant(place: str, piece: Piece, shape: tuple[int, ...], context: Context) -> list[str]:
    """Write the catalogue's own PyTorch code, which is that of the bare name, times a factor."""
    initializer = piece.initializer
    entry = initializers.catalogue[initializer.name]
    bare = initializers.get(entry.text)
    same = initializer.distribution == bare.distribution and initializer.shift == bare.shift == 0
    fits = len(shape) in _AXES.get(initializer.name, ()) and piece.stream is None
    if not (same and fits):
        raise InvalidValueError(
            f"as_code: there is no plain PyTorch for {initializer.spec!r}; accepted: constants, "
            "normal, uniform, truncated normal, orthogonal; without arguments also "
            f"{', '.join(_AXES)}, for the shapes that they are meant for"
        )
    ratio = initializer.scale.factor(shape, piece.fans) / bare.scale.factor(shape, piece.fans)
    name = f"{initializer.name}_weight"
    context.helpers[snippets.function(name, entry.variants["pytorch"].code)] = None
    factor = "" if ratio == 1 else f"{ratio!r} * "
    return [f"{place}.copy_({factor}{name}({shape}))"]


def _exact(
    one: Assignment, fact: ParameterFact, target: str, name: str, context: Context
) -> list[str]:
    """Write the calls of the NumPy generator that draw the very numbers."""
    random = [piece for piece in one.pieces if not _is_constant(piece.initializer)]
    own = f"derive(seed, {name if one.stream == one.name else snippets.quoted(one.stream)})"
    lines = [] if len(random) < 2 else [f"key = {own}"]
    for piece in one.pieces:
        place, shape = _place(target, piece, fact), _shape(piece, fact)
        if _is_constant(piece.initializer):
            lines += _elementwise(place, piece, shape, fact.dtype)
        elif draw.is_elementwise(piece):
            key = own if len(random) < 2 else "key"
            if piece.stream is not None:
                key = f"derive(seed, {snippets.quoted(piece.stream)})"
            elif not draw.is_alone(piece, _rows(fact)):
                key = f"child({key}, {piece.start})"
                context.helpers[snippets.CHILD] = None
            lines += _put(place, key, piece, shape, context)
        else:
            lines += _fixed(place, piece, shape, fact.dtype, context)
    return lines


def _put(place: str, key: str, piece: Piece, shape: tuple[int, ...], context: Context) -> list[str]:
    """Write the call that puts numbers in their place, in steps if it is too long for a line."""
    line = f"put({place}, {_numbers(key, piece, shape, context)})"
    if len(line) <= LONGEST:
        return [line]
    numbers = _numbers("stream", piece, shape, context)
    return [f"stream = {key}", f"values = {numbers}", f"put({place}, values)"]


def _numbers(key: str, piece: Piece, shape: tuple[int, ...], context: Context) -> str:
    initializer, distribution = piece.initializer, piece.initializer.distribution
    factor, mean = initializer.scale.factor(shape, piece.fans), initializer.shift
    size = abs(factor)
    if isinstance(distribution, Normal):
        function, arguments = "normal", (size, mean)
    elif isinstance(distribution, Uniform):
        function, arguments = "uniform", (mean - size, mean + size)
    else:
        function, arguments = "truncated_normal", (*_bounds(initializer), size, mean)
    context.helpers[snippets.PUT] = None
    context.generator |= dict.fromkeys(("derive", function))
    numbers = ", ".join(map(repr, arguments))
    return f"{function}({key}, 0, {math.prod(shape)}, {numbers})"


def _fixed(
    place: str, piece: Piece, shape: tuple[int, ...], dtype: str, context: Context
) -> list[str]:
    """Write a piece that is no matter of chance; refuse any other."""
    drawn = np.empty((2, *shape), np.float32)
    for number, out in enumerate(drawn):
        piece.initializer.fill(out, Key((number, 0, 0, 0)), shape=shape, fans=piece.fans)
    if not np.array_equal(drawn[0], drawn[1]):
        raise InvalidValueError(
            f"as_code(exact=True): {piece.initializer.spec!r} rests on linear algebra, whose last "
            "bits no short code repeats; accepted: as_code()"
        )
    return _drawn(place, piece, shape, dtype, context)
