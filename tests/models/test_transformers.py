"""``"auto"`` on architectures of Hugging Face transformers, of small random configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from diagnosed.architectures import ARCHITECTURES as CASES
from diagnosed.architectures import GROUPED, TEXT, built
from initlab.models import inputs
from initlab.models.plan import make


@pytest.mark.filterwarnings("ignore")  # of transformers, about configurations this small
@pytest.mark.parametrize(
    ("name", "config", "arguments", "streams", "attending"), CASES, ids=[case[0] for case in CASES]
)
def test_auto_on_an_architecture(
    name: str, config: str, arguments: dict[str, Any], streams: list[int], attending: int
):
    model = built(name, config, arguments)
    plan = make(model, "auto", seed=0, overwrite_pretrained=True)
    facts = plan.facts
    plan.apply()
    assert facts.traced
    assert sorted({b.stream: b.count for b in facts.branches}.values()) == sorted(streams)
    assert sum(fact.attention is not None for fact in facts.parameters.values()) == attending
    example = next(inputs.guesses(model))
    kwargs = {
        key: torch.randn(x.shape) if x.is_floating_point() else torch.randint(2, 90, x.shape)
        for key, x in example.kwargs.items()
    }
    if name == "CLIPModel":
        kwargs = {"input_ids": kwargs["input_ids"], "pixel_values": torch.randn(2, 3, 32, 32)}
    with torch.no_grad():
        output = model.eval()(**kwargs)
    # CLIP's embeddings have norm 1.
    logits = output.logits if hasattr(output, "logits") else output.text_embeds * 512**0.5
    assert bool(torch.isfinite(logits).all())
    assert 0.1 < float(logits.std()) < 10


@pytest.mark.filterwarnings("ignore")
def test_packed_heads_are_cut_as_the_architecture_cuts_them():
    facts = make(built("GPTNeoXForCausalLM", "GPTNeoXConfig", TEXT), "auto").facts
    (packed,) = (
        fact for name, fact in facts.parameters.items() if "0.attention.query_key_value.w" in name
    )
    # Head by head: 8 rows of each of its three parts.
    assert [part.label for part in packed.parts] == ["query", "key", "value"] * 4
    assert {part.stop - part.start for part in packed.parts} == {8}
    assert {part.fans.fan_out for part in packed.parts if part.fans} == {32}


@pytest.mark.filterwarnings("ignore")
def test_scales_kept_as_their_distance_from_one_start_at_zero():
    model = built("GemmaForCausalLM", "GemmaConfig", GROUPED | {"head_dim": 8})
    make(model, "auto", overwrite_pretrained=True).apply()
    assert torch.equal(model.model.norm.weight, torch.zeros(32))
