"""Frames of a request are preprocessed and encoded once, however many prompts ask about them: vLLM's own counters."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from ranker_svc.engines.protocol import FrameImage
from ranker_svc.engines.vllm.engine import VllmEngine
from services.deadline import Deadline
from tests.vllm.conftest import Counters, EncoderRuns, Frames

FRAMES = 8
TOKENS_PER_FRAME = 64
BLOCK = 32
LONG_S = 120.0


def prompts(count: int) -> list[str]:
    return [f"Does this video show kind {index} of violation? Answer Yes or No." for index in range(count)]


@dataclass(frozen=True)
class Cost:
    """What one request cost: frames preprocessed and encoded, prompt tokens in all and those not found in the cache."""

    preprocessed: float
    encoded: int
    tokens: float
    computed: float


Measure = Callable[[Sequence[FrameImage], int], Awaitable[Cost]]


@pytest.fixture
def cost(engine: VllmEngine, counters: Counters, encoder_runs: EncoderRuns) -> Measure:
    """Asks `count` prompts about frames, and says what that cost."""

    async def measure(frames: Sequence[FrameImage], count: int) -> Cost:
        before, encoded = counters(), encoder_runs.count
        await engine.answer(frames, prompts(count), Deadline.after(LONG_S))
        after = counters()

        def grew(name: str) -> float:
            return after(name) - before(name)

        return Cost(
            preprocessed=grew("vllm:mm_cache_queries_total") - grew("vllm:mm_cache_hits_total"),
            encoded=encoder_runs.count - encoded,
            tokens=grew("vllm:prefix_cache_queries_total"),
            computed=grew("vllm:prefix_cache_queries_total") - grew("vllm:prefix_cache_hits_total"),
        )

    return measure


@pytest.mark.parametrize("count", [1, 2, 8])
async def test_frames_are_preprocessed_and_encoded_once(cost: Measure, noise: Frames, count: int) -> None:
    spent = await cost(noise(FRAMES), count)
    assert spent.preprocessed == FRAMES
    assert spent.encoded == FRAMES


async def test_the_second_to_eighth_question_cost_their_own_tokens(cost: Measure, noise: Frames) -> None:
    one, eight = await cost(noise(FRAMES), 1), await cost(noise(FRAMES), 8)
    assert one.computed == one.tokens > FRAMES * TOKENS_PER_FRAME
    # Whole blocks are shared: at most one block's tokens and the question are computed again.
    question = one.tokens - FRAMES * TOKENS_PER_FRAME
    assert eight.computed - one.computed <= 7 * (BLOCK + question + 2)
    assert eight.tokens > 7 * one.tokens


async def test_a_video_that_comes_again_is_not_encoded_again(cost: Measure, noise: Frames) -> None:
    frames = noise(FRAMES)
    await cost(frames, 2)
    again = await cost(frames, 4)
    assert (again.preprocessed, again.encoded) == (0, 0)


async def test_other_frames_share_nothing(cost: Measure, noise: Frames) -> None:
    await cost(noise(FRAMES), 1)
    other = await cost(noise(FRAMES), 1)
    assert (other.preprocessed, other.encoded) == (FRAMES, FRAMES)
    assert other.computed > FRAMES * TOKENS_PER_FRAME
