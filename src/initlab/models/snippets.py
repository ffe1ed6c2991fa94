"""Functions that a plan's code brings along: random generator, LSUV, what writes weights."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable

from initlab.sampling import reference

PUT = '''
def put(weight: torch.Tensor, values: np.ndarray) -> None:
    """Write numbers in the order in which they were drawn."""
    weight.copy_(torch.from_numpy(values).reshape(weight.shape))
'''

CHILD = '''
def child(key: tuple[int, ...], label: int) -> tuple[int, ...]:
    """Hash the key of rows that have a stream of their own, from that of the whole weight."""
    text = b"".join(word.to_bytes(4, "little") for word in key) + f"\\x1f{label}".encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
'''

ASSIGN = '''
def assign(model: nn.Module, name: str, value: torch.Tensor) -> None:
    """Write a weight that its module computes from others."""
    holder, _, own = name.rpartition(".")
    setattr(model.get_submodule(holder), own, value)
'''

LSUV = '''
def lsuv(
    model: nn.Module, batch: Any, names: list[str], tolerance: float, steps: int, target: float
) -> None:
    """Scale each layer's weight, in execution order, until its output has this variance."""
    todo = {model.get_submodule(name.rpartition(".")[0]) for name in names}

    def rescale(layer: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        if layer not in todo:
            return output
        todo.remove(layer)
        for _ in range(steps):
            variance = float(output.float().var(correction=0))
            if not variance > 0 or abs(variance - target) < tolerance:
                break
            layer.weight.mul_((target / variance) ** 0.5)
            output = layer.forward(*args)
        return output

    hooks = [layer.register_forward_hook(rescale) for layer in list(todo)]
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        for module in model.modules():
            # As in training, where a normalisation looks at the batch; but without dropout.
            module.training = "BatchNorm" in type(module).__name__
        if isinstance(batch, dict):
            model(**batch)
        else:
            model(*(batch if isinstance(batch, (tuple, list)) else [batch]))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
        for buffer, value in buffers:
            buffer.copy_(value)
'''

# Where the names come from that the code uses, in the order in which they are imported.
_STANDARD = {
    "hashlib": "import hashlib",
    "math": "import math",
    "Callable": "from collections.abc import Callable",
    "Any": "from typing import Any",
}
_OTHER = {"np": "import numpy as np", "torch": "import torch", "nn": "from torch import nn"}
_DECIMAL = ("Context", "Decimal", "localcontext")


def generator(names: Iterable[str]) -> str:
    """Return the source of these functions of the random generator, and of what they call."""
    lines = inspect.getsource(reference).splitlines()
    sources: dict[str, str] = {}
    calls: dict[str, set[str]] = {}
    end = 0
    for node in ast.parse("\n".join(lines)).body:
        start, end = end, node.end_lineno or end
        for name in _defined(node):
            # With the comment above it.
            sources[name] = "\n".join(lines[start:end]).strip()
            calls[name] = used(ast.unparse(node))
    needed, todo = set[str](), list(names)
    while todo:
        name = todo.pop()
        if name in sources and name not in needed:
            needed.add(name)
            todo += calls[name]
    parts = dict.fromkeys(text for name, text in sources.items() if name in needed)
    constants = [text for text in parts if not text.startswith("def ")]
    functions = [text for text in parts if text.startswith("def ")]
    return "\n\n\n".join([*(["\n".join(constants)] if constants else []), *functions])


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a module defines; none for an import."""
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [name.id for one in targets for name in ast.walk(one) if isinstance(name, ast.Name)]


def used(code: str) -> set[str]:
    """Return every name that code uses."""
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def quoted(text: str) -> str:
    """Write a text in double quotes, as the usual formatter does."""
    return json.dumps(text, ensure_ascii=False)


def function(name: str, code: str) -> str:
    """Make a function of lines that make a weight ``w`` of a ``shape``."""
    lines = [line if '"' in line else line.replace("'", '"') for line in code.splitlines()]
    own = [line for line in lines if line.startswith(("import ", "from "))]
    rest = [line for line in lines if line not in own]
    body = "\n".join(f"    {line}" if line else "" for line in [*own, *[""] * bool(own), *rest])
    head = f"def {name}(shape: tuple[int, ...]) -> torch.Tensor:"
    return f'{head}\n    """Make a weight of this shape."""\n{body}\n    return w'


def imports(code: str) -> str:
    """Return the imports that code needs."""
    names = used(code)
    standard = [line for name, line in _STANDARD.items() if name in names]
    decimal = [name for name in _DECIMAL if name in names]
    if decimal:
        place = len(standard) - ("Any" in names)
        standard.insert(place, f"from decimal import {', '.join(decimal)}")
    other = [line for name, line in _OTHER.items() if name in names]
    return "\n\n".join("\n".join(block) for block in (standard, other) if block)
