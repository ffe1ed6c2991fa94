"""The references: read as they stand, refused where they are broken."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.initializers import catalogue
from initlab.initializers.citations import (
    citation,
    citations,
    plain_text,
    read_bibtex,
    short_reference,
)

SOURCE = (files("initlab.initializers") / "references.bib").read_text("utf-8")


def test_every_reference_of_the_file_is_read():
    assert list(citations()) == re.findall(r"^@\w+\{(.+),$", SOURCE, re.MULTILINE)


@pytest.mark.parametrize("key", citations())
def test_what_is_written_reads_back_and_loses_nothing(key: str):
    (again,) = read_bibtex(citation(key).bibtex)
    assert again == citation(key)
    source = SOURCE[SOURCE.index(f"{{{key},") :].partition("\n}")[0]
    # The same but for blanks.
    assert (
        "".join(citation(key).bibtex.partition("{")[2].split())
        == "".join(f"{source}\n}}".split())[1:]
    )


@pytest.mark.parametrize("key", citations())
def test_each_is_well_formed(key: str):
    fields = citation(key).fields
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert all(re.fullmatch(r"[^,]+, [^,]+", name) for name in fields["author"].split(" and "))
    assert re.fullmatch(r"[\w '-]+( & [\w '-]+| et al\.)? \d{4}", citation(key).short)
    where = {"journal", "booktitle", "eprint", "publisher", "institution", "howpublished"}
    assert where & set(fields)


def test_every_reference_is_cited_and_every_citation_is_there():
    cited = {key for _, entry in catalogue.items() for key in entry.cites}
    assert cited == set(citations())


@pytest.mark.parametrize("name", catalogue)
def test_an_entry_names_the_authors_and_the_years_that_it_cites(name: str):
    entry = catalogue[name]
    assert entry.cites
    for key in entry.cites:
        first = plain_text(citation(key).fields["author"].split(",")[0])
        assert first in entry.reference
        assert citation(key).fields["year"] in entry.reference


@pytest.mark.parametrize(
    ("authors", "short"),
    [
        ("Knuth, Donald E.", "Knuth 1984"),
        ("Glorot, Xavier and Bengio, Yoshua", "Glorot & Bengio 1984"),
        ("He, K. and Zhang, X. and Ren, S.", "He et al. 1984"),
        (r"Kr{\"a}henb{\"u}hl, Philipp", "Krähenbühl 1984"),
        (r"Doll{\'a}r, Piotr and {\L}ukasz, K.", "Dollár & Łukasz 1984"),
        (r"Fran\c{c}ois, A. and Mar\v{c}enko, V.", "François & Marčenko 1984"),
        (r"M\"uller, K. and S{\o}rensen, B.", "Müller & Sørensen 1984"),
    ],
)
def test_authors_and_year(authors: str, short: str):
    (found,) = read_bibtex(f"@book{{a, author = {{{authors}}}, title = {{T}}, year = {{1984}}}}")
    assert found.short == short


def test_the_first_citation_is_the_short_one():
    assert short_reference(["saxe2014exact", "mezzadri2007generate"]) == "Saxe et al. 2014"
    assert short_reference([]) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@book{a, author = {A, B}, title = {T}}", "'a' has no year"),
        ("@book{a, title = {T}, author = {}, year = {1}}", "'a' has no author"),
        ('@book{a, author = "A, B", title = {T}, year = {1}}', "no name = {value}"),
        ("@book{a, author = {A, B}, title = {T, year = {1}}", "left open"),
        ("words @book{a, author = {A, B}, title = {T}, year = {1}}", "is no reference"),
        (2 * "@book{a, author = {A, B}, title = {T}, year = {1}}\n", "'a' is there twice"),
    ],
)
def test_what_is_broken_is_refused(text: str, message: str):
    with pytest.raises(InvalidValueError, match=message):
        read_bibtex(text)


def test_an_unknown_key_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean he2015delving"):
        citation("he2015delvin")
