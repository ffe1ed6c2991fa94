"""What an initialisation changed, parameter by parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from initlab._base.records import dumps
from initlab.models.assignment import Kept
from initlab.models.folding import Names, fold, merged, without_numbers
from initlab.models.shards import local

if TYPE_CHECKING:
    import pandas as pd

# Of a parameter with more entries, so many are looked at, spread over all of it: mean and std are
# then right to some thousandths of the std.
_LOOK = 2**17


class Summary(NamedTuple):
    """Mean and standard deviation over a parameter's entries."""

    mean: float
    std: float

    def __str__(self) -> str:
        if self.std == 0:
            return f"{self.mean:.4g}"
        mean = "" if abs(self.mean) < 0.1 * self.std else f"{self.mean:.3g} "
        return f"{mean}±{self.std:.3g}"


@dataclass(frozen=True)
class Change:
    """One parameter that was drawn.

    Attributes
    ----------
    name, shape
        Which.
    initializer
        What it was drawn from; several, for the parts of a packed one, with a bar between them.
    reason
        Why.
    before, after
        Its entries.
    tied
        Other names of it.
    """

    name: str
    shape: tuple[int, ...]
    initializer: str
    reason: str
    before: Summary
    after: Summary
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What changed, what was left alone and why.

    Attributes
    ----------
    changes
        The parameters that were drawn.
    kept
        Those that were not, each with the reason.
    seed
        That they were drawn from.
    notes
        What could not be found out about the model, or was done on the way.
    """

    changes: tuple[Change, ...]
    kept: tuple[Kept, ...]
    seed: int
    notes: tuple[str, ...] = field(default=())

    def text(self, verb: str = "became", *, every: bool = False) -> str:
        """Return a table for the terminal.

        Parameters
        ----------
        verb
            Heads the new values.
        every
            A line for every parameter. Otherwise those that differ in the number of their layer
            alone share one: ``layers.{0-23}.linear1.weight``, with the mean and std of them all.
        """
        rows = [_row(group, names) for group, names in self._groups(every=every)]
        blocks = [
            _table(("parameter", "shape", "was", verb, "drawn from", "why"), rows),
            _table(("kept", "why"), self._kept(every=every)),
            [f"note: {note}" for note in self._notes(every=every)],
            [self._total(verb)],
        ]
        return "\n\n".join("\n".join(lines) for lines in blocks if lines)

    def __str__(self) -> str:
        return self.text()

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a parameter, kept ones included."""
        import pandas as pd  # noqa: PLC0415 - 0.4 s that only this needs

        rows: list[dict[str, Any]] = [
            {
                "parameter": change.name,
                "shape": change.shape,
                "mean_before": change.before.mean,
                "std_before": change.before.std,
                "mean_after": change.after.mean,
                "std_after": change.after.std,
                "initializer": change.initializer,
                "reason": change.reason,
                "tied": change.tied,
            }
            for change in self.changes
        ]
        columns = list(rows[0]) if rows else ["parameter", "reason"]
        rows += [{"parameter": one.name, "reason": f"kept: {one.reason}"} for one in self.kept]
        return pd.DataFrame(rows, columns=columns)

    def to_json(self) -> str:
        """Return one strict JSON document."""
        return dumps(asdict(self) | {"changes": [_record(change) for change in self.changes]})

    def _repr_html_(self) -> str:
        return self.html()

    def html(self, verb: str = "became") -> str:
        """Return the table of :meth:`text` for a notebook."""
        rows = [_row(group, names) for group, names in self._groups(every=False)]
        head = ("parameter", "shape", "was", verb, "drawn from", "why")
        parts = [_html_table(head, rows)] if rows else []
        if self.kept:
            parts.append(_html_table(("kept", "why"), self._kept(every=False)))
        parts += [f"<p>note: {escape(note)}</p>" for note in self._notes(every=False)]
        return "\n".join([*parts, f"<p>{escape(self._total(verb))}</p>"])

    def _groups(self, *, every: bool) -> list[tuple[list[Change], str]]:
        """Return the changes that share a line, each with the name of them all."""
        if every:
            return [([change], change.name) for change in self.changes]
        alike: dict[tuple[object, ...], dict[str, Change]] = {}
        for change in self.changes:
            reason = without_numbers(change.reason)
            key = (change.shape, change.initializer, reason, len(change.tied))
            key = (*key, change.before.std == 0 and change.before.mean)
            alike.setdefault(key, {})[change.name] = change
        groups = [
            ([members[name] for name in names.all()], names)
            for members in alike.values()
            for names in fold(members)
        ]
        place = {change.name: number for number, change in enumerate(self.changes)}
        groups.sort(key=lambda group: _place(group[1], place))
        return [(group, str(names)) for group, names in groups]

    def _kept(self, *, every: bool) -> list[tuple[str, str]]:
        if every:
            return [(one.name, one.reason) for one in self.kept]
        alike: dict[str, dict[str, Kept]] = {}
        for one in self.kept:
            alike.setdefault(without_numbers(one.reason), {})[one.name] = one
        return [
            (str(names), merged([members[name].reason for name in names.all()]))
            for members in alike.values()
            for names in fold(members)
        ]

    def _notes(self, *, every: bool) -> list[str]:
        return list(self.notes) if every else _folded_notes(self.notes)

    def _total(self, verb: str) -> str:
        total = sum(math.prod(change.shape) for change in self.changes)
        drawn = "would be drawn" if verb.startswith("would") else "drawn"
        parameters, numbers = _counted(len(self.changes), "parameter"), _counted(total, "number")
        return f"{parameters} ({numbers}) {drawn} from seed {self.seed}, {len(self.kept)} kept"


def summarise(value: Tensor) -> Summary:
    """Return mean and standard deviation of a tensor's entries (of the local part, if sharded).

    Of more than 2^17, so many are looked at, evenly spread.
    """
    tensor = local(value).detach()
    if tensor.numel() == 0:
        return Summary(0.0, 0.0)
    if tensor.numel() > _LOOK and tensor.is_contiguous():
        # An odd step, so that it meets the columns of a matrix in turn.
        tensor = tensor.view(-1)[:: tensor.numel() // _LOOK | 1].contiguous()
    values = tensor.double().cpu().numpy()
    first = float(values.flat[0])
    if bool((values == first).all()):  # a computed std need not be 0
        return Summary(first, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        return Summary(float(values.mean()), float(values.std()))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _place(names: Names, place: dict[str, int]) -> int:
    return min(place[name] for name in names.all())


def _row(group: Sequence[Change], name: str) -> tuple[str, ...]:
    first = group[0]
    why = merged([change.reason for change in group])
    if first.tied:
        also = fold(alias for change in group for alias in change.tied)
        why += f"; also {', '.join(map(str, also))}"
    return (
        name,
        "×".join(map(str, first.shape)) or "1",
        str(_pooled([change.before for change in group])),
        str(_pooled([change.after for change in group])),
        first.initializer,
        why,
    )


def _pooled(summaries: Sequence[Summary]) -> Summary:
    """Return mean and std over the entries of several parameters of one size."""
    if len(set(summaries)) == 1:
        return summaries[0]
    mean = sum(one.mean for one in summaries) / len(summaries)
    square = sum(one.std**2 + (one.mean - mean) ** 2 for one in summaries) / len(summaries)
    return Summary(mean, math.sqrt(square))


def _folded_notes(notes: Sequence[str]) -> list[str]:
    """Say once what several parameters have in common; each note begins with the parameter."""
    alike: dict[str, list[str]] = {}
    for note in notes:
        name, colon, text = note.partition(": ")
        named = colon and "." in name and " " not in name
        alike.setdefault(text if named else note, []).extend([name] if named else [])
    return [
        f"{', '.join(map(str, fold(names)))}: {text}" if names else text
        for text, names in alike.items()
    ]


def _record(change: Change) -> dict[str, Any]:
    """Return a change as a dictionary, its summaries by name too."""
    return asdict(change) | {
        "before": change.before._asdict(),
        "after": change.after._asdict(),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return "\n".join(["<table>", line("th", head), *(line("td", row) for row in rows), "</table>"])
