"""Rules: which initialiser a parameter gets by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab._base.patterns import matches
from initlab.initializers import Initializer
from initlab.models.assignment import Assignment, Decision, Kept
from initlab.models.auto import auto
from initlab.models.facts import WEIGHT_KINDS, ModelFacts, ParameterFact
from initlab.models.plain import embedding, plain, whole
from initlab.models.schemes import SCHEMES
from initlab.models.selection import all_names, singles_out

Rules = Sequence[tuple[str, str | Initializer]]

# They look at the data after the first draw, and change the weights further.
DATA_DRIVEN = frozenset({"lsuv", "krahenbuhl", "metainit", "gradinit"})

# Of them, those that take a loss on the targets.
WITH_LOSS = frozenset({"metainit", "gradinit"})

_AUTO, _KEEP = "auto", "keep"

# What a wrapper puts before the names of the parameters that it wraps.
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


@dataclass(frozen=True)
class Rule:
    """A pattern and what the parameters that it matches get.

    Attributes
    ----------
    pattern
        Names a parameter, or a module and all in it.
    how
        An initialiser, ``"auto"`` or ``"keep"``.
    sets_prior
        True if targets may set the output biases that it matches.
    """

    pattern: str
    how: str | Initializer
    sets_prior: bool = False


def rules_of(how: str | Initializer, rules: Rules | None) -> list[Rule]:
    """Read what the user gives: one name for all, or rules.

    Raises
    ------
    InvalidValueError, UnknownNameError
        If a rule or a name cannot be read, or both are given.
    """
    if rules is None:
        return [Rule("*", _read(how), sets_prior=True)]
    if how != _AUTO:
        raise InvalidValueError(f"both {how!r} and rules are given; give one of them")
    read: list[Rule] = []
    for rule in rules:
        if not _is_pair(rule):
            raise InvalidValueError(
                f"rules: {rule!r} is no pair of a pattern and a name; accepted: "
                '[("*.attn.*", "mimetic"), ("*", "auto")]'
            )
        one = _read(rule[1])
        read.append(Rule(rule[0], one, sets_prior=one == _AUTO))
    return list(dict.fromkeys(read))


def untouched(facts: ModelFacts, rules: Sequence[Rule]) -> Iterator[str]:
    """Yield the parameters that no rule matches, or that a rule keeps."""
    for name, fact in facts.parameters.items():
        rule = next((one for one in rules if matches(one.pattern, *all_names(fact))), None)
        if rule is None or rule.how == _KEEP:
            yield name


def decide(
    facts: ModelFacts, rules: Sequence[Rule], kept: Mapping[str, str]
) -> tuple[dict[str, Decision], dict[Rule, list[str]]]:
    """Return what every parameter gets by the first rule that matches, and whose each is."""
    chosen: dict[Rule, list[str]] = {rule: [] for rule in rules}
    proposals: dict[str | Initializer, dict[str, Decision]] = {}
    decisions: dict[str, Decision] = {}
    for name, fact in facts.parameters.items():
        names = all_names(fact)
        rule = next((one for one in rules if matches(one.pattern, *names)), None)
        if rule is not None:
            chosen[rule].append(name)
        if name in kept:
            decisions[name] = Kept(name, kept[name])
        elif rule is None:
            decisions[name] = Kept(name, "no rule matches")
        else:
            if rule.how not in proposals:
                proposals[rule.how] = _propose(rule.how, facts)
            decisions[name] = _settled(rule, fact, proposals[rule.how][name])
    return decisions, chosen


def _settled(rule: Rule, fact: ParameterFact, proposed: Decision) -> Decision:
    """Return what is proposed, or the rule's own initialiser if it singles the parameter out.

    ``("*", "normal(std=0.02)")`` is about weights, and its biases start at 0;
    ``("head.bias", "normal(std=0.02)")`` is about this bias.
    """
    how, names = rule.how, all_names(fact)
    if isinstance(how, Initializer) and how.name not in {*SCHEMES, *DATA_DRIVEN}:
        reason = f"named by the rule {rule.pattern!r}"
        own = singles_out(rule.pattern, names)
        module = singles_out(rule.pattern, [name.rpartition(".")[0] for name in names])
        if fact.kind == "embedding" and (own or module):
            return embedding(fact, how)
        if fact.kind not in WEIGHT_KINDS and own:
            proposed = whole(fact, how, reason)
    drawn_as = min(map(_unwrapped, fact.names))
    if isinstance(proposed, Assignment) and drawn_as != fact.name:
        return replace(proposed, drawn_as=drawn_as)
    return proposed


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def unreached(rules: Sequence[Rule], chosen: Mapping[Rule, Sequence[str]]) -> list[str]:
    """Return a note for every rule that others leave nothing to."""
    return [
        f"the rule {rule.pattern!r} is never reached: all that it matches is matched before"
        for rule in rules
        if not chosen[rule] and rule.pattern != "*"
    ]


def shared(
    facts: ModelFacts,
    rules: Sequence[Rule],
    chosen: Mapping[Rule, Sequence[str]],
    kept: Mapping[str, str],
) -> list[str]:
    """Return a note for every tied parameter whose other name has another rule, left unheeded."""
    notes: list[str] = []
    for rule, names in chosen.items():
        for fact in (facts.parameters[name] for name in names if name not in kept):
            named = [name for name in fact.names if matches(rule.pattern, name)]
            other = next((name for name in fact.names if _how(rules, name) != rule.how), None)
            if named and other is not None:
                notes.append(f"{named[0]} is tied to {other}: the rule for one holds for both")
    return notes


def _how(rules: Sequence[Rule], name: str) -> str | Initializer | None:
    """Return what a name alone would get; None if no rule matches."""
    return next((one.how for one in rules if matches(one.pattern, name)), None)


def _is_pair(rule: object) -> bool:
    return isinstance(rule, (tuple, list)) and len(rule) == 2 and isinstance(rule[0], str)


def _read(text: str | Initializer) -> str | Initializer:
    """Return ``"auto"`` and ``"keep"`` as they are, anything else as an initialiser."""
    if isinstance(text, Initializer):
        return text
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidValueError(f"{text!r} is no name of an initialiser; accepted: 'he_normal'")
    word = text.strip().lower()
    return word if word in {_AUTO, _KEEP} else initializers.get(text)


def _propose(how: str | Initializer, facts: ModelFacts) -> dict[str, Decision]:
    if how == _AUTO:
        return auto(facts)
    if isinstance(how, str):
        return {name: Kept(name, "a rule keeps it") for name in facts.parameters}
    return dict(SCHEMES.get(how.name, plain)(facts, how))
