"""The tiny checkpoint of `sam2.1-hiera-large`: the same networks, small, with random weights."""

from __future__ import annotations

from pathlib import Path

from wanprep.models.tiny_components import library, quiet, seeded

_SIDE = 128  # pixels of a picture
_WIDTH = 128  # channels; the memory has 64 in every model, and must have fewer


def write_tiny(folder: Path, seed: int) -> None:
    """Writes config.json and model.safetensors as in the real folder, 4 MB; equal bytes for equal seeds."""
    transformers = library("transformers")
    sizes = [[_SIDE // stride] * 2 for stride in (4, 8, 16)]
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[_SIDE, _SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[3],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone.to_dict(),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=sizes,
        fpn_hidden_size=_WIDTH,
    )
    config = transformers.Sam2VideoConfig(
        vision_config=vision.to_dict(),
        image_size=_SIDE,
        prompt_encoder_config={"hidden_size": _WIDTH, "image_size": _SIDE, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": _WIDTH,
            "mlp_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
        memory_attention_hidden_size=_WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=sizes[-1],
        memory_encoder_hidden_size=_WIDTH,
        mask_downsampler_embed_dim=_WIDTH,
        memory_fuser_embed_dim=_WIDTH,
        memory_fuser_intermediate_dim=32,
        memory_fuser_num_layers=1,
    )
    model = seeded(seed, lambda: transformers.Sam2VideoModel(config)).eval()
    # By chance the network would see nothing in most pictures, and give no mask at all.
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(1)
    with quiet():
        model.save_pretrained(folder)
