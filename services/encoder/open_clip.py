"""Any open_clip model as an Encoder, with the learned heads that may lie beside it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from services.encoder.head import HEAD_CONFIG, HEAD_WEIGHTS, TagHead
from services.encoder.preprocess import prepare
from services.encoder.protocol import Encoder, TextUnsupported
from services.encoder.text_head import TEXT_HEAD_CONFIG, TextHead, TextHeadConfig, plain_words, text_embedding
from services.torchvision_compat import ensure_torchvision

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]

_CONFIG = "open_clip_config.json"


def load_encoder(
    model: str, pretrained: str | None = None, device: str = "cpu", precision: Precision = "fp32"
) -> Encoder:
    """Loads an encoder.

    Args:
        model: an open_clip name (`ViT-B-32`), `hf-hub:...`, or a local directory with `open_clip_config.json`, weights,
            and optionally `head.json` and `head.safetensors`, and for sentences `text_head.json` and
            `text_head.safetensors`.
        pretrained: tag of the weights, or a file of them; for open_clip names alone.
        device: torch device.
        precision: of the computation; weights stored in another one are converted.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: as open_clip raises them, for what cannot be loaded.
    """
    parts = load_parts(model, pretrained, device, precision)
    import open_clip

    network, head, directory = parts.network, parts.head, parts.directory
    fingerprint = _file_hash(directory) if directory else _state_hash(model, pretrained, network)
    text_head = _text_head(directory, fingerprint, device) if directory and head else None
    if precision != "fp32":  # rounding moves vectors, so that such a bank is another bank
        fingerprint = hashlib.sha256(f"{fingerprint} {precision}".encode()).hexdigest()[:16]
    # Without need it is not loaded: a model with a head alone may come without one.
    tokenizer = open_clip.get_tokenizer(parts.name) if head is None or text_head is not None else None
    dtype = open_clip.get_input_dtype(precision)
    return OpenClipEncoder(
        network.eval(), parts.preprocess, tokenizer, head, text_head, fingerprint, torch.device(device), dtype
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """What an encoder is made of, e.g. to train it on.

    Attributes:
        name: by which open_clip finds the model and its tokenizer.
        directory: where it lies, if it is a local one.
        network: the open_clip model.
        preprocess: its preprocessing for inference.
        head: the learned head beside it, if there is one.
    """

    name: str
    directory: Path | None
    network: Any
    preprocess: Any
    head: TagHead | None


def load_parts(model: str, pretrained: str | None = None, device: str = "cpu", precision: Precision = "fp32") -> Parts:
    """Loads what `load_encoder` puts together; the same arguments and errors."""
    directory = Path(model.removeprefix("local-dir:")) if _is_local(model) else None
    if directory is None and not model.startswith("hf-hub:"):
        if "/" in model and not pretrained:
            raise FileNotFoundError(f"there is no {_CONFIG} in {model}")
        if not pretrained:
            raise ValueError(f"{model!r} needs the tag of its pretrained weights; without one its weights are random")
    ensure_torchvision()
    import open_clip

    name = f"local-dir:{directory}" if directory else model
    loaded: Any = open_clip.create_model_and_transforms(name, pretrained=pretrained, precision=precision, device=device)
    network, _, preprocess = loaded
    head = None
    if directory and (directory / HEAD_CONFIG).is_file():
        head = TagHead.load(directory).to(device)
    return Parts(name, directory, network, preprocess, head)


def patch_tokens(visual: Any, images: Tensor) -> Tensor:
    """[n, p, w] patch tokens of open_clip's VisionTransformer: after its last block and `ln_post`, no class token.

    Args:
        visual: the model's `visual`.
        images: [n, 3, size, size] preprocessed images.

    Raises:
        TypeError: the tower is not a VisionTransformer.
    """
    if not hasattr(visual, "forward_intermediates") or not hasattr(visual, "ln_post"):
        raise TypeError(f"a head needs open_clip's VisionTransformer, not {type(visual).__name__}")
    found: Any = visual.forward_intermediates(
        images, indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NLC"
    )
    tokens: Tensor = found["image_intermediates"][-1]
    return tokens


def image_embedding(network: Any, images: Tensor) -> Tensor:
    """[n, dim] embeddings of an open_clip model, not normalised; a tower that gives patch tokens too gives a pair."""
    found: Any = network.encode_image(images)
    embedding: Tensor = found[0] if isinstance(found, tuple) else found
    return embedding


class OpenClipEncoder:
    """An open_clip model: its embeddings, or those of its heads where there is one that follows the image tower."""

    def __init__(
        self,
        model: Any,
        preprocess: Any,
        tokenizer: Any,
        head: TagHead | None,
        text_head: TextHead | None,
        fingerprint: str,
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._head = head
        self._text_head = text_head
        self._device = device
        self._dtype = dtype
        self.fingerprint = fingerprint
        size = self._model.visual.image_size
        self.input_size = int(min(size) if isinstance(size, (tuple, list)) else size)
        self.dim = head.config.dim if head else int(self._model.visual.output_dim)

    @property
    def supports_text(self) -> bool:
        """True for a plain CLIP; where a head follows the image tower, True with a text head beside it."""
        return self._head is None or self._text_head is not None

    def embed_images(self, frames: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1. All frames go through the model as one batch."""
        if not frames:
            return np.empty((0, self.dim), np.float32)
        with torch.inference_mode():
            pixels = prepare(self._preprocess, frames).to(self._device, self._dtype)
            if self._head is not None:
                vectors = self._head(patch_tokens(self._model.visual, pixels).float())
            else:
                vectors = image_embedding(self._model, pixels)
            return _to_numpy(vectors)

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1.

        Raises:
            TextUnsupported: a head follows the image tower, and no text head follows the text tower.
        """
        if self._head is not None and self._text_head is None:
            raise TextUnsupported(
                "this encoder has a learned head, and no text head that puts sentences into its space"
            )
        if not texts:
            return np.empty((0, self.dim), np.float32)
        with torch.inference_mode():
            if self._text_head is None:
                return _to_numpy(text_embedding(self._model, self._tokenizer, list(texts), self._device))
            plain = [plain_words(text) for text in texts]
            return _to_numpy(self._text_head(text_embedding(self._model, self._tokenizer, plain, self._device)))


def _to_numpy(vectors: Tensor) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit


def _is_local(model: str) -> bool:
    return model.startswith("local-dir:") or (Path(model) / _CONFIG).is_file()


def _text_head(directory: Path, fingerprint: str, device: str) -> TextHead | None:
    """The text head in the directory; None where there is none, or one of another encoder."""
    path = directory / TEXT_HEAD_CONFIG
    if not path.is_file():
        return None
    made_for = TextHeadConfig.load(path).encoder
    if made_for != fingerprint:
        logger.warning(
            "a text head was trained for another encoder and is not used",
            extra={"path": str(path), "trained_for": made_for, "encoder": fingerprint},
        )
        return None
    return TextHead.load(directory).to(device)


def _file_hash(directory: Path) -> str:
    """16 hex digits over config, weights and head: every file that shapes the vector of an image.

    The text head is not among them. It puts sentences into a space that is there, and moves no image: stored vectors,
    backgrounds, thresholds and calibrators, which all name this hash, stay right with a new one or without any.
    """
    digest = hashlib.sha256()
    weights = sorted((*directory.glob("open_clip*.safetensors"), *directory.glob("open_clip*.bin")))
    for path in (directory / _CONFIG, *weights, directory / HEAD_CONFIG, directory / HEAD_WEIGHTS):
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _state_hash(model: str, pretrained: str | None, network: nn.Module) -> str:
    """16 hex digits over name, tag and weights of a model that open_clip fetched."""
    digest = hashlib.sha256(f"{model} {pretrained}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
