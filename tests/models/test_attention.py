"""Which weights make queries, keys, values and outputs, and how packed ones are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab.models.facts import ModelFacts
from initlab.models.walk import walk


class Written(nn.Module):
    """A model whose forward pass is the function it is given."""

    def __init__(self, run: Callable[..., Any], **held: Any) -> None:
        super().__init__()
        for name, value in held.items():
            setattr(self, name, value)
        self.run = run

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def facts_of(model: nn.Module, batch: Any = None) -> ModelFacts:
    return walk(model, batch).facts


def attended(model: nn.Module, batch: Any) -> dict[str, tuple[tuple[str, ...], list[int]]]:
    return {
        name: (fact.attention.roles, [part.stop - part.start for part in fact.parts])
        for name, fact in facts_of(model, batch).parameters.items()
        if fact.attention is not None
    }


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_packed(*, batch_first: bool, need_weights: bool):
    model = Written(
        lambda m, x: m.a(x, x, x, need_weights=need_weights),
        a=nn.MultiheadAttention(8, 2, batch_first=batch_first),
    )
    x = torch.randn(2, 5, 8)
    assert attended(model, x) == {
        "a.in_proj_weight": (("query", "key", "value"), [8, 8, 8]),
        "a.out_proj.weight": (("output",), [8]),
    }
    facts = facts_of(model, x).parameters
    assert facts["a.in_proj_weight"].attention.heads == 2
    # The attention's own weights are returned as well: that makes its projections no output layer.
    assert not facts["a.in_proj_weight"].output
    assert facts["a.out_proj.weight"].output


def test_multihead_attention_with_separate_projections():
    model = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
    batch = (torch.randn(2, 5, 8), torch.randn(2, 7, 6), torch.randn(2, 7, 4))
    assert attended(model, batch) == {
        "q_proj_weight": (("query",), [8]),
        "k_proj_weight": (("key",), [8]),
        "v_proj_weight": (("value",), [8]),
        "out_proj.weight": (("output",), [8]),
    }


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    logits = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    mask = torch.tril(torch.ones(logits.shape[-2:])) == 0
    return logits.masked_fill(mask, float("-inf")).softmax(-1) @ v


def heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def chunked(m: Any, x: Tensor, attention: Any) -> Tensor:
    q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
    return m.o(attention(q, k, v).transpose(1, 2).flatten(2))


def part_axis_first(m: Any, x: Tensor, attention: Any) -> Tensor:
    q, k, v = m.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    return m.o(attention(q, k, v).transpose(1, 2).flatten(2))


def head_by_head(m: Any, x: Tensor, attention: Any) -> Tensor:
    q, k, v = m.qkv(x).unflatten(-1, (2, 12)).transpose(1, 2).chunk(3, -1)
    return m.o(attention(q, k, v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("attention", [by_hand, functional.scaled_dot_product_attention])
@pytest.mark.parametrize(
    ("run", "roles", "rows"),
    [
        (chunked, ("query", "key", "value"), [8, 8, 8]),
        (part_axis_first, ("query", "key", "value"), [8, 8, 8]),
        (head_by_head, ("query", "key", "value") * 2, [4] * 6),
    ],
)
def test_a_packed_projection_is_cut_as_the_model_cuts_it(
    run: Any, roles: tuple[str, ...], rows: list[int], attention: Any
):
    model = Written(lambda m, x: run(m, x, attention), qkv=nn.Linear(8, 24), o=nn.Linear(8, 8))
    x = torch.randn(2, 5, 8)
    assert attended(model, x) == {
        "qkv.weight": (roles, rows),
        "o.weight": (("output",), [8]),
    }
    facts = facts_of(model, x).parameters
    assert {(p.fans.fan_in, p.fans.fan_out) for p in facts["qkv.weight"].parts} == {(8, 8)}
    assert facts["qkv.weight"].attention.heads == 2


def test_grouped_queries_packed_in_unequal_parts():
    def run(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).split([8, 4, 4], -1)
        q, k, v = heads(q, 4), heads(k, 2), heads(v, 2)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return m.o(y.transpose(1, 2).flatten(2))

    model = Written(run, qkv=nn.Linear(8, 16), o=nn.Linear(8, 8))
    fact = facts_of(model, torch.randn(2, 5, 8)).parameters["qkv.weight"]
    assert [(p.label, p.start, p.stop, p.fans.fan_out) for p in fact.parts] == [
        ("query", 0, 8, 8),
        ("key", 8, 12, 4),
        ("value", 12, 16, 4),
    ]


def test_rotated_queries_and_keys_keep_their_roles():
    def turned(x: Tensor) -> Tensor:
        left, right = x.chunk(2, -1)
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None]
        return x * angle.cos() + torch.cat((-right, left), -1) * angle.sin()

    def run(m: Any, x: Tensor) -> Tensor:
        q, k, v = (heads(part, 2) for part in m.qkv(x).chunk(3, -1))
        return m.o(by_hand(turned(q), turned(k), v).transpose(1, 2).flatten(2))

    model = Written(run, qkv=nn.Linear(8, 24), o=nn.Linear(8, 8))
    found = attended(model, torch.randn(2, 5, 8))
    assert found["qkv.weight"] == (("query", "key", "value"), [8, 8, 8])
