"""Files that kill, hang or blow up their decoder: the caller hears about it, and the next video is served."""

import asyncio
import sys
from pathlib import Path

import pytest

from router_svc.decode_worker import decode_task
from services.contracts import RouteResult, SeedRequest
from services.errors import (
    Internal,
    UndecodableVideo,
    VideoRefused,
    WinnowError,
)
from tests.integration.router.conftest import (
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)
from tests.integration.router.decoding import (
    Clips,
    children_of,
    descriptors,
    full,
    job,
    pool,
    write,
)
from tests.integration.router.hostile import by_content


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize(
    ("command", "code", "cause"),
    [
        (b"DIE-----", "undecodable_video", "crash"),
        (b"SEGV----", "undecodable_video", "crash"),
        (b"ABORT---", "undecodable_video", "crash"),
        (b"KILL----", "undecodable_video", "memory"),
        (b"HANG----", "video_refused", "timeout"),
        (b"SPIN----", "video_refused", "cpu"),
        (b"SLOW----", "undecodable_video", None),
        (b"RAISE---", "undecodable_video", None),
        (b"EAT-----", "video_refused", None),
        (b"GARBAGE-", "undecodable_video", "crash"),
    ],
)
async def test_a_hostile_file_costs_its_own_answer_and_nothing_else(
    tmp_path: Path, clips: Clips, ranker: StandInRanker, command: bytes, code: str, cause: str | None
) -> None:
    timeout_s = 3.0 if command == b"HANG----" else 60.0
    settings = make_settings(tmp_path / "data", decode_workers=2, decode_timeout_s=timeout_s, decode_cpu_s=1.0)
    killer, slice_ = write(tmp_path, command), policy("arson")
    async with running(settings, make_parts(ranker, decode=by_content)) as router:
        decoders = router.pipeline.decoders
        server = decoders._factory._server
        assert server is not None
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        await router.client.route(clips["red"], request_for(clips["red"], slice_), soon())
        await full(decoders, 2)
        before = descriptors()
        for _ in range(2):
            hostile, *good = await asyncio.gather(
                router.client.route(killer, request_for(killer, slice_), soon()),
                *(router.client.route(clips["red"], request_for(clips["red"], slice_), soon()) for _ in range(4)),
                return_exceptions=True,
            )
            assert isinstance(hostile, WinnowError)
            assert hostile.code == code
            assert all(isinstance(each, RouteResult) and each.issues[0].escalated for each in good)
        await full(decoders, 2)
        assert descriptors() <= before
        states = children_of(server.pid)
        assert len(states) == 2
        assert "Z" not in states.values()
        assert list(settings.spool_dir.iterdir()) == []
        metrics = (await router.http.get("/metrics")).text
    assert f'winnow_router_decode_failures_total{{code="{code}"}} 2.0' in metrics
    deaths = [line for line in metrics.splitlines() if line.startswith("winnow_router_decoder_deaths_total{")]
    assert deaths == ([f'winnow_router_decoder_deaths_total{{cause="{cause}"}} 2.0'] if cause else [])
    assert children_of(server.pid) == {}
    assert server.poll() is not None


async def test_cpu_time_is_limited_for_each_video_and_not_for_the_life_of_a_process(
    tmp_path: Path, clips: Clips
) -> None:
    decoders = pool(timeout_s=120.0)
    await decoders.start()
    try:
        for _ in range(3):
            with pytest.raises(UndecodableVideo):
                await decoders.decode(job(write(tmp_path, b"WORK----"), cpu_s=1.0), soon(120))
        assert decoders._idle._queue[0].jobs == 3  # type: ignore[attr-defined]
        with pytest.raises(VideoRefused, match="1 s of CPU time"):
            await decoders.decode(job(write(tmp_path, b"SPIN----"), cpu_s=1.0), soon(120))
    finally:
        await decoders.close()


async def test_a_file_that_is_gone_is_our_fault_and_not_the_videos(tmp_path: Path) -> None:
    decoders = pool(task=decode_task)
    await decoders.start()
    with pytest.raises(Internal):
        await decoders.decode(job(tmp_path / "gone"), soon())
    await decoders.close()
