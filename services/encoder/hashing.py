"""A small deterministic encoder without a model: mean colours on a coarse grid. For tests of everything around it."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.encoder.protocol import TextUnsupported


class HashEncoder:
    """Mean RGB of grid x grid cells, centred on grey and normalised: alike pictures have cosines near 1."""

    supports_text = False

    def __init__(self, grid: int = 4, input_size: int = 32) -> None:
        self._grid = grid
        self.input_size = input_size
        self.dim = 3 * grid * grid + 1
        self.fingerprint = hashlib.sha256(f"hash-encoder-1 {grid}".encode()).hexdigest()[:16]

    def embed_images(self, frames: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1."""
        return np.stack([self._embed(frame) for frame in frames]) if frames else np.empty((0, self.dim), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Always raises TextUnsupported."""
        raise TextUnsupported("HashEncoder knows colours, not words")

    def _embed(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        rows = np.array_split(np.arange(frame.shape[0]), self._grid)
        columns = np.array_split(np.arange(frame.shape[1]), self._grid)
        patches = [frame[np.ix_(r, c)] for r in rows for c in columns]
        cells = [patch.mean(axis=(0, 1)) if patch.size else np.zeros(3) for patch in patches]
        # The constant last entry keeps an even grey frame away from the zero vector.
        vector = np.append((np.concatenate(cells) - 127.5) / 127.5, 0.05).astype(np.float32)
        return vector / np.linalg.norm(vector)
