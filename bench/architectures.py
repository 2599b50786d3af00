"""The corpus's models by name."""

from __future__ import annotations

from collections.abc import Callable

import text_models
import vision_models
from cases import Case

MODELS: dict[str, Callable[[], Case]] = {
    "bert": text_models.bert,
    "vit": vision_models.vit,
    "gpt2": text_models.gpt2,
    "llama": lambda: text_models.decoder("Llama"),
    "qwen3": lambda: text_models.decoder("Qwen3"),
    "t5_encoder": text_models.t5_encoder,
    "clip": text_models.clip,
    "whisper_encoder": text_models.whisper_encoder,
    "whisper_decoder": text_models.whisper_decoder,
    "deberta": lambda: text_models.deberta("DebertaConfig"),
    "deberta_v2": lambda: text_models.deberta(
        "DebertaV2Config",
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        max_relative_positions=160,
    ),
    "swin": vision_models.swin,
    "detr": vision_models.detr,
    "rt_detr": vision_models.rt_detr,
    "sam": vision_models.sam,
    "unet": vision_models.unet,
    "wav2vec2": text_models.wav2vec2,
    "minilm": text_models.minilm,
    "efficientnet": vision_models.efficientnet,
    "resnet": vision_models.resnet,
    "convnext": vision_models.convnext,
}
"""Model name to the function that makes it."""

CONVOLUTIONAL = frozenset({"efficientnet", "resnet", "convnext"})
"""The models without attention; all others count as transformers."""
