"""The learned head over an image tower's patch tokens. Trained offline, saved beside the tower, part of the encoder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

HEAD_CONFIG, HEAD_WEIGHTS = "head.json", "head.safetensors"


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Content of head.json.

    Attributes:
        tags: names of the tags, in the order of the tag layer's outputs.
        hidden: width of the MLP's hidden layer.
        dim: length of the embedding.
    """

    tags: tuple[str, ...]
    hidden: int
    dim: int

    @classmethod
    def load(cls, path: Path) -> HeadConfig:
        """Reads head.json."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(tags=tuple(data["tags"]), hidden=int(data["hidden"]), dim=int(data["dim"]))


class TagHead(nn.Module):
    """Patch-wise tag logits, their maximum over the patches of a frame, then an MLP: w -> t -> hidden -> dim.

    A violation is a relation between things that may be small and far apart; the maximum keeps each thing, wherever it
    is, and the MLP learns which of them go together.

    Args:
        width: width w of a patch token.
        config: tags, hidden width and output length.
    """

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.tag = nn.Linear(width, len(config.tags))
        self.mlp = nn.Sequential(
            nn.Linear(len(config.tags), config.hidden), nn.GELU(), nn.Linear(config.hidden, config.dim)
        )

    def frame_tag_logits(self, patch_tokens: Tensor) -> Tensor:
        """[n, t] logits: the maximum over the patches of [n, p, w] patch tokens."""
        return torch.amax(self.tag(patch_tokens), dim=1)

    def forward(self, patch_tokens: Tensor) -> Tensor:
        """[n, dim] embeddings of length 1, of [n, p, w] patch tokens."""
        return functional.normalize(self.mlp(self.frame_tag_logits(patch_tokens)), dim=-1)

    def save(self, directory: Path) -> None:
        """Writes head.json and head.safetensors (float16)."""
        directory.joinpath(HEAD_CONFIG).write_text(json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8")
        weights = {
            name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in self.state_dict().items()
        }
        save_file(weights, directory / HEAD_WEIGHTS)

    @classmethod
    def load(cls, directory: Path) -> TagHead:
        """Reads head.json and head.safetensors into float32."""
        config = HeadConfig.load(directory / HEAD_CONFIG)
        weights = {name: tensor.float() for name, tensor in load_file(directory / HEAD_WEIGHTS).items()}
        head = cls(weights["tag.weight"].shape[1], config)
        head.load_state_dict(weights)
        return head.eval()
