"""Runs a model with its gradients, as in training, and leaves it and all random states as found."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from initlab.models.data_driven.state import adapted
from initlab.models.trace import as_found, silenced


@contextlib.contextmanager
def untouched(model: nn.Module, seed: int) -> Generator[None]:
    """Run what stands in the ``with`` statement; afterwards all is as it was.

    Normalisations look at the batch, as in training; nothing is dropped. Random numbers that the
    model draws follow from the seed. What is compiled runs as it was written.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(random_states(seed))
        stack.enter_context(as_found(model))
        stack.enter_context(adapted(model, {}, seed))
        stack.enter_context(_memory(model))
        stack.enter_context(_checkpoints())
        stack.enter_context(silenced())
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_eager())
        yield


@contextlib.contextmanager
def random_states(seed: int) -> Generator[None]:
    """Seed the generators of Python and NumPy, as others do PyTorch's, and put them back."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's code may use it
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the same
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the same


@contextlib.contextmanager
def _memory(model: nn.Module) -> Generator[None]:
    """Put gradients aside, and let each tensor have its own memory back, should it get another."""
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    tensors = [*model.parameters(), *model.buffers()]
    held = [
        (value, value.data)
        for value in tensors
        if type(value.data) is Tensor and value.layout == torch.strided
    ]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for value, data in held:
            if not value.is_set_to(data):
                value.data = data
        for parameter, gradient in gradients:
            parameter.grad = gradient


@contextlib.contextmanager
def _checkpoints() -> Generator[None]:
    """Run activation checkpoints of the older kind as the newer one.

    The older one cannot tell gradients without writing them to the parameters.
    """

    def apply(function: Any, preserve: bool, *args: Any) -> Any:  # noqa: FBT001 - PyTorch's own
        return checkpoint.checkpoint(
            function, *args, use_reentrant=False, preserve_rng_state=preserve
        )

    older: Any = checkpoint.CheckpointFunction
    older.apply = apply
    try:
        yield
    finally:
        del older.apply  # which it then has from its base class again


@contextlib.contextmanager
def _eager() -> Generator[None]:
    stance = getattr(torch.compiler, "set_stance", None)  # since 2.6
    # Nothing is compiled where the compiler is not loaded; loading it takes seconds.
    loaded = stance is not None and "torch._dynamo" in sys.modules
    with stance("force_eager") if stance is not None and loaded else contextlib.nullcontext():
        yield
