"""The pages of the catalogue are what the catalogue says now, and say it as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from initlab._base.errors import UnknownNameError
from initlab.initializers import FAMILIES, catalogue
from initlab.initializers.citations import read_bibtex, short_reference
from initlab.report.catalogue import describe
from initlab.report.catalogue.pages import COMMAND, INDEX, page_path, pages, write

DOCS = Path(__file__).parents[2] / "docs"
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_the_committed_pages_are_those_that_would_be_written():
    written = pages()
    there = {INDEX, *(f"initializers/{path.name}" for path in (DOCS / "initializers").iterdir())}
    wrong = {path for path in {*written, *there} if not same(path, written.get(path))}
    assert not wrong, f"write them anew: {COMMAND}"


def same(path: str, text: str | None) -> bool:
    return (DOCS / path).is_file() and (DOCS / path).read_text("utf-8") == text


@pytest.mark.parametrize("name", catalogue)
def test_there_is_a_page(name: str):
    assert (DOCS / page_path(name)).is_file()


def test_no_page_without_an_entry():
    assert page_path("KAIMING_normal") == page_path("he_normal")
    with pytest.raises(UnknownNameError):
        page_path("he_norml")


def shown(tokens: list[Token]) -> str:
    """Return what a reader sees of running text: code and links by their text."""
    parts: list[str] = []
    for token in tokens:
        assert token.type not in {"html_inline", "html_block", "em_open", "s_open"}, token
        parts.append(shown(token.children) if token.children else token.content)
        parts.append("\n" if token.type == "inline" else "")
    return "".join(parts)


@pytest.mark.parametrize("name", catalogue)
def test_a_page_shows_the_entry_word_for_word(name: str):
    entry, found = catalogue[name], describe(name)
    tokens = MARKDOWN.parse((DOCS / page_path(name)).read_text("utf-8"))
    lines = shown(tokens).split("\n")
    labelled = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert labelled["Formula"] == entry.formula
    assert labelled["Std"] == entry.std
    assert labelled["Assumes"] == entry.assumes
    assert labelled["Good for"] == entry.when
    assert labelled["Not for"] == entry.when_not
    assert labelled["Reference"] == entry.reference
    assert labelled[f'initlab.initialize(model, "{name}")'] == found.on_a_model
    assert {name, found.definition, found.code_note} <= {*lines}
    assert {variant.differs for variant in entry.variants.values()} <= {*lines}
    blocks = [(token.info, token.content.rstrip("\n")) for token in tokens if token.type == "fence"]
    codes = [code for language, code in blocks if language == "python"]
    assert codes == [entry.signature, *(variant.code for variant in entry.variants.values())]
    (bibtex,) = [code for language, code in blocks if language == "bibtex"]
    assert [each.key for each in read_bibtex(bibtex)] == list(entry.cites)


def test_the_index_has_every_entry_under_its_family():
    tokens = MARKDOWN.parse((DOCS / INDEX).read_text("utf-8"))
    cells = [shown(t.children or []) for t in tokens if t.type == "inline"]
    places = [cells.index(family.capitalize()) for family in FAMILIES]
    assert places == sorted(places)
    for name, entry in catalogue.items():
        place = next(i for i, cell in enumerate(cells) if cell.split(",")[0] == name)
        expected = [entry.formula, entry.std, short_reference(entry.cites)]
        assert cells[place + 1 : place + 4] == expected
        family = max(p for p in places if p < place)
        assert cells[family] == entry.family.capitalize()


def test_every_link_leads_somewhere():
    for path in [INDEX, *map(page_path, catalogue)]:
        source = DOCS / path
        text = re.sub(r"```.*?```", "", source.read_text("utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)]+)\)", text)
        assert links
        for link in links:
            target, _, anchor = link.partition("#")
            content = (source.parent / target).resolve().read_text("utf-8")
            headings = re.findall(r"^#+ (.+)$", content, re.MULTILINE)
            assert not anchor or anchor in {h.lower().replace(" ", "-") for h in headings}


def test_writing_changes_only_what_has_changed(tmp_path: Path):
    assert len(write(tmp_path)) == len(catalogue) + 1
    assert write(tmp_path) == []
    stale, edited = tmp_path / "initializers/gone.md", tmp_path / page_path("zeros")
    stale.write_text("")
    edited.write_text("")
    assert sorted(write(tmp_path)) == sorted([stale, edited])
    assert not stale.exists()
    assert edited.read_text("utf-8") == (DOCS / page_path("zeros")).read_text("utf-8")


def test_the_command_writes_them(tmp_path: Path):
    words = COMMAND.split()
    assert (words[0], words[-1]) == ("python", "docs")
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(catalogue) + 1
    assert (tmp_path / "docs" / INDEX).is_file()
    done = subprocess.run(
        [sys.executable, *words[1:-1]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert COMMAND in done.stderr
