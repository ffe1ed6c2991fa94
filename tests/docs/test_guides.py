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


def run_examples(guide: str) -> str:
    """Run the Python blocks of a guide, one after the other; returns what they print."""
    code = re.findall(r"```python\n(.*?)```", (DOCS / guide).read_text(), re.DOTALL)
    assert code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(code), guide, "exec"), {})  # noqa: S102 - our own examples
    return printed.getvalue()


def test_the_examples_of_the_guide_to_models_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert "nn.init.normal_" in run_examples("initialize.md")


def test_the_examples_of_the_guide_to_the_theory_run():
    assert run_examples("theory.md").count("residual") == 12


def test_the_examples_of_the_guide_to_the_diagnosis_run():
    printed = run_examples("diagnose.md")
    assert "('LAYER02',)" in printed
    assert printed.endswith("healthy\n")


CHECKS = sorted(page.stem for page in (DOCS / "diagnosis").glob("*0*.md"))


def test_each_check_is_in_the_guide_to_the_diagnosis():
    guide = (DOCS / "diagnose.md").read_text()
    for code in CHECKS:
        title = (
            (DOCS / "diagnosis" / f"{code}.md").read_text().partition("\n")[0].partition(": ")[2]
        )
        assert f"| [{code}](diagnosis/{code}.md) | {title} |" in guide


@pytest.mark.parametrize("code", CHECKS)
def test_the_model_on_the_page_of_a_check_has_it(code: str):
    assert f" {code}: " in run_examples(f"diagnosis/{code}.md")


THEORY = (DOCS / "theory.md").read_text()


@pytest.mark.parametrize(
    ("code", "said"),
    re.findall(r"^(theory\.\S.*?)  # (\d[\d.e-]*\d)", THEORY, re.MULTILINE),
)
def test_each_number_in_the_guide_to_the_theory_is_what_comes_out(code: str, said: str):
    setting = {
        "theory": initlab.theory,
        "deep": initlab.theory.fully_connected((300,) * 51, "relu"),
    }
    found = eval(code, setting)  # noqa: S307 - our own examples
    digits = len(re.sub(r"e.*|\D", "", said))
    assert found == pytest.approx(float(said), rel=10.0 ** (1 - digits))


def test_each_public_name_of_the_theory_is_in_the_guide():
    named = set(re.findall(r"\w+", THEORY))
    public = {name for name in initlab.theory.__all__ if name[0].islower()}
    assert public <= named


def test_each_command_of_the_theory_is_in_the_guide():
    assert set(re.findall(r"^    initlab theory (\w+)", THEORY, re.MULTILINE)) == {
        *("gain", "point", "edge", "map", "signal")
    }


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_each_link_leads_somewhere(guide: Path):
    for linked in re.findall(r"\]\((?!https?:)([^)#]+)", guide.read_text()):
        assert (guide.parent / linked).exists(), linked


def test_each_initialiser_that_a_case_names_is_in_the_catalogue():
    remedies = [row.split("|")[4] for row in CASES.splitlines()[6:] if row]
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
