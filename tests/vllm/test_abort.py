"""Requests whose caller has left or whose deadline has passed are aborted in vLLM, running or waiting."""

import asyncio
from collections.abc import Callable

import pytest

from ranker_svc.engines.vllm.engine import VllmEngine
from services.deadline import Deadline
from services.errors import DeadlineExceeded
from tests.vllm.conftest import Counters, Frames

PROMPTS = [f"Question {index}: does this video violate the policy? Answer Yes or No." for index in range(8)]
LONG_PROMPTS = [f"{prompt} {'Does this video show fire? ' * 150}" for prompt in PROMPTS]
"""They cost the model much and the renderer little, so that prompts have to wait for the model."""
REQUESTS = 16
SCHEDULED = "vllm:prefix_cache_queries_total"
"""Tokens of the prompts that the scheduler has looked at to run them."""
LONG_S = 120.0


async def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_caller_that_leaves_ends_its_requests(engine: VllmEngine, noise: Frames, counters: Counters) -> None:
    videos = [noise(2) for _ in range(REQUESTS)]
    tokens = counters()
    await engine.answer(noise(2), LONG_PROMPTS, Deadline.after(LONG_S))
    before = counters()
    tokens_of_one = before(SCHEDULED) - tokens(SCHEDULED)
    asked = [asyncio.create_task(engine.answer(frames, LONG_PROMPTS, Deadline.after(LONG_S))) for frames in videos]
    # More prompts than fit into a step: some run, some wait in vLLM, and some are still prepared.
    await until(lambda: counters()("vllm:num_requests_running") > 0 and counters()("vllm:num_requests_waiting") > 0)
    assert engine.waiting > 0
    for task in asked:
        task.cancel()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(each, asyncio.CancelledError) for each in ended)
    assert engine.waiting == 0
    # A step that had begun ends; its successor has nothing but the next caller's prompts.
    await engine.answer(noise(2), LONG_PROMPTS, Deadline.after(LONG_S))
    after = counters()
    assert after("vllm:num_requests_running") == 0
    assert after("vllm:num_requests_waiting") == 0
    assert after("vllm:kv_cache_usage_perc") == 0
    scheduled = (after(SCHEDULED) - before(SCHEDULED)) / tokens_of_one
    assert scheduled < 1 + REQUESTS / 2


async def test_a_deadline_that_passes_meanwhile_ends_them(engine: VllmEngine, noise: Frames) -> None:
    async def ask() -> None:
        deadline = Deadline.after(0.15)
        async with deadline.limit():
            await engine.answer(noise(8), PROMPTS, deadline)

    ended = await asyncio.gather(*(ask() for _ in range(24)), return_exceptions=True)
    assert any(isinstance(each, DeadlineExceeded) for each in ended)
    assert all(each is None or isinstance(each, DeadlineExceeded) for each in ended)
    assert engine.waiting == 0
    assert len((await engine.answer(noise(2), PROMPTS[:1], Deadline.after(LONG_S))).answers) == 1


@pytest.mark.parametrize("rest", [0, 1, 3, 10], ids=lambda rest: f"{rest} turns of the loop")
async def test_frames_of_a_caller_that_left_can_be_asked_about_again(
    engine: VllmEngine, noise: Frames, rest: int
) -> None:
    """vLLM's two caches must not drift apart for good: one has noted the frames, the other may never get them."""
    frames = noise(4)
    asked = asyncio.create_task(engine.answer(frames, PROMPTS[:2], Deadline.after(LONG_S)))
    await until(lambda: engine.waiting > 0)
    for _ in range(rest):
        await asyncio.sleep(0.004)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    expected = await engine.answer(frames, PROMPTS[:2], Deadline.after(LONG_S))
    again = await engine.answer(frames, PROMPTS[:2], Deadline.after(LONG_S))
    for one, other in zip(expected.answers, again.answers, strict=True):
        assert one.logit_yes == pytest.approx(other.logit_yes, abs=0.01)
