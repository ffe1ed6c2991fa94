"""The list and the page on terminals of any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console, RenderableType

from initlab.initializers import catalogue
from initlab.initializers.citations import short_reference
from initlab.report.catalogue import describe, find
from initlab.report.catalogue.terminal import Listing, Page

WIDTHS = (40, 60, 72, 100)


def printed(
    part: RenderableType, width: int, *, colour: bool = False, terminal: bool = False
) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=colour or terminal,
        highlight=False,
        color_system="standard" if colour else None,
    )
    console.print(part)
    return file.getvalue()


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_fits_and_names_all(width: int):
    lines = [line.rstrip() for line in printed(Listing(find()), width).splitlines()]
    assert max(map(len, lines)) <= width
    words = {found[1] for line in lines if (found := re.match(r"  (\w+)", line))}
    assert set(catalogue) <= words
    text = "\n".join(lines)
    assert all(alias in text for alias in catalogue.aliases)
    assert text.count("He et al. 2015") == 2
    assert lines[-1].startswith(f"{len(catalogue)} initializers; ") or width < 56


def test_an_entry_of_the_list_is_two_lines():
    text = printed(Listing(find(["kaiming_normal"])), 100)
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "Variance scaling"
    assert lines[1] == "  he_normal(slope=0, mode='fan_in')   also kaiming_normal"
    assert lines[2].split("  ")[3] == "w ~ N(0, 2 / ((1 + slope²) fan))"
    assert lines[2].endswith("  He et al. 2015")
    assert lines[-1].startswith("1 initializer;")


def test_a_formula_that_is_cut_says_so():
    text = printed(Listing(find()), 100, terminal=True)
    (line,) = [x for x in text.splitlines() if "singular value" in x]
    assert "…  Trockman & Kolter 2023" in line


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_where_there_is_no_terminal(width: int):
    for name in catalogue:
        text = printed(Listing([catalogue[name]]), width)
        assert "…" not in text
        # The reference, beside the first line, comes between a formula's words.
        words = text.replace(short_reference(catalogue[name].cites), "")
        assert squeezed(catalogue[name].formula) in squeezed(words)


@pytest.mark.parametrize("name", catalogue)
def test_the_page_says_it_all(name: str):
    entry, found = catalogue[name], describe(name)
    text = squeezed(printed(Page(found), 100))
    texts = (entry.signature, entry.formula, entry.std, entry.assumes, entry.when, entry.when_not)
    for part in (*texts, entry.reference, found.definition, found.on_a_model, found.code_note):
        assert squeezed(part) in text
    for variant in entry.variants.values():
        assert squeezed(variant.differs + variant.code) in text
    for each in found.citations:
        assert squeezed(each.bibtex) in text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["mimetic", "sparse", "zero_hadamard", "truncated_normal"])
def test_the_page_fits(name: str, width: int):
    text = printed(Page(describe(name)), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    code = catalogue[name].variants["pytorch"].code
    assert squeezed(code) in squeezed(text)  # broken where it has to be, never cut


def test_the_page_of_an_alias_says_of_what():
    text = printed(Page(describe("xavier_normal")), 100)
    assert "xavier_normal is another name of glorot_normal." in text
    assert "is another name" not in printed(Page(describe("glorot_normal")), 100)


def test_the_std_is_there_as_a_number():
    text = printed(Page(describe("he_normal", (64, 32, 3, 3))), 100)
    assert "fan)); 0.0833333 for shape (64, 32, 3, 3)" in text
    assert "exact" in text
    assert "for shape" not in printed(Page(describe("mimetic")), 100).split("A draw")[0]


def test_colour_on_a_terminal_only():
    page = Page(describe("he_normal"))
    assert "\x1b" not in printed(page, 100)
    coloured = printed(page, 100, colour=True)
    assert "\x1b[1mhe_normal\x1b[0m" in coloured
    assert "\x1b[34;49m2.0\x1b[0m" in coloured  # a number in the code
    # 40 to 48 and 100 to 107 set a background; 49 is the terminal's own.
    codes = {
        code for found in re.findall(r"\x1b\[([\d;]+)m", coloured) for code in found.split(";")
    }
    assert not codes & {*map(str, (*range(40, 49), *range(100, 108)))}
