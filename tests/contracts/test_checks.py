"""What holds for every check: it finds its models, not their look-alikes, and its fix clears it."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from diagnosed.case import Case
from initlab.diagnosis import treat
from initlab.diagnosis.checks import catalogue

DOCS = Path(__file__).parents[2] / "docs" / "diagnosis"
CODES = tuple(catalogue())


def cases_of(code: str) -> list[Case]:
    module: ModuleType = import_module(f"diagnosed.{code.lower()}")
    cases: list[Case] = module.CASES
    return cases


CASES = [case for code in CODES for case in cases_of(code)]


def name_of(case: Case) -> str:
    return f"{case.code}-{case.name}".replace(" ", "-")


def test_the_catalogue_has_every_check():
    assert sorted(CODES) == sorted(
        [f"SIG0{n}" for n in range(1, 7)]
        + [f"UNIT0{n}" for n in range(1, 5)]
        + [f"LAYER0{n}" for n in range(1, 10)]
        + ["OUT01", "OUT02", "OUT03", "STEP01", "WIDTH01"]
    )


@pytest.mark.parametrize("code", CODES)
def test_each_check_has_two_models_and_two_look_alikes(code: str):
    cases = cases_of(code)
    assert all(case.code == code for case in cases)
    assert sum(case.is_positive for case in cases) >= 2
    assert sum(not case.is_positive for case in cases) >= 2


@pytest.mark.parametrize("code", CODES)
def test_each_check_has_a_title_and_a_page(code: str):
    title = catalogue()[code].title
    assert title
    assert not title.endswith(".")
    text = (DOCS / f"{code}.md").read_text()
    assert text.startswith(f"# {code}: {title}\n")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_is_found_is_all_that_is_wrong_and_the_fix_clears_it(case: Case):
    built = case.build()
    report = case.diagnose(built)
    assert not report.problem
    assert set(report.codes) == case.found, report.text()
    assert case.notes <= {one.code for one in report.findings if one.severity == "note"}
    for one in report.findings:
        assert one.where
        assert one.title
        assert one.cause
        assert one.fix.text
        if one.code == case.code:
            assert set(case.where) <= set(one.where)
    if case.is_positive and case.treatable:
        treat(built.model, report)
        after = case.diagnose(replace(built, making=None))
        assert not after.problem
        assert case.code not in after.codes, after.text()
        assert not set(after.codes) - set(report.codes), after.text()
