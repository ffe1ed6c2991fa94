"""Architectures of Hugging Face transformers, in small random configurations."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before the import, which reads it

from typing import Any

import torch
import transformers

TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
IMAGE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
OLD = {"vocab_size": 99, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
GROUPED = TEXT | {"num_key_value_heads": 2}
STAGES = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 1, 1]}
PAIR = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}

# Model, configuration, arguments, branches of each residual stream, parameters with a role in an
# attention.
ARCHITECTURES: list[tuple[str, str, dict[str, Any], list[int], int]] = [
    ("BertForSequenceClassification", "BertConfig", TEXT, [1] * 4, 8),
    ("RobertaForMaskedLM", "RobertaConfig", TEXT | {"pad_token_id": 1}, [1] * 4, 8),
    ("ElectraForPreTraining", "ElectraConfig", TEXT | {"embedding_size": 16}, [1] * 4, 8),
    (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
        [1] * 4,
        8,
    ),
    ("AlbertForMaskedLM", "AlbertConfig", TEXT | {"embedding_size": 16}, [1] * 2, 4),
    ("DebertaV2ForSequenceClassification", "DebertaV2Config", TEXT, [1] * 4, 8),
    ("GPT2LMHeadModel", "GPT2Config", OLD, [6], 6),
    ("GPTNeoXForCausalLM", "GPTNeoXConfig", TEXT, [4], 4),
    ("GPTJForCausalLM", "GPTJConfig", OLD | {"rotary_dim": 4}, [6], 12),
    ("LlamaForCausalLM", "LlamaConfig", GROUPED, [4], 8),
    ("MistralForCausalLM", "MistralConfig", GROUPED, [4], 8),
    ("Qwen2ForCausalLM", "Qwen2Config", GROUPED, [4], 8),
    ("GemmaForCausalLM", "GemmaConfig", GROUPED | {"head_dim": 8}, [4], 8),
    ("PhiForCausalLM", "PhiConfig", TEXT, [4], 8),
    (
        "BloomForCausalLM",
        "BloomConfig",
        {"vocab_size": 99, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        [4],
        4,
    ),
    (
        "FalconForCausalLM",
        "FalconConfig",
        {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        [4],
        4,
    ),
    ("MixtralForCausalLM", "MixtralConfig", GROUPED | {"num_local_experts": 4}, [4], 8),
    (
        "T5ForConditionalGeneration",
        "T5Config",
        {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
        [4, 6],
        24,
    ),
    ("BartForConditionalGeneration", "BartConfig", PAIR, [1] * 10, 24),
    ("ViTForImageClassification", "ViTConfig", IMAGE, [4], 8),
    ("DeiTForImageClassification", "DeiTConfig", IMAGE, [4], 8),
    ("Dinov2ForImageClassification", "Dinov2Config", IMAGE, [4], 8),
    (
        "SwinForImageClassification",
        "SwinConfig",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
        },
        [4, 4],
        16,
    ),
    ("ResNetForImageClassification", "ResNetConfig", STAGES | {"layer_type": "basic"}, [1] * 4, 0),
    ("RegNetForImageClassification", "RegNetConfig", STAGES | {"groups_width": 8}, [1] * 4, 0),
    (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 2, 1]},
        [1, 1, 2, 1],
        0,
    ),
    (
        "Wav2Vec2ForCTC",
        "Wav2Vec2Config",
        TEXT
        | {
            "vocab_size": 32,
            "conv_dim": (16, 16, 16),
            "conv_stride": (5, 2, 2),
            "conv_kernel": (10, 3, 3),
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 2,
        },
        [1] * 5,
        8,
    ),
    ("CLIPModel", "CLIPConfig", {"text_config": TEXT, "vision_config": IMAGE}, [4, 4], 16),
]


def built(model: str, config: str, arguments: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, model)(getattr(transformers, config)(**arguments))
