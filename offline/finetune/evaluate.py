"""Held-out evaluation: the answers' loss on each data set, and how well p(Yes) ranks the questions of D3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from offline.finetune.batches import Batch, EncodedSamples, answer_logits, answer_losses, load_batches
from offline.finetune.data import Sample
from offline.finetune.recipe import Part, Precision
from offline.finetune.schedule import share
from offline.statistics import pr_auc, roc_auc


@dataclass(frozen=True)
class Seen:
    """What the model made of one held-out sample: its loss, and the logit of Yes minus that of No for those of D3."""

    index: int
    loss: float
    margin: float


@dataclass(frozen=True)
class HeldOut:
    """Losses by data set, and the areas over the questions of D3 (None where all have one answer)."""

    losses: dict[Part, float]
    counts: dict[Part, int]
    roc_auc: float | None
    pr_auc: float | None

    def loss(self, parts: Sequence[Part]) -> float:
        """Mean over the samples of some data sets."""
        return sum(self.losses[p] * self.counts[p] for p in parts) / sum(self.counts[p] for p in parts)


def evaluate(
    accelerator: Accelerator,
    model: Any,
    encoded: EncodedSamples,
    samples: Sequence[Sample],
    yes_no: tuple[list[int], list[int]],
    *,
    precision: Precision,
    micro_batch: int,
    pad: int,
    workers: int,
) -> HeldOut:
    """Evaluate on all samples, each process on its share; every process gets the result."""
    world = accelerator.num_processes
    # Filled up to equal shares: processes may have to meet at every batch.
    wanted = [i % len(samples) for i in range(-(-len(samples) // world) * world)]
    pieces = share(wanted, rank=accelerator.process_index, world=world, micro_batch=micro_batch)
    model.eval()
    seen: list[Seen] = []
    with torch.no_grad():
        for batches in load_batches(encoded, pieces, pad=pad, workers=workers):
            for batch in batches:
                seen += _seen(model, batch.to(accelerator.device), yes_no, precision)
    model.train()
    everything = {each.index: each for each in gather_object(seen)}
    return summarise(samples, [everything[index] for index in range(len(samples))])


def _seen(model: Any, batch: Batch, yes_no: tuple[list[int], list[int]], precision: Precision) -> list[Seen]:
    logits = answer_logits(model, batch, precision)
    losses = answer_losses(logits, batch.targets)
    first = (batch.targets != -100).int().argmax(1)
    answers = logits[torch.arange(len(first)), first]
    yes, no = (answers[:, ids].logsumexp(1) for ids in yes_no)
    columns = zip(batch.samples, losses.tolist(), (yes - no).tolist(), strict=True)
    return [Seen(*row) for row in columns]


def summarise(samples: Sequence[Sample], seen: Sequence[Seen]) -> HeldOut:
    """Means and areas. `seen[i]` is of `samples[i]`."""
    grouped: dict[Part, list[float]] = {}
    for sample, each in zip(samples, seen, strict=True):
        grouped.setdefault(sample.part, []).append(each.loss)
    asked = [(sample.answer == "Yes", each.margin) for sample, each in zip(samples, seen, strict=True)
             if sample.part == "d3"]  # fmt: skip
    truth, margin = np.array([yes for yes, _ in asked], dtype=np.bool_), np.array([value for _, value in asked])
    both = bool(truth.any() and not truth.all())
    weight = np.ones(len(asked))
    return HeldOut(
        losses={part: float(np.mean(values)) for part, values in grouped.items()},
        counts={part: len(values) for part, values in grouped.items()},
        roc_auc=roc_auc(margin, truth, weight) if both else None,
        pr_auc=pr_auc(margin, truth, weight) if both else None,
    )
