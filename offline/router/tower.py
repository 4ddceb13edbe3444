"""An open_clip model and its head as one module that learns and is written back as services.encoder loads it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.encoder.head import HEAD_CONFIG, HEAD_WEIGHTS, HeadConfig, TagHead
from services.encoder.open_clip import Parts, image_embedding, patch_tokens
from services.encoder.text_head import TEXT_HEAD_CONFIG

HeadChoice = Literal["keep", "new", "none"]
_WEIGHTS = "open_clip_model.safetensors"


@dataclass(frozen=True)
class Learning:
    """Which parts learn.

    Attributes:
        groups: last groups of the image tower, as open_clip's `lock_image_tower` counts them (the projection, then the
            blocks from the last one on); 0 is none, -1 all.
        head: `keep` the model's own, a `new` one on its patch tokens, or `none`: the model's image embedding.
        captions: whether the text tower learns.
        tags: of a new head.
    """

    groups: int = 2
    head: HeadChoice = "keep"
    captions: bool = False
    tags: int = 32

    def __post_init__(self) -> None:
        if self.head not in get_args(HeadChoice):
            raise ValueError(f"a head is one of {', '.join(get_args(HeadChoice))}, not {self.head!r}")


class Tower(nn.Module):
    """Frames in, unit vectors out, as the encoder gives them.

    Raises:
        ValueError: nothing of the model would learn.
        TypeError: a new head, and the image tower is no VisionTransformer.
    """

    def __init__(self, parts: Parts, learning: Learning) -> None:
        super().__init__()
        self.network = parts.network
        self.head = _head(parts, learning)
        self.requires_grad_(False)
        if learning.groups < 0:
            self.network.visual.requires_grad_(True)
        else:
            self.network.lock_image_tower(unlocked_groups=learning.groups)
        if self.head is not None:
            self.head.requires_grad_(True)
        elif learning.groups == 0:
            raise ValueError("nothing would learn: the image tower is locked, and there is no head")
        if learning.captions:
            visual = {id(p) for p in self.network.visual.parameters()}
            for parameter in self.network.parameters():
                if id(parameter) not in visual:
                    parameter.requires_grad_(True)
        self.dim = self.head.config.dim if self.head is not None else int(self.network.visual.output_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, dim] of [n, 3, size, size]."""
        if self.head is not None:
            vectors: Tensor = self.head(patch_tokens(self.network.visual, pixels).float())
            return vectors
        return F.normalize(image_embedding(self.network, pixels).float(), dim=-1)

    def caption_loss(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """CLIP's loss of n pictures and their captions: each picks its partner among n."""
        image = F.normalize(image_embedding(self.network, pixels).float(), dim=-1)
        text = F.normalize(self.network.encode_text(tokens).float(), dim=-1)
        logits = self.network.logit_scale.exp().clamp(max=100) * image @ text.T
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def rates(self, tower: float, head: float) -> list[dict[str, Any]]:
        """Parameter groups: what the model brought learns at the rate `tower`, the head at `head`."""
        own = [p for p in self.network.parameters() if p.requires_grad]
        top = list(self.head.parameters()) if self.head is not None else []
        return [{"params": p, "lr": rate, "base": rate} for p, rate in ((own, tower), (top, head)) if p]


def _head(parts: Parts, learning: Learning) -> TagHead | None:
    if learning.head == "none":
        return None
    if learning.head == "keep":
        return parts.head
    visual: Any = parts.network.visual
    if not hasattr(visual, "ln_post"):
        raise TypeError(f"a new head needs open_clip's VisionTransformer, not {type(visual).__name__}; use `none`")
    names = tuple(f"latent {number}" for number in range(learning.tags))
    return TagHead(int(visual.ln_post.weight.shape[0]), HeadConfig(names, hidden=384, dim=128))


def export(tower: Tower, parts: Parts, out: Path, *, half: bool) -> None:
    """Write the directory that services.encoder loads: configuration, weights, tokenizer, and the head if there is one.

    Args:
        tower: what was learnt.
        parts: what it came of.
        out: the directory.
        half: write the tower in float16, half as large; else in float32.
    """
    from open_clip import get_tokenizer
    from open_clip.factory import get_model_config
    from open_clip.push_to_hf_hub import save_config_for_hf
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    state = {k: v.detach().cpu() for k, v in tower.network.state_dict().items()}
    tensors = {k: (v.to(dtype) if v.is_floating_point() else v).contiguous().clone() for k, v in state.items()}
    save_file(tensors, out / _WEIGHTS)
    config = out / "open_clip_config.json"
    if parts.directory is not None:
        for path in _kept(parts.directory):
            if path.resolve() != (out / path.name).resolve():
                shutil.copyfile(path, out / path.name)
    else:
        model_config = get_model_config(parts.name)
        if any(type(module).__name__ == "QuickGELU" for module in tower.network.modules()):
            model_config["quick_gelu"] = True  # the weights' tag asked for it, and not the model's name
        save_config_for_hf(tower.network, config, model_config)
        tokenizer: Any = get_tokenizer(parts.name)
        if hasattr(tokenizer, "save_pretrained"):
            tokenizer.save_pretrained(out)
    json.loads(config.read_text(encoding="utf-8"))
    for name in (HEAD_CONFIG, HEAD_WEIGHTS):
        (out / name).unlink(missing_ok=True)
    if tower.head is not None:
        tower.head.save(out)


def _kept(directory: Path) -> Sequence[Path]:
    """Configuration and tokenizer. Weights and head are written anew; what was fitted to the old model is not kept."""
    dropped = {HEAD_CONFIG, HEAD_WEIGHTS, TEXT_HEAD_CONFIG, "background.json", "README.md"}
    return [
        path
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name not in dropped and path.suffix not in {".safetensors", ".bin", ".pt"}
    ]
