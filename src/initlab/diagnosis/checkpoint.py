"""Reads a checkpoint into a model: tensors only, nothing in the file is run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from initlab._base.errors import InvalidValueError
from initlab._base.optional import require
from initlab.diagnosis.evidence import named

# Where training scripts keep the weights beside an optimizer and an epoch.
_INSIDE = ("state_dict", "model_state_dict", "model", "module", "net", "weights", "ema")
# What PyTorch says of an object that is no tensor and no number.
_REFUSED = ("Unsupported global", "Unsupported class", "GLOBAL")
_COUNTER = "num_batches_tracked"  # of a batch normalisation: no weight


@dataclass(frozen=True)
class Loaded:
    """What was read into a model.

    Attributes
    ----------
    names
        Tensors of the model that were replaced.
    notes
        What did not fit together.
    """

    names: frozenset[str]
    notes: tuple[str, ...] = ()


def load(model: nn.Module, path: str | Path) -> Loaded:
    """Replace the values of a model by those of a checkpoint.

    Parameters
    ----------
    model
        Changed in place.
    path
        A ``.safetensors`` file, or one that ``torch.save`` made of a state dictionary.

    Raises
    ------
    InvalidValueError
        If the file is not there or no checkpoint, if reading it would run code, if no name in it is
        one of the model's, or a shape differs.
    MissingPackageError
        If the file needs safetensors, and that is not installed.
    """
    file = Path(path)
    held: dict[str, Tensor] = model.state_dict()
    found, change = _matched(read(file), held)
    known = {name: value for name, value in found.items() if name in held}
    if not known:
        raise InvalidValueError(
            f"weights={file}: no tensor in it has a name of the model's: there is "
            f"{named([*found])}; the model has {named([*held])}"
        )
    _require_shapes(file, known, held)
    model.load_state_dict(known, strict=False)
    notes = [f"the names in {file.name} were read {change}"] if change else []
    return Loaded(frozenset(known), (*notes, *_differences(file.name, model, known, found)))


def read(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name; see :func:`load` for what is refused."""
    if file.is_dir():
        raise InvalidValueError(f"weights={file}: this is a folder; accepted: a checkpoint file")
    if not file.is_file():
        raise InvalidValueError(f"weights={file}: there is no such file")
    content: Any = _safe(file) if file.suffix == ".safetensors" else _pickled(file)
    tensors = _tensors(content)
    if tensors is None:
        what = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            what = f"only {named([str(key) for key in cast('Mapping[Any, Any]', content)])}"
        raise InvalidValueError(
            f"weights={file}: holds no tensors by name, but {what}; save model.state_dict()"
        )
    return tensors


def _safe(file: Path) -> Any:
    require("safetensors", "reading a .safetensors file")
    from safetensors import SafetensorError  # noqa: PLC0415 - an optional package
    from safetensors.torch import load_file  # noqa: PLC0415 - the same

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise InvalidValueError(
            f"weights={file}: cannot be read as safetensors: {_first_line(error)}"
        ) from error


def _pickled(file: Path) -> Any:
    try:
        with warnings.catch_warnings():  # about pickles that it did not write: those are refused
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(sign in str(error) for sign in _REFUSED):
            raise InvalidValueError(
                f"weights={file}: refused, as it holds more than tensors, and reading it could run "
                "code; accepted: torch.save(model.state_dict(), ...), or a .safetensors file"
            ) from error
        raise _unreadable(file, error) from error
    except Exception as error:  # a file of any other kind: there is no end to what it raises
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> InvalidValueError:
    return InvalidValueError(
        f"weights={file}: is no checkpoint of PyTorch's, or a damaged one "
        f"({type(error).__name__}: {_first_line(error)}); accepted: "
        "torch.save(model.state_dict(), ...), or a .safetensors file"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _tensors(content: Any) -> dict[str, Tensor] | None:
    """Find the state dictionary, at the top or one level below."""
    if not isinstance(content, Mapping):
        return None
    whole = cast("Mapping[Any, Any]", content)
    inside = [whole[key] for key in _INSIDE if key in whole and isinstance(whole[key], Mapping)]
    for mapping in (whole, *inside):
        found = {
            key: value
            for key, value in mapping.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
        if found:
            return found
    return None


def _matched(found: Mapping[str, Tensor], held: Iterable[str]) -> tuple[Mapping[str, Tensor], str]:
    """Take off, or put on, the first part of all names where more of them fit then.

    Wrappers put one on (``module.``, ``_orig_mod.``), and a model with a head has one that the same
    model without does not have.
    """
    known = set(held)
    best, change = found, ""
    most = sum(name in known for name in found)
    for first in dict.fromkeys(name.partition(".")[0] for name in found):
        prefix = f"{first}."
        stripped = {name.removeprefix(prefix): value for name, value in found.items()}
        fits = sum(name in known for name in stripped)
        if fits > most:
            best, most, change = stripped, fits, f"without {prefix!r}"
    for first in dict.fromkeys(name.partition(".")[0] for name in known):
        longer = {f"{first}.{name}": value for name, value in found.items()}
        fits = sum(name in known for name in longer)
        if fits > most:
            best, most, change = longer, fits, f"with {f'{first}.'!r} before them"
    return best, change


def _require_shapes(file: Path, known: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> None:
    wrong = [
        f"{name} is {tuple(value.shape)} in the file and {tuple(held[name].shape)} in the model"
        for name, value in known.items()
        if value.shape != held[name].shape
    ]
    if wrong:
        raise InvalidValueError(f"weights={file}: shapes differ: {named(wrong)}")


def _differences(
    name: str, model: nn.Module, known: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> list[str]:
    held: dict[str, Tensor] = model.state_dict()
    # A tied weight is in the file once, under one of its names.
    places = {held[one].data_ptr() for one in known if held[one].numel()}
    missing = [
        one
        for one, value in held.items()
        if one not in known and not one.endswith(_COUNTER) and value.data_ptr() not in places
    ]
    left = [one for one in found if one not in held]
    notes: list[str] = []
    if missing:
        notes.append(
            f"warning: {len(missing)} of the model's {len(held)} tensors are not in {name} and "
            f"keep what the factory gave them: {named(missing, 6)}"
        )
    if left:
        notes.append(
            f"warning: {len(left)} of the {len(found)} tensors in {name} have no place in the "
            f"model and were left out: {named(left, 6)}"
        )
    return notes
