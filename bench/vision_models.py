"""The corpus's models of images: transformers architectures at a small size, and a U-Net."""

from __future__ import annotations

from typing import Any

from cases import ENCODER, Case, hf_model, pixels, seeded

from trtbuild.artifacts import TensorSpec


def vit() -> Case:
    """A vision transformer."""
    import transformers as hf

    sizes = {k: v for k, v in ENCODER.items() if k not in ("vocab_size", "max_position_embeddings")}
    config = hf.ViTConfig(**sizes, image_size=64, patch_size=8)
    return Case(hf_model("ViTModel", config), (pixels(64),), ("last_hidden_state", "pooler_output"))


def swin() -> Case:
    """Attention in shifted windows."""
    import transformers as hf

    config = hf.SwinConfig(image_size=64, patch_size=4, embed_dim=64, depths=[2, 2], num_heads=[2, 4], window_size=4)
    return Case(hf_model("SwinModel", config), (pixels(64),), ("last_hidden_state", "pooler_output"))


def _resnet(**more: Any) -> Any:
    import transformers as hf

    return hf.ResNetConfig(embedding_size=32, hidden_sizes=[64, 96, 128, 192], depths=[1, 1, 1, 1], **more)


def detr() -> Case:
    """A detector: ResNet, encoder, decoder with object queries."""
    import transformers as hf

    config = hf.DetrConfig(
        backbone_config=_resnet(out_features=["stage4"]), num_queries=20, d_model=128, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=256, decoder_ffn_dim=256, encoder_attention_heads=4,
        decoder_attention_heads=4,
    )  # fmt: skip
    return Case(hf_model("DetrForObjectDetection", config), (pixels(128),), ("logits", "pred_boxes"))


def rt_detr() -> Case:
    """A detector with deformable attention and a choice of the best queries."""
    import transformers as hf

    backbone = hf.RTDetrResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 96, 128],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    config = hf.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=64, encoder_in_channels=[64, 96, 128], encoder_ffn_dim=128,
        encoder_attention_heads=2, d_model=64, num_queries=20, decoder_in_channels=[64, 64, 64], decoder_ffn_dim=128,
        decoder_layers=2, decoder_attention_heads=2, num_denoising=0,
    )  # fmt: skip
    return Case(hf_model("RTDetrForObjectDetection", config), (pixels(128),), ("logits", "pred_boxes"))


def sam() -> Case:
    """A promptable segmenter: vision encoder with relative positions, two-way mask decoder."""
    import transformers as hf

    config = hf.SamConfig(
        vision_config={
            "hidden_size": 128, "output_channels": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 128, "patch_size": 8, "window_size": 7, "global_attn_indexes": [1], "num_pos_feats": 32,
            "mlp_dim": 256,
        },
        prompt_encoder_config={"hidden_size": 64, "image_size": 128, "patch_size": 8, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 64, "mlp_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
            "iou_head_hidden_dim": 64,
        },
    )  # fmt: skip
    points = TensorSpec("input_points", "float32", ("batch", 1, 2, 2))
    return Case(hf_model("SamModel", config), (pixels(128), points), ("pred_masks", "iou_scores"))


def unet() -> Case:
    """A conditioned U-Net, as in diffusion models."""
    from modules import UNet

    inputs = (
        TensorSpec("sample", "float32", ("batch", 4, 16, 16)),
        TensorSpec("timestep", "int64", ("batch",)),
        TensorSpec("context", "float32", ("batch", "seq", 96)),
    )
    return Case(seeded(UNet()), inputs, ("noise",), {"timestep": (0, 999)})


def efficientnet() -> Case:
    """Depthwise convolutions and squeeze-and-excite."""
    import transformers as hf

    config = hf.EfficientNetConfig(
        image_size=64,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        num_block_repeats=[1, 1, 1, 1, 1, 1, 1],
    )
    return Case(hf_model("EfficientNetForImageClassification", config), (pixels(64),), ("logits",))


def resnet() -> Case:
    """Bottlenecks of Conv and BatchNormalization."""
    return Case(hf_model("ResNetForImageClassification", _resnet()), (pixels(64),), ("logits",))


def convnext() -> Case:
    """Depthwise convolutions with LayerNorm and Linear over the channels."""
    import transformers as hf

    config = hf.ConvNextConfig(image_size=64, hidden_sizes=[48, 96, 128, 192], depths=[1, 1, 1, 1])
    return Case(hf_model("ConvNextForImageClassification", config), (pixels(64),), ("logits",))
