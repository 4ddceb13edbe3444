"""Samples as padded batches, and the loss of the answers. The prompt is never a target."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from offline.finetune.data import Sample
from offline.finetune.frames import FrameCache
from offline.finetune.prompting import Encoded, SampleEncoder
from offline.finetune.recipe import Precision


@dataclass(frozen=True)
class Batch:
    """Samples whose tensors of frames fit together.

    Attributes:
        samples: their indices.
        inputs: keyword arguments of the model; `input_ids` is [b, n], padded on the right.
        targets: [b, k], the answers' tokens at the last k positions but one that the model predicts from; -100 where
            there is none.
    """

    samples: tuple[int, ...]
    inputs: Mapping[str, Any]
    targets: torch.Tensor

    def to(self, device: Any) -> "Batch":
        """The same on a device."""
        inputs = {key: value.to(device) if hasattr(value, "to") else value for key, value in self.inputs.items()}
        return Batch(self.samples, inputs, self.targets.to(device))


class EncodedSamples(Dataset[tuple[int, Encoded]]):
    """Samples by index, encoded when asked for."""

    def __init__(self, samples: Sequence[Sample], cache: FrameCache, encoder: SampleEncoder) -> None:
        self._samples, self._cache, self._encoder = samples, cache, encoder

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[int, Encoded]:
        sample = self._samples[index]
        return index, self._encoder.encode(self._cache.load(sample.video), sample)


def load_batches(
    samples: EncodedSamples, pieces: Sequence[Sequence[int]], *, pad: int, workers: int
) -> Iterator[list[Batch]]:
    """For each piece its samples, as few batches as their frames allow; prepared by `workers` processes."""
    # The type of a batch sampler is that of lists.
    sampler: Any = [list(piece) for piece in pieces]
    yield from DataLoader(samples, batch_sampler=sampler, collate_fn=partial(batches_of, pad=pad), num_workers=workers)


def batches_of(encoded: Sequence[tuple[int, Encoded]], pad: int) -> list[Batch]:
    """Batches of samples; videos of which other numbers of frames are shown may need one of their own."""
    groups: dict[tuple[Any, ...], list[tuple[int, Encoded]]] = {}
    for index, each in encoded:
        shape = tuple(sorted((key, tuple(value.shape[1:])) for key, value in each.vision.items()))
        groups.setdefault(shape, []).append((index, each))
    return [_batch(group, pad) for group in groups.values()]


def _batch(group: Sequence[tuple[int, Encoded]], pad: int) -> Batch:
    rows = [each for _, each in group]
    width = max(len(row.ids) for row in rows)
    # From the position before the shortest prompt's end on, logits are wanted.
    kept = width - min(len(row.ids) - row.answer for row in rows) + 1
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), width + 1), -100)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
        start = len(row.ids) - row.answer
        targets[i, start : len(row.ids)] = torch.tensor(row.ids[start:])
    vision = {key: torch.cat([row.vision[key] for row in rows]) for key in rows[0].vision}
    if rows[0].token_types is not None:
        types = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            types[i, : len(row.token_types or ())] = torch.tensor(row.token_types)
        vision["mm_token_type_ids"] = types
    inputs = {"input_ids": ids, "attention_mask": mask, **vision, "logits_to_keep": kept, "use_cache": False}
    return Batch(tuple(index for index, _ in group), inputs, targets[:, 1:][:, -kept:])


def answer_logits(model: Any, batch: Batch, precision: Precision) -> torch.Tensor:
    """Logits [b, k, vocabulary], float32, that predict `batch.targets`."""
    with torch.autocast(batch.targets.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: torch.Tensor = model(**batch.inputs).logits
    return logits.float()


def answer_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean next-token loss of each sample's answer, [b]: a caption weighs as much as a Yes."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none")
    asked = targets != -100
    return (losses.view_as(targets) * asked).sum(1) / asked.sum(1)
