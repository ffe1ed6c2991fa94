"""The record that documents an initialiser: all that a person should know before using it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from initlab.initializers._definition import Initializer, Shape, plain

Family = Literal[
    "elementary",
    "variance scaling",
    "orthogonal",
    "depth-aware",
    "structured",
    "data-driven",
]

FAMILIES: tuple[Family, ...] = get_args(Family)

Framework = Literal["pytorch", "keras", "jax"]

FRAMEWORKS: tuple[Framework, ...] = get_args(Framework)


@dataclass(frozen=True)
class Variant:
    """The same initialiser in another library.

    Attributes
    ----------
    differs
        What that library has under this name, and how it differs from ours.
    code
        Lines that make a weight ``w`` of shape ``shape``, in the library's own axis order, drawn as
        ours is. The usual names are there: ``torch``, ``nn``; ``keras``, ``ops``; ``jax``, ``jnp``,
        ``key``; and ``math`` and ``np``.
    """

    differs: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A catalogue entry: how to make the initialiser, and what a person should know about it.

    Attributes
    ----------
    make
        Makes the initialiser from its arguments.
    family
        Under which heading it is listed.
    formula
        The definition as plain text; w is an entry of the weight.
    std
        Standard deviation of an entry as plain text.
    assumes
        What must hold for it to do what it promises.
    reference
        Authors, year, title; where in it.
    cites
        Keys in ``references.bib``.
    when, when_not
        What it is good for, and where it fails.
    variants
        Each framework's counterpart.
    shape
        A shape it is meant for, in PyTorch's axis order; the figure of the entry shows it.
    example
        Its text with arguments, where it does not work without.
    model
        What :func:`initlab.initialize` does beyond drawing each weight by itself; empty if nothing.
    joint
        Whether several weights come from one draw, each from the start of a stream of the same key:
        drawn by its own key, as one weight alone is, none of them fits the others.
    """

    make: Callable[..., Initializer]
    family: Family
    formula: str
    std: str
    assumes: str
    reference: str
    cites: tuple[str, ...]
    when: str
    when_not: str
    variants: Mapping[Framework, Variant]
    shape: Shape = (256, 128)
    example: str = ""
    model: str = ""
    joint: bool = False

    @property
    def name(self) -> str:
        """The catalogue name."""
        return self.make.__name__

    @property
    def text(self) -> str:
        """The example, or the bare name."""
        return self.example or self.name

    @property
    def signature(self) -> str:
        """Every argument with its default, ``"normal(std=1, mean=0)"``; named ones follow a *."""
        arguments: list[str] = []
        for p in inspect.signature(self.make).parameters.values():
            if p.kind is p.KEYWORD_ONLY and "*" not in arguments:
                arguments.append("*")
            arguments.append(p.name if p.default is p.empty else f"{p.name}={plain(p.default)!r}")
        return f"{self.name}({', '.join(arguments)})"
