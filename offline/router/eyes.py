"""A tower that is being trained, with its preprocessing and precision, and how well it tells held-out videos apart."""

from typing import Any

import numpy as np
import torch

from offline.router.frame_store import Pictures
from offline.router.lessons import Lessons
from offline.router.tower import Tower
from offline.statistics import roc_auc

_SEEDS, _EXAMINED = 64, 1000
"""Of an issue, and of held-out segments: how many an examination uses at most."""


class Eyes:
    """The tower with the numbers of its preprocessing and the precision of its computation."""

    def __init__(self, tower: Tower, preprocess: Any, device: str, bf16: bool) -> None:
        last = preprocess.transforms[-1]
        self.tower, self._bf16, self.device = tower, bf16, torch.device(device)
        self._mean, self._std = (torch.tensor(v).view(1, -1, 1, 1).to(device) for v in (last.mean, last.std))

    def pixels(self, pictures: torch.Tensor) -> torch.Tensor:
        """uint8 [n, h, w, 3] to the tower's input."""
        return (pictures.to(self.device).permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std

    def autocast(self) -> torch.autocast:
        """bf16 where it was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)

    @torch.no_grad()
    def vectors(self, pictures: Pictures, places: np.ndarray) -> np.ndarray:
        """[n, frames, dim] of the segments at these places."""
        self.tower.eval()
        out = []
        for part in np.array_split(places, max(1, len(places) // 32)):
            flat = torch.from_numpy(np.ascontiguousarray(pictures[part])).flatten(0, 1)
            with self.autocast():
                out.append(
                    self.tower(self.pixels(flat)).float().cpu().numpy().reshape(len(part), pictures.shape[1], -1)
                )
        return np.concatenate(out)

    def mean_vectors(self, pictures: Pictures, places: np.ndarray) -> np.ndarray:
        """[n, dim] unit vectors: the means over the frames."""
        mean = self.vectors(pictures, places).mean(axis=1)
        length: np.ndarray = np.linalg.norm(mean, axis=1, keepdims=True)
        unit: np.ndarray = mean / np.maximum(length, 1e-12)
        return unit


def examine(eyes: Eyes, lessons: Lessons, places: np.ndarray, exam: np.ndarray, seed: int) -> float:
    """ROC-AUC, over held-out segments, of the best cosine of any frame with a seed; nan without both classes.

    Seeds are frames of the training segments, as many for each issue as a bank might hold.
    """
    if not len(exam):
        return float("nan")
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.choice(exam, size=min(_EXAMINED, len(exam)), replace=False))
    guilty = [places[lessons.issues[places, label]] for label in range(lessons.issues.shape[1])]
    seeds = np.unique(np.concatenate([rng.permutation(each)[:_SEEDS] for each in guilty]))
    bank, seen = eyes.vectors(lessons.pictures, seeds), eyes.vectors(lessons.pictures, asked)
    score = (seen.reshape(-1, seen.shape[-1]) @ bank.reshape(-1, bank.shape[-1]).T).max(axis=1)
    best = score.reshape(len(asked), -1).max(axis=1).astype(np.float64)
    return roc_auc(best, lessons.issues[asked].any(axis=1), np.ones(len(asked)))
