"""The pool of decoders: places, deadlines, replacements, and its end."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from router_svc.decode_processes import StartFailed, WorkerFactory
from router_svc.sandbox import WorkerLimits
from services.deadline import Deadline
from services.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    UndecodableVideo,
)
from tests.integration.router.conftest import (
    soon,
)
from tests.integration.router.decoding import (
    Clips,
    children_of,
    descriptors,
    full,
    job,
    lives,
    pool,
    write,
)
from tests.integration.router.hostile import by_content


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


async def test_the_pool_survives_the_death_of_idle_decoders(clips: Clips) -> None:
    decoders = pool(workers=2)
    await decoders.start()
    try:
        for _ in range(2):
            worker = await decoders._idle.get()
            assert worker is not None
            os.kill(worker.pid, signal.SIGKILL)
            decoders._idle.put_nowait(worker)
        await asyncio.sleep(0.2)
        assert (await decoders.decode(job(clips["red"]), soon())).frames
        await full(decoders, 2)
    finally:
        await decoders.close()


async def test_the_pool_survives_the_death_of_its_fork_server(tmp_path: Path, clips: Clips) -> None:
    decoders = pool(workers=2, timeout_s=60.0)
    await decoders.start()
    try:
        server = decoders._factory._server
        assert server is not None
        hanging = asyncio.create_task(decoders.decode(job(write(tmp_path, b"HANG----")), soon()))
        await asyncio.sleep(0.3)
        server.kill()
        with pytest.raises(NotReady):  # the video is not to blame: the caller may ask again
            await hanging
        assert (await decoders.decode(job(clips["red"]), soon())).frames
        await full(decoders, 2)
        assert decoders._factory._server is not server
    finally:
        await decoders.close()


async def test_a_worker_is_replaced_after_so_many_videos(clips: Clips) -> None:
    decoders = pool(tasks_per_worker=2)
    await decoders.start()
    try:
        pids = []
        for _ in range(4):
            await full(decoders, 1)
            pids.append(decoders._idle._queue[0].pid)  # type: ignore[attr-defined]
            await decoders.decode(job(clips["red"]), soon())
    finally:
        await decoders.close()
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_callers_that_leave_in_crowds_leave_no_process_and_no_thread_behind(tmp_path: Path, clips: Clips) -> None:
    before = set(threading.enumerate())
    decoders = pool(workers=2, waiting=40, timeout_s=60.0)
    await decoders.start()
    server = decoders._factory._server
    assert server is not None
    hang = write(tmp_path, b"HANG----")
    left = await asyncio.gather(
        *(decoders.decode(job(hang), Deadline.after(0.1 + 0.02 * i)) for i in range(20)), return_exceptions=True
    )
    assert all(isinstance(each, DeadlineExceeded) for each in left)
    await full(decoders, 2)
    assert len(children_of(server.pid)) == 2
    assert (await decoders.decode(job(clips["red"]), soon())).frames
    await decoders.close()
    assert [each.name for each in set(threading.enumerate()) - before if each.name.startswith("decoder")] == []


async def test_closing_ends_what_decodes_and_refuses_what_waits(tmp_path: Path, clips: Clips) -> None:
    decoders = pool(workers=2, timeout_s=60.0)
    before = descriptors()
    await decoders.start()
    server = decoders._factory._server
    assert server is not None
    hang = write(tmp_path, b"HANG----")
    asked = [asyncio.create_task(decoders.decode(job(hang), soon())) for _ in range(4)]
    await asyncio.sleep(0.3)
    await decoders.close()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, NotReady) for each in answers)
    assert server.poll() is not None
    assert descriptors() <= before


async def test_a_decoder_that_cannot_be_replaced_for_want_of_descriptors_is_replaced_later(
    tmp_path: Path, clips: Clips
) -> None:
    decoders = pool(timeout_s=60.0)
    await decoders.start()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        hanging = asyncio.create_task(decoders.decode(job(write(tmp_path, b"HANG----")), Deadline.after(1.0)))
        await asyncio.sleep(0.3)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limit[1]))
        await asyncio.gather(hanging, return_exceptions=True)
        await asyncio.sleep(0.3)
        assert decoders.idle == 0
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        await full(decoders, 1)
        assert (await decoders.decode(job(clips["red"]), soon())).frames
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        await decoders.close()


async def test_what_a_service_manager_sends_to_all_processes_ends_no_decoder(tmp_path: Path) -> None:
    decoders = pool(timeout_s=60.0)
    await decoders.start()
    server = decoders._factory._server
    assert server is not None
    slow = asyncio.create_task(decoders.decode(job(write(tmp_path, b"SLOW----")), soon()))
    await asyncio.sleep(0.2)
    for pid in (server.pid, *children_of(server.pid)):
        os.kill(pid, signal.SIGTERM)
    with pytest.raises(UndecodableVideo):  # what SLOW answers; NotReady where the fork server died
        await slow
    assert server.poll() is None
    await decoders.close()


def test_a_decoder_of_a_former_fork_server_is_not_looked_for_by_its_id() -> None:
    factory = WorkerFactory(by_content, WorkerLimits(memory_bytes=2 * 1024**3))
    old = factory.spawn()
    assert factory._server is not None
    factory._server.kill()
    with pytest.raises(StartFailed):
        factory.spawn()
    new = factory.spawn()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        old.pid = stranger.pid  # the kernel gives ids away again
        factory.end(old)
        stranger.communicate(b"\n")
    factory.end(new)
    factory.stop()
    assert stranger.returncode == 0


_ROUTER = """
import sys, threading
from pathlib import Path
from router_svc.decode_processes import WorkerFactory
from router_svc.sandbox import WorkerLimits
from tests.integration.router.hostile import by_content
from tests.integration.router.test_hostile import job
factory = WorkerFactory(by_content, WorkerLimits(memory_bytes=2 * 1024**3))
worker = factory.spawn()
threading.Thread(target=worker.ask, args=[job(Path(sys.argv[1]))], daemon=True).start()
print(factory._server.pid, worker.pid, flush=True)
threading.Event().wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="decoders die with their parent on Linux alone")
def test_a_router_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ROUTER, str(write(tmp_path, b"HANG----"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as router:
        assert router.stdout is not None
        left = {int(pid) for pid in router.stdout.readline().split()}
        time.sleep(0.3)
        router.kill()
    assert len(left) == 2
    until = time.monotonic() + 10
    while any(lives(pid) for pid in left):
        assert time.monotonic() < until
        time.sleep(0.02)
