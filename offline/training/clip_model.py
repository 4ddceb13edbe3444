"""The architecture of the bundled router tower: an open_clip CLIP by a custom configuration."""

import json
from pathlib import Path
from typing import Any

from services.torchvision_compat import ensure_torchvision

IMAGE_SIZE = 128
PATCH = 16
GRID = IMAGE_SIZE // PATCH
WIDTH = 192
MEAN = (0.48145466, 0.4578275, 0.40821073)  # the CLIP convention; open_clip and CLIPImageProcessor share it
STD = (0.26862954, 0.26130258, 0.27577711)


def model_config(vocab_size: int, *, pad_id: int, eos_id: int, layers: int = 4) -> dict[str, Any]:
    """`model_cfg` of open_clip_config.json."""
    return {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "layers": layers,
            "width": WIDTH,
            "head_width": 64,
            "patch_size": PATCH,
            "output_tokens": True,
        },
        "text_cfg": {
            "context_length": 48,
            "vocab_size": vocab_size,
            "width": 128,
            "heads": 2,
            "layers": 2,
            "hf_tokenizer_name": "tokenizer",
            "pool_type": "eos",
            "pad_id": pad_id,
            "eos_id": eos_id,
        },
    }


def config_file(config: dict[str, Any]) -> str:
    """Content of open_clip_config.json: the whole picture is squashed to a square, so that no edge is cropped away."""
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    return json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n"


def build(config: dict[str, Any]) -> Any:
    """A freshly initialised open_clip.CLIP."""
    ensure_torchvision()
    from open_clip.model import CLIP

    return CLIP(
        embed_dim=config["embed_dim"],
        vision_cfg=dict(config["vision_cfg"]),
        text_cfg=dict(config["text_cfg"]),
    )


def load_training_checkpoint(path: Path) -> tuple[Any, dict[str, Any]]:
    """The tower of a checkpoint of offline.training.dense, and the whole checkpoint."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    model = build(state["config"])
    model.load_state_dict(state["model"])
    return model, state
