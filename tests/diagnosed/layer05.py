"""Packed projections of an attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import initlab
from diagnosed.case import Case


def attention() -> tuple[nn.Module, Tensor]:
    """Have Var(w) · E at .499 instead of 1.003: pytorch#166378, pytorch#57117."""
    model = nn.Sequential(nn.Linear(16, 64), Attends(64, 4), nn.Linear(64, 8))
    initlab.initialize(model, seed=0)
    nn.init.xavier_uniform_(model[1].attention.in_proj_weight)
    return model, torch.randn(16, 12, 16)


class Attends(nn.Module):
    """PyTorch's attention of a signal to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    """A block of a language model with one projection for query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.ln2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.ln1(x)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(functional.gelu(self.up(self.ln2(x))))


class Language(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, width)
        self.blocks = nn.Sequential(*(Block(width, 4) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 50)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.tokens(tokens))))


def language() -> tuple[nn.Module, Tensor]:
    model = Language()
    initlab.initialize(model, seed=0)
    for block in model.blocks:
        nn.init.xavier_normal_(block.qkv.weight)
    return model, torch.randint(50, (8, 16))


def orthogonal() -> tuple[nn.Module, Tensor]:
    model = Language()
    initlab.initialize(model, seed=0)
    for block in model.blocks:
        nn.init.orthogonal_(block.qkv.weight)
    return model, torch.randint(50, (8, 16))


def fixed() -> tuple[nn.Module, Tensor]:
    """Take GPT-2's N(0, 0.02): one number for all, packed or not."""
    model = Language(64)
    initlab.initialize(model, seed=0)
    for block in model.blocks:
        nn.init.normal_(block.qkv.weight, std=0.02)
    return model, torch.randint(50, (8, 16))


def one_by_one() -> tuple[nn.Module, Tensor]:
    model = Language()
    initlab.initialize(model, seed=0)
    for block in model.blocks:
        for part in block.qkv.weight.data.chunk(3):
            nn.init.xavier_uniform_(part)
    return model, torch.randint(50, (8, 16))


def orthogonal_one_by_one() -> tuple[nn.Module, Tensor]:
    model = Language()
    initlab.initialize(model, seed=0)
    for block in model.blocks:
        for part in block.qkv.weight.data.chunk(3):
            nn.init.orthogonal_(part)
    return model, torch.randint(50, (8, 16))


_FOUND = frozenset({"LAYER05"})
_QKV = ("blocks.0.qkv.weight", "blocks.1.qkv.weight")

CASES: list[Case] = [
    Case("LAYER05", "attention", attention, _FOUND, ("1.attention.in_proj_weight",)),
    Case("LAYER05", "language model", language, _FOUND, _QKV),
    Case("LAYER05", "orthogonal", orthogonal, _FOUND, _QKV),
    Case("LAYER05", "one size for all", fixed),
    Case("LAYER05", "one by one", one_by_one),
    Case("LAYER05", "orthogonal one by one", orthogonal_one_by_one),
]
