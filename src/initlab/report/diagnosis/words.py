"""Numbers, names and sentences of a diagnosis, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.operations import Operation

_LISTED = 4  # entries of a list in the evidence
_ATTENTION = "scaled_dot_product"
_NO_INPUTS = "no inputs were given"
_REDUCTIONS = frozenset({"mean", "sum", "amax", "max"})
_SUM = "residual add"
_RECURRENT = frozenset({"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"})


def short(value: float | None, rough: float = 0.0) -> str:
    """Write a number in about six characters; nothing where there is none.

    Parameters
    ----------
    value
        Any number.
    rough
        What is far smaller than this counts as 0.

    Examples
    --------
    >>> [short(v) for v in (0.04512, 0.00451, 4.5e-5, 12.345, 1234.5, 1.2e7, 0.0, None)]
    ['0.0451', '0.0045', '4.5e-5', '12.3', '1234', '1.2e7', '0', '']
    >>> short(1e-9, rough=1)
    '0'
    """
    if value is None:
        return ""
    size = abs(value)
    if size <= 1e-4 * rough or size == 0:
        return "0"
    if 0.001 <= size < 1000 or not math.isfinite(value):
        return f"{value:.{2 if size < 0.01 else 3}g}"
    if 1000 <= size < 100_000:
        return f"{value:.0f}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}"


def share(value: float | None) -> str:
    """Write a share as a percentage.

    Examples
    --------
    >>> [share(v) for v in (0.0, 0.0004, 0.123, 0.9996, 1.0, None)]
    ['0 %', '<1 %', '12 %', '>99 %', '100 %', '']
    """
    if value is None:
        return ""
    if 0 < value < 0.005:
        return "<1 %"
    if 0.995 < value < 1:
        return ">99 %"
    return f"{100 * value:.0f} %"


def fans(operation: Operation) -> str:
    """Write the fans of a weight, ``20→64``."""
    if not operation.fan_in or not operation.fan_out:
        return ""
    return "→".join(f"{fan:.3g}" if fan < 10 else f"{fan:.0f}" for fan in _fans(operation))


def _fans(operation: Operation) -> tuple[float, float]:
    return operation.fan_in or 0.0, operation.fan_out or 0.0


def shape(sizes: Sequence[int]) -> str:
    """Write a shape, ``32×64×8×8``."""
    return "×".join(map(str, sizes)) or "scalar"


def kind(operation: Operation) -> str:
    """Name what an operation is: a class, a function, or a part of a module that holds several."""
    if _ATTENTION in operation.op:
        return "attention"
    own, parameter = operation.type, operation.parameter
    called = operation.op in _REDUCTIONS and "pool" not in own.lower()
    if called or (not operation.name and not parameter and own != _SUM):
        return operation.op.strip("_")  # called on its own, not by the module of that class
    part = parameter.removeprefix(f"{operation.name}.").removesuffix("weight").rstrip("._")
    if part and parameter.startswith(f"{operation.name}.") and own not in _RECURRENT:
        return part
    return "residual +" if own == _SUM else own


def tail(name: str, width: int) -> str:
    """Shorten a name from the left, at a dot where that leaves enough of it.

    Examples
    --------
    >>> tail("transformer.h.0.attn.c_attn", 16), tail("a_very_long_name", 8)
    ('…h.0.attn.c_attn', '…ng_name')
    """
    if len(name) <= width:
        return name
    parts = name.split(".")
    for first in range(1, len(parts)):
        rest = ".".join(parts[first:])
        if len(rest) < width:
            return f"…{rest}"
    return f"…{name[-(width - 1) :]}"


def counted(count: int, word: str) -> str:
    """Write ``1 error``, ``2 errors``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def loss(report: Diagnosis) -> str:
    """Say what the loss is at the start, and what a uniform guess's would be."""
    if report.loss_kind == "projection":
        return "none given: a random projection of the output was differentiated"
    if report.loss is None:
        return ""
    value = f"{report.loss:.4g} at the start"
    if report.classes > 1:
        guess = math.log(report.classes)
        return f"{value}; a uniform guess has ln {report.classes:,} = {guess:.4g}"
    return value


def facts(report: Diagnosis) -> dict[str, str]:
    """Say what was diagnosed."""
    told = {
        "parameters": f"{report.parameters:,}",
        "operations": f"{len(report.layers):,}" if report.layers else "",
        "inputs": report.inputs,
        "loss": loss(report),
    }
    return {name: text for name, text in told.items() if text}


def notes(report: Diagnosis) -> tuple[str, ...]:
    """Return the notes, each once, without what :func:`facts` says."""
    return tuple(note for note in dict.fromkeys(report.notes) if not note.startswith(_NO_INPUTS))


def verdict(report: Diagnosis) -> str:
    """Say in a few words how it stands."""
    counts = {
        word: sum(one.severity == word for one in report.findings)
        for word in ("error", "warning", "note")
    }
    told = ", ".join(counted(n, word) for word, n in counts.items() if n)
    if report.problem:
        return f"not measured to the end{f'; {told} until then' if told else ''}"
    if report.alarms:
        return told
    return f"healthy{f' ({told})' if told else ''}"


def evidence(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write what a finding rests on, name by name."""
    return [(name.replace("_", " "), _value(value)) for name, value in numbers.items()]


def sentence(numbers: Mapping[str, Any]) -> str:
    """Write what a finding rests on in one line."""
    return " · ".join(f"{name} = {value}" for name, value in evidence(numbers))


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return _list([f"{key}: {_value(item)}" for key, item in pairs.items()])
    if isinstance(value, (list, tuple)):
        return _list([_value(item) for item in cast("Sequence[Any]", value)])
    return str(value)


def _list(items: Sequence[str]) -> str:
    more = len(items) - _LISTED
    if more <= 1:
        return ", ".join(items) or "none"
    return f"{', '.join(items[:_LISTED])}, … ({more} more)"


def named(names: Sequence[str], most: int = 12) -> str:
    """Write names as a list, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f", and {more} more" if more > 0 else "")


def number(value: Any) -> str:
    """Write a number of the record for a change, ``0.693 → 2.31``."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else "none"
