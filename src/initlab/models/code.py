"""Writes a plan as plain PyTorch, for where nothing else is installed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from initlab import initializers
from initlab._base.errors import InvalidValueError
from initlab.initializers import Initializer
from initlab.models import snippets
from initlab.models.assignment import Assignment
from initlab.models.facts import ModelFacts, ParameterFact
from initlab.models.folding import Names, fold, merged, without_numbers
from initlab.models.snippets import quoted
from initlab.models.statements import LONGEST, Context, statements

_WIDTH = 100
_INDENT = " " * 4
_SCALED = ("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d")


def as_code(
    assignments: Sequence[Assignment],
    facts: ModelFacts,
    seed: int,
    *,
    exact: bool = False,
    adaptations: Sequence[Initializer] = (),
) -> str:
    """Write a module with one function, ``initialize(model, seed)``.

    Raises
    ------
    InvalidValueError
        If an initialiser has no plain form.
    """
    context = Context(exact)
    data = [_adapted(one, assignments, facts, context) for one in adaptations]
    title = (
        "Draw the weights that were planned, to the last bit."
        if exact
        else "Draw from the distributions that were planned, with PyTorch's generator."
    )
    more = ", batch: Any" if data else ""
    body = [
        "@torch.no_grad()",
        f"def initialize(model: nn.Module{more}, seed: int = {seed}) -> None:",
        f'{_INDENT}"""{title}"""',
        *([] if exact else [f"{_INDENT}torch.manual_seed(seed)"]),
        f"{_INDENT}p = dict(model.named_parameters(remove_duplicate=False))",
        *(_INDENT + line for line in (*_body(assignments, facts, context), *_lines(data))),
    ]
    source = snippets.generator(context.generator)
    parts = [
        *([source] if source else []),
        *(text.strip("\n") for text in context.helpers),
        "\n".join(body),
    ]
    code = "\n\n\n".join(parts)
    gap = "\n\n" if source and not source.startswith("def ") else "\n\n\n"
    return (
        f'"""Starting weights of a model, as planned."""\n\n{snippets.imports(code)}{gap}{code}\n'
    )


def _lines(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in text.splitlines()]


def _body(assignments: Sequence[Assignment], facts: ModelFacts, context: Context) -> list[str]:
    """Write every parameter; those that the same lines set share a loop."""
    alike: dict[tuple[str, ...], list[Assignment]] = {}
    for one in assignments:
        fact = facts.parameters[one.name]
        lines = statements(one, fact, "p[name]", "name", context)
        key = (*lines, _specs(one), without_numbers(one.reason))
        alike.setdefault(key, []).append(one)
    lines: list[str] = []
    for group in alike.values():
        comment = f"{_specs(group[0])}: {merged([one.reason for one in group])}"
        lines.append(_cut(f"# {comment}", _WIDTH - len(_INDENT)))
        lines += _one(group[0], facts, context) if len(group) == 1 else _loop(group, facts, context)
    return lines


def _specs(one: Assignment) -> str:
    specs = list(dict.fromkeys(piece.initializer.spec for piece in one.pieces))
    return " | ".join(specs[:3]) + (" ..." if len(specs) > 3 else "")


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def _one(one: Assignment, facts: ModelFacts, context: Context) -> list[str]:
    fact, name = facts.parameters[one.name], quoted(one.name)
    lines = statements(one, fact, f"p[{name}]", name, context)
    if max(map(len, lines)) > LONGEST or len(lines) > 2:
        short = statements(one, fact, "weight", "name", context)
        named = [f"name = {name}"] if any(re.search(r"\bname\b", line) for line in short) else []
        own = [] if fact.sources else [f"weight = p[{'name' if named else name}]"]
        lines = [*named, *own, *short]
    return _formatted(lines)


def _loop(group: Sequence[Assignment], facts: ModelFacts, context: Context) -> list[str]:
    fact = facts.parameters[group[0].name]
    lines = statements(group[0], fact, "p[name]", "name", context)
    head = loop_over([one.name for one in group])
    return [*head, *(_INDENT + line for line in _formatted(lines, indent=8))]


def loop_over(names: Sequence[str]) -> list[str]:
    """Write the head of a loop over names, those that are numbered as a range."""
    folded = fold(names)
    if len(folded) == 1 and _is_loop(folded[0]):
        line = f"for name in [{_expression(folded[0])}]:"
        if len(line) <= _WIDTH - len(_INDENT):
            return [line]
    texts = _entries(folded)
    line = f"for name in [{', '.join(texts)}]:"
    if len(line) <= _WIDTH - len(_INDENT):
        return [line]
    return ["for name in [", *(f"{_INDENT}{text}," for text in texts), "]:"]


def _entries(folded: Sequence[Names]) -> list[str]:
    """Write the entries of a list of names."""
    entries: list[str] = []
    for names in folded:
        if _is_loop(names):
            entries.append(f"*[{_expression(names)}]")
        else:
            entries += [quoted(name) for name in names.all()]
    return entries


def _is_loop(names: Names) -> bool:
    """Tell whether a comprehension reads better than the names one by one."""
    return len(names.all()) > 2


def _expression(names: Names) -> str:
    """Write names as a text, or as what a comprehension makes."""
    letters = iter("ijklmn")
    parts: list[str] = []
    loops: list[str] = []
    for part in names.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        letter = next(letters)
        parts.append(f"{{{letter}}}")
        loops.append(f" for {letter} in {_numbers(part)}")
    text = quoted(".".join(parts))
    return f"f{text}{''.join(loops)}" if loops else text


def _numbers(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    step = numbers[1] - first if len(numbers) > 1 else 1
    if tuple(numbers) != tuple(range(first, last + 1, step)):
        return f"[{', '.join(map(str, numbers))}]"
    if step > 1:
        return f"range({first}, {last + 1}, {step})"
    return f"range({last + 1})" if first == 0 else f"range({first}, {last + 1})"


def _formatted(lines: Sequence[str], indent: int = 4) -> list[str]:
    """Break what is too long, one entry a line."""
    result: list[str] = []
    for line in lines:
        start, opening, rest = line.partition("torch.tensor([")
        if len(line) + indent <= _WIDTH or not opening:
            result.append(line)
            continue
        entries = rest.removesuffix("]))").split(", ")
        # As the usual formatter breaks it.
        result += [f"{start}", f"{_INDENT}torch.tensor(", f"{_INDENT * 2}["]
        result += [f"{_INDENT * 3}{entry}," for entry in entries]
        result += [f"{_INDENT * 2}]", f"{_INDENT})", ")"]
    return result


def _adapted(
    one: Initializer, assignments: Iterable[Assignment], facts: ModelFacts, context: Context
) -> str:
    """Write the call of what rescales weights with the data."""
    if one.name != "lsuv":
        raise InvalidValueError(
            f"as_code: {one.name} searches with the data and has no short plain form; apply the "
            "plan and save the weights, or use lsuv"
        )
    chosen = [
        facts.parameters[assignment.name]
        for assignment in assignments
        if any(piece.initializer == one for piece in assignment.pieces)
    ]
    for fact in chosen:
        _check_scaled(fact)
    context.helpers[snippets.LSUV] = None
    arguments = initializers.arguments(one)
    values = "".join(f", {key}={arguments[key]!r}" for key in ("tolerance", "steps", "target"))
    names = _entries(fold(fact.name for fact in chosen))
    line = f"lsuv(model, batch, [{', '.join(names)}]{values})"
    if len(line) <= _WIDTH - len(_INDENT):
        return line
    listed = "\n".join(f"{_INDENT}{name}," for name in names)
    return f"names = [\n{listed}\n]\nlsuv(model, batch, names{values})"


def _check_scaled(fact: ParameterFact) -> None:
    if fact.sources or fact.module_type not in _SCALED or not fact.name.endswith("weight"):
        raise InvalidValueError(
            f"as_code: lsuv scales {fact.name!r} of {fact.module_type}, for which there is no "
            f"short plain form; accepted: the weights of {', '.join(_SCALED)}"
        )
