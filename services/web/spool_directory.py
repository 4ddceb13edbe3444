"""The directory of videos in flight: one process owns it, and how full it and its disk are."""

import errno
import fcntl
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_NO_LOCKS = frozenset({errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.ENOSYS})


class SpoolBusy(OSError):
    """Another process uses the directory; it would lose its videos if this one emptied it."""


@dataclass
class HeldSpool:
    """A spool directory that belongs to this process until it is released or the process ends, however it ends.

    Attributes:
        removed: files that a crash had left.
        descriptor: of the locked directory.
    """

    removed: int
    descriptor: int

    def release(self) -> None:
        """Let another process have the directory; nothing happens the second time."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def hold_spool(directory: Path) -> HeldSpool:
    """Create the directory, keep other processes out of it, and empty it. Blocks: call it off the loop.

    Raises:
        SpoolBusy: another process holds it.
        OSError: it cannot be made or emptied.
    """
    directory.mkdir(parents=True, exist_ok=True)
    held = HeldSpool(0, os.open(directory, os.O_RDONLY | os.O_DIRECTORY))
    try:
        _lock(directory, held.descriptor)
        leftovers = [path for path in directory.iterdir() if path.is_file()]
        for path in leftovers:
            path.unlink(missing_ok=True)
    except BaseException:
        held.release()
        raise
    held.removed = len(leftovers)
    return held


def used_bytes(directory: Path) -> int:
    """Bytes of the files in the directory, 0 where there is none. Blocks."""
    total = 0
    with suppress(FileNotFoundError):
        for path in directory.iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
    return total


def free_bytes(directory: Path) -> int:
    """Bytes that the disk of the directory has left, 0 where there is no such directory. Blocks."""
    with suppress(FileNotFoundError):
        return shutil.disk_usage(directory).free
    return 0


def _lock(directory: Path, descriptor: int) -> None:
    """The lock is on the directory itself: a file in it would look like an upload."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolBusy(
            f"the spool {directory} is used by another process: give each process a data directory of its own"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        # Some network file systems lock no directories.
        logger.warning("the spool cannot be locked: no other process may use it", extra={"spool": str(directory)})
