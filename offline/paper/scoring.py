"""Reads a ranker in training form: logits of Yes and No for many prompts behind one image prefix, and hidden states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from offline.training.packing import Pack
from offline.training.ranker_model import TURN_END
from offline.training.ranker_trainer import RankerTrainer

Floats = npt.NDArray[np.float64]
PASS_TOKENS = 512  # of the prompts in one pass behind a video's frames
BATCH = 4  # videos


@dataclass(frozen=True)
class AnswerIds:
    """Ids of all single-token spellings of Yes and of No after the chat template, as the ranker reads them."""

    yes: tuple[int, ...]
    no: tuple[int, ...]

    @classmethod
    def of(cls, tokens: Any) -> "AnswerIds":
        """Find them in a tokenizer."""
        before = tokens.encode(TURN_END, add_special_tokens=False)

        def spellings(word: str) -> tuple[int, ...]:
            found = set()
            for text in (word, word.capitalize(), word.upper()):
                for space in ("", " "):
                    after = tokens.encode(TURN_END + space + text, add_special_tokens=False)
                    if len(after) == len(before) + 1 and after[:-1] == before:
                        found.add(after[-1])
            return tuple(sorted(found))

        return cls(spellings("yes"), spellings("no"))


@torch.inference_mode()
def scores(
    trainer: RankerTrainer, tokens: Any, features: npt.NDArray[np.float16], prompts: Sequence[Sequence[str]]
) -> list[Floats]:
    """Logits of Yes and No, [prompts of the video, 2] for each of n videos: Algorithm 1 up to step 7.

    Args:
        trainer: the ranker.
        tokens: its tokenizer.
        features: [n, frames, patches, width] of the tower.
        prompts: user texts about each video; what follows the frames.
    """
    ids = AnswerIds.of(tokens)
    out: list[list[Floats]] = [[] for _ in prompts]
    for hidden, owner in _answers(trainer, tokens, features, prompts):
        logits = trainer.llava.lm_head(hidden).double()
        pairs = torch.stack([logits[:, list(own)].logsumexp(1) for own in (ids.yes, ids.no)], dim=1).numpy()
        for video, pair in zip(owner, pairs, strict=True):
            out[video].append(pair)
    return [np.array(own, dtype=np.float64).reshape(-1, 2) for own in out]


@torch.inference_mode()
def hidden_states(
    trainer: RankerTrainer, tokens: Any, features: npt.NDArray[np.float16], prompt: str
) -> npt.NDArray[np.float32]:
    """The last layer's state where the answer is read, [n, d], for one prompt about each of n videos."""
    found = [hidden.float().numpy() for hidden, _ in _answers(trainer, tokens, features, [[prompt]] * len(features))]
    return np.concatenate(found)


def _answers(
    trainer: RankerTrainer, tokens: Any, features: npt.NDArray[np.float16], prompts: Sequence[Sequence[str]]
) -> Iterator[tuple[torch.Tensor, list[int]]]:
    """Hidden states [k, d] at the ends of prompts, and the video of each; a video's prompts come in their order."""
    trainer.eval()
    jobs = [(video, part) for video, own in enumerate(prompts) for part in _parts(tokens, own)]
    for start in range(0, len(jobs), BATCH):
        batch = jobs[start : start + BATCH]
        pack, ends = _pack(np.stack([features[video] for video, _ in batch]), [part for _, part in batch])
        hidden, _ = trainer.hidden(pack)
        owner = [video for video, part in batch for _ in part]
        yield hidden[ends], owner


def _parts(tokens: Any, prompts: Sequence[str]) -> list[list[list[int]]]:
    """The ids of a video's prompts, in parts of at most PASS_TOKENS."""
    parts: list[list[list[int]]] = []
    room = 0
    for prompt in prompts:
        ids = tokens.encode("\n" + prompt + TURN_END, add_special_tokens=False)
        if len(ids) > room:
            parts.append([])
            room = PASS_TOKENS
        parts[-1].append(ids)
        room -= len(ids)
    return parts


def _pack(features: npt.NDArray[np.float16], prompts: Sequence[Sequence[Sequence[int]]]) -> tuple[Pack, torch.Tensor]:
    """A pack of prompts, and the mask [b, n] of the last token of each."""
    width = max(sum(map(len, own)) for own in prompts)
    tokens, segment, offset, ends = (np.zeros((len(prompts), width), dtype=np.int64) for _ in range(4))
    for row, own in enumerate(prompts):
        at = 0
        for number, ids in enumerate(own, start=1):
            span = slice(at, at + len(ids))
            tokens[row, span], segment[row, span], offset[row, span] = ids, number, np.arange(len(ids))
            at += len(ids)
            ends[row, at - 1] = 1
    pack = Pack(
        features=torch.from_numpy(features).float(),
        words=torch.zeros(features.shape[:3], dtype=torch.long),
        tokens=torch.from_numpy(tokens),
        segment=torch.from_numpy(segment),
        offset=torch.from_numpy(offset),
        target=torch.full((len(prompts), width), -100),
        weight=torch.zeros(len(prompts), width),
    )
    return pack, torch.from_numpy(ends).bool()
