"""The spool: the directory that holds videos while they are decided, bounded in bytes and kept off a full disk."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from services.errors import StorageFull
from services.web import HeldSpool, free_bytes, hold_spool, used_bytes

logger = logging.getLogger(__name__)

MEASURE_EVERY_S = 1.0
"""Between two looks at the disk. What others write in between is met by the free space that is kept."""


class Spool:
    """Books bytes before they are written, so that concurrent uploads cannot fill the disk together.

    A single process owns the directory: what lies in it at start is left over from a crash and is removed. A booking
    looks at no disk: the bytes that are free together with those that the spool holds do not change by what the spool
    writes, so that a measure of the moment before stays true as far as the spool itself is concerned.
    """

    def __init__(self, directory: Path, *, max_bytes: int, min_free_bytes: int) -> None:
        self.directory = directory
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._booked = 0
        self._room: int | None = None

    @property
    def booked_bytes(self) -> int:
        """Bytes promised to the videos in flight."""
        return self._booked

    @asynccontextmanager
    async def held(self) -> AsyncIterator[int]:
        """Own the emptied directory and keep an eye on its disk for the block; gives the number of leftovers removed.

        Raises:
            SpoolBusy: another process owns it.
            OSError: it cannot be made or emptied.
        """
        directory: HeldSpool = await asyncio.to_thread(hold_spool, self.directory)
        try:
            self._room = await asyncio.to_thread(self._measure)
            watching = asyncio.create_task(self._watch())
            try:
                yield directory.removed
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        finally:
            directory.release()

    @contextmanager
    def booking(self, size: int) -> Iterator[Callable[[int], None]]:
        """Hold room for `size` bytes; gives a function that keeps no more than what turns out to be needed.

        Raises:
            StorageFull: the spool's bound, or the free space that the disk must keep, would be crossed.
        """
        if self._booked + size > self._max_bytes:
            raise StorageFull("The gateway's spool is full; send the video again when others are done.")
        if self._room is None or self._room - self._booked - size < self._min_free_bytes:
            raise StorageFull("The gateway's disk has too little free space for this video.")
        held = size
        self._booked += held

        def shrink(needed: int) -> None:
            nonlocal held
            spare = max(0, held - needed)
            held -= spare
            self._booked -= spare

        try:
            yield shrink
        finally:
            self._booked -= held

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(MEASURE_EVERY_S)
            try:
                self._room = await asyncio.to_thread(self._measure)
            except OSError as error:
                # The room that was is kept: an upload that cannot be written is told by its own error.
                logger.warning("the spool's disk cannot be measured", extra={"reason": str(error)})

    def _measure(self) -> int:
        """Bytes that the spool may hold in all: free ones and its own. Blocks.

        The free bytes are read before and after: what comes or goes meanwhile is counted as nothing rather than twice.
        """
        before = free_bytes(self.directory)
        own = used_bytes(self.directory)
        return own + min(before, free_bytes(self.directory))


def room_needed(content_length: str | None, *, max_body_bytes: int) -> int:
    """Bytes to book for a body: what the client declares, at most `max_body_bytes`; all of that where it does not.

    A body over the limit is refused while it is read, so no more than the limit is ever written.
    """
    if content_length is None or not content_length.isdecimal():
        return max_body_bytes
    return min(int(content_length), max_body_bytes)
