"""Files of videos in flight: written and hashed as they arrive."""

import errno
import hashlib
import os
import secrets
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio import to_thread

from services.errors import StorageFull

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass
class SpoolFile:
    """A file that is written and hashed in worker threads: every method blocks, and one runs at a time.

    A cancelled task leaves its worker thread running: `discard` waits for it, and what comes later does nothing.
    """

    path: Path
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0
    _descriptor: int = -1
    _discarded: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def open(self) -> None:
        """Make the file, and its directory where that is missing."""
        with self._lock:
            if not self._discarded:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Append, hash and count; raises OSError where the disk, a quota or a size limit stops it."""
        with self._lock:
            if self._discarded:
                return
            self.digest.update(data)
            self.size += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Close the file and keep it; nothing happens the second time."""
        with self._lock:
            self._close()

    def discard(self) -> None:
        """Remove the file."""
        with self._lock:
            self._discarded = True
            self.path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@asynccontextmanager
async def spool_file(directory: Path) -> AsyncIterator[SpoolFile]:
    """A new file in the directory for the block to write; it is closed at the end, and removed where the block fails.

    Raises:
        StorageFull: the disk, a quota or a file size limit stopped the write.
    """
    file = SpoolFile(directory / f"upload-{secrets.token_hex(8)}")
    try:
        await to_thread.run_sync(file.open)
        yield file
        await to_thread.run_sync(file.close)
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(file.discard)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise StorageFull("There is no room to store the video.") from error
        raise
