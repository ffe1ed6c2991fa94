"""Records on their way out: strict JSON, and files that are whole or absent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from initlab._base.errors import OutputError


def to_plain(value: Any) -> Any:
    """Turn records and arrays into dictionaries, lists and numbers that strict JSON can hold.

    Non-finite numbers become the strings ``"inf"``, ``"-inf"`` and ``"nan"``.
    """
    plain = value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        plain = {str(key): to_plain(item) for key, item in value.items()}
    elif isinstance(value, (np.ndarray, np.generic)):
        plain = to_plain(value.tolist())
    elif isinstance(value, (list, tuple)):
        plain = [to_plain(item) for item in value]
    elif isinstance(value, float) and not math.isfinite(value):
        plain = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return plain


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write a record as one strict JSON document."""
    return json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False, indent=indent)


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name beside its target, then rename it into place.

    Raises
    ------
    OutputError
        If the folder cannot be written to; nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:  # also after Ctrl-C; there is nothing to remove where all went well
        with contextlib.suppress(OSError):
            temporary.unlink()
