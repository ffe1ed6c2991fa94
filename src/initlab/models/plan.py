"""A plan of new weights for a model: made without touching it; shown, applied, written as code."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from initlab._base.errors import InvalidValueError
from initlab._base.streams import require_seed
from initlab.initializers import Initializer
from initlab.models import pretrained, selection, write
from initlab.models.assignment import Assignment, Decision, Kept
from initlab.models.bias import prior
from initlab.models.code import as_code
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.report import Change, Report, Summary, summarise
from initlab.models.rules import (
    DATA_DRIVEN,
    WITH_LOSS,
    Rule,
    Rules,
    decide,
    rules_of,
    shared,
    unreached,
    untouched,
)
from initlab.models.walk import walk


@dataclass(frozen=True)
class Adaptation:
    """What a data-driven initialiser is to do after the draw."""

    initializer: Initializer
    names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What every parameter of a model is to get, and why.

    Printing it shows each parameter before and after; :meth:`apply` does it; :meth:`as_code` writes
    plain PyTorch that does the same. Used as a context manager, it is simply itself.

    Attributes
    ----------
    decisions
        For every parameter, in registration order, what it gets or why it is left alone.
    facts
        What the model was found to be.
    seed
        Every parameter's stream follows from it and from the parameter's name.
    adaptations
        What is done with the data after the draw.
    notes
        What was noticed while the plan was made.
    batch, targets, loss
        What data-driven initialisers look at.
    """

    model: nn.Module = field(repr=False)
    decisions: Mapping[str, Decision] = field(repr=False)
    facts: ModelFacts = field(repr=False)
    seed: int
    adaptations: tuple[Adaptation, ...] = ()
    notes: tuple[str, ...] = ()
    batch: Any = field(default=None, repr=False)
    targets: Any = field(default=None, repr=False)
    loss: Callable[..., Tensor] | None = field(default=None, repr=False)

    def apply(self) -> Report:
        """Write the new weights into the model; returns what changed.

        What can be refused is refused before anything is written. What could still go wrong comes
        first (a search on the data, linear algebra, parametrisations), with a copy of the old
        values; independent entries come last and need none.

        Raises
        ------
        InvalidValueError
            If a parameter cannot be written; the model is then as it was before.
        """
        for one in self._assignments():
            write.check(self.model, self.facts.parameters[one.name], one)
        changes, notes = self._write(self.model)
        return self._report(changes, notes)

    def preview(self) -> Report:
        """Return what :meth:`apply` would, without touching the model.

        Raises
        ------
        InvalidValueError
            If an initialiser looks at data, and the model cannot be copied to try it on.
        """
        for one in self._assignments():
            write.check(self.model, self.facts.parameters[one.name], one)
        if self.adaptations:
            return self._report(*self._write(_copied(self.model)))
        return self._report([self._dry(one) for one in self._assignments()], [])

    def as_code(self, *, exact: bool = False) -> str:
        """Write plain PyTorch, without initlab, that does the same to a model of this class.

        Parameters
        ----------
        exact
            Include the random generator, some 60 lines of NumPy, so that the code gives the same
            weights to the last bit. Otherwise it draws from the same distributions with PyTorch's
            own generator.

        Raises
        ------
        InvalidValueError
            If the plan holds something that there is no plain code for.
        """
        data = [one.initializer for one in self.adaptations]
        return as_code(self._assignments(), self.facts, self.seed, exact=exact, adaptations=data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def __str__(self) -> str:
        return self.preview().text("would become")

    def _repr_html_(self) -> str:
        return self.preview().html("would become")

    def _assignments(self) -> list[Assignment]:
        return [one for one in self.decisions.values() if isinstance(one, Assignment)]

    def _report(self, changes: Sequence[Change], notes: Sequence[str]) -> Report:
        kept = tuple(one for one in self.decisions.values() if isinstance(one, Kept))
        notes = (*self.facts.notes, *self.notes, *notes)
        return Report(tuple(changes), kept, self.seed, notes)

    def _dry(self, one: Assignment) -> Change:
        fact = self.facts.parameters[one.name]
        before = summarise(write.current(self.model, fact))
        return _change(fact, one, before, write.dry(self.model, fact, one, self.seed))

    def _write(self, model: nn.Module) -> tuple[list[Change], list[str]]:
        told = [(one, self.facts.parameters[one.name]) for one in self._assignments()]
        before = {one.name: summarise(write.current(model, fact)) for one, fact in told}
        safe = {
            one.name
            for one, fact in told
            if not self.adaptations and write.is_safe(model, fact, one)
        }
        notes: list[str] = []
        with contextlib.ExitStack() as undo:
            for one, fact in sorted(told, key=lambda pair: pair[0].name in safe):
                if one.name not in safe:
                    undo.callback(write.saved(model, fact))
                note = write.write(model, fact, one, self.seed)
                notes += [f"{one.name}: {note}"] if note else []
            for adaptation in self.adaptations:
                notes += self._adapt(model, adaptation)
            undo.pop_all()  # all went well
        changes = [
            _change(fact, one, before[one.name], summarise(write.current(model, fact)))
            for one, fact in told
        ]
        return changes, notes

    def _adapt(self, model: nn.Module, adaptation: Adaptation) -> list[str]:
        from initlab.models.data_driven import adapt  # noqa: PLC0415 - only these four need it

        done = adapt(
            model,
            adaptation.initializer,
            self.batch,
            names=adaptation.names,
            targets=self.targets,
            loss=self.loss,
            seed=self.seed,
        )
        return list(done.notes)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InvalidValueError(
            "a preview of an initialiser that looks at data needs a copy of the model, which "
            f"cannot be copied: {type(error).__name__}: {reason}; accepted: plan.apply()"
        ) from error


def _change(fact: ParameterFact, one: Assignment, before: Summary, after: Summary) -> Change:
    texts = dict.fromkeys(piece.initializer.spec for piece in one.pieces)
    return Change(one.name, fact.shape, _told(list(texts)), one.reason, before, after, fact.tied)


def _told(texts: Sequence[str]) -> str:
    shown = " | ".join(texts[:3])
    return f"{shown} | ... ({len(texts)} in all)" if len(texts) > 3 else shown


def make(
    model: nn.Module,
    how: str | Initializer = "auto",
    *,
    rules: Rules | None = None,
    seed: int = 0,
    batch: Any = None,
    targets: Any = None,
    loss: Callable[..., Tensor] | None = None,
    keep: str | Sequence[str] = (),
    overwrite_pretrained: bool = False,
) -> Plan:
    """Make the plan that :func:`initlab.initialize` applies; the arguments are its own."""
    _check(model)
    seed = require_seed(seed)
    patterns = selection.patterns_of(keep)
    read = rules_of(how, rules)
    data = _data_driven(read, batch)
    if targets is None and loss is not None:
        _refuse_loss(data)
    selection.refuse(model, patterns)
    facts = walk(model, batch).facts
    selection.check_patterns([rule.pattern for rule in read], facts, "rules")
    kept = selection.left_alone(model, facts, patterns)
    notes: list[str] = []
    if not overwrite_pretrained:
        values = dict(model.named_parameters(remove_duplicate=False))
        found, notes = pretrained.signs(model, facts, values, kept)
        kept |= found
    staying = {*kept, *untouched(facts, read)}
    if staying:  # what the others read follows from the values that these have
        facts = walk(model, batch, staying).facts
    decisions, chosen = decide(facts, read, kept)
    notes += unreached(read, chosen) + shared(facts, read, chosen, kept)
    if targets is not None:
        allowed = [name for rule in read if rule.sets_prior for name in chosen[rule]]
        changed, more = prior(facts, decisions, targets, allowed)
        decisions |= changed
        notes += [] if data else more  # a search on the data takes the targets too
    adaptations = tuple(
        Adaptation(one, _adapted(one, chosen, decisions, facts)) for one in dict.fromkeys(data)
    )
    return Plan(model, decisions, facts, seed, adaptations, tuple(notes), batch, targets, loss)


def _data_driven(rules: Sequence[Rule], batch: Any) -> list[Initializer]:
    """Return the initialisers that look at data; without any data that is an error."""
    data = [
        rule.how
        for rule in rules
        if isinstance(rule.how, Initializer) and rule.how.name in DATA_DRIVEN
    ]
    if data and batch is None:
        raise InvalidValueError(
            f"{data[0].name} looks at data; give some: initialize(model, {data[0].name!r}, batch=x)"
        )
    return data


def _refuse_loss(data: Sequence[Initializer]) -> None:
    """Refuse a loss without targets where it is to be called with them."""
    for one in data:
        if one.name in WITH_LOSS:
            raise InvalidValueError(
                f"{one.name} calls loss= with the output and the targets, and there are none; "
                "give targets="
            )


def _adapted(
    initializer: Initializer,
    chosen: Mapping[Rule, Sequence[str]],
    decisions: Mapping[str, Decision],
    facts: ModelFacts,
) -> tuple[str, ...]:
    """Return the parameters that a data-driven initialiser may change further."""
    return tuple(
        name
        for rule, names in chosen.items()
        if rule.how == initializer
        for name in names
        if isinstance(decisions[name], Assignment) and not facts.parameters[name].sources
    )


def _check(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise InvalidValueError(
            f"model of type {type(model).__name__} is no torch.nn.Module; give the module itself"
        )
