"""Storages: a real directory, fsspec's memory, and a remote one that is slow, gone or broken half-way."""

import asyncio
import os
import random
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from services.storage import Storage, StorageUnavailable, StorageUrlError

DATA = random.Random(4).randbytes(300_000)


class Remote(MemoryFileSystem):
    """Another file system, whose calls may fail or wait; not told by its name to be in memory."""

    protocol = "remote"
    store: dict[str, Any] = {}  # noqa: RUF012 # as the class that it is made of
    pseudo_dirs = [""]  # noqa: RUF012
    failure: BaseException | None = None
    gate = threading.Event()
    fetched = threading.Event()

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        self.gate.wait(20)
        self._may_fail()
        return bytes(super().cat_file(path, *args, **kwargs))

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        super().get_file(rpath, lpath, **kwargs)
        if not self.gate.is_set():
            self.gate.wait(20)
            # As one that was still at it when its caller left.
            Path(lpath).write_bytes(b"late")
            self.fetched.set()
        self._may_fail()

    def pipe_file(self, path: str, value: bytes, *args: Any, **kwargs: Any) -> None:
        self._may_fail()
        super().pipe_file(path, value, *args, **kwargs)

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def remote() -> Iterator[type[Remote]]:
    fsspec.register_implementation("remote", Remote, clobber=True)
    Remote.gate.set()
    yield Remote
    Remote.failure = None
    Remote.gate.set()
    Remote.store.clear()


@pytest.fixture(params=["file", "path", "memory", "remote"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "remote":
        request.getfixturevalue("remote")
    return {
        "file": f"file://{tmp_path}/a place",
        "path": f"{tmp_path}/other",
        "memory": f"memory://{secrets.token_hex(8)}",
        "remote": "remote://bucket/prefix",
    }[request.param]


@pytest.fixture
def storage(url: str) -> Storage:
    return Storage(url)


async def test_what_is_put_is_read_and_fetched_whole(storage: Storage, url: str, tmp_path: Path) -> None:
    await storage.put("seeds/ab/0.jpg", b"before")
    await storage.put("seeds/ab/0.jpg", DATA)
    assert await storage.read("seeds/ab/0.jpg") == DATA
    local = tmp_path / "fetched"
    assert await storage.fetch("seeds/ab/0.jpg", local) == len(DATA)
    assert local.read_bytes() == DATA
    assert await storage.has("seeds/ab/0.jpg")
    assert not await storage.has("seeds/ab/1.jpg")
    assert await Storage(url).read("seeds/ab/0.jpg") == DATA


async def test_a_local_file_is_put(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    await storage.put_file("media/1", source)
    source.write_bytes(b"changed")
    assert await storage.read("media/1") == DATA


@pytest.mark.parametrize("place", ["directory", "memory"])
async def test_many_read_one_file_at_a_time(tmp_path: Path, place: str) -> None:
    storage = Storage(f"memory://{secrets.token_hex(8)}" if place == "memory" else str(tmp_path / "storage"))
    large = DATA * 40
    await storage.put("media/1", large)
    paths = [tmp_path / str(number) for number in range(12)]
    read = asyncio.gather(*(storage.read("media/1") for _ in paths))
    await asyncio.gather(*(storage.fetch("media/1", path) for path in paths))
    assert set(await read) == {large}
    assert all(path.read_bytes() == large for path in paths)


async def test_what_is_not_there_is_told(storage: Storage, tmp_path: Path) -> None:
    for missing in ("nothing", "seeds/nothing/0.jpg"):
        with pytest.raises(FileNotFoundError):
            await storage.read(missing)
        with pytest.raises(FileNotFoundError):
            await storage.fetch(missing, tmp_path / "fetched")
        assert not (tmp_path / "fetched").exists()
        assert not await storage.has(missing)
        await storage.delete(missing)
    assert await storage.older("nothing", datetime.now(UTC)) == []


async def test_files_and_folders_are_deleted(storage: Storage) -> None:
    for key in ("seeds/ab/0.jpg", "seeds/ab/1.jpg", "seeds/abc/0.jpg"):
        await storage.put(key, b"x")
    await storage.delete("seeds/ab/0.jpg")
    assert not await storage.has("seeds/ab/0.jpg")
    assert await storage.has("seeds/ab/1.jpg")
    await storage.delete("seeds/ab")
    assert not await storage.has("seeds/ab/1.jpg")
    assert not await storage.has("seeds/ab")
    assert await storage.has("seeds/abc/0.jpg")


async def test_old_files_are_named_by_their_keys(storage: Storage) -> None:
    await storage.put("media/b/2", b"x")
    await storage.put("media/1", b"x")
    await storage.put("other/3", b"x")
    now = datetime.now(UTC)
    assert await storage.older("media", now + timedelta(seconds=5)) == ["media/1", "media/b/2"]
    assert await storage.older("media", now - timedelta(seconds=60)) == []


async def test_a_file_with_a_name_that_is_no_key_is_passed_over(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    await storage.put("media/1", b"x")
    (tmp_path / "media" / "a copy").write_bytes(b"x")
    assert await storage.older("media", datetime.now(UTC) + timedelta(seconds=5)) == ["media/1"]


async def test_the_age_of_a_file_counts_from_when_it_was_last_written(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    await storage.put("media/1", b"x")
    await storage.put("media/2", b"x")
    old = time.time() - 3_600
    for name in ("1", "2"):
        os.utime(tmp_path / "media" / name, (old, old))
    await storage.put("media/1", b"y")
    assert await storage.older("media", datetime.now(UTC) - timedelta(minutes=30)) == ["media/2"]


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".", "a b", "a\0", "ä", "~/x"]
)
async def test_what_is_no_key_is_refused(storage: Storage, tmp_path: Path, key: str) -> None:
    calls = [
        storage.put(key, b"x"),
        storage.put_file(key, tmp_path),
        storage.read(key),
        storage.fetch(key, tmp_path / "x"),
        storage.has(key),
        storage.delete(key),
        storage.older(key, datetime.now(UTC)),
    ]
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, ValueError), result
    assert not (tmp_path / "x").exists()


async def test_a_file_that_could_not_be_written_whole_is_not_there(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    await storage.put("media/1", b"before")
    with pytest.raises(StorageUnavailable, match="Is a directory"):
        await storage.put_file("media/1", tmp_path)
    assert await storage.read("media/1") == b"before"
    await storage.put("media/2/a", b"x")
    with pytest.raises(StorageUnavailable, match="Is a directory"):
        await storage.put("media/2", b"y")
    assert sorted(path.name for path in (tmp_path / "storage" / "media").iterdir()) == ["1", "2"]


async def test_readers_never_see_a_part_of_a_file(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    versions = [bytes([number]) * 400_000 for number in range(2)]
    await storage.put("media/1", versions[0])

    async def write() -> None:
        for number in range(30):
            await storage.put("media/1", versions[number % 2])

    writing = asyncio.create_task(write())
    seen = 0
    while not writing.done():
        assert await storage.read("media/1") in versions
        seen += 1
    assert seen > 5


async def test_what_a_crash_left_behind_can_be_found_and_deleted(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / ".part-0123").write_bytes(b"half")
    assert await storage.older("media", datetime.now(UTC) + timedelta(seconds=5)) == ["media/.part-0123"]
    await storage.delete("media/.part-0123")
    assert list((tmp_path / "media").iterdir()) == []


async def test_what_is_written_is_its_owners_alone_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    storage = Storage(str(tmp_path / "there" / "storage"))
    source = tmp_path / "source"
    source.write_bytes(DATA)
    await storage.put("media/a/1", b"x")
    await storage.put_file("media/a/2", source)
    await storage.fetch("media/a/1", tmp_path / "fetched")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in [*tmp_path.rglob("*")] if each != source}
    directories = {"there": 0o755, **dict.fromkeys(("storage", "media", "a"), 0o700)}
    assert modes == directories | dict.fromkeys(("1", "2", "fetched"), 0o600)


async def test_a_storage_that_fails_is_unavailable_and_its_text_is_not_told(
    remote: type[Remote], tmp_path: Path
) -> None:
    storage = Storage("remote://bucket")
    await storage.put("media/1", DATA)
    for failure in (RuntimeError("key hunter2"), ConnectionResetError(104, "hunter2"), TimeoutError("hunter2")):
        remote.failure = failure
        calls = (storage.put("a", b""), storage.read("media/1"), storage.fetch("media/1", tmp_path / "fetched"))
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, StorageUnavailable), result
            assert "hunter2" not in str(result)
        assert not (tmp_path / "fetched").exists()
    remote.failure = None
    assert await storage.read("media/1") == DATA


async def test_a_caller_who_leaves_does_not_wait_for_a_storage_that_hangs(remote: type[Remote]) -> None:
    storage = Storage("remote://bucket")
    await storage.put("media/1", DATA)
    remote.gate.clear()
    started = time.monotonic()
    with pytest.raises(TimeoutError), anyio.fail_after(0.1):
        await storage.read("media/1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await storage.read("media/1")
    assert time.monotonic() - started < 5
    remote.gate.set()
    assert await storage.read("media/1") == DATA


async def test_a_file_that_nobody_waits_for_any_more_is_not_left_behind(remote: type[Remote], tmp_path: Path) -> None:
    storage = Storage("remote://bucket")
    await storage.put("media/1", DATA)
    remote.gate.clear()
    fetching = asyncio.create_task(storage.fetch("media/1", tmp_path / "fetched"))
    async with asyncio.timeout(10):
        while not (tmp_path / "fetched").exists():
            await asyncio.sleep(0.01)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    remote.fetched.clear()
    remote.gate.set()
    assert await asyncio.to_thread(remote.fetched.wait, 10)
    async with asyncio.timeout(10):
        while (tmp_path / "fetched").exists():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("wrong", "says"), [("", "file"), ("nonsense://u:hunter2@x", "nonsense"), ("adl://u:hunter2@b/p", "adl")]
)
def test_a_wrong_url_is_told_without_its_password(wrong: str, says: str) -> None:
    with pytest.raises(StorageUrlError, match=says) as caught:
        Storage(wrong)
    assert "hunter2" not in str(caught.value)
