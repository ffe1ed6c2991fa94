"""No alarm on healthy architectures of transformers, as their own code starts them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from diagnosed.architectures import ARCHITECTURES, built
from initlab.diagnosis import diagnose
from initlab.diagnosis.factory import build

PAGE = (Path(__file__).parents[2] / "docs" / "diagnosis" / "architectures.md").read_text()
LISTED = dict(re.findall(r"^\| (\w+) \| ([^|]*?) \|", PAGE, re.MULTILINE))


@pytest.mark.filterwarnings("ignore")  # of transformers, about configurations this small
@pytest.mark.parametrize(
    ("name", "config", "arguments"),
    [case[:3] for case in ARCHITECTURES],
    ids=[case[0] for case in ARCHITECTURES],
)
def test_only_the_alarms_that_the_page_explains(name: str, config: str, arguments: dict[str, Any]):
    made = build(lambda: built(name, config, arguments))
    report = diagnose(made.model, making=made.making)
    assert not report.problem
    assert not report.errors, report.text()
    assert ", ".join(report.codes) == LISTED[name].replace("none", ""), report.text()
