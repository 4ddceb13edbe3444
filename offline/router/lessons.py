"""What fine-tuning is fed: its settings, and batches of augmented frames that are the same in each run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from offline.router.frame_store import Pictures
from offline.router.segments import Bools, Drawer
from offline.training.augment import augment


@dataclass(frozen=True)
class FinetuneRecipe:
    """Settings of fine-tuning; all but `steps` must be the same to resume.

    `tower_rate` and `head_rate` are the learning rates of what the model brought and of head and proxies; `near` is the
    share of clean segments that become near misses of an issue that nothing is said to resemble; `warm_up` a share of
    the steps.
    """

    steps: int = 1000
    batch: int = 64
    accumulate: int = 1
    tower_rate: float = 1e-5
    head_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.05
    temperature: float = 0.1
    proxy_weight: float = 1.0
    hard_weight: float = 2.0
    caption_weight: float = 0.0
    near: float = 0.1
    frames: int = 4
    held_out: float = 0.1
    bf16: bool = False
    seed: int = 7


def rate_at(progress: float, warm_up: float) -> float:
    """Factor of the learning rate at a progress in [0, 1]: a linear rise, then half a cosine down to 2 %."""
    if progress < warm_up:
        return max(progress / warm_up, 0.01)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / max(1 - warm_up, 1e-9)))


@dataclass(frozen=True)
class Lessons:
    """Frames and labels of all segments: pictures [n, frames, size, size, 3], issues and near bool [n, k]."""

    pictures: Pictures
    issues: Bools
    near: Bools
    captions: Sequence[str]


class _Batches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batch after batch: places [b] of the segments, and augmented frames uint8 [b, size, size, 3]."""

    def __init__(self, lessons: Lessons, places: np.ndarray, recipe: FinetuneRecipe) -> None:
        self._lessons, self._places, self._recipe = lessons, places, recipe
        self._drawer = Drawer(lessons.issues[places], lessons.near[places], recipe.seed)

    def __len__(self) -> int:
        return self._recipe.steps * self._recipe.accumulate

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self._recipe.seed, number, 1])
        chosen = self._places[self._drawer.draw(number, self._recipe.batch)]
        slots = rng.integers(self._lessons.pictures.shape[1], size=len(chosen))
        size = self._lessons.pictures.shape[2]
        frames = [augment(self._lessons.pictures[p, s], rng, size=size) for p, s in zip(chosen, slots, strict=True)]
        return torch.from_numpy(chosen), torch.from_numpy(np.stack(frames))


def batch_loader(
    lessons: Lessons, places: np.ndarray, recipe: FinetuneRecipe, *, first: int, workers: int
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Batches from number `first` on, made by so many processes (0: by this one)."""
    batches = _Batches(lessons, places, recipe)
    return DataLoader(batches, batch_size=None, sampler=range(first, len(batches)), num_workers=workers)
