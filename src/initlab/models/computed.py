"""Weights that a module computes from other parameters: parametrisations, weight norm, pruning."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlab._base.errors import InvalidValueError

# How far a parametrised weight may be from the one written, relative to its size.
_EXACT = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}

# A spectral norm estimates the norm of its weight by a step of the power method a forward pass; of
# a weight that is new to it, the estimate is many times too small at first.
_POWER_STEPS = 30


def shown(name: str, modules: Mapping[str, nn.Module]) -> str | None:
    """Return the name of the tensor that this parameter is a source of; None if it stands alone."""
    holder, _, own = name.rpartition(".")
    if isinstance(modules[holder], parametrize.ParametrizationList):
        owner, _, tensor = holder.rpartition(".parametrizations.")
        if not owner and holder.startswith("parametrizations."):
            return holder.removeprefix("parametrizations.")
        return f"{owner}.{tensor}"
    module = modules[holder]
    for suffix in ("_g", "_v", "_orig"):
        base = own.removesuffix(suffix)
        if own.endswith(suffix) and isinstance(getattr(module, base, None), Tensor):
            hooked = base not in dict(module.named_parameters(recurse=False))
            if hooked:
                return f"{holder}.{base}".lstrip(".")
    return None


def value(name: str, modules: Mapping[str, nn.Module]) -> Tensor:
    """Compute the tensor as its module does in evaluation: a spectral norm takes no step."""
    holder, _, own = name.rpartition(".")
    module = modules[holder]
    with _mode(_parts(module, own), training=False), torch.no_grad():
        return cast("Tensor", getattr(module, own))


def write(name: str, new: Tensor, modules: Mapping[str, nn.Module]) -> str:
    """Change the sources so that the tensor becomes ``new``; returns a note, if there is one.

    Raises
    ------
    InvalidValueError
        If the sources cannot be told from the tensor. They may have changed by then;
        :func:`saved` puts them back.
    """
    holder, _, own = name.rpartition(".")
    module = modules[holder]
    with torch.no_grad():
        note = _write(name, module, own, new, modules)
    if not bool(torch.isfinite(value(name, modules)).all()):
        raise InvalidValueError(
            f"parameter {name!r} is computed by its module, which makes nan of these values; "
            f"accepted: keep={name!r}, or initialise before parametrising"
        )
    return note


def saved(name: str, modules: Mapping[str, nn.Module]) -> Callable[[], None]:
    """Remember all that :func:`write` may change; returns what puts it back."""
    holder, _, own = name.rpartition(".")
    module = modules[holder]
    plain = module.__dict__.get(own)  # where a hook leaves what it computed
    tensors = [
        (tensor, tensor.data, tensor.detach().clone())
        for part in _parts(module, own)
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False))
    ]

    def restore() -> None:
        for tensor, storage, old in tensors:
            storage.copy_(old)
            tensor.data = storage
        if plain is not None:
            module.__dict__[own] = plain

    return restore


def _parts(module: nn.Module, own: str) -> list[nn.Module]:
    """Return the modules that compute a tensor: its parametrisations, or the module itself."""
    if parametrize.is_parametrized(module, own):
        return list(_parametrization(module, own).modules())
    return [module]


def _parametrization(module: nn.Module, own: str) -> parametrize.ParametrizationList:
    return cast("parametrize.ParametrizationList", getattr(module.parametrizations, own))


@contextmanager
def _mode(parts: list[nn.Module], *, training: bool) -> Generator[None]:
    before = [part.training for part in parts]
    for part in parts:
        part.training = training
    try:
        yield
    finally:
        for part, mode in zip(parts, before, strict=True):
            part.training = mode


def _write(
    name: str, module: nn.Module, own: str, new: Tensor, modules: Mapping[str, nn.Module]
) -> str:
    if parametrize.is_parametrized(module, own):
        return _write_parametrized(name, module, own, new, modules)
    # A hook computes the tensor before each forward pass; it does so here too, for who looks at it.
    hook = _hook(module, own)
    if isinstance(hook, WeightNorm):
        getattr(module, f"{own}_v").copy_(new)
        getattr(module, f"{own}_g").copy_(torch.norm_except_dim(new, 2, hook.dim))
        setattr(module, own, hook.compute_weight(module))
        return ""
    original = getattr(module, f"{own}_orig")
    original.copy_(new)
    if isinstance(hook, SpectralNorm):
        for _ in range(_POWER_STEPS):
            setattr(module, own, hook.compute_weight(module, do_power_iteration=True))
        return "what is used is divided by its spectral norm"
    mask = getattr(module, f"{own}_mask", None)
    if mask is None:
        raise InvalidValueError(
            f"parameter {name!r} is computed by a hook that is not known; accepted: keep={name!r}, "
            "or initialise before adding the hook"
        )
    setattr(module, own, mask * original)
    return "pruned entries stay 0"


def _hook(module: nn.Module, own: str) -> WeightNorm | SpectralNorm | None:
    """Return the norm that computes a tensor before each forward pass."""
    hooks: Mapping[int, Any] = vars(module)["_forward_pre_hooks"]  # it has no public reader
    for hook in hooks.values():
        if isinstance(hook, (WeightNorm, SpectralNorm)) and hook.name == own:
            return hook
    return None


def _write_parametrized(
    name: str, module: nn.Module, own: str, new: Tensor, modules: Mapping[str, nn.Module]
) -> str:
    parametrization = _parametrization(module, own)
    kinds = ", ".join(type(part).__name__ for part in parametrization)
    storages = [(each, each.data) for each in parametrization.parameters(recurse=False)]
    try:
        setattr(module, own, new)
    except Exception as error:
        raise InvalidValueError(
            f"parameter {name!r} is computed by {kinds}, which cannot be inverted "
            f"({type(error).__name__}); accepted: keep={name!r}, or initialise before parametrising"
        ) from error
    for parameter, storage in storages:  # the assignment moved them to memory of their own
        if storage.shape == parameter.shape and storage.dtype == parameter.dtype:
            storage.copy_(parameter)
            parameter.data = storage
    if any("SpectralNorm" in type(part).__name__ for part in parametrization):
        with _mode(_parts(module, own), training=True):
            for _ in range(_POWER_STEPS):
                getattr(module, own)
        return "what is used is divided by its spectral norm"
    now = value(name, modules).double()
    size = float(new.double().norm()) or 1.0
    if float((now - new.double()).norm()) <= _EXACT.get(new.dtype, 5e-2) * size:
        return ""
    return f"what is used is what {kinds} makes of it"
