"""The endless stream of labelled pictures that dense pre-training learns from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from offline.demo_world.art import Art
from offline.training.augment import augment
from offline.training.clip_model import GRID, IMAGE_SIZE
from offline.training.pictures import Painter
from offline.training.vocabulary import TAGS, Classes, spoken

CAPTION_TOKENS = 48
SHELF = 8192
"""Pictures that a worker keeps to show again, 50 KB each."""
Row = dict[str, torch.Tensor]
"""pixels uint8 [size, size, 3]; words and tags int [patches]; caption int [CAPTION_TOKENS]."""


class DensePictures(IterableDataset[Row]):
    """An endless stream of labelled pictures; worker w of n sees its own part.

    To draw a picture and to put it through a camera costs as much as to learn from it. So each is shown `repeats` times
    on average, off a shelf of thousands, mirrored or not and in another light every time.
    """

    def __init__(
        self, art: Art, classes: Classes, tokenizer: Any, seed: int, *, plain: float = 0.5, repeats: int = 1
    ) -> None:
        self._classes, self._tokenizer, self._seed, self._repeats = classes, tokenizer, seed, repeats
        self._painter = Painter(art, GRID, plain=plain)

    def __iter__(self) -> Iterator[Row]:
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self._seed, info.id if info else 0])
        shelf: list[Row] = []
        while True:
            if self._repeats == 1:
                yield self._drawn(rng)
                continue
            if len(shelf) < SHELF:
                shelf.append(self._drawn(rng))
                row = shelf[-1]
            else:
                place = int(rng.integers(SHELF))
                if rng.random() < 1 / self._repeats:
                    shelf[place] = self._drawn(rng)
                row = shelf[place]
            yield in_another_light(mirrored(row) if rng.random() < 0.5 else row, rng)

    def _drawn(self, rng: np.random.Generator) -> Row:
        picture = self._painter.picture(rng)
        words = np.array([self._classes.of[name] for name in picture.names] + [self._classes.background])
        tags = np.array([self._classes.tag_of.get(name, len(TAGS)) for name in picture.names] + [len(TAGS)])
        caption = "a picture of " + " and ".join(spoken(name) for name in picture.names)
        ids = self._tokenizer(caption, max_length=CAPTION_TOKENS, truncation=True, padding="max_length")["input_ids"]
        return {
            "pixels": torch.from_numpy(augment(picture.pixels, rng, size=IMAGE_SIZE).copy()),
            "words": torch.from_numpy(words[picture.under].reshape(-1)),
            "tags": torch.from_numpy(tags[picture.under].reshape(-1)),
            "caption": torch.tensor(ids),
        }


def mirrored(row: Row) -> Row:
    """The picture and what is where, left and right exchanged."""
    turned = {name: row[name].reshape(GRID, GRID).flip(1).flatten() for name in ("words", "tags")}
    return {**row, **turned, "pixels": row["pixels"].flip(1)}


def in_another_light(row: Row, rng: np.random.Generator) -> Row:
    """The picture brighter or darker, each colour a little by itself."""
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, size=3)
    lit = row["pixels"].float() * torch.from_numpy(gain).float() + float(rng.uniform(-15, 15))
    return {**row, "pixels": lit.clamp_(0, 255).to(torch.uint8)}
