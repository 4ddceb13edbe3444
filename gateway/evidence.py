"""Evidence: the videos of decisions that were not allowed, kept for some days so that operators can make seeds of them.

A video is taken out of the spool by renaming it, which no decision waits for longer than for a directory entry, and is
then stored at leisure.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from services.contracts import Decision, Verdict
from services.errors import NotFound, NotReady
from services.storage import Storage, StorageUnavailable, make_private
from services.web import free_bytes

logger = logging.getLogger(__name__)

FIRST_SWEEP_S = 10.0
SWEEP_EVERY_S = 3_600.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Pauses between the tries to store a video double up to this."""
_AT_ONCE = 4
"""Videos that are stored at a time."""
_WAITING = re.compile(r"(review|block)\.(dec_[0-9a-f]{32})")


class Evidence:
    """Keeps videos under `<verdict>/<decision id>`.

    Args:
        storage: where they are kept.
        waiting: directory of those that are on their way there, on the spool's disk; of this process alone. What a
            crash left in it is stored after the next start.
        days: for which the videos of each verdict are kept; 0, or no entry: they are not.
        max_waiting_bytes: most bytes of those on their way; further videos are not kept.
        path: directory of the storage where it is local.
        min_free_bytes: that its disk is left with.
        outcomes: counts `kept`, `delayed` (the storage failed at first), `failed`, `no_room` and `removed`.
    """

    def __init__(
        self,
        storage: Storage,
        waiting: Path,
        *,
        days: Mapping[Verdict, int],
        max_waiting_bytes: int,
        path: Path | None,
        min_free_bytes: int,
        outcomes: Counter,
    ) -> None:
        self._storage = storage
        self._directory = waiting
        self._days = days
        self._max_waiting_bytes = max_waiting_bytes
        self._path = path
        self._min_free_bytes = min_free_bytes
        self._outcomes = outcomes
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting_bytes = 0
        self._moving: dict[str, asyncio.Event] = {}
        """Videos that are not stored yet; set once each has been tried."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store what the process before left, and sweep now and then, for as long as the block runs."""
        for name, size in await asyncio.to_thread(_left, self._directory):
            self._store_soon(name, size)
        self._start(self._sweeping())
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def keep(self, decision: Decision, path: Path) -> None:
        """Take the video of a recorded decision out of the spool where its verdict is one to keep; never raises.

        It is stored after this has returned, and later where the storage fails. Where it cannot be kept, its file
        stays in the spool.
        """
        if self._days.get(decision.verdict):
            await asyncio.shield(self._start(self._take(_name(decision), path)))

    async def fetch(self, decision: Decision, path: Path) -> int:
        """Copy the video of a decision into a new file; its size in bytes.

        Raises:
            NotFound: it was never kept, or is no longer; the detail says which.
            NotReady: the storage cannot be reached, or could not be when the video was to be stored.
        """
        moving = self._moving.get(_name(decision))
        if moving is not None:
            await moving.wait()
        try:
            return await self._storage.fetch(f"{decision.verdict}/{decision.id}", path)
        except FileNotFoundError:
            if _name(decision) in self._moving:
                raise NotReady("The video of this decision is not stored yet.", retry_after_s=1.0) from None
            raise NotFound(self._why_missing(decision)) from None
        except StorageUnavailable as error:
            logger.error("a kept video cannot be read", extra={"reason": str(error), "decision_id": decision.id})
            raise NotReady("The storage of kept videos cannot be read now.", retry_after_s=1.0) from error

    async def sweep(self) -> None:
        """Remove the videos whose days are over."""
        for verdict, days in self._days.items():
            try:
                for key in await self._storage.older(verdict, datetime.now(UTC) - timedelta(days=days)):
                    await self._storage.delete(key)
                    self._outcomes.labels("removed").inc()
            except StorageUnavailable as error:
                logger.warning("old videos cannot be removed", extra={"reason": str(error), "verdict": verdict})

    async def _sweeping(self) -> None:
        await asyncio.sleep(FIRST_SWEEP_S)
        while True:
            try:
                await self.sweep()
            except Exception:
                logger.exception("old videos could not be looked after")
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _take(self, name: str, path: Path) -> None:
        room = self._max_waiting_bytes - self._waiting_bytes
        try:
            size = await asyncio.to_thread(_rename, path, self._directory / name, room)
        except OSError as error:
            self._failed(name, error)
            return
        if size is None:
            self._no_room(name, "too many videos wait to be stored")
            return
        self._store_soon(name, size)

    def _store_soon(self, name: str, size: int) -> None:
        self._waiting_bytes += size
        self._moving[name] = tried = asyncio.Event()

        def ended(_: asyncio.Task[None]) -> None:
            self._moving.pop(name, None)
            tried.set()

        self._start(self._store(name, size, tried)).add_done_callback(ended)

    async def _store(self, name: str, size: int, tried: asyncio.Event) -> None:
        """Cancelled, it leaves the file for the next start."""
        path, pause = self._directory / name, FIRST_PAUSE_S
        while not await self._settled(name, path, size, again=tried.is_set()):
            tried.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._waiting_bytes -= size
        with suppress(OSError):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _settled(self, name: str, path: Path, size: int, *, again: bool) -> bool:
        """Try to store a waiting video: whether it is stored, or never will be. `again`: it was tried before."""
        async with self._slots:
            try:
                if self._path is not None and await asyncio.to_thread(_free, self._path) - size < self._min_free_bytes:
                    self._no_room(name, "the disk has too little free space")
                else:
                    await self._put(name.replace(".", "/"), path)
            except (StorageUnavailable, OSError) as error:
                days = self._days.get("block" if name.startswith("block.") else "review", 0)
                if await asyncio.to_thread(_worth_waiting, path, days):
                    if not again:
                        self._delayed(name, error)
                    return False
                self._failed(name, error)
        return True

    async def _put(self, key: str, path: Path) -> None:
        # A process that ended between storing a video and removing its file leaves one that is kept already.
        if not await self._storage.has(key):
            await self._storage.put_file(key, path)
            self._outcomes.labels("kept").inc()

    def _delayed(self, name: str, error: Exception) -> None:
        self._outcomes.labels("delayed").inc()
        logger.error("a video waits to be kept as evidence", extra={"video": name, "reason": _why(error)})

    def _failed(self, name: str, error: Exception) -> None:
        self._outcomes.labels("failed").inc()
        logger.error("a video is not kept as evidence", extra={"video": name, "reason": _why(error)})

    def _no_room(self, name: str, why: str) -> None:
        self._outcomes.labels("no_room").inc()
        logger.warning("a video is not kept as evidence", extra={"video": name, "reason": why})

    def _why_missing(self, decision: Decision) -> str:
        days = self._days.get(decision.verdict)
        if days is None:
            kept = " and ".join(f"`{verdict}`" for verdict in self._days)
            return f"The verdict of this decision is `{decision.verdict}`; videos are kept of {kept} alone."
        if days == 0:
            return f"This gateway keeps no videos of the verdict `{decision.verdict}`."
        if datetime.now(UTC) - decision.created_at >= timedelta(days=days):
            return f"The video of this decision is no longer kept: those of `{decision.verdict}` are for {days} days."
        return "The video of this decision could not be kept; the gateway's log says why."

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _name(decision: Decision) -> str:
    return f"{decision.verdict}.{decision.id}"


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, StorageUnavailable) else type(error).__name__


def _left(directory: Path) -> list[tuple[str, int]]:
    """Names and sizes in bytes of what waits in the directory. Blocks."""
    found = directory.iterdir() if directory.is_dir() else ()
    return [(path.name, path.stat().st_size) for path in found if _WAITING.fullmatch(path.name)]


def _rename(path: Path, to: Path, room: int) -> int | None:
    """The file's size in bytes; None, and it stays where it is, where that is more than `room`. Blocks."""
    size = path.stat().st_size
    if size > room:
        return None
    make_private(to.parent)
    path.rename(to)
    return size


def _worth_waiting(path: Path, days: int) -> bool:
    """Whether a file may be stored later: it can be read here, and its days are not over. Blocks."""
    try:
        return os.access(path, os.R_OK) and time.time() - path.stat().st_mtime < days * 86_400.0
    except OSError:
        return False


def _free(directory: Path) -> int:
    """Free bytes of the disk that the directory is on, or will be. Blocks."""
    make_private(directory)
    return free_bytes(directory)
