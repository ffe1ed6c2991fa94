"""Small networks that several cases are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def mlp(
    depth: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    *,
    width: int = 64,
    inputs: int = 20,
    outputs: int = 10,
) -> nn.Sequential:
    """Return ``depth`` hidden layers, each with an activation, and an output layer."""
    layers: list[nn.Module] = [nn.Linear(inputs, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def weights(model: nn.Module) -> Iterable[nn.Module]:
    """Yield the layers that have a weight of two axes or more."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield module


def drawn(model: nn.Module, *, gain: float = 1.0, std: float = 0.0, bias: float = 0.0) -> nn.Module:
    """Draw all weights with variance gain / fan_in, or one std; and biases with a variance."""
    for layer in weights(model):
        weight, shift = layer.get_parameter("weight"), layer.get_parameter("bias")
        nn.init.normal_(weight, std=std or math.sqrt(gain / weight[0].numel()))
        nn.init.normal_(shift, std=math.sqrt(bias)) if bias else nn.init.zeros_(shift)
    return model


class Residual(nn.Module):
    """A branch of two layers, added to what it reads; with a normalisation first, if wanted."""

    def __init__(self, width: int, *, normalised: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normalised else nn.Identity()
        self.expand = nn.Linear(width, 2 * width)
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(torch.relu(self.expand(self.norm(x))))


class Attention(nn.Module):
    """Self-attention with a packed projection, written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(x).chunk(3, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(nn.functional.gelu(self.c_fc(self.ln_2(x))))


class LanguageModel(nn.Module):
    """A small GPT: std .02 everywhere, the ends of branches scaled by 1/√(branches)."""

    def __init__(self, width: int = 64, blocks: int = 4, tokens: int = 100) -> None:
        super().__init__()
        self.wte = nn.Embedding(tokens, width)
        self.wpe = nn.Embedding(32, width)
        self.h = nn.ModuleList(Block(width, 4) for _ in range(blocks))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, tokens, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() > 1:
                scaled = 1 / math.sqrt(2 * blocks) if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(parameter, std=0.02 * scaled)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.wte(tokens) + self.wpe(places)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))
