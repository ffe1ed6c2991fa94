"""What a model is run on: the user's batch, or an example that fits its first layers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from initlab._base.errors import InvalidValueError

# Where a network has shrunk its images most, if nothing is known: 7 for images of 224 pixels and a
# stride of 32 in all, 4 or 8 for images of 32. It decides how many taps fall on padding.
SMALLEST_MAP, SMALLEST_IMAGE = 6, 32

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_IMAGE_SIZES = (64, 32, 28, 224, 96, 128, 48, 16, 299, 8)
_LENGTH = 16


@dataclass(frozen=True)
class Inputs:
    """Arguments of one forward pass.

    Attributes
    ----------
    args, kwargs
        What ``forward`` is called with.
    given
        True if the user gave them: their sizes and their scale are then the real ones.
    description
        For messages.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    given: bool = False
    description: str = ""

    def second_moments(self) -> Iterator[float]:
        """Yield E[x²] of each tensor, in the order of the leaves: 1 where it is not known."""
        for leaf in tree_leaves((self.args, dict(self.kwargs))):
            if isinstance(leaf, Tensor):
                yield _second_moment(leaf) if self.given else 1.0


def _second_moment(value: Tensor) -> float:
    if not value.is_floating_point() or value.layout != torch.strided or not value.numel():
        return 1.0
    mean = value.detach().double().square().mean().item()
    return mean if math.isfinite(mean) else 1.0


def given(batch: Any) -> Inputs:
    """Read a batch: a tensor, a tuple or list of arguments, or a dictionary of named ones.

    Raises
    ------
    InvalidValueError
        If there is no tensor in it.
    """
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(batch)):
        raise InvalidValueError(
            f"batch of type {type(batch).__name__} holds no tensor; accepted: a tensor, a tuple of "
            "positional arguments, or a dictionary of named ones"
        )
    if isinstance(batch, Mapping):
        return Inputs((), dict(batch), given=True, description="the batch given")
    args = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    return Inputs(args, {}, given=True, description="the batch given")


def guesses(model: nn.Module) -> Iterator[Inputs]:
    """Yield examples that the model may take, the likeliest first."""
    wanted = _required(model)
    for one in _of_one_tensor(model):
        yield one
        if len(one.args) == 1 and wanted > 1:
            more = f"{wanted} times {one.description}"
            yield Inputs(one.args * wanted, {}, description=more)


def _required(model: nn.Module) -> int:
    """Return how many positional arguments the model's forward cannot do without."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(one.kind in kinds and one.default is one.empty for one in parameters)


def _of_one_tensor(model: nn.Module) -> Iterator[Inputs]:
    yield from _of_transformers(model)
    first = _first_layer(model)
    place = _place(model)
    for shape in _shapes(first, more=first is not model):
        yield _floats(shape, place)
    if isinstance(first, nn.Bilinear):
        pair = tuple(
            torch.zeros(2, size, **place) for size in (first.in1_features, first.in2_features)
        )
        yield Inputs(pair, {}, description=f"an example of shapes {[tuple(x.shape) for x in pair]}")
    elif isinstance(first, (nn.Embedding, nn.EmbeddingBag)):
        ids = torch.zeros(2, _LENGTH, dtype=torch.long, device=place["device"])
        yield Inputs((ids,), {}, description=f"an example of token numbers {tuple(ids.shape)}")
    elif isinstance(first, nn.MultiheadAttention):
        x = torch.zeros(2, _LENGTH, first.embed_dim, **place)
        yield Inputs((x, x, x), {}, description=f"three examples of shape {tuple(x.shape)}")


def _shapes(first: nn.Module | None, *, more: bool) -> Iterator[tuple[int, ...]]:
    """Yield shapes of the one tensor that a first layer may take; ``more`` come after it or not."""
    if isinstance(first, nn.Linear):
        yield from ((2, first.in_features), (2, _LENGTH, first.in_features))
    elif isinstance(first, _CONVOLUTIONS + _TRANSPOSED):
        axes = first.weight.dim() - 2
        sizes = (8, 4, 1) if isinstance(first, _TRANSPOSED) else ()
        # A generator starts from one vector; a layer alone tells nothing of its map.
        if more and max(first.stride) == 1 and not any(first.padding):
            sizes = sizes[::-1]
        for size in (*sizes, *_IMAGE_SIZES):
            yield (2, first.in_channels, *(size,) * axes)
    elif isinstance(first, nn.RNNBase):
        yield (2, _LENGTH, first.input_size)
    elif isinstance(first, nn.RNNCellBase):
        yield from ((2, first.input_size), (2, _LENGTH, first.input_size))
    elif isinstance(first, nn.MultiheadAttention):
        yield (2, _LENGTH, first.embed_dim)


def resized(example: Inputs, factor: float) -> Inputs:
    """Scale the spatial axes of an example image."""
    x = example.args[0]
    size = [max(SMALLEST_IMAGE, round(size * factor)) for size in x.shape[2:]]
    return _floats((*x.shape[:2], *size), {"dtype": x.dtype, "device": x.device})


def _floats(shape: tuple[int, ...], place: dict[str, Any]) -> Inputs:
    return Inputs((torch.zeros(shape, **place),), {}, description=f"an example of shape {shape}")


def _place(model: nn.Module) -> dict[str, Any]:
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return {"dtype": parameter.dtype, "device": parameter.device}
    return {"dtype": torch.float32, "device": torch.device("cpu")}


def _first_layer(model: nn.Module) -> nn.Module | None:
    """Return the first registered module that says what it takes."""
    known = (
        nn.Linear,
        nn.Bilinear,
        *_CONVOLUTIONS,
        *_TRANSPOSED,
        nn.Embedding,
        nn.EmbeddingBag,
        nn.RNNBase,
        nn.RNNCellBase,
        nn.MultiheadAttention,
    )
    return next((module for module in model.modules() if isinstance(module, known)), None)


_PARTS = ("text_config", "vision_config", "encoder", "decoder", "audio_config")


def _found(config: Any, *names: str, default: int) -> int:
    """Return the first of these numbers that a configuration or a part of it has."""
    for holder in (config, *(getattr(config, part, None) for part in _PARTS)):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, (tuple, list)) and value:
                value = value[0]
            if isinstance(value, int) and value > 0:
                return value
    return default


def _of_transformers(model: nn.Module) -> Iterator[Inputs]:
    """Build inputs from the configuration that a Hugging Face model carries."""
    config = getattr(model, "config", None)
    main = getattr(model, "main_input_name", None)
    if config is None or not isinstance(main, str):
        return
    place = _place(model)
    ids = torch.ones(2, _LENGTH, dtype=torch.long, device=place["device"])
    decoder = {"decoder_input_ids": ids} if getattr(config, "is_encoder_decoder", False) else {}
    if main == "pixel_values":
        candidates = _images(config, ids, place)
    elif main in {"input_values", "input_features"}:
        candidates = _sounds(config, main, decoder, place)
    else:
        candidates = [{main: ids, **decoder}, {main: ids}]
        candidates += [one | {main: ids} for one in _images(config, ids, place)]
    for kwargs in candidates:
        yield Inputs((), kwargs, description=f"an example of {', '.join(kwargs)}")


def _images(config: Any, ids: Tensor, place: dict[str, Any]) -> list[dict[str, Any]]:
    size = _found(config, "image_size", default=0)
    channels = _found(config, "num_channels", default=3)
    pixels = [
        torch.zeros(2, channels, side, side, **place) for side in ([size] if size else (64, 224))
    ]
    frames = _found(config, "num_frames", default=8)
    videos = [torch.zeros(2, frames, *x.shape[1:], **place) for x in pixels]
    return [
        *({"pixel_values": x} for x in pixels),
        *({"pixel_values": x, "input_ids": ids} for x in pixels),
        *({"pixel_values": x} for x in videos),
    ]


def _sounds(
    config: Any, main: str, decoder: dict[str, Any], place: dict[str, Any]
) -> list[dict[str, Any]]:
    bins = _found(config, "num_mel_bins", "feature_size", "input_feat_per_channel", default=80)
    length = _found(config, "max_source_positions", "max_length", default=64)
    if main == "input_values":
        return [
            {main: torch.zeros(2, 16000, **place)},
            {main: torch.zeros(2, length, bins, **place)},
        ]
    frames = [torch.zeros(2, bins, count, **place) for count in (2 * length, length, 64)]
    return [{main: y, **decoder} for x in frames for y in (x, x.transpose(1, 2))]
