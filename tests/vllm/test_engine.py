"""The vllm engine on the bundled model: its answers are the reference engine's, alone and among many."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ranker_svc.answers import p_yes
from ranker_svc.engines.protocol import RawAnswer
from ranker_svc.engines.reference import ReferenceEngine
from ranker_svc.engines.vllm.engine import VllmEngine
from ranker_svc.settings import bundled_model
from services.contracts import IssueQuestions, PromptName
from services.deadline import Deadline
from services.errors import DeadlineExceeded, InvalidPayload
from services.prompts import plan
from tests.vllm.conftest import Counters, Frames

CLIPS = ("test-violation-00000", "test-violation-00003", "test-look_alike-00001", "test-other-00002")
ISSUES = {
    "weapon threat": "A weapon is pointed at somebody.",
    "arson": "Somebody sets a house on fire.",
    "animal cruelty": "An animal is hurt.",
}
LONG_S = 120.0


def prompts_of(prompt: PromptName, issues: int = len(ISSUES)) -> tuple[str, ...]:
    asked = [
        IssueQuestions(id=f"issue_{index}", name=name, definition=definition, prompt=prompt)
        for index, (name, definition) in enumerate(list(ISSUES.items())[:issues])
    ]
    return plan(asked).prompts


def assert_alike(answers: tuple[RawAnswer, ...], others: tuple[RawAnswer, ...], tolerance: float = 0.02) -> None:
    assert len(answers) == len(others)
    for one, other in zip(answers, others, strict=True):
        assert p_yes(one) == pytest.approx(p_yes(other), abs=tolerance)
        assert one.answer_mass == pytest.approx(other.answer_mass, abs=tolerance)


@pytest.fixture(scope="module")
async def reference() -> AsyncIterator[ReferenceEngine]:
    engine = ReferenceEngine(bundled_model())
    await engine.start()
    yield engine
    await engine.close()


@pytest.mark.parametrize("prompt", ["P1", "P2", "P3", "P4"])
@pytest.mark.parametrize("clip", CLIPS)
async def test_its_answers_are_the_reference_engines(
    engine: VllmEngine, reference: ReferenceEngine, clip_frames: Frames, clip: str, prompt: PromptName
) -> None:
    frames, prompts = clip_frames(clip), prompts_of(prompt)
    result = await engine.answer(frames, prompts, Deadline.after(LONG_S))
    expected = await reference.answer(frames, prompts, Deadline.after(LONG_S))
    assert_alike(result.answers, expected.answers)
    assert set(result.stages) == {"preprocess", "queue", "infer"}
    assert all(seconds >= 0 for seconds in result.stages.values())


async def test_the_bundled_model_answers_both_ways(engine: VllmEngine, clip_frames: Frames) -> None:
    """Otherwise agreement between engines would prove little."""
    found = [await engine.answer(clip_frames(clip), prompts_of("P1"), Deadline.after(LONG_S)) for clip in CLIPS]
    scores = [p_yes(result.answers[0]) for result in found]
    assert max(scores) - min(scores) > 0.2


async def test_logits_are_log_probabilities_and_the_mass_is_their_sum(engine: VllmEngine, noise: Frames) -> None:
    (answer,) = (await engine.answer(noise(), ["Is this noise?"], Deadline.after(LONG_S))).answers
    assert answer.logit_yes < 0
    assert answer.logit_no < 0
    assert answer.answer_mass == pytest.approx(math.exp(answer.logit_yes) + math.exp(answer.logit_no))


async def test_answers_are_in_the_order_of_the_prompts(engine: VllmEngine, noise: Frames) -> None:
    frames, prompts = noise(), [*prompts_of("P4"), "Short?", "Is anything in this video on fire?"]
    together = await engine.answer(frames, prompts, Deadline.after(LONG_S))
    alone = [await engine.answer(frames, [prompt], Deadline.after(LONG_S)) for prompt in prompts]
    assert_alike(together.answers, tuple(each.answers[0] for each in alone), 0.005)
    assert len({round(answer.logit_yes, 3) for answer in together.answers}) == len(prompts)


async def test_frames_and_their_order_matter(engine: VllmEngine, clip_frames: Frames) -> None:
    frames = clip_frames(CLIPS[0])
    results = [
        await engine.answer(shown, prompts_of("P3", 1), Deadline.after(LONG_S))
        for shown in (frames, frames[::-1], frames[:4])
    ]
    assert len({round(each.answers[0].logit_yes, 4) for each in results}) == 3


async def test_many_requests_at_once_each_get_their_own_answers(engine: VllmEngine, noise: Frames) -> None:
    videos, prompts = [noise(1 + index % 4) for index in range(24)], prompts_of("P2")
    alone = [await engine.answer(frames, prompts, Deadline.after(LONG_S)) for frames in videos]
    together = await asyncio.gather(*(engine.answer(frames, prompts, Deadline.after(LONG_S)) for frames in videos))
    for one, other in zip(together, alone, strict=True):
        assert_alike(one.answers, other.answers, 0.005)
    said = {tuple((round(a.logit_yes, 4), round(a.logit_no, 4)) for a in each.answers) for each in alone}
    assert len(said) == len(videos), "no answer could stand for another's"
    assert engine.waiting == 0


async def test_the_event_loop_stays_free(engine: VllmEngine, noise: Frames) -> None:
    """Not a measure of speed: preprocessing on the event loop would hold it for as long as a request takes."""
    longest, stop = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            before = loop.time()
            await asyncio.sleep(0.005)
            longest = max(longest, loop.time() - before)

    watching = asyncio.create_task(watch())
    videos = [noise(8, side=700) for _ in range(4)]
    began = asyncio.get_running_loop().time()
    longest = 0.0
    await asyncio.gather(*(engine.answer(frames, prompts_of("P2"), Deadline.after(LONG_S)) for frames in videos))
    took = asyncio.get_running_loop().time() - began
    stop.set()
    await watching
    assert longest < max(0.25, took / 4)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (5_000, r"The text alone is [56]\d{3} tokens; with the frames the model takes 4095\."),
        (4_000, r"The frames and the text are 4\d{3} tokens; the model takes 4095\."),
    ],
)
async def test_what_is_too_long_is_refused_before_vllm_gets_it(
    engine: VllmEngine, noise: Frames, counters: Counters, words: int, reason: str
) -> None:
    frames, before = noise(2), counters()("vllm:prompt_tokens_total")
    with pytest.raises(InvalidPayload, match=reason):
        await engine.answer(frames, ["a " * words], Deadline.after(LONG_S))
    assert counters()("vllm:prompt_tokens_total") == before
    assert engine.waiting == 0
    # The frames were prepared and never sent; whoever asks about them next must not suffer for it.
    assert len((await engine.answer(frames, ["Short?"], Deadline.after(LONG_S))).answers) == 1


async def test_a_deadline_that_has_passed_costs_nothing(engine: VllmEngine, noise: Frames, counters: Counters) -> None:
    before = counters()("vllm:prompt_tokens_total")
    with pytest.raises(DeadlineExceeded):
        await engine.answer(noise(), ["Short?"], Deadline.after(0.0))
    assert counters()("vllm:prompt_tokens_total") == before


async def test_it_is_healthy_and_says_who_it_is(engine: VllmEngine, reference: ReferenceEngine) -> None:
    assert await engine.health() is None
    assert engine.identity == reference.identity.model_copy(update={"engine": "vllm"})
    assert engine.identity.name == Path(bundled_model()).name


async def test_vllms_metrics_name_the_model_as_ours_do(engine: VllmEngine, counters: Counters) -> None:
    """On the default registry other engines of this process have left theirs."""
    assert counters()("vllm:num_requests_running", model_name=engine.identity.name) == 0
