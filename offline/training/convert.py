"""Converts the router's open_clip tower to a transformers CLIPVisionModel, so that the ranker has the same eyes."""

from collections.abc import Mapping
from typing import Any

import torch

_BLOCK = {
    "ln_1.weight": "layer_norm1.weight",
    "ln_1.bias": "layer_norm1.bias",
    "ln_2.weight": "layer_norm2.weight",
    "ln_2.bias": "layer_norm2.bias",
    "attn.out_proj.weight": "self_attn.out_proj.weight",
    "attn.out_proj.bias": "self_attn.out_proj.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}


def vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of CLIPVisionConfig for an open_clip `model_cfg`."""
    vision = config["vision_cfg"]
    return {
        "hidden_size": vision["width"],
        "intermediate_size": vision["width"] * 4,
        "num_hidden_layers": vision["layers"],
        "num_attention_heads": vision["width"] // vision["head_width"],
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "hidden_act": "gelu",
        "projection_dim": config["embed_dim"],
    }


def vision_state(clip_state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State dict of a CLIPVisionModel (no prefix) from that of an open_clip CLIP."""
    visual = {k.removeprefix("visual."): v for k, v in clip_state.items() if k.startswith("visual.")}
    out = {
        "embeddings.class_embedding": visual["class_embedding"],
        "embeddings.patch_embedding.weight": visual["conv1.weight"],
        "embeddings.position_embedding.weight": visual["positional_embedding"],
        "pre_layrnorm.weight": visual["ln_pre.weight"],
        "pre_layrnorm.bias": visual["ln_pre.bias"],
        "post_layernorm.weight": visual["ln_post.weight"],
        "post_layernorm.bias": visual["ln_post.bias"],
    }
    layer = 0
    while f"transformer.resblocks.{layer}.ln_1.weight" in visual:
        source, target = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for theirs, ours in _BLOCK.items():
            out[target + ours] = visual[source + theirs]
        for kind in ("weight", "bias"):
            parts = visual[f"{source}attn.in_proj_{kind}"].chunk(3)
            for name, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                out[f"{target}self_attn.{name}.{kind}"] = part
        layer += 1
    return {k: v.clone() for k, v in out.items()}
