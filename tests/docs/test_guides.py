"""The examples in the guides run, and their links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

import initlab

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(DOCS.glob("*.md"))
CASES = (DOCS / "field-cases.md").read_text()


def test_there_is_something_to_test():
    assert {"initialize.md", "fans.md", "sampling.md", "field-cases.md"} <= {
        guide.name for guide in GUIDES
    }


def test_the_examples_of_the_guide_to_models_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", (DOCS / "initialize.md").read_text(), re.DOTALL)
    assert code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(code), "initialize.md", "exec"), {})  # noqa: S102 - our own examples
    assert "nn.init.normal_" in printed.getvalue()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_each_link_leads_somewhere(guide: Path):
    for linked in re.findall(r"\]\((?!https?:)([^)#]+)", guide.read_text()):
        assert (guide.parent / linked).exists(), linked


def test_each_initialiser_that_a_case_names_is_in_the_catalogue():
    remedies = [row.rpartition("|")[0].rpartition("|")[2] for row in CASES.splitlines()[6:]]
    named = {name for text in remedies for name in re.findall(r"`([a-z_]+)`", text)}
    named -= {"auto"}
    assert named
    for name in named:
        initlab.get(initlab.initializers.catalogue[name].text)


@pytest.mark.parametrize(
    "thread",
    sorted(set(re.findall(r"(?:[\w.-]+/)?[\w-]+#\d+|(?<= )#\d+", CASES))),
)
def test_each_thread_is_named_by_a_test(thread: str):
    number = thread.rpartition("#")[2]
    tests = (path.read_text() for path in DOCS.parent.glob("tests/**/*.py"))
    assert any(re.search(rf"#{number}\b|def test_\w*_{number}_", text) for text in tests), thread
