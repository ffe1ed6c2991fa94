"""What the catalogue says of its initialisers: complete, in the docs, cited as it should be."""

import inspect
import re
from importlib import resources
from pathlib import Path

import pytest
from pybtex.database import BibliographyData, Entry, parse_string
from pybtex.richtext import Text

from initlab.initializers import FAMILIES, FRAMEWORKS, catalogue

# Where each kind of publication says what it appeared in.
VENUES = {
    "article": {"journal"},
    "inproceedings": {"booktitle"},
    "incollection": {"booktitle"},
    "book": {"publisher"},
    "phdthesis": {"school"},
    "techreport": {"institution"},
    "misc": {"howpublished", "eprint"},
}
ALLOWED = {
    *("title", "year", "month", "volume", "number", "series", "pages", "edition", "editor"),
    *("publisher", "address", "eprint", "archiveprefix", "primaryclass", "doi", "url", "note"),
    *set().union(*VENUES.values()),
}

PAGES = Path(__file__).parents[2] / "docs" / "initializers"


@pytest.fixture(scope="module")
def bibliography() -> BibliographyData:
    text = resources.files("initlab.initializers").joinpath("references.bib").read_text("utf-8")
    return parse_string(text, "bibtex")  # refuses a key given twice


def first_author(cited: Entry) -> str:
    """Return the family name as it is printed, accents and all."""
    person = cited.persons["author"][0]
    return str(Text.from_latex(" ".join((*person.prelast_names, *person.last_names))))


@pytest.mark.parametrize("name", catalogue)
def test_every_field_says_something(name: str):
    entry = catalogue[name]
    fields = {
        field: getattr(entry, field)
        for field in ("formula", "std", "assumes", "reference", "when", "when_not")
    }
    for field, text in fields.items():
        assert text.strip() == text != "", field
        assert "\n" not in text, field
    assert "w " in entry.formula
    assert re.search(r"\b(19|20)\d\d\b", entry.reference)
    assert entry.family in FAMILIES
    assert entry.name == name
    assert entry.signature.startswith(f"{name}(")
    assert entry.model.strip() == entry.model
    summary = inspect.getdoc(entry.make)
    assert summary
    assert summary.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", catalogue)
def test_every_framework_is_told_of(name: str):
    variants = catalogue[name].variants
    assert tuple(variants) == FRAMEWORKS
    for variant in variants.values():
        assert variant.differs.strip() == variant.differs != ""
        assert "\n" not in variant.differs
        assert variant.code.strip() == variant.code
        assert max(map(len, variant.code.splitlines())) <= 100
        compile(variant.code, name, "exec")


@pytest.mark.parametrize("name", catalogue)
def test_its_page_says_what_the_entry_says(name: str):
    entry = catalogue[name]
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n")
    assert entry.formula in page
    assert entry.signature in page
    for variant in entry.variants.values():
        assert f"```python\n{variant.code}\n```" in page


def test_families_stand_in_their_order():
    found = [FAMILIES.index(entry.family) for _, entry in catalogue.items()]
    assert found == sorted(found)
    assert set(found) == set(range(len(FAMILIES)))


@pytest.mark.parametrize("name", catalogue)
def test_what_is_cited_is_what_the_reference_names(name: str, bibliography: BibliographyData):
    entry = catalogue[name]
    assert entry.cites
    for key in entry.cites:
        cited = bibliography.entries[key]
        assert first_author(cited) in entry.reference, key
        assert cited.fields["year"] in entry.reference, key


def test_every_publication_is_complete_and_cited(bibliography: BibliographyData):
    for key, cited in bibliography.entries.items():
        assert cited.persons["author"], key
        assert str(Text.from_latex(cited.fields["title"])).strip(), key
        assert re.fullmatch(r"(19|20)\d\d", cited.fields["year"]), key
        assert any(cited.fields.get(field) for field in VENUES[cited.type]), key
        assert {field.lower() for field in cited.fields} <= ALLOWED, key
        assert re.fullmatch(r"[a-z]+(19|20)\d\d[a-z]+", key), key
        assert cited.fields["year"] in key
    used = {key for _, entry in catalogue.items() for key in entry.cites}
    assert set(bibliography.entries) == used
