"""The embed batcher: what it batches, whom it skips, and that every caller hears something."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from router_svc.batcher import EmbedBatcher
from router_svc.metrics import RouterMetrics
from services.deadline import Deadline
from services.encoder import HashEncoder
from services.errors import DeadlineExceeded, Internal, NotReady, Overloaded
from tests.media_factory import RED, counting, flat


class SteppedEncoder(HashEncoder):
    """Waits for the test before each pass, notes its size, and fails on a black frame."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.running = threading.Event()
        self.sizes: list[int] = []

    def embed_images(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        self.running.set()
        assert self.go.wait(10)
        self.sizes.append(len(frames))
        if any(not frame.any() for frame in frames):
            raise RuntimeError("cannot embed")
        return super().embed_images(frames)


@asynccontextmanager
async def batching(encoder: HashEncoder, **changes: Any) -> AsyncIterator[EmbedBatcher]:
    values = {"max_frames": 8, "max_waiting": 8, "metrics": RouterMetrics(CollectorRegistry()), **changes}
    batcher = EmbedBatcher(encoder, **values)
    await batcher.start()
    try:
        yield batcher
    finally:
        if isinstance(encoder, SteppedEncoder):
            encoder.go.set()
        await batcher.close()


def soon() -> Deadline:
    return Deadline.after(20)


def call(batcher: EmbedBatcher, count: int, deadline: Deadline | None = None, level: int = 1) -> asyncio.Task[Any]:
    return asyncio.create_task(batcher.embed([counting(level)] * count, deadline or soon()))


async def started(encoder: SteppedEncoder) -> None:
    assert await asyncio.to_thread(encoder.running.wait, 10)


async def test_everyone_gets_his_own_vectors() -> None:
    encoder = HashEncoder()
    async with batching(encoder) as batcher:
        videos = [[counting(i), flat(RED)] for i in range(0, 50, 10)]
        answers = await asyncio.gather(*(batcher.embed(video, soon()) for video in videos))
    for video, answer in zip(videos, answers, strict=True):
        np.testing.assert_array_equal(answer, encoder.embed_images(video))


async def test_waiting_callers_share_a_pass_up_to_the_limit() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder) as batcher:
        first = call(batcher, 1)
        await started(encoder)
        others = [call(batcher, 3) for _ in range(3)]
        await asyncio.sleep(0)
        encoder.go.set()
        await asyncio.gather(first, *others)
    assert encoder.sizes == [1, 6, 3]


async def test_a_video_larger_than_a_batch_is_cut() -> None:
    encoder = SteppedEncoder()
    encoder.go.set()
    async with batching(encoder) as batcher:
        assert (await call(batcher, 20)).shape == (20, encoder.dim)
    assert encoder.sizes == [8, 8, 4]


async def test_callers_that_left_and_late_ones_are_skipped() -> None:
    encoder = SteppedEncoder()
    now = 0.0

    def clock() -> float:
        return now

    async with batching(encoder) as batcher:
        first = call(batcher, 1)
        await started(encoder)
        left, late, stays = call(batcher, 2), call(batcher, 3, Deadline.after(5.0, clock)), call(batcher, 1)
        await asyncio.sleep(0)
        left.cancel()
        now = 6.0
        encoder.go.set()
        answers = await asyncio.gather(first, left, late, stays, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert isinstance(answers[2], DeadlineExceeded)
    assert encoder.sizes == [1, 1]


async def test_a_deadline_does_not_wait_for_a_running_pass() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder) as batcher:
        with pytest.raises(DeadlineExceeded):
            await call(batcher, 1, Deadline.after(0.05))


async def test_one_bad_video_fails_alone() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder) as batcher:
        first = call(batcher, 1)
        await started(encoder)
        bad = asyncio.create_task(batcher.embed([flat((0, 0, 0))], soon()))
        good = call(batcher, 2)
        await asyncio.sleep(0)
        encoder.go.set()
        await first
        with pytest.raises(Internal):
            await bad
        assert (await good).shape == (2, encoder.dim)
        assert (await call(batcher, 1)).shape == (1, encoder.dim)


async def test_one_who_leaves_during_a_pass_that_fails_gets_none_of_his_own() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder) as batcher:
        first = call(batcher, 1)
        await started(encoder)
        black = asyncio.create_task(batcher.embed([flat((0, 0, 0))], soon()))
        stays, leaves = call(batcher, 2), call(batcher, 3)
        await asyncio.sleep(0)
        encoder.go.set()
        await first
        leaves.cancel()
        with pytest.raises(Internal):
            await black
        await stays
        await call(batcher, 4)
    assert encoder.sizes == [1, 6, 1, 2, 4]


async def test_admission_is_bounded() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder, max_waiting=1) as batcher:
        first = call(batcher, 1)
        await started(encoder)
        second = call(batcher, 1)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await call(batcher, 1)
        encoder.go.set()
        await asyncio.gather(first, second)


async def test_closing_settles_everyone() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder) as batcher:
        running = call(batcher, 1)
        await started(encoder)
        waiting = call(batcher, 1)
        await asyncio.sleep(0)
        encoder.go.set()
        await batcher.close()
        answers = await asyncio.gather(running, waiting, return_exceptions=True)
        with pytest.raises(NotReady):
            await call(batcher, 1)
    assert all(isinstance(answer, NotReady) for answer in answers)


@pytest.mark.parametrize("wrong", [lambda v: v[:-1], lambda v: v[:, :-1]])
async def test_an_encoder_that_answers_the_wrong_shape_is_an_error(wrong: Callable[[Any], Any]) -> None:
    class Wrong(HashEncoder):
        def embed_images(self, frames: Sequence[np.ndarray]) -> np.ndarray:
            return wrong(super().embed_images(frames))

    async with batching(Wrong()) as batcher:
        with pytest.raises(Internal):
            await call(batcher, 3)


async def test_those_who_left_take_no_place_in_the_queue() -> None:
    encoder = SteppedEncoder()
    async with batching(encoder, max_waiting=2) as batcher:
        first = call(batcher, 1)
        await started(encoder)
        for _ in range(5):
            left = [call(batcher, 1) for _ in range(2)]
            await asyncio.sleep(0)
            for each in left:
                each.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        late = call(batcher, 1, Deadline.after(0.01))
        assert isinstance((await asyncio.gather(late, return_exceptions=True))[0], DeadlineExceeded)
        stays = [call(batcher, 1) for _ in range(2)]
        await asyncio.sleep(0)
        encoder.go.set()
        await asyncio.gather(first, *stays)
    assert encoder.sizes == [1, 2]
