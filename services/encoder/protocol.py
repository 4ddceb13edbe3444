"""What an encoder is."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class TextUnsupported(RuntimeError):
    """The encoder has no text side: a learned head over the image tower leaves the space that it shares with text."""


class Encoder(Protocol):
    """Turns images, and where it can sentences, into vectors whose cosine says how alike they are."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with weights, head and preprocessing; they name the collections of the bank."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def input_size(self) -> int:
        """Shorter side of the images that the model sees, pixels."""

    @property
    def supports_text(self) -> bool:
        """Whether `embed_texts` works."""

    def embed_images(self, frames: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1, for n frames [height, width, 3] uint8 RGB of any sizes."""

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1. Raises TextUnsupported where supports_text is false."""
