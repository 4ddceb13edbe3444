"""The learned way from a sentence to the space of a head: what the text tower says of it, through a small MLP.

A head leaves the space that image and text tower share. The text head follows it there, without moving any image.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

TEXT_HEAD_CONFIG, TEXT_HEAD_WEIGHTS = "text_head.json", "text_head.safetensors"


def plain_words(text: str) -> str:
    """A sentence as captions are written: lower case, words and figures alone, one space between them."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


@dataclass(frozen=True, slots=True)
class TextHeadConfig:
    """Content of text_head.json.

    Attributes:
        encoder: fingerprint, at fp32, of the encoder whose space the sentences are put into.
        width: length of the text tower's embedding.
        hidden: width of the MLP's two hidden layers.
        dim: length of the embedding, the same as the head's.
    """

    encoder: str
    width: int
    hidden: int
    dim: int

    @classmethod
    def load(cls, path: Path) -> TextHeadConfig:
        """Reads text_head.json."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(str(data["encoder"]), int(data["width"]), int(data["hidden"]), int(data["dim"]))


class TextHead(nn.Module):
    """A layer normalisation and an MLP on the text tower's embedding: width -> hidden -> hidden -> dim."""

    def __init__(self, config: TextHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(),
            nn.Linear(config.hidden, config.hidden), nn.GELU(),
            nn.Linear(config.hidden, config.dim),
        )  # fmt: skip

    def forward(self, embedding: Tensor) -> Tensor:
        """[n, dim] embeddings of length 1, of the text tower's [n, width], normalised or not."""
        return functional.normalize(self.mlp(self.norm(embedding)), dim=-1)

    def save(self, directory: Path) -> None:
        """Writes text_head.json and text_head.safetensors (float16)."""
        directory.joinpath(TEXT_HEAD_CONFIG).write_text(
            json.dumps(asdict(self.config), indent=2) + "\n", encoding="utf-8"
        )
        weights = {
            name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in self.state_dict().items()
        }
        save_file(weights, directory / TEXT_HEAD_WEIGHTS)

    @classmethod
    def load(cls, directory: Path) -> TextHead:
        """Reads text_head.json and text_head.safetensors into float32."""
        head = cls(TextHeadConfig.load(directory / TEXT_HEAD_CONFIG))
        head.load_state_dict(
            {name: tensor.float() for name, tensor in load_file(directory / TEXT_HEAD_WEIGHTS).items()}
        )
        return head.eval()


def text_embedding(network: Any, tokenizer: Any, texts: list[str], device: torch.device) -> Tensor:
    """[n, width] float32 embeddings of the text tower of an open_clip model, not normalised, of n sentences."""
    found: Tensor = network.encode_text(tokenizer(texts).to(device))
    return found.float()
