"""The keys in force: read when the gateway is built, and again whenever their file changes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from services.api_keys import ApiKey, KeysError, KeySet, load_keys, utc_now

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""Between two looks at the file."""

_Stamp = tuple[int, int, int, int]


class KeyRing:
    """The keys of a file. A file that is broken later on leaves the keys that were, and an error in the log.

    Args:
        path: of the file.
        now: the time by which keys expire.

    Raises:
        services.api_keys.KeysError: the file cannot be used.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._now = now
        # Before the file is read: a change in between is seen at the next look.
        self._stamp = _stamp(path)
        self._keys = load_keys(path)

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, unless it is unknown or has expired."""
        return self._keys.find(presented, self._now())

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the file now and then for as long as the block runs."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            read = await asyncio.to_thread(self._read_if_changed)
            if read is not None:
                self._keys = read
                logger.info("the API keys were read again", extra={"keys": len(read.keys)})

    def _read_if_changed(self) -> KeySet | None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            return load_keys(self._path)
        except KeysError as error:
            logger.error("the changed API keys cannot be used; the ones before stay", extra={"reason": str(error)})
            return None


def _stamp(path: Path) -> _Stamp | None:
    """What changes with a file, also where another one is put in its place, or where it becomes readable."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
