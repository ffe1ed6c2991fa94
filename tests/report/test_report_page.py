"""The page: whole, self-contained, escaped, and saying what the runs say."""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from initlab.experiments import Results, execute
from initlab.report import html, setting
from initlab.report.cells import cost_cells

VOID = {"meta", "img", "br", "link", "hr", "input"}
# The smallest thing with a PNG's header: 144 by 72 pixels.
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (144).to_bytes(4) + (72).to_bytes(4)
FIGURES = {"costs": PNG, "boundaries": PNG, "signals": PNG}


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, *names: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags for name in names if name in attrs]


@pytest.fixture(params=["course", "seeded", "digits", "regression"])
def results(request: pytest.FixtureRequest) -> Results:
    return request.getfixturevalue(request.param)


def test_the_page_is_well_formed_and_names_each_start_and_its_story(results: Results):
    page = Page(html.page(results, FIGURES))
    assert [tag for tag, _ in page.tags].count("img") == 3
    for each in results.summaries():
        assert each.init in page.text
        assert each.what_happened in page.text
    for note in results.dataset.notes:
        assert note in page.text


def test_nothing_is_fetched_from_anywhere(results: Results):
    text = html.page(results, FIGURES)
    page = Page(text)
    assert all(source.startswith("data:image/png;base64,") for source in page.attributes("src"))
    assert not page.attributes("href", "srcset", "action", "data", "poster")
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?:|@import|url\(", text)


def test_figures_are_inside_at_two_thirds_of_their_pixels(course: Results):
    page = Page(html.page(course, {name: PNG + name.encode() for name in FIGURES}))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    sources = [base64.b64decode(image["src"].partition(",")[2]) for image in images]
    assert sources == [PNG + name.encode() for name in ("costs", "boundaries", "signals")]
    assert {(image["width"], image["height"]) for image in images} == {("96", "48")}
    assert all(image["alt"] for image in images)


def test_tables_hold_the_costs_and_every_run(course: Results):
    page = Page(html.page(course, FIGURES))
    for column in cost_cells(course).columns:
        for cell in column.cells:
            assert cell in page.text
    rows = [tag for tag, _ in page.tags].count("tr")
    summary, costs, runs = 1 + 3, 1 + len(course.runs[0].steps) + 1, 1 + 3
    assert rows == summary + costs + runs


def test_text_from_outside_is_escaped(course: Results):
    nasty = "<script>alert('&')</script>"
    run = replace(course.runs[0], init=nasty, what_happened=nasty)
    data = replace(course.dataset, name=nasty, notes=(nasty,))
    page = Page(html.page(replace(course, runs=(run,), dataset=data), FIGURES))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(nasty) >= 4


def test_many_runs_are_folded_and_cut_with_a_word_about_it(course: Results):
    run = course.runs[2]
    runs = tuple(replace(run, seed=seed) for seed in range(html.MOST_RUNS + 20))
    page = Page(html.page(replace(course, runs=runs), FIGURES))
    (details,) = [attrs for tag, attrs in page.tags if tag == "details"]
    assert "open" not in details
    assert f"{html.MOST_RUNS} of {html.MOST_RUNS + 20} runs" in page.text


def test_few_runs_are_open(course: Results):
    page = Page(html.page(course, FIGURES))
    assert [attrs for tag, attrs in page.tags if tag == "details"] == [{"open": None}]


def test_an_interrupt_is_said(course: Results):
    assert "Interrupted" not in html.page(course, FIGURES)
    assert "Interrupted: the 3 runs" in html.page(replace(course, interrupted=True), FIGURES)


def test_words_are_defined_with_this_experiments_target(seeded: Results, course: Results):
    page = Page(html.page(seeded, FIGURES))
    # A quarter of the entropy of two equally frequent classes.
    assert f"target, {np.log(2) / 4:.4f}" in page.text
    assert "bootstrap" in page.text
    assert "bootstrap" not in html.page(course, FIGURES)


def test_the_notebooks_fragment_is_small_and_well_formed(results: Results):
    text = html.fragment(results)
    page = Page(text)
    assert len(text) < 10_000
    assert all(each.init in page.text for each in results.summaries())


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 7},
        {"steps": 7, "seeds": 2},
        {"steps": 7, "seeds": [4]},
        {"steps": 7, "seeds": [4, 2], "optimizer": "adam", "learning_rate": 0.001},
        {"steps": 7, "data": "moons(noise=0.3)", "hidden": (), "loss": "squared_error"},
        {"steps": 7, "cost": "careful", "record_every": 3, "target_cost": 0.5, "batch_size": 20},
        {"steps": 7, "draw": "seeded"},
    ],
)
def test_the_code_that_runs_it_again_runs_the_same(fields: dict[str, object]):
    results = execute(["zeros", "normal(std=10)"], **fields)
    calls: list[Results] = []

    def compare(inits: list[str], **again: object) -> None:
        calls.append(execute(inits, **again))

    code = setting.python(results).replace("import initlab", "")
    exec(code, {"initlab": type("initlab", (), {"compare": staticmethod(compare)})})  # noqa: S102
    (repeated,) = calls
    assert repeated.experiment == results.experiment
    assert [(r.init, r.seed, r.final_cost) for r in repeated.runs] == [
        (r.init, r.seed, r.final_cost) for r in results.runs
    ]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"steps": 7}, "--steps 7"),
        ({"steps": 7, "seeds": 2}, "--steps 7 --seeds 2"),
        ({"steps": 7, "seeds": [4]}, "--steps 7 --seeds 4,"),
        ({"steps": 7, "seeds": [4, 2], "hidden": (8, 8)}, "--hidden 8,8 --steps 7 --seeds 4,2"),
        ({"steps": 7, "hidden": (), "learning_rate": 0.5}, "--hidden none --lr 0.5 --steps 7"),
        ({"steps": 7, "batch_size": 20}, "--steps 7 --batch 20"),
        ({"steps": 7, "record_every": 3}, "--steps 7 --record-every 3"),
    ],
)
def test_the_command_line_that_runs_it_again(fields: dict[str, object], options: str):
    results = execute(["normal(std=10)"], **fields)
    expected = ["initlab", "compare", "normal(std=10)", *options.split()]
    assert shlex.split(setting.command(results) or "") == expected


def test_what_the_command_line_cannot_say_is_left_to_python():
    results = execute(["zeros"], steps=2, seeds=2, draw="published")
    assert setting.command(results) is None
    assert 'draw="published"' in setting.python(results)
    assert "initlab compare" not in html.page(results, FIGURES)


def test_title_and_facts_say_what_was_run(seeded: Results, course: Results):
    assert setting.title(course) == "3 starts on circles"
    assert setting.title(seeded) == "2 starts, 5 seeds each, on circles"
    facts = setting.facts(course)
    assert facts["Network"] == "2-10-5-1, relu in the hidden layers"
    assert (
        "300 steps of gradient descent on the full batch, learning rate 0.01" in facts["Training"]
    )
    assert "300 training samples, 100 test samples" in facts["Data"]
