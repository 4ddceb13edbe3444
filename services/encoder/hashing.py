"""A small deterministic encoder without a model: mean colours on a coarse grid. For tests of everything around it."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.encoder.protocol import TextUnsupported

COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "gray": (128, 128, 128),
    "green": (0, 255, 0),
    "grey": (128, 128, 128),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}
"""The words that HashEncoder knows, and their RGB, 0 to 255."""


class HashEncoder:
    """Mean RGB of grid x grid cells, centred on grey and normalised: alike pictures have cosines near 1.

    A sentence is an even picture of the colour that it names, or of the mean of those that it names.
    """

    supports_text = True

    def __init__(self, grid: int = 4, input_size: int = 32) -> None:
        self._grid = grid
        self.input_size = input_size
        self.dim = 3 * grid * grid + 1
        self.fingerprint = hashlib.sha256(f"hash-encoder-1 {grid}".encode()).hexdigest()[:16]

    def embed_images(self, frames: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1."""
        return np.stack([self._embed(frame) for frame in frames]) if frames else np.empty((0, self.dim), np.float32)

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """[n, dim] float32, each row of length 1.

        Raises:
            TextUnsupported: a sentence that names none of COLOURS.
        """
        return self.embed_images([_picture_of(text) for text in texts])

    def _embed(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        rows = np.array_split(np.arange(frame.shape[0]), self._grid)
        columns = np.array_split(np.arange(frame.shape[1]), self._grid)
        patches = [frame[np.ix_(r, c)] for r in rows for c in columns]
        cells = [patch.mean(axis=(0, 1)) if patch.size else np.zeros(3) for patch in patches]
        # The constant last entry keeps an even grey frame away from the zero vector.
        vector = np.append((np.concatenate(cells) - 127.5) / 127.5, 0.05).astype(np.float32)
        return vector / np.linalg.norm(vector)


def _picture_of(text: str) -> npt.NDArray[np.uint8]:
    named = [COLOURS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in COLOURS]
    if not named:
        raise TextUnsupported("HashEncoder knows sentences with the name of a colour alone")
    # As large as any grid, so that no cell is empty.
    return np.full((64, 64, 3), np.mean(named, axis=0).round(), dtype=np.uint8)
