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
    """Draws batches from the feature cache.

    The first `label_share` of the videos have labels, which D3 needs; where that are not all of them, they make up half
    of what is drawn for D3, as few labels are repeated. Where videos say what a router sent them on for, `sent_share`
    of what is drawn whole for D3 is such as it sends on: violations, and what it takes for one.
    """

    def __init__(
        self,
        features: np.ndarray,
        words: np.ndarray,
        videos: Sequence[TrainingVideo],
        teacher: Teacher,
        tokens: Any,
        seed: int,
        *,
        label_share: float = 1.0,
        sent_share: float = 0.0,
    ) -> None:
        self._features, self._words, self._videos = features, words, videos
        self._labelled = max(1, round(label_share * len(videos)))
        sent_on = [i for i, video in enumerate(videos[: self._labelled]) if video.sent_on]
        self._sent_on = sent_on if sent_share else []
        self._sent_share = sent_share
        self._teacher, self._tokens = teacher, tokens
        self._rng = np.random.default_rng(seed)
        self._ids: dict[str, list[int]] = {}

    def batches(self, batch: int, *, frames: int, d1: int, d2: int, d3: int) -> Iterator[Pack]:
        """Packs without end, of `batch` videos with `frames` frames and so many lessons of each sort."""
        everything = self._labelled == len(self._videos)
        while True:
            # Without D1 and D2 a video without a label teaches nothing.
            known = [d3 > 0 and (everything or not (d1 or d2) or self._rng.random() < 0.5) for _ in range(batch)]
            drawn = [self._drawn_for_d3(frames) if each else self._draw(frames, len(self._videos)) for each in known]
            yield self.pack(drawn, d1=d1, d2=d2, d3=[d3 if each else 0 for each in known])

    def pack(
        self,
        drawn: Sequence[tuple[np.ndarray, np.ndarray, TrainingVideo]],
        *,
        d1: int,
        d2: int,
        d3: int | Sequence[int],
    ) -> Pack:
        """One pack of drawn videos: features, words and truth of each; `d3` may differ from video to video.

        All have one template: rows are padded to the longest, and the prompts of some templates are long.
        """
        template = self._teacher.template(self._rng)
        labelled = [d3] * len(drawn) if isinstance(d3, int) else d3
        rows = [
            self._row(self._teacher.lessons(video, self._rng, d1=d1, d2=d2, d3=own, template=template))
            for (_, _, video), own in zip(drawn, labelled, strict=True)
        ]
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

    def exam(self, *, d1: int, d2: int, d3: int, batch: int = 32) -> list[Pack]:
        """Every video once, whole, in packs."""
        starts = range(0, len(self._videos), batch)
        numbers = [range(start, min(start + batch, len(self._videos))) for start in starts]
        return [self.pack([self.whole(i) for i in each], d1=d1, d2=d2, d3=d3) for each in numbers]

    def _drawn_for_d3(self, frames: int) -> tuple[np.ndarray, np.ndarray, TrainingVideo]:
        if frames == FRAMES and self._sent_on and self._rng.random() < self._sent_share:
            return self.whole(self._sent_on[int(self._rng.integers(len(self._sent_on)))])
        return self._draw(frames, self._labelled)

    def _draw(self, frames: int, among: int) -> tuple[np.ndarray, np.ndarray, TrainingVideo]:
        """One of the first `among` videos, some frames of one, or the halves of two joined into a new one."""
        features, words, video = self.whole(int(self._rng.integers(among)))
        if frames == FRAMES:
            if self._rng.random() < 0.7:
                return features, words, video
            other_features, other_words, other = self.whole(int(self._rng.integers(among)))
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
