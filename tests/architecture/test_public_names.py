"""The root package: every public name resolves, late, and the three lists of them agree."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import initlab
from initlab._base import errors

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", initlab.__all__)
def test_every_public_name_resolves(name: str):
    assert getattr(initlab, name) is not None
    assert name in dir(initlab)


def test_type_checkers_see_every_public_name():
    tree = ast.parse(Path(initlab.__file__).read_text("utf-8"))
    seen = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("initlab")
        for alias in node.names
    }
    assert seen == set(initlab.__all__)


def test_every_error_is_public():
    raised = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == errors.__name__
    }
    assert raised <= set(initlab.__all__)
    assert len(raised) >= 6


def test_star_import_brings_every_public_name():
    names: dict[str, object] = {}
    exec("from initlab import *", names)  # noqa: S102 - a star import is allowed at module level only
    assert set(initlab.__all__) <= set(names)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'initlab' has no attribute 'comparee'"):
        _ = initlab.comparee
    assert not hasattr(initlab, "_base_of_nothing")


def test_the_changelog_knows_this_version():
    headings = re.findall(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert initlab.__version__ in headings
