"""Batches: padding changes nothing, the prompt is no target, and every sample weighs the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from offline.finetune.batches import EncodedSamples, answer_logits, answer_losses, batches_of, load_batches
from offline.finetune.data import Sample
from offline.finetune.frames import FrameCache, Frames
from offline.finetune.model import load_model, load_processor
from offline.finetune.prompting import Encoded, SampleEncoder
from offline.finetune.recipe import Recipe
from tests.integration.offline.finetune.conftest import FAMILIES


@pytest.fixture(scope="module", params=list(FAMILIES))
def loaded(request: pytest.FixtureRequest, checkpoints: Callable[[str], Path]) -> tuple[Any, SampleEncoder]:
    folder = str(checkpoints(request.param))
    model = load_model(folder, None, Recipe(), dtype=torch.float32).eval()
    return model, SampleEncoder(load_processor(folder, None), model.config)


def alone(model: Any, encoded: Encoded) -> float:
    """The mean loss of an answer, by the textbook: the whole sequence, no padding, all logits."""
    ids = torch.tensor([encoded.ids])
    types = {} if encoded.token_types is None else {
        "mm_token_type_ids": torch.tensor([[*encoded.token_types, *[0] * encoded.answer]])
    }  # fmt: skip
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **encoded.vision, **types).logits[0]
    start = len(encoded.ids) - encoded.answer
    chances = logits.log_softmax(-1)
    told = [chances[place - 1, encoded.ids[place]] for place in range(start, len(encoded.ids))]
    return -float(torch.stack(told).mean())


@torch.no_grad()
def test_losses_are_those_of_each_sample_alone(
    loaded: tuple[Any, SampleEncoder], cache: FrameCache, samples: list[Sample]
) -> None:
    model, encoder = loaded
    mixed = [samples[0], samples[10], samples[20], samples[-1]]
    encoded = [(i, encoder.encode(cache.load(each.video), each)) for i, each in enumerate(mixed)]
    assert len({each.answer for _, each in encoded}) > 1
    found: dict[int, float] = {}
    for batch in batches_of(encoded, encoder.pad):
        losses = answer_losses(answer_logits(model, batch, "fp32"), batch.targets)
        found |= dict(zip(batch.samples, losses.tolist(), strict=True))
    assert [found[i] for i in range(4)] == pytest.approx([alone(model, each) for _, each in encoded], rel=1e-4)


def test_videos_with_other_numbers_of_frames_go_apart_where_they_must(
    loaded: tuple[Any, SampleEncoder], cache: FrameCache, samples: list[Sample]
) -> None:
    model, encoder = loaded
    frames = cache.load(samples[0].video)
    shown = [frames, Frames(frames.images[:1], frames.times_s[:1]), frames]
    batches = batches_of([(i, encoder.encode(each, samples[0])) for i, each in enumerate(shown)], encoder.pad)
    assert sorted(index for batch in batches for index in batch.samples) == [0, 1, 2]
    assert len(batches) == (2 if model.config.model_type == "llava_onevision" else 1)
    with torch.no_grad():
        for batch in batches:
            assert torch.isfinite(answer_losses(answer_logits(model, batch, "fp32"), batch.targets)).all()


def test_the_prompt_is_no_target(loaded: tuple[Any, SampleEncoder], cache: FrameCache, samples: list[Sample]) -> None:
    _, encoder = loaded
    encoded = [(i, encoder.encode(cache.load(each.video), each)) for i, each in enumerate([samples[12], samples[-1]])]
    targets = [row[row != -100].tolist() for batch in batches_of(encoded, encoder.pad) for row in batch.targets]
    assert targets == [list(each.ids[-each.answer :]) for _, each in encoded]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_batches_come_in_the_order_asked_for(
    checkpoints: Callable[[str], Path], cache: FrameCache, samples: list[Sample], workers: int
) -> None:
    folder = str(checkpoints("llava"))
    processor = load_processor(folder, None)
    encoder = SampleEncoder(processor, load_model(folder, None, Recipe(), dtype=torch.float32).config)
    pieces = [[3, 1], [7], [2, 9]]
    batches = list(load_batches(EncodedSamples(samples, cache, encoder), pieces, pad=0, workers=workers))
    assert [[index for batch in piece for index in batch.samples] for piece in batches] == pieces
