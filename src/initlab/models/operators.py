"""The operators of PyTorch by family: what each is called, and which take part in what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Named after the operators of torch.ops.aten, without overload; in-place ones without underscore.


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CUTS = _names(
    "slice select narrow split split_with_sizes chunk unbind unsafe_split unsafe_chunk "
    "unsafe_split_with_sizes narrow_copy"
)

TRANSPOSES = frozenset({"t", "transpose", "permute", "numpy_T", "mT", "swapaxes"})

SHAPES = (
    TRANSPOSES
    | CUTS
    | _names(
        "view _unsafe_view reshape _reshape_alias expand unsqueeze squeeze clone "
        "contiguous _to_copy to detach alias lift_fresh as_strided roll flip gather index "
        "index_select repeat unfold im2col pixel_shuffle pixel_unshuffle channel_shuffle "
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d flatten movedim take_along_dim "
        "masked_select diagonal tril triu native_dropout dropout rot90 repeat_interleave copy "
        "index_put scatter slice_scatter select_scatter sort argsort "
        "_unsafe_index native_channel_shuffle reflection_pad1d reflection_pad2d reflection_pad3d "
        "replication_pad1d replication_pad2d replication_pad3d view_as_complex view_as_real "
        "_efficientzerotensor new_empty_strided resolve_conj _conj"
    )
)

NORMS = _names(
    "native_layer_norm native_batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _native_batch_norm_legit_functional "
    "cudnn_batch_norm miopen_batch_norm native_group_norm "
    "_fused_rms_norm layer_norm batch_norm group_norm instance_norm rms_norm"
)
WHERE_SCALE_STANDS = {"native_layer_norm": 2, "layer_norm": 2, "_fused_rms_norm": 2, "rms_norm": 2}

MEANS = frozenset({"mean", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d"})
INTERPOLATIONS = _names(
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa"
)
AVERAGE_POOLS = frozenset({"avg_pool1d", "avg_pool2d", "avg_pool3d"})
MAXIMA = _names(
    "max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d adaptive_max_pool3d "
    "amax max max_pool1d max_pool2d max_pool3d _adaptive_max_pool1d"
)
SOFTMAXES = frozenset({"_softmax", "softmax", "_safe_softmax", "_log_softmax", "log_softmax"})

EMBEDDINGS = frozenset({"embedding", "_embedding_bag", "_embedding_bag_forward_only"})
PRODUCTS = frozenset({"mm", "bmm", "matmul", "mv", "dot"})
SUMMED_PRODUCTS = frozenset({"addmm", "baddbmm", "addmv", "addbmm"})

SCATTERED_SUMS = frozenset({"index_add", "scatter_add"})

COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})

IGNORED = _names(
    "device sym_size size dim is_complex is_floating_point _local_scalar_dense item equal "
    "is_same_size _assert_async _assert_scalar _assert_tensor_metadata stride layout numel "
    "logical_not logical_and logical_or argmax argmin isnan isinf isfinite "
    "all any zeros zeros_like ones_like full_like empty_like new_zeros new_ones new_empty "
    "new_full rand_like randn_like bernoulli nonzero arange"
)

ATTENTIONS = _names(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_attention_math "
    "_scaled_dot_product_cudnn_attention scaled_dot_product_attention "
    "_scaled_dot_product_fused_attention_overrideable"
)

FIRST_OUTPUT_ONLY = (
    NORMS
    | MAXIMA
    | ATTENTIONS
    | EMBEDDINGS
    | frozenset({"native_dropout", "sort", "topk", "log_sigmoid_forward"})
)

# Pointwise ones that the installed version of PyTorch may not have marked as such.
POINTWISE = _names(
    "_prelu_kernel relu relu6 hardtanh leaky_relu elu celu selu gelu silu mish softplus hardswish "
    "hardsigmoid sigmoid tanh rrelu log_sigmoid_forward threshold hardshrink softshrink "
    "masked_fill add sub mul div rsub pow rsqrt sqrt exp log sin cos erf where maximum "
    "minimum clamp abs neg square addcmul addcdiv rrelu_with_noise lerp"
)


def name_of(func: Any) -> str:
    """Return the bare name of an operator: ``relu`` for ``aten.relu_.default``."""
    name = str(func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else func)
    return name.rstrip("_") if not name.startswith("__") else name


def functional(func: Any) -> Callable[..., Any]:
    """Return the operator that does the same without changing its argument."""
    packet = func.overloadpacket
    if not is_in_place(func):
        return func
    twin = getattr(torch.ops.aten, packet.__name__[:-1], None)
    return twin if twin is not None else func


def is_in_place(func: Any) -> bool:
    """Tell whether the operator writes into its first argument."""
    name = func.overloadpacket.__name__
    return name.endswith("_") and not name.startswith("__")


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    value, gate = x.chunk(2, dim)
    return value * torch.sigmoid(gate)


def _rrelu(
    x: Tensor, _noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, *_: Any
) -> Tensor:
    return nn.functional.leaky_relu(x, (lower + upper) / 2)


STEPS: dict[str, Callable[..., Tensor]] = {"glu": _glu, "rrelu_with_noise": _rrelu}
"""Operators that are followed as the steps that they are made of (in evaluation mode)."""


def looks_up(func: Any) -> bool:
    """Tell whether the operator picks rows of a table: a signal, whatever the numbers are."""
    return name_of(func) in EMBEDDINGS


def fed_with(func: Any, args: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return input and weight of an operator that multiplies them; None for any other."""
    name = name_of(func)
    if name in PRODUCTS | {"linear", "convolution"}:
        return args[0], args[1]
    return (args[1], args[2]) if name in SUMMED_PRODUCTS else None
