"""Tables of std 1 that give logits of std √width; the same tables where they do not.

An embedding N(0, 1) tied to the head starts at a loss of 58 against ln V = 8.5:
transformers#26441, t5x#1477, pytorch#3121.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import initlab
from diagnosed.blocks import Block
from diagnosed.case import Case

TOKENS, WIDTH = 512, 64


class Tied(nn.Module):
    """An embedding that is the head as well, with a normalisation in between."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)
        initlab.initialize(self.mix, "auto", seed=0)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.mix(self.embed(tokens))) * self.scale)


def words() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(TOKENS, (8, 32))
    return tokens, tokens.roll(-1, 1)


def tied() -> tuple[nn.Module, Tensor, Tensor]:
    return Tied(), *words()


def tied_without_targets() -> tuple[nn.Module, Tensor]:
    return Tied(), words()[0]


class Gpt(nn.Module):
    """Blocks between a table and itself: the head is no module of its own."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(TOKENS, WIDTH), nn.Embedding(32, WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, 4) for _ in range(3))
        self.ln_f = nn.LayerNorm(WIDTH)
        initlab.initialize(self, "auto", seed=0)
        nn.init.normal_(self.wte.weight, std=std)
        nn.init.normal_(self.wpe.weight, std=std)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.ln_f(x), self.wte.weight)


def gpt() -> tuple[nn.Module, Tensor, Tensor]:
    return Gpt(1.0), *words()


def right_gpt() -> tuple[nn.Module, Tensor, Tensor]:
    return Gpt(WIDTH**-0.5), *words()


class Untied(nn.Module):
    """A table of std 1 that only starts the stream, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, 4) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def untied() -> tuple[nn.Module, Tensor, Tensor]:
    model = Untied()
    initlab.initialize(model, "auto", seed=0)
    nn.init.normal_(model.embed.weight)
    return model, *words()


def wide_head() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a head of its own, drawn like the table."""
    model, tokens, targets = untied()
    nn.init.normal_(model.get_parameter("head.weight"))
    return model, tokens, targets


def scaled() -> tuple[nn.Module, Tensor, Tensor]:
    """T5: a table of std 1, tied, and a factor of width^(-1/2) before the head."""
    return Tied(WIDTH**-0.5), *words()


FOUND = frozenset({"OUT03"})

CASES = [
    Case("OUT03", "tied", tied, FOUND, ("embed.weight",)),
    Case("OUT03", "tied without targets", tied_without_targets, FOUND, ("embed.weight",)),
    Case("OUT03", "gpt", gpt, FOUND, ("wte.weight",)),
    Case("OUT03", "untied head of std 1", wide_head, FOUND, ("head.weight",)),
    Case("OUT03", "gpt of std 1 over root of width", right_gpt),
    Case("OUT03", "table of std 1 that is not the head", untied),
    Case("OUT03", "tied and scaled", scaled),
]
