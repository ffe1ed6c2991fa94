"""What the report of an initialisation shows."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import nn

from initlab.models import initialize, preview
from initlab.models.folding import fold, merged, without_numbers
from initlab.models.report import Summary, summarise


def transformer(layers: int = 24):
    layer = nn.TransformerEncoderLayer(16, 2, 32, norm_first=True, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def test_a_deep_transformer_fits_a_screen():
    model = transformer()
    text = str(initialize(model, "auto"))
    count = sum(parameter.numel() for parameter in model.parameters())
    lines = text.splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) < 160
    assert "layers.{0-23}.linear2.weight" in text
    assert "ends residual branch 2-48 of 48" in text
    assert f"288 parameters ({count:,} numbers) drawn from seed 0, 0 kept" in text


def test_every_parameter_has_a_line_if_asked():
    report = initialize(transformer(3), "auto")
    assert len(report.text(every=True).splitlines()) == 1 + 36 + 2


def test_layers_that_differ_are_told_apart():
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(4)))
    model[2].weight.requires_grad_(False)
    lines = str(initialize(model, rules=[("1", "orthogonal"), ("*", "he_normal")])).splitlines()
    assert lines[1].startswith("{0,3}.weight")
    assert lines[2].startswith("{0-3}.bias")
    assert lines[3].startswith("1.weight")
    assert next(line for line in lines if line.startswith("2.weight")).endswith("frozen")


def test_pooled_numbers_are_those_of_all_the_entries():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[1].weight.normal_(3.0, 2.0)
    every = torch.cat([model[0].weight.flatten(), model[1].weight.flatten()])
    # One line only if both were alike before: a constant one was not.
    text = preview(model, "he_normal").preview().text()
    assert "{0-1}.weight" not in text
    with torch.no_grad():
        model[0].weight.normal_(-3.0, 1.0)
    every = torch.cat([model[0].weight.flatten(), model[1].weight.flatten()])
    told = str(Summary(every.mean().item(), every.std(correction=0).item()))
    assert told.split("±")[1] in preview(model, "he_normal").preview().text()


def test_a_table_and_strict_json_hold_every_parameter():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[0].weight.requires_grad_(False)
    with torch.no_grad():
        model[1].weight.fill_(torch.inf)
    report = initialize(model, "he_normal", overwrite_pretrained=True)
    frame = report.to_dataframe()
    assert list(frame["parameter"]) == ["0.bias", "1.weight", "1.bias", "0.weight"]
    assert frame["reason"].iloc[-1] == "kept: frozen"
    assert frame["std_after"].iloc[1] == pytest.approx(0.5, rel=0.5)

    def refuse(text: str) -> Any:
        raise AssertionError(text)

    record = json.loads(report.to_json(), parse_constant=refuse)
    assert record["seed"] == 0
    assert record["changes"][1]["name"] == "1.weight"
    assert record["changes"][1]["before"]["mean"] == "inf"
    assert record["changes"][1]["after"]["std"] == pytest.approx(report.changes[1].after.std)
    assert record["kept"] == [{"name": "0.weight", "reason": "frozen"}]
    empty = initialize(nn.ReLU(), "he_normal")
    assert empty.to_dataframe().empty
    assert json.loads(empty.to_json())["changes"] == []


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag: str, attrs: Any):  # noqa: ARG002 - the base class names it
        self.open.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag

    def handle_data(self, data: str):
        if self.open[-1:] == ["td"]:
            self.cells.append(data)


def test_a_notebook_shows_a_table_and_escapes_names():
    model = nn.Module()
    model.add_module("a<b>", nn.Linear(4, 4))
    for shown in (preview(model, "he_normal"), initialize(model, "he_normal", keep="*bias")):
        parser = Tags()
        parser.feed(shown._repr_html_())
        assert parser.open == []
        assert "a<b>.weight" in parser.cells


def test_large_parameters_are_summarised_by_a_sample_that_sees_all_columns():
    torch.manual_seed(0)
    value = torch.randn(3000, 1024) * torch.linspace(0.1, 2, 1024) + 0.5
    found = summarise(value)
    assert found.std == pytest.approx(value.std().item(), rel=0.01)
    assert found.mean == pytest.approx(value.mean().item(), abs=0.015)
    constant = summarise(torch.full((3000, 1024), 0.1))
    assert constant.std == 0
    assert str(constant) == "0.1"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_is_summed_in_single(dtype: torch.dtype):
    value = torch.full((70000,), 2.0, dtype=dtype)
    value[::2] = 0
    assert summarise(value) == pytest.approx((1.0, 1.0), rel=1e-3)


def test_names_fold_by_their_numbers():
    names = [f"stages.{i}.blocks.{j}.weight" for i in range(2) for j in (0, 1, 3)]
    assert [str(one) for one in fold(names)] == ["stages.{0-1}.blocks.{0-1,3}.weight"]
    assert sorted(fold(names)[0].all()) == sorted(names)
    ragged = ["a.0.w", "a.1.w", "b.0.w", "w", "a.01.w"]
    folded = fold(ragged)
    assert [str(one) for one in folded] == ["a.{0-1}.w", "b.0.w", "w", "a.01.w"]
    assert sorted(name for one in folded for name in one.all()) == sorted(ragged)


def test_reasons_merge_by_their_numbers():
    reasons = ["reads E[x²] = 0.34, branch 10 of 12", "reads E[x²] = 0.5, branch 9 of 12"]
    assert len({without_numbers(reason) for reason in reasons}) == 1
    assert merged(reasons) == "reads E[x²] = 0.34-0.5, branch 9-10 of 12"


def test_a_report_begins_with_what_there_is_and_counts_in_singular():
    assert str(initialize(nn.ReLU())).splitlines()[-1].startswith("0 parameters (0 numbers) drawn")
    kept = str(initialize(nn.Linear(2, 2), keep="*"))
    assert kept.startswith("kept")
    assert kept.endswith("\n\n0 parameters (0 numbers) drawn from seed 0, 2 kept")
    assert not str(initialize(nn.Module())).startswith("\n")
    one = str(initialize(nn.Linear(1, 1, bias=False), "he_normal"))
    assert one.endswith("\n\n1 parameter (1 number) drawn from seed 0, 0 kept")
