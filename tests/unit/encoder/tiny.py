"""Writes a tiny CLIP with random weights, as the bundled one is stored: custom configuration, float16 safetensors."""

import json
from pathlib import Path

CONFIG = {
    "model_cfg": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"},
}
TAGS = ("knife", "person", "fire")


def write_tiny_clip(directory: Path, *, head: bool = False, seed: int = 0) -> Path:
    """The directory, with config and weights of a CLIP, and a head where wanted."""
    from services.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    from services.encoder.head import HeadConfig, TagHead

    torch.manual_seed(seed)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "open_clip_config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    model = CLIP(**CONFIG["model_cfg"])
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, directory / "open_clip_model.safetensors")
    if head:
        TagHead(32, HeadConfig(tags=TAGS, hidden=16, dim=12)).save(directory)
    return directory
