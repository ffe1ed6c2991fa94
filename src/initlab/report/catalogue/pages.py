"""The catalogue as Markdown: a page for each entry, and an index of them all."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from initlab._base.records import write_file
from initlab.initializers import Entry, catalogue
from initlab.initializers.citations import short_reference
from initlab.report.catalogue.record import (
    FRAMEWORK_TITLES,
    Description,
    aliases,
    definition,
    describe,
)
from initlab.report.catalogue.sketch import sketch_lines

INDEX = "initializers.md"
COMMAND = "python -m initlab.report.catalogue docs"

_WIDTH = 78  # columns of a drawing

# What Markdown would take for markup: emphasis that opens, tags, strikes, code, links, entities.
_MARKS = re.compile(
    r"(?<!\w)_(?=\S)|\*(?=\S)|(?<=\S)\*|<(?=[A-Za-z/!?])|~(?=\S)|[`\\]|\[(?=[^\]]*\]\()|&(?=#?\w+;)"
)


def page_path(name: str) -> str:
    """Return where the page of an entry lies, relative to the folder of the documentation.

    Raises
    ------
    UnknownNameError
        If there is no such entry.

    Examples
    --------
    >>> page_path("kaiming_normal")
    'initializers/he_normal.md'
    """
    return f"initializers/{catalogue.canonical(name)}.md"


def pages() -> Mapping[str, str]:
    """Return every page, the index first: path relative to the folder, and text."""
    entries = {page_path(name): entry_page(describe(name)) for name in catalogue}
    return {INDEX: index_page(), **entries}


def write(folder: Path) -> list[Path]:
    """Write every page, and remove those of entries that are no more.

    Returns
    -------
    list
        The files that were changed, made or removed.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    (folder / "initializers").mkdir(parents=True, exist_ok=True)
    texts = {folder / path: text for path, text in pages().items()}
    changed = [path for path in (folder / "initializers").glob("*.md") if path not in texts]
    for path in changed:
        path.unlink()
    for path, text in texts.items():
        if not path.exists() or path.read_text("utf-8") != text:
            write_file(path, text)
            changed.append(path)
    return changed


def index_page() -> str:
    """Write the table of all entries by family."""
    entries = [entry for _, entry in catalogue.items()]
    introduction = (
        f"The {len(entries)} initialisers of the catalogue; `initlab list` prints this list, "
        "`initlab show NAME` one of the pages behind it. w is an entry of the weight, std its "
        "standard deviation; [Fans](fans.md) says what fan_in and fan_out are. The pages are "
        f"written by `{COMMAND}`."
    )
    parts = ["# Initialisers", introduction]
    for family, members in itertools.groupby(entries, lambda entry: entry.family):
        rows = "\n".join(map(_index_row, members))
        head = "| name | formula | std | reference |\n|---|---|---|---|"
        parts += [f"## {family.capitalize()}", f"{head}\n{rows}"]
    return _joined(parts)


def _index_row(entry: Entry) -> str:
    also = "".join(f", `{alias}`" for alias in aliases(entry.name))
    name = f"[`{entry.name}`]({page_path(entry.name)}){also}"
    cells = (name, _code(entry.formula), _code(entry.std), _prose(short_reference(entry.cites)))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def entry_page(found: Description) -> str:
    """Write all there is to know about one initialiser."""
    entry = found.entry
    family = entry.family.replace(" ", "-")
    kind = f"[{entry.family.capitalize()}](../{INDEX}#{family})"
    if found.aliases:
        kind += f"; also called {', '.join(f'`{alias}`' for alias in found.aliases)}"
    drawing = "\n".join(line.rstrip() for line in sketch_lines(found, _WIDTH))
    return _joined(
        [
            f"# {entry.name}",
            _prose(definition(entry, _links), links=True),
            f"{kind}.",
            _block(entry.signature, "python"),
            _listed(
                ("Formula", _code(entry.formula)),
                ("Std", _code(entry.std)),
                ("Assumes", _prose(entry.assumes)),
                ("Good for", _prose(entry.when)),
                ("Not for", _prose(entry.when_not)),
                (f'`initlab.initialize(model, "{entry.name}")`', _prose(found.on_a_model)),
                ("Reference", _prose(entry.reference)),
            ),
            "## A draw",
            _block(drawing, "text"),
            "## In other libraries",
            _prose(found.code_note),
            *_variants(found),
            "## BibTeX",
            _block("\n\n".join(each.bibtex for each in found.citations), "bibtex"),
        ]
    )


def _variants(found: Description) -> Iterator[str]:
    for framework, variant in found.entry.variants.items():
        yield f"### {FRAMEWORK_TITLES[framework]}"
        yield _prose(variant.differs)
        yield _block(variant.code, "python")


def _links(markup: re.Match[str]) -> str:
    """Write what a docstring refers to as a link to its page, what it quotes as code."""
    name, code = markup.groups()
    return f"[`{name}`]({name}.md)" if name in catalogue else f"`{name or code}`"


def _listed(*rows: tuple[str, str]) -> str:
    return "\n".join(f"- **{label}**: {text}" for label, text in rows)


def _prose(text: str, *, links: bool = False) -> str:
    """Escape what Markdown would take for markup; with links, what stands in backquotes stays."""
    pieces = re.split(r"(\[?`[^`]*`(?:\]\([^)]*\))?)", text) if links else [text]
    pieces[::2] = [_MARKS.sub(r"\\\g<0>", piece) for piece in pieces[::2]]
    return "".join(pieces)


def _code(text: str) -> str:
    """Write a code span; a backquote inside needs a longer fence outside."""
    fence = "``" if "`" in text else "`"
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```"


def _joined(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"
