"""No room: every place taken, the spool or the disk full, the database down or locked, the service shutting down."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store import MemoryStore
from services.contracts import Decision, ModerationRequest
from tests.integration.catalogue.cascade import MAX_VIDEO, POLICY, problem_of, until
from tests.integration.catalogue.conftest import Start
from tests.integration.catalogue.raw import END, answer, hang_up, head, video
from tests.integration.gateway.test_process import free_port

COVERS = ("overloaded", "storage_full", "not_ready", "internal")


async def test_overload_is_told_before_a_byte_of_the_body(start: Start) -> None:
    async with start(gateway_settings={"max_concurrent_decisions": 1, "overload_retry_after_s": 3.0}) as cascade:
        body = video(cascade.good) + END
        first_reader, first = await cascade.connect()
        first.write(head(len(body)) + body[:100])
        await until(lambda: len(cascade.spooled()) == 1)
        calls, spooled = cascade.router.calls, len(cascade.spooled())
        # The headers alone are sent: an answer that needed the body would never come.
        reader, writer = await cascade.connect()
        writer.write(head(MAX_VIDEO))
        response = await answer(reader, seconds=5.0)
        await hang_up(writer)
        assert response.headers["Retry-After"] == "3"
        assert (response.status_code, problem_of(response).code) == (429, "overloaded")
        assert problem_of(response).retryable
        assert (cascade.router.calls, len(cascade.spooled())) == (calls, spooled)
        first.write(body[100:])
        assert (await answer(first_reader)).status_code == 200
        await hang_up(first)
        await cascade.is_well()


@pytest.mark.parametrize("announced", [True, False])
async def test_a_full_spool_is_told_before_the_body(start: Start, announced: bool) -> None:
    async with start(gateway_settings={"spool_max_bytes": 50_000}) as cascade:
        reader, writer = await cascade.connect()
        writer.write(head(60_000 if announced else None))
        response = await answer(reader, seconds=5.0)
        await hang_up(writer)
        await cascade.refuses(response, 507, "storage_full")


async def test_a_disk_that_must_keep_room(start: Start) -> None:
    async with start(gateway_settings={"spool_min_free_bytes": 2**60}) as cascade:
        response = await cascade.send()
        assert problem_of(response).code == "storage_full"
        assert (response.status_code, cascade.spooled()) == (507, [])


async def test_a_store_that_is_down_gives_no_decision(start: Start) -> None:
    store = MemoryStore()
    async with start(store=store) as cascade:
        kept = await cascade.decide()
        store.available = False
        response = await cascade.send()
        assert response.headers["Retry-After"] == "1"
        assert problem_of(response).code == "not_ready"
        read = await cascade.client.get(f"/v1/decisions/{kept.id}")
        assert (read.status_code, problem_of(read).code) == (503, "not_ready")
        store.available = True
        assert list(store.decisions) == [kept.id]
        await cascade.is_well()


async def test_a_database_that_is_locked(start: Start) -> None:
    async with start(gateway_settings={"database_timeout_s": 0.3}) as cascade:
        await cascade.decide()
        other = sqlite3.connect(cascade.settings.data_dir / "gateway" / "gateway.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        response = await cascade.send()
        assert (response.status_code, problem_of(response).code) == (503, "not_ready")
        other.execute("ROLLBACK")
        other.close()
        await cascade.is_well()


class Faulty(MemoryStore):
    """A store with a bug."""

    broken = True

    async def add(self, decision: Decision, request: ModerationRequest) -> None:
        if self.broken:
            raise RuntimeError("INSERT INTO decisions VALUES ('secret') failed at /home/winnow/store.py")
        await super().add(decision, request)


async def test_a_fault_of_ours_tells_nothing_about_itself(start: Start) -> None:
    store = Faulty()
    async with start(store=store) as cascade:
        response = await cascade.send()
        assert "secret" not in response.text
        assert (response.status_code, problem_of(response).code) == (500, "internal")
        store.broken = False
        await cascade.is_well()


async def test_work_that_a_shutdown_does_not_wait_for(start: Start) -> None:
    async with start(gateway_settings={"shutdown_grace_s": 0.2}) as cascade:
        sending = asyncio.create_task(cascade.send(b"HANG----" + bytes(100)))
        await until(lambda: cascade.app.state.admission.taken == 1 and cascade.router.calls > 0)
        cascade.server.should_exit = True
        response = await sending
        assert (response.status_code, problem_of(response).code) == (503, "not_ready")
        assert cascade.spooled() == []


@asynccontextmanager
async def gateway_process(folder: Path, *prefix: str, **settings: Any) -> AsyncIterator[tuple[int, int]]:
    """A gateway alone, behind a command that confines it; its process id and port."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    port = free_port()
    given = {
        "port": port,
        "data_dir": folder / "data",
        "policy_path": folder / "policy.yaml",
        "router_url": "http://127.0.0.1:9",
        "router_attempts": 1,
        "spool_min_free_bytes": 0,
        "max_video_bytes": MAX_VIDEO,
        **settings,
    }
    environment = {f"WINNOW_GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
    command = [*prefix, sys.executable, "-m", "gateway"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stderr=log, env={**os.environ, **environment})
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(30):
            while True:
                try:
                    await client.get("/health/live")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield process.pid, port
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def upload_of(port: int, data: bytes, *, pause_after: int, meanwhile: Any) -> httpx.Response:
    """Send an upload, do something in the middle of it, and read the answer."""
    body = video(data) + END
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head(len(body)) + body[:pause_after])
    await writer.drain()
    await meanwhile()
    writer.write(body[pause_after:])
    try:
        return await answer(reader)
    finally:
        await hang_up(writer)


async def nothing() -> None:
    """Nothing happens."""


async def test_a_file_that_may_not_grow_is_removed(tmp_path: Path) -> None:
    """The kernel refuses to write beyond RLIMIT_FSIZE, as it does beyond a quota."""
    limit = 1_200_000
    confined = ("sh", "-c", f'ulimit -f {limit // 512}; exec "$@"', "sh")
    async with gateway_process(tmp_path, *confined) as (_, port):
        response = await upload_of(port, bytes(MAX_VIDEO - 1_000), pause_after=1_000, meanwhile=nothing)
        assert (response.status_code, problem_of(response).code) == (507, "storage_full")
        assert list((tmp_path / "data" / "gateway" / "spool").iterdir()) == []
        small = await upload_of(port, bytes(1_000), pause_after=10, meanwhile=nothing)
        assert (small.status_code, small.json()["route"]) == (200, "degraded")


def can_mount() -> bool:
    """Whether a small file system can be mounted here, in a name space of its own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="name spaces cannot be made here")
async def test_a_disk_that_fills_up_in_mid_upload(tmp_path: Path) -> None:
    """A file system of 4 MB, filled while an upload is under way that it had room for when it began."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    confined = ("unshare", "-rm", "sh", "-c", mount, str(disk))
    async with gateway_process(tmp_path, *confined, spool_dir=disk / "spool") as (pid, port):
        inside = Path(f"/proc/{pid}/root{disk}")
        filler = inside / "filler"

        async def fill() -> None:
            await until(lambda: any((inside / "spool").iterdir()))
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(bytes(8_000_000))

        response = await upload_of(port, bytes(MAX_VIDEO - 1_000), pause_after=1_000, meanwhile=fill)
        assert (response.status_code, problem_of(response).code) == (507, "storage_full")
        assert [path for path in (inside / "spool").iterdir() if path.is_file()] == []
        full = await upload_of(port, bytes(100_000), pause_after=10, meanwhile=nothing)
        assert problem_of(full).code == "storage_full"
        filler.unlink()
        again = await upload_of(port, bytes(MAX_VIDEO - 1_000), pause_after=10, meanwhile=nothing)
        assert (again.status_code, again.json()["route"]) == (200, "degraded")
        assert [path for path in (inside / "spool").iterdir() if path.is_file()] == []
