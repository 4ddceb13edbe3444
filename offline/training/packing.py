"""Packs lessons behind image prefixes: batches for the ranker's training, drawn from the feature cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from offline.demo_world.taxonomy import violated
from offline.training.features import FRAMES, TrainingVideo
from offline.training.questions import Lesson, Teacher
from offline.training.ranker_model import TURN_END


@dataclass(frozen=True)
class Pack:
    """A batch of image prefixes with lessons behind them.

    features [b, f, patches, width]; words [b, f, patches]; tokens [b, n] of the lessons, segment [b, n] (0 = padding),
    offset [b, n] within the lesson; target [b, n] (-100 where there is none), weight [b, n].
    """

    features: torch.Tensor
    words: torch.Tensor
    tokens: torch.Tensor
    segment: torch.Tensor
    offset: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


class Packer:
    """Draws batches from the feature cache."""

    def __init__(
        self,
        features: np.ndarray,
        words: np.ndarray,
        videos: Sequence[TrainingVideo],
        teacher: Teacher,
        tokens: Any,
        seed: int,
    ) -> None:
        self._features, self._words, self._videos = features, words, videos
        self._teacher, self._tokens = teacher, tokens
        self._rng = np.random.default_rng(seed)
        self._ids: dict[str, list[int]] = {}

    def batches(self, batch: int, *, frames: int, d1: int, d2: int, d3: int) -> Iterator[Pack]:
        """Packs without end, of `batch` videos with `frames` frames and so many lessons of each sort."""
        while True:
            yield self.pack([self._draw(frames) for _ in range(batch)], d1=d1, d2=d2, d3=d3)

    def pack(self, drawn: Sequence[tuple[np.ndarray, np.ndarray, TrainingVideo]], *, d1: int, d2: int, d3: int) -> Pack:
        """One pack of drawn videos: features, words and truth of each."""
        lessons = [self._teacher.lessons(video, self._rng, d1=d1, d2=d2, d3=d3) for _, _, video in drawn]
        rows = [self._row(own) for own in lessons]
        width = max(len(row[0]) for row in rows)
        padded = [[np.pad(column, (0, width - len(column)), constant_values=fill) for column, fill in
                   zip(row, (0, 0, 0, -100, 0.0), strict=True)] for row in rows]  # fmt: skip
        tokens, segment, offset, target, weight = (np.stack([row[i] for row in padded]) for i in range(5))
        return Pack(
            torch.from_numpy(np.stack([f for f, _, _ in drawn])).float(),
            torch.from_numpy(np.stack([w for _, w, _ in drawn])).long(),
            torch.from_numpy(tokens), torch.from_numpy(segment), torch.from_numpy(offset), torch.from_numpy(target),
            torch.from_numpy(weight).float(),
        )  # fmt: skip

    def whole(self, index: int) -> tuple[np.ndarray, np.ndarray, TrainingVideo]:
        """Features, words and truth of a video with all its frames."""
        return np.asarray(self._features[index]), self._words[index], self._videos[index]

    def _draw(self, frames: int) -> tuple[np.ndarray, np.ndarray, TrainingVideo]:
        """A video, some frames of one, or the halves of two joined into a new one."""
        features, words, video = self.whole(int(self._rng.integers(len(self._videos))))
        if frames == FRAMES:
            if self._rng.random() < 0.7:
                return features, words, video
            other_features, other_words, other = self.whole(int(self._rng.integers(len(self._videos))))
            cut = int(self._rng.integers(1, FRAMES))
            names = video.frames[:cut] + other.frames[cut:]
            return (
                np.concatenate([features[:cut], other_features[cut:]]),
                np.concatenate([words[:cut], other_words[cut:]]),
                _truth(names, video.title),
            )  # fmt: skip
        keep = np.sort(self._rng.choice(FRAMES, size=frames, replace=False))
        return features[keep], words[keep], _truth(tuple(video.frames[int(i)] for i in keep), video.title)

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self._tokens.encode(text, add_special_tokens=False)
        return self._ids[text]

    def _row(self, lessons: Sequence[Lesson]) -> tuple[np.ndarray, ...]:
        tokens: list[int] = []
        segment: list[int] = []
        offset: list[int] = []
        target: list[int] = []
        weight: list[float] = []
        for number, lesson in enumerate(lessons, start=1):
            prompt = self._encode("\n" + lesson.text + TURN_END)
            answer = [*self._encode(" " + lesson.answer), self._tokens.eos_token_id]
            if lesson.answer in ("Yes", "No"):
                answer = answer[:1]
            ids = prompt + answer[:-1]
            tokens += ids
            segment += [number] * len(ids)
            offset += range(len(ids))
            target += [-100] * (len(prompt) - 1) + answer
            weight += [lesson.weight / len(answer)] * len(ids)
        return tuple(np.array(column) for column in (tokens, segment, offset, target, weight))


def _truth(frames: tuple[tuple[str, ...], ...], title: str) -> TrainingVideo:
    return TrainingVideo(frames, violated(tuple(frozenset(f) for f in frames)), title)
