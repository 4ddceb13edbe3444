"""Lessons packed behind one image prefix are what the served model sees one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from offline.demo_world.art import Art
from offline.training.clip_model import IMAGE_SIZE
from offline.training.dense import normalise
from offline.training.features import FRAMES, TrainingVideo, last_block
from offline.training.packing import Pack, Packer
from offline.training.questions import Lesson, Teacher
from offline.training.ranker_trainer import RankerTrainer, packed_mask
from offline.training.vocabulary import Classes
from ranker_svc.engines.prompting import Prompting
from ranker_svc.engines.protocol import FrameImage
from ranker_svc.engines.reference import ReferenceEngine
from services.deadline import Deadline
from services.policy import default_policy_path, load_policy
from tests.integration.offline.conftest import Exported

SEED = 4
NUMBERS = {"d1": 2, "d2": 1, "d3": 3}
VIDEO = TrainingVideo((("axe", "boy"),) * 2 + (("bug", "cloud"),) * 2, ("weapon_threat",), "how to axe")
CLOSE = {"atol": 2e-4, "rtol": 1e-3}


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """FRAMES frames of coarse noise, in the tower's own size."""
    coarse = np.random.default_rng(2).integers(0, 256, (FRAMES, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((IMAGE_SIZE, IMAGE_SIZE))) for c in coarse])


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(load_policy(default_policy_path()))


@pytest.fixture(scope="module")
def trainer(exported: Exported, loaded: Any, classes: Classes) -> RankerTrainer:
    return RankerTrainer(loaded, exported.tokens, classes).eval()


@pytest.fixture(scope="module")
def packer(exported: Exported, pictures: np.ndarray, teacher: Teacher) -> Packer:
    with torch.no_grad():
        features = last_block(exported.clip, normalise(torch.from_numpy(pictures))).numpy()[None]
    words = np.zeros(features.shape[:3], dtype=np.int16)
    return Packer(features, words, [VIDEO], teacher, exported.tokens, SEED)


@pytest.fixture(scope="module")
def pack(packer: Packer) -> Pack:
    return packer.pack([packer.whole(0)], **NUMBERS)


@pytest.fixture(scope="module")
def lessons(teacher: Teacher) -> list[Lesson]:
    """The lessons that `pack` holds: drawn by a generator with the same seed."""
    return teacher.lessons(VIDEO, np.random.default_rng(SEED), **NUMBERS)


@pytest.fixture(scope="module")
def processor(exported: Exported) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(exported.folder)


def rendered(processor: Any, text: str) -> str:
    content = [{"type": "image"}] * FRAMES + [{"type": "text", "text": text}]
    messages = [{"role": "user", "content": content}]
    made: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return made


@torch.no_grad()
def packed_logits(trainer: RankerTrainer, pack: Pack, lesson: int) -> torch.Tensor:
    """Logits [answer tokens, vocabulary] where lesson number `lesson` (from 0) is asked for its answer."""
    hidden, _ = trainer.hidden(pack)
    asked = (pack.segment[0] == lesson + 1) & (pack.target[0] != -100)
    logits: torch.Tensor = trainer.llava.lm_head(hidden[0, asked])
    return logits


@torch.no_grad()
@pytest.mark.parametrize("number", range(6))
def test_packed_logits_are_those_of_the_served_model(
    loaded: Any, processor: Any, trainer: RankerTrainer, pack: Pack, lessons: list[Lesson], exported: Exported,
    pictures: np.ndarray, number: int,
) -> None:  # fmt: skip
    lesson = lessons[number]
    images = [Image.fromarray(picture) for picture in pictures]
    text = rendered(processor, lesson.text)
    inputs = processor(images=images, text=[text], return_tensors="pt", add_special_tokens=False)
    answer = exported.tokens.encode(" " + lesson.answer, add_special_tokens=False)
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
    served = loaded(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0, -len(answer) - 1 :]
    packed = packed_logits(trainer, pack, number)
    if lesson.answer in ("Yes", "No"):
        assert packed.shape[0] == 1
        served = served[:1]
    else:
        assert packed.shape[0] == len(answer) + 1, "a caption and its end"
    torch.testing.assert_close(packed, served, **CLOSE)


@torch.no_grad()
def test_it_would_be_noticed(trainer: RankerTrainer, pack: Pack) -> None:
    """The tolerance is far below what a wrong frame order, or another lesson's answer, makes."""
    own = packed_logits(trainer, pack, 0)
    turned = replace(pack, features=pack.features.flip(1))
    assert (packed_logits(trainer, turned, 0) - own).abs().max() > 10 * CLOSE["atol"]
    assert (packed_logits(trainer, pack, 1) - own).abs().max() > 10 * CLOSE["atol"]


async def test_the_reference_engine_serves_the_same_logits(
    exported: Exported, loaded: Any, processor: Any, trainer: RankerTrainer, pack: Pack, lessons: list[Lesson],
    pictures: np.ndarray,
) -> None:  # fmt: skip
    yes_no = [(n, lesson) for n, lesson in enumerate(lessons) if lesson.answer in ("Yes", "No")]
    frames = [FrameImage(b"", Image.fromarray(picture)) for picture in pictures]
    engine = ReferenceEngine(str(exported.folder))
    await engine.start()
    try:
        served = await engine.answer(frames, [lesson.text for _, lesson in yes_no], Deadline.after(300))
    finally:
        await engine.close()
    tokens = Prompting(processor, loaded.config).answer_tokens()
    for answer in ("Yes", "No"):
        (taught,) = exported.tokens.encode(f" {answer}", add_special_tokens=False)
        assert taught in (tokens.yes if answer == "Yes" else tokens.no)
    for (number, _), found in zip(yes_no, served.answers, strict=True):
        (logits,) = packed_logits(trainer, pack, number)
        assert found.logit_yes == pytest.approx(float(logits[list(tokens.yes)].logsumexp(0)), abs=1e-3)
        assert found.logit_no == pytest.approx(float(logits[list(tokens.no)].logsumexp(0)), abs=1e-3)


def test_the_mask_by_hand() -> None:
    segment = torch.tensor([[1, 1, 2, 0]])
    seen = packed_mask(segment, 2, torch.float32)[0, 0] == 0
    expected = [
        [1, 0, 0, 0, 0, 0],  # prefix
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],  # lesson 1
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],  # lesson 2
        [1, 1, 0, 0, 0, 1],  # padding
    ]
    assert seen.int().tolist() == expected


@torch.no_grad()
def test_a_lesson_cannot_see_another(trainer: RankerTrainer, pack: Pack) -> None:
    changed = pack.tokens.clone()
    second = pack.segment == 2
    changed[second] = (changed[second] + 7) % 300
    before, _ = trainer.hidden(pack)
    after, _ = trainer.hidden(replace(pack, tokens=changed))
    assert (after[second] - before[second]).abs().max() > 0.1
    torch.testing.assert_close(after[~second], before[~second], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_lesson_sees_its_own_past_alone(trainer: RankerTrainer, pack: Pack) -> None:
    changed = pack.tokens.clone()
    last = int(torch.nonzero(pack.segment[0] == 3)[-1])
    changed[0, last] = (changed[0, last] + 7) % 300
    before, _ = trainer.hidden(pack)
    after, _ = trainer.hidden(replace(pack, tokens=changed))
    torch.testing.assert_close(after[:, :last], before[:, :last], atol=1e-5, rtol=1e-5)
    assert (after[0, last] - before[0, last]).abs().max() > 0.1


@torch.no_grad()
def test_padding_changes_nothing(trainer: RankerTrainer, pack: Pack) -> None:
    def wider(column: torch.Tensor, fill: int) -> torch.Tensor:
        return torch.nn.functional.pad(column, (0, 9), value=fill)

    padded = replace(
        pack, tokens=wider(pack.tokens, 0), segment=wider(pack.segment, 0), offset=wider(pack.offset, 0),
        target=wider(pack.target, -100), weight=wider(pack.weight, 0),
    )  # fmt: skip
    plain, _ = trainer.hidden(pack)
    found, _ = trainer.hidden(padded)
    torch.testing.assert_close(found[:, : plain.shape[1]], plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(trainer.loss(padded, 0.0), trainer.loss(pack, 0.0))


def test_a_pack_spells_out_its_lessons(exported: Exported, pack: Pack, lessons: list[Lesson]) -> None:
    assert pack.segment.max() == len(lessons) == 6
    for number, lesson in enumerate(lessons, start=1):
        own = pack.segment[0] == number
        assert pack.offset[0, own].tolist() == list(range(int(own.sum())))
        target, weight = pack.target[0, own], pack.weight[0, own]
        answer = target[target != -100].tolist()
        text = exported.tokens.decode(pack.tokens[0, own].tolist(), clean_up_tokenization_spaces=False)
        if lesson.answer in ("Yes", "No"):
            assert text == f"\n{lesson.text} ASSISTANT:"
            assert exported.tokens.decode(answer) == f" {lesson.answer}"
        else:
            assert text == f"\n{lesson.text} ASSISTANT: {lesson.answer}"
            assert answer[-1] == exported.tokens.eos_token_id
            assert exported.tokens.decode(answer[:-1]) == f" {lesson.answer}"
        assert float(weight[target != -100].sum()) == pytest.approx(lesson.weight, rel=1e-5)


@torch.no_grad()
def test_the_loss_is_the_weighted_mean_of_the_answers(
    trainer: RankerTrainer, pack: Pack, lessons: list[Lesson]
) -> None:
    total = weight = 0.0
    for number, lesson in enumerate(lessons):
        logits = packed_logits(trainer, pack, number)
        asked = (pack.segment[0] == number + 1) & (pack.target[0] != -100)
        # A lesson's weight is spread over the tokens of its answer: a long caption counts no more than a short one.
        total += lesson.weight * float(torch.nn.functional.cross_entropy(logits, pack.target[0, asked]))
        weight += lesson.weight
    assert float(trainer.loss(pack, 0.0)) == pytest.approx(total / weight, rel=1e-4)


@torch.no_grad()
def test_margins_are_those_of_the_yes_no_lessons_in_order(
    trainer: RankerTrainer, pack: Pack, lessons: list[Lesson], exported: Exported
) -> None:
    margin, truth = trainer.margins(pack)
    asked = [(number, lesson) for number, lesson in enumerate(lessons) if lesson.answer in ("Yes", "No")]
    assert truth.tolist() == [lesson.answer == "Yes" for _, lesson in asked]
    yes, no = (exported.tokens.encode(f" {word}", add_special_tokens=False)[0] for word in ("Yes", "No"))
    for found, (number, _) in zip(margin, asked, strict=True):
        (logits,) = packed_logits(trainer, pack, number)
        assert float(found) == pytest.approx(float(logits[yes] - logits[no]), abs=1e-4)


@torch.no_grad()
def test_alignment_wants_a_patch_near_the_name_of_what_lies_under_it(
    trainer: RankerTrainer, pack: Pack, classes: Classes
) -> None:
    table = trainer.llava.model.language_model.embed_tokens(trainer.name_ids)
    names = (table * trainer.name_mask[..., None]).sum(1)
    fire, boy = (classes.of[name] for name in ("fire", "boy"))
    patches = (names[fire] * 50).expand(1, 1, 64, -1)
    words = torch.full((1, 1, 64), classes.background)
    words[..., 0] = fire
    right = trainer.alignment(patches, words)
    words[..., 0] = boy
    assert trainer.alignment(patches, words) > right + 0.1


def test_joined_videos_are_judged_anew(art: Art, exported: Exported, teacher: Teacher) -> None:
    """Half of a threat and half of a plain video violate only where the threat's half is left."""
    plain = TrainingVideo((("bug", "cloud"),) * FRAMES, (), "")
    features = np.zeros((2, FRAMES, 64, 192), dtype=np.float16)
    features[1] = 1
    made = Packer(features, np.zeros((2, FRAMES, 64), dtype=np.int16), [VIDEO, plain], teacher, exported.tokens, 0)
    kinds = set()
    for _ in range(200):
        seen, _, video = made._draw(FRAMES, 2)
        from_plain = seen[:, 0, 0] == 1
        assert [frame == ("bug", "cloud") for frame in video.frames] == [
            bool(p) or i >= 2 for i, p in enumerate(from_plain)
        ]
        assert video.issues == (("weapon_threat",) if ("axe", "boy") in video.frames else ())
        kinds.add((from_plain.tolist()[0], from_plain.tolist()[-1]))
        short, _, one = made._draw(1, 2)
        assert short.shape[0] == len(one.frames) == 1
        assert one.issues == (("weapon_threat",) if one.frames[0] == ("axe", "boy") else ())
    assert kinds == {(False, False), (True, True), (False, True), (True, False)}


def test_few_labels_are_repeated_and_no_others_are_used(exported: Exported, teacher: Teacher) -> None:
    """D3 asks about the first videos alone; D1 about all."""
    plain = TrainingVideo((("bug", "cloud"),) * FRAMES, (), "")
    features = np.zeros((10, FRAMES, 64, 192), dtype=np.float16)
    features[1:] = np.arange(1, 10)[:, None, None, None]
    words = np.zeros((10, FRAMES, 64), dtype=np.int16)
    made = Packer(features, words, [VIDEO, *[plain] * 9], teacher, exported.tokens, 0, label_share=0.1)
    packs = made.batches(8, frames=1, d1=2, d2=0, d3=2)
    asked, seen = set(), set()
    for _, pack in zip(range(8), packs, strict=False):
        for lessons, own in zip(pack.segment.amax(1).tolist(), pack.features[:, 0, 0, 0].tolist(), strict=True):
            seen.add(own)
            if lessons > 2:
                asked.add(own)
    assert asked == {0.0}
    assert len(seen) > 5
    pack = next(made.batches(8, frames=1, d1=0, d2=0, d3=2))
    assert (pack.features == 0).all(), "without D1 and D2 the others teach nothing"
