"""Entries looked up, searched, and written as JSON."""

from __future__ import annotations

import json

import pytest

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab.initializers import FAMILIES, FRAMEWORKS, catalogue, get
from initlab.report.catalogue import describe, find
from initlab.report.catalogue.record import FRAMEWORK_TITLES, definition


def test_a_bare_name_is_shown_by_its_example_one_with_brackets_as_it_is():
    assert describe("fixup").initializer == get(catalogue["fixup"].text)
    assert describe("constant").initializer == get("constant(0.5)")
    assert describe("fixup()").initializer == get("fixup()") != get(catalogue["fixup"].text)


def test_arguments_and_shape_count():
    found = describe("he_normal(slope=1)", (7, 50))
    assert found.std == pytest.approx(50**-0.5)
    assert (found.shape, found.sample and found.sample.entries) == ((7, 50), 350)
    assert found.code_note.startswith("The code draws he_normal, not he_normal(slope=1); ")
    assert describe("he_normal").code_note.startswith("The code draws he_normal; ")


@pytest.mark.parametrize(("alias", "name"), catalogue.aliases.items())
def test_an_alias_is_told(alias: str, name: str):
    found = describe(alias.upper())
    assert (found.entry.name, found.alias) == (name, alias)
    assert alias in found.aliases
    assert describe(name).alias == ""


def test_what_is_wrong_is_said():
    with pytest.raises(UnknownNameError, match="did you mean he_normal"):
        describe("he_norml")
    with pytest.raises(InvalidValueError, match="accepted: he_normal"):
        describe("he_normal(std=3)")
    with pytest.raises(InvalidValueError, match="shape"):
        describe("dirac", (3, 3))


@pytest.mark.parametrize("name", catalogue)
def test_a_definition_is_a_sentence_without_markup(name: str):
    text = definition(catalogue[name])
    assert text.endswith(".")
    assert len(text) < 120
    assert not {"`", "\n"} & {*text}


@pytest.mark.parametrize("name", catalogue)
def test_the_document_holds_the_entry(name: str):
    entry, found = catalogue[name], describe(name)
    document = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert get(document["spec"]) == get(entry.text)
    for key in ("name", "family", "formula", "signature", "assumes", "when", "when_not"):
        assert document[key] == getattr(entry, key)
    assert (document["std_formula"], document["reference"]) == (entry.std, entry.reference)
    assert document["shape"] == list(entry.shape)
    assert (document["mean"], document["std"]) == (found.mean, found.std)
    assert [each["key"] for each in document["citations"]] == list(entry.cites)
    assert list(document["variants"]) == list(FRAMEWORKS)
    for framework, variant in entry.variants.items():
        assert document["variants"][framework] == {"differs": variant.differs, "code": variant.code}
    histogram = document["sample"]["histogram"]
    if histogram is not None:
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_every_framework_has_a_title():
    assert set(FRAMEWORK_TITLES) == set(FRAMEWORKS)


def test_without_a_word_all_are_found():
    assert [entry.name for entry in find()] == list(catalogue)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_in_any_spelling(family: str):
    names = [entry.name for entry in find(family=family)]
    assert names == [name for name, entry in catalogue.items() if entry.family == family]
    assert names
    for spelling in (family.upper(), family.replace(" ", "_"), family.replace("-", " ")):
        assert [entry.name for entry in find(family=spelling)] == names


def test_every_word_has_to_be_there():
    assert {"he_normal", "he_uniform"} <= {entry.name for entry in find(["kaiming"])}
    assert [entry.name for entry in find(["HE et", "2015", "uniform"])] == ["he_uniform"]
    lstm, few = find(["lstm"]), find(["lstm", "bias"])
    assert {entry.name for entry in few} < {entry.name for entry in lstm}


def test_what_an_entry_is_not_for_does_not_find_it():
    """LeCun's rule is not for ReLU, and says so."""
    assert "ReLU" in catalogue["lecun_normal"].when_not
    assert "lecun_normal" not in {entry.name for entry in find(["relu"])}


def test_nothing_found_is_said():
    with pytest.raises(InvalidValueError, match="no initializer mentions 'xyzzy' and 'relu'"):
        find(["xyzzy", "relu"])
    with pytest.raises(InvalidValueError, match="no initializer of family orthogonal mentions"):
        find(["lstm forget"], "orthogonal")
    with pytest.raises(UnknownNameError, match="unknown family 'orthogonl'; did you mean orth"):
        find(family="orthogonl")


def test_a_prior_is_shown_for_as_many_classes_as_it_has():
    found = describe("prior_bias((1, 2, 3))")
    assert found.shape == (3,)
    assert found.sample is not None


@pytest.mark.parametrize("text", ["dirac(groups=5)", "gate_orthogonal(gates=5)"])
def test_a_shape_that_was_not_asked_for_is_not_blamed_alone(text: str):
    with pytest.raises(InvalidValueError, match=r"needs another shape .* \(--shape\)"):
        describe(text)
    with pytest.raises(InvalidValueError) as caught:
        describe(text, (7, 3, 3))
    assert "--shape" not in str(caught.value)
