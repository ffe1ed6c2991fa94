"""Entries for the terminal: a list by family, and one of them in full.

Each is a rich renderable that fits the console and needs no colour to be read:
``Console().print(Listing(find()))``.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from initlab.initializers import Entry
from initlab.initializers.citations import short_reference
from initlab.report.catalogue.record import FRAMEWORK_TITLES, Description, aliases
from initlab.report.catalogue.sketch import sketch_lines

_REFERENCE = 27  # columns of authors and year in a list
_BESIDE = 72  # columns from which there is room for them beside the formula
_THEME = "ansi_light"  # the terminal's own colours


class Listing:
    """Entries by family: signature, aliases, formula, authors and year."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the entries out for the console's width.

        A formula is cut to one line on a terminal; in a file or a pipe, which may be searched, it
        takes the lines that it needs.
        """
        width = options.max_width
        for family, entries in itertools.groupby(self.entries, lambda entry: entry.family):
            yield Text(family.capitalize(), style="bold")
            for entry in entries:
                yield from _listed(entry, width, cut=console.is_terminal)
            yield ""
        count = len(self.entries)
        yield f"{count} initializer{'s' * (count != 1)}; initlab show NAME tells all about one."


def _listed(entry: Entry, width: int, *, cut: bool) -> Iterator[RenderableType]:
    """Yield an entry's two lines; more where they do not fit side by side, or must not be cut."""
    name, bracket, arguments = entry.signature.partition("(")
    signature = Text.assemble((name, "cyan"), f"{bracket}{arguments}".removesuffix("()"))
    if others := aliases(entry.name):
        also = Text(f"also {', '.join(others)}", style="dim")
        beside = len(signature) + len(also) + 5 <= width
        signature += Text("   " if beside else "\n    ") + also
    yield Padding(signature, (0, 0, 0, 2))
    beside, reference = width >= _BESIDE, Text(short_reference(entry.cites), style="dim")
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=(width - _REFERENCE - 2 if beside else width) - 6, no_wrap=cut)
    row.add_row(Text(entry.formula, overflow="ellipsis" if cut else "fold"), *[reference] * beside)
    yield Padding(row, (0, 0, 0, 6))
    if not beside:
        yield Padding(reference, (0, 0, 0, 6))


class Page:
    """All that there is to know about one initialiser."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the page out for the console's width."""
        found, entry = self.description, self.description.entry
        yield Text.assemble((found.initializer.spec, "bold"), (f"   {entry.family}", "dim"))
        if found.alias:
            yield f"{found.alias} is another name of {entry.name}."
        yield Text(found.definition)
        yield ""
        yield _fields(
            ("Signature", entry.signature),
            ("Aliases", ", ".join(found.aliases)),
            ("Formula", entry.formula),
            ("Std", found.std_text),
            ("Assumes", entry.assumes),
            ("Good for", entry.when),
            ("Not for", entry.when_not),
            ("On a model", found.on_a_model),
            ("Reference", entry.reference),
        )
        yield ""
        yield _heading("A draw")
        yield Padding(Text("\n".join(sketch_lines(found, options.max_width - 2))), (0, 0, 0, 2))
        yield ""
        yield from self._elsewhere()
        yield _heading("BibTeX")
        for each in found.citations:
            yield Padding(_bibtex(each.bibtex, options.max_width - 2), (0, 0, 0, 2))

    def _elsewhere(self) -> Iterable[RenderableType]:
        found = self.description
        yield _heading("In other libraries")
        yield Padding(Text(found.code_note), (0, 0, 0, 2))
        for framework, variant in found.entry.variants.items():
            yield ""
            label = (f"{FRAMEWORK_TITLES[framework]}: ", "cyan")
            yield Padding(Text.assemble(label, variant.differs), (0, 0, 0, 2))
            yield Padding(_code(variant.code), (0, 0, 0, 6))
        yield ""


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _code(text: str) -> Text:
    code = Syntax("", "python", theme=_THEME, background_color="default").highlight(text)
    code.rstrip()
    code.no_wrap, code.overflow = False, "fold"  # long lines are broken, not cut
    return code


def _bibtex(text: str, width: int) -> Text:
    """Break long values, which BibTeX does not mind, and keep the columns."""
    lines = [
        textwrap.fill(line, width, subsequent_indent="      ", break_on_hyphens=False)
        for line in text.splitlines()
    ]
    return Text("\n".join(lines))


def _fields(*rows: tuple[str, str]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for label, text in rows:
        if text:
            table.add_row(label, Text(text))
    return table
