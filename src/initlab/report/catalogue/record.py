"""All that the catalogue says of an initialiser, and what a weight drawn from it looks like."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab._base.records import dumps
from initlab._base.spec import parse_call
from initlab._base.version import __version__
from initlab.initializers import FAMILIES, Entry, Initializer, catalogue, get
from initlab.initializers.citations import Citation, citation, short_reference
from initlab.initializers.embeddings import PerClass
from initlab.report.catalogue.sample import Sample, draw

FRAMEWORK_TITLES: Mapping[str, str] = {"pytorch": "PyTorch", "keras": "Keras", "jax": "JAX"}

# :func:`he_normal` and ``value``, in docstrings.
_MARKUP = re.compile(r":\w+:`~?([^`]+)`|``([^`]+)``")


@dataclass(frozen=True)
class Description:
    """An entry, for one choice of arguments and one shape.

    Attributes
    ----------
    entry
        What the catalogue says.
    initializer
        With the arguments asked for; those of the entry's example where none were.
    alias
        The other name by which it was asked for; empty if by its own.
    shape
        Of the weight that mean, std and sample are about.
    mean, std
        Exact; the latter ``None`` without a closed form.
    sample
        ``None`` where none can be drawn.
    not_drawn
        Why there is no sample.
    """

    entry: Entry
    initializer: Initializer
    alias: str
    shape: tuple[int, ...]
    mean: float
    std: float | None
    sample: Sample | None
    not_drawn: str = ""

    @property
    def definition(self) -> str:
        """What it does, in a sentence."""
        return definition(self.entry)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its other names."""
        return aliases(self.entry.name)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Its references."""
        return tuple(map(citation, self.entry.cites))

    @property
    def on_a_model(self) -> str:
        """What becomes of a whole model."""
        return self.entry.model or "draws each weight by itself"

    @property
    def std_text(self) -> str:
        """The formula of the standard deviation, and its value for the shape."""
        if self.std is None:
            return self.entry.std
        return f"{self.entry.std}; {number(self.std)} for shape {self.shape}"

    @property
    def code_note(self) -> str:
        """What the frameworks' code draws, and what ``shape`` is in it."""
        drawn, asked = self.code_is_of, self.initializer.spec
        return (
            f"The code draws {drawn}{'' if drawn == asked else f', not {asked}'}; shape is in the "
            "library's own order of axes, (out, in, ...) in PyTorch and (..., in, out) in Keras "
            "and JAX."
        )

    @property
    def code_is_of(self) -> str:
        """What the frameworks' code draws."""
        return get(self.entry.text).spec

    def to_json(self) -> str:
        """Return everything as one strict JSON document, what ``initlab show --json`` prints."""
        head = {"initlab": __version__, "spec": self.initializer.spec, "alias": self.alias or None}
        drawn = {"shape": self.shape, "mean": self.mean, "std": self.std}
        texts = summary_record(self.entry) | {
            "std_formula": self.entry.std,
            "assumes": self.entry.assumes,
            "when": self.entry.when,
            "when_not": self.entry.when_not,
            "model": self.on_a_model,
            "reference": self.entry.reference,
            "citations": [
                {"key": each.key, "short": each.short, "bibtex": each.bibtex}
                for each in self.citations
            ],
            "code_is_of": self.code_is_of,
            "variants": self.entry.variants,
            "sample": _sample_record(self.sample),
            "not_drawn": self.not_drawn or None,
        }
        return dumps(head | drawn | texts, indent=2)


def _sample_record(sample: Sample | None) -> dict[str, Any] | None:
    if sample is None:
        return None
    names = ("entries", "mean", "std", "repeated")
    return {name: getattr(sample, name) for name in names} | {"histogram": sample.rest}


def describe(text: str, shape: Sequence[int] | None = None) -> Description:
    """Look an initialiser up, and draw from it.

    Parameters
    ----------
    text
        A name or an alias, with arguments or without: ``"he_normal"``, ``"normal(std=10)"``.
    shape
        In PyTorch's axis order; default: the one that the entry names.

    Raises
    ------
    UnknownNameError, InvalidValueError
        As :func:`initlab.get` does, or if the initialiser is not for this shape; that of the entry
        may not suit other arguments than its own.

    Examples
    --------
    >>> describe("kaiming_normal", (64, 32, 3, 3)).std == (2 / (32 * 9)) ** 0.5
    True
    """
    call = parse_call(text, "initializer")
    name = call.name.lower()
    entry = catalogue[name]
    initializer = get(call if "(" in text else entry.text)
    given, shape = shape, _usual(entry, initializer) if shape is None else tuple(shape)
    # Refuses a shape that does not suit it; what is wrong below is with drawing it here.
    try:
        mean, std = initializer.mean(shape), initializer.std(shape)
    except InvalidValueError as error:
        if given is None:
            raise InvalidValueError(
                f"{error}; {initializer.spec} needs another shape than {entry.name} usually has: "
                "give it one (--shape)"
            ) from error
        raise
    sample, not_drawn = None, ""
    try:
        sample = draw(initializer, shape)
    except InvalidValueError as error:
        not_drawn = str(error)
    alias = "" if name == entry.name else name
    return Description(entry, initializer, alias, shape, mean, std, sample, not_drawn)


def _usual(entry: Entry, initializer: Initializer) -> tuple[int, ...]:
    """Return a shape that suits the initialiser, as far as its entry can tell."""
    distribution = initializer.distribution
    return (len(distribution.values),) if isinstance(distribution, PerClass) else entry.shape


def find(words: Sequence[str] = (), family: str | None = None) -> list[Entry]:
    """Return the entries of a family that hold all of these words, in any letter case.

    Looked for in what an entry is, means and is good for, not in what it is not for: ReLU finds
    what suits it.

    Raises
    ------
    UnknownNameError
        If there is no such family.
    InvalidValueError
        If no entry fits.

    Examples
    --------
    >>> [entry.name for entry in find(["leaky", "ReLU"], "variance-scaling")]
    ['he_normal', 'he_uniform']
    """
    chosen = _family(family)
    entries = [entry for _, entry in catalogue.items() if chosen in (None, entry.family)]
    found = [entry for entry in entries if all(word.lower() in _text(entry) for word in words)]
    if not found:
        among = f" of family {chosen}" if chosen else ""
        raise InvalidValueError(
            f"no initializer{among} mentions {' and '.join(map(repr, words))}; "
            "accepted: words such as relu, lstm or transformer; none lists all"
        )
    return found


def _family(name: str | None) -> str | None:
    if name is None:
        return None
    plain = re.sub(r"[\s_-]+", " ", name.strip().lower())
    for family in FAMILIES:
        if family.replace("-", " ") == plain:
            return family
    raise UnknownNameError("family", name, FAMILIES)


def _text(entry: Entry) -> str:
    texts = (entry.signature, *aliases(entry.name), entry.family, definition(entry), entry.formula)
    more = (entry.assumes, entry.when, entry.model, entry.reference)
    return "\n".join((*texts, *more, short_reference(entry.cites))).lower()


def aliases(name: str) -> tuple[str, ...]:
    """Return the other names of an entry."""
    return tuple(alias for alias, of in catalogue.aliases.items() if of == name)


def definition(entry: Entry, markup: str | Callable[[re.Match[str]], str] = r"\1\2") -> str:
    """Return the first sentence of an entry's documentation.

    Parameters
    ----------
    entry
        Of the catalogue.
    markup
        What names (group 1) and code (group 2) are replaced by, as in :func:`re.sub`.
    """
    first = (inspect.getdoc(entry.make) or "").split("\n\n")[0]
    return _MARKUP.sub(markup, " ".join(first.split()))


def summary_record(entry: Entry) -> dict[str, Any]:
    """Return what a list says of an entry."""
    return {
        "name": entry.name,
        "family": entry.family,
        "aliases": aliases(entry.name),
        "signature": entry.signature,
        "definition": definition(entry),
        "formula": entry.formula,
        "short_reference": short_reference(entry.cites),
    }


def number(value: float | None, digits: int = 6) -> str:
    """Write a number to so many digits; says so where there is no closed form."""
    return "no closed form" if value is None else f"{value + 0.0:.{digits}g}"


def list_json(entries: Sequence[Entry]) -> str:
    """Return entries as one strict JSON document, what ``initlab list --json`` prints."""
    document = {"initlab": __version__, "initializers": list(map(summary_record, entries))}
    return dumps(document, indent=2)
