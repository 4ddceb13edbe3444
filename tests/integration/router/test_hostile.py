"""Files that kill, hang or blow up their decoder: the caller hears about it, and the next video is served."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from router_svc.decode_pool import DecodePool
from router_svc.decode_worker import DecodeJob, WorkerLimits, decode_task
from router_svc.metrics import RouterMetrics
from services.contracts import SeedRequest
from services.deadline import Deadline
from services.errors import DeadlineExceeded, Internal, Overloaded, UndecodableVideo, VideoRefused, WinnowError
from services.media import MediaLimits, SamplingPlan
from tests.integration.router.conftest import (
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)
from tests.integration.router.hostile import by_content

Clips = dict[str, Path]


def write(directory: Path, command: bytes) -> Path:
    path = directory / command.decode().strip("-").lower()
    path.write_bytes(command + b"0" * 100)
    return path


def job(path: Path, cpu_s: int = 10) -> DecodeJob:
    return DecodeJob(path=path, plan=SamplingPlan(), short_side=64, limits=MediaLimits(), cpu_s=cpu_s)


def pool(**changes: Any) -> DecodePool:
    values: dict[str, Any] = {
        "workers": 1,
        "waiting": 4,
        "timeout_s": 10.0,
        "limits": WorkerLimits(memory_bytes=2 * 1024**3),
        "metrics": RouterMetrics(CollectorRegistry()),
        "task": by_content,
        **changes,
    }
    return DecodePool(**values)


async def test_a_dying_decoder_leaves_the_service_alive(tmp_path: Path, clips: Clips, ranker: StandInRanker) -> None:
    settings, killer = make_settings(tmp_path / "data"), write(tmp_path, b"DIE-----")
    async with running(settings, make_parts(ranker, decode=by_content)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        for _ in range(2):
            with pytest.raises(UndecodableVideo):
                await router.client.route(killer, request_for(killer, policy("arson")), soon())
        result = await router.client.route(clips["red"], request_for(clips["red"], policy("arson")), soon())
        metrics = (await router.http.get("/metrics")).text
    assert result.issues[0].escalated
    assert 'winnow_router_decode_failures_total{code="undecodable_video"} 2.0' in metrics


@pytest.mark.parametrize(
    ("command", "error"),
    [(b"HANG----", VideoRefused), (b"EAT-----", UndecodableVideo), (b"RAISE---", UndecodableVideo)],
)
async def test_every_end_has_an_error(tmp_path: Path, clips: Clips, command: bytes, error: type[WinnowError]) -> None:
    decoders = pool(timeout_s=3.0)
    await decoders.start()
    try:
        with pytest.raises(error):
            await decoders.decode(job(write(tmp_path, command)), soon())
        assert len((await decoders.decode(job(clips["red"]), soon())).frames) == 8
    finally:
        await decoders.close()


async def test_cpu_time_is_limited_for_each_video(tmp_path: Path, clips: Clips) -> None:
    decoders = pool(timeout_s=120.0)
    await decoders.start()
    try:
        await decoders.decode(job(clips["red"], cpu_s=1), soon())
        with pytest.raises(UndecodableVideo):
            await decoders.decode(job(write(tmp_path, b"SPIN----"), cpu_s=1), soon(120))
        await decoders.decode(job(clips["red"], cpu_s=1), soon())
    finally:
        await decoders.close()


async def test_a_deadline_kills_the_decoder_and_frees_it(tmp_path: Path, clips: Clips) -> None:
    decoders = pool(timeout_s=60.0)
    await decoders.start()
    try:
        with pytest.raises(DeadlineExceeded):
            await decoders.decode(job(write(tmp_path, b"HANG----")), Deadline.after(0.3))
        assert (await decoders.decode(job(clips["red"]), soon())).frames
    finally:
        await decoders.close()


async def test_waiting_is_bounded_and_a_caller_that_leaves_costs_nothing(tmp_path: Path, clips: Clips) -> None:
    decoders = pool(waiting=1, timeout_s=60.0)
    await decoders.start()
    try:
        hanging = asyncio.create_task(decoders.decode(job(write(tmp_path, b"HANG----")), soon()))
        await asyncio.sleep(0.3)
        waiting = asyncio.create_task(decoders.decode(job(clips["red"]), soon()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await decoders.decode(job(clips["red"]), soon())
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        next_one = asyncio.create_task(decoders.decode(job(clips["blue"]), soon()))
        hanging.cancel()
        assert (await next_one).frames
    finally:
        await decoders.close()


async def test_the_pool_survives_the_death_of_an_idle_decoder(clips: Clips) -> None:
    import multiprocessing
    import os
    import signal

    known = {child.pid for child in multiprocessing.active_children()}
    decoders = pool()
    await decoders.start()
    try:
        (child,) = [each for each in multiprocessing.active_children() if each.pid not in known]
        os.kill(child.pid or 0, signal.SIGKILL)
        await asyncio.sleep(0.5)
        assert (await decoders.decode(job(clips["red"]), soon())).frames
    finally:
        await decoders.close()


async def test_a_decoder_imports_neither_torch_nor_the_web(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    decoders = pool()
    await decoders.start()
    try:
        with pytest.raises(UndecodableVideo) as caught:
            await decoders.decode(job(write(tmp_path, b"MODULES-")), soon())
    finally:
        await decoders.close()
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.args == ("",)


async def test_callers_that_leave_while_the_pool_is_mended_leave_no_processes(tmp_path: Path, clips: Clips) -> None:
    decoders = pool()
    await decoders.start()
    assert decoders._pool is not None
    first = decoders._pool
    await asyncio.to_thread(first.stop)
    await asyncio.to_thread(first.join)
    made = []
    make = decoders._make
    decoders._make = lambda: made.append(make()) or made[-1]  # type: ignore[method-assign, func-returns-value]
    for _ in range(3):
        with pytest.raises(DeadlineExceeded):
            await decoders.decode(job(clips["red"]), Deadline.after(0.01))
    await decoders.decode(job(clips["red"]), soon())
    assert len(made) == 1
    await decoders.close()
    assert not made[0].active


async def test_a_file_that_is_gone_is_our_fault_and_not_the_videos(tmp_path: Path) -> None:
    decoders = pool(task=decode_task)
    await decoders.start()
    with pytest.raises(Internal):
        await decoders.decode(job(tmp_path / "gone"), soon())
    await decoders.close()
