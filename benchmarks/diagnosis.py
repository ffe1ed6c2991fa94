"""Time and memory of a diagnosis, against one plain forward and backward pass.

The model is a transformer of 12 layers and 768 features, as GPT-2 has them, with random weights, on
8 sequences of 256 tokens. Beside it: hooks written by hand, which reduce the output of each module
and its gradient to a mean and a mean square, and TorchLens, which logs every operation; where it is
not installed, the table says so.

Time is taken in turns. Memory is the peak of a process that does nothing else, as the system counts
it, imports included.
"""

from __future__ import annotations

import importlib
import importlib.util
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import _common  # before what follows: it limits their threads
import torch
from torch import Tensor, nn
from torch.nn import functional

from initlab.diagnosis import diagnose

LIMITS = {"time": 1.5, "memory": 1.1}
"""What a diagnosis may take, in plain passes."""
LAYERS, WIDTH, HEADS, WORDS = 12, 768, 12, 50257
SEQUENCES, TOKENS = 8, 256


class Block(nn.Module):
    """Attention, then two layers, each added to the stream behind a normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add both branches."""
        batch, length, width = x.shape
        packed = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """A language model; the head is the table of tokens."""

    def __init__(self, layers: int, width: int, heads: int, words: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(words, width), nn.Embedding(TOKENS, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Score each word at each place."""
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def subject(*, quick: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the model, its inputs and its targets."""
    torch.manual_seed(0)
    if quick:
        model, words, shape = Transformer(3, 96, 4, 500), 500, (4, 64)
    else:
        model, words, shape = Transformer(LAYERS, WIDTH, HEADS, WORDS), WORDS, (SEQUENCES, TOKENS)
    tokens = torch.randint(words, (shape[0], shape[1] + 1))
    return model, tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def plain(model: nn.Module, tokens: Tensor, targets: Tensor) -> float:
    """Run forth and back once."""
    loss = functional.cross_entropy(model(tokens).movedim(-1, 1), targets)
    loss.backward()
    model.zero_grad(set_to_none=True)
    return float(loss.detach())


def by_hand(model: nn.Module, tokens: Tensor, targets: Tensor) -> float:
    """Run with a hook on each module, and one on the gradient of its output."""
    seen: dict[str, list[float]] = {}

    def hook(name: str) -> Callable[..., None]:
        def reduce(value: Tensor) -> None:
            found = (float(value.mean()), float(value.square().mean()))
            seen.setdefault(name, []).extend(found)

        def look(_module: nn.Module, _args: Any, output: Tensor) -> None:
            reduce(output.detach())
            output.register_hook(reduce)

        return look

    modules = [(name, one) for name, one in model.named_modules() if not [*one.children()]]
    handles = [module.register_forward_hook(hook(name)) for name, module in modules]
    try:
        return plain(model, tokens, targets)
    finally:
        for handle in handles:
            handle.remove()


def diagnosed(model: nn.Module, tokens: Tensor, targets: Tensor) -> float:
    """Diagnose the model."""
    loss = diagnose(model, tokens, targets).loss
    assert loss is not None
    return loss


def torchlens(model: nn.Module, tokens: Tensor, targets: Tensor) -> float:
    """Log the forward pass with TorchLens; it saves nothing but what it tells of each operation."""
    lens: Any = importlib.import_module("torchlens")  # may be missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lens.trace(model, tokens, save=lambda _context: False)
    return plain(model, tokens, targets)


ALTERNATIVES: dict[str, Callable[[nn.Module, Tensor, Tensor], float]] = {
    "a plain pass": plain,
    "initlab.diagnose": diagnosed,
    "hooks by hand": by_hand,
    "TorchLens, and a plain pass": torchlens,
}


def peak(name: str, *, quick: bool) -> float:
    """Return the MB that a process of its own takes at most for one of the alternatives."""
    command = [sys.executable, __file__, "--memory", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this script
    return float(done.stdout.split()[-1])


def own_peak(name: str, *, quick: bool) -> None:
    """Print the peak of this process."""
    model, tokens, targets = subject(quick=quick)
    _common.pin(1)
    ALTERNATIVES[name](model, tokens, targets)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure, and print one table."""
    args = _common.arguments(__doc__)
    _common.pin(1)
    there = importlib.util.find_spec("torchlens") is not None
    names = [name for name in ALTERNATIVES if there or not name.startswith("TorchLens")]
    memory = {name: peak(name, quick=args.quick) for name in names}
    model, tokens, targets = subject(quick=args.quick)

    def run(name: str) -> Callable[[], float]:
        return lambda: ALTERNATIVES[name](model, tokens, targets)

    losses = {name: run(name)() for name in names}
    for name, loss in losses.items():
        assert abs(loss - losses["a plain pass"]) < 1e-4, (name, loss)
    times = _common.take_turns({name: run(name) for name in names}, 1 if args.quick else 3)
    base, least = times["a plain pass"].best, memory["a plain pass"]
    rows = [
        [
            name,
            f"{times[name].best:.2f}",
            f"{times[name].median:.2f}",
            f"{times[name].best / base:.2f}",
            f"{memory[name]:.0f}",
            f"{memory[name] / least:.2f}",
        ]
        for name in names
    ]
    limits = f"asked: time <= {LIMITS['time']}, memory <= {LIMITS['memory']}"
    columns = ("", "s, best", "median", "÷ plain", "MB, peak", "÷ plain")
    _common.show(
        f"One diagnosis, against a plain forward and backward pass ({limits})", columns, rows
    )
    if not there:
        print("TorchLens is not installed (pip install torchlens): left out")


if __name__ == "__main__":
    if "--memory" in sys.argv:
        own_peak(sys.argv[sys.argv.index("--memory") + 1], quick="--quick" in sys.argv)
    else:
        main()
