"""The spool: the directory that holds videos while they are decided, bounded in bytes and kept off a full disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.errors import StorageFull
from services.web import prepare_spool


class Spool:
    """Books bytes before they are written, so that concurrent uploads cannot fill the disk together.

    A single process owns the directory: what lies in it at start is left over from a crash and is removed.
    """

    def __init__(self, directory: Path, *, max_bytes: int, min_free_bytes: int) -> None:
        self.directory = directory
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._booked = 0

    @property
    def booked_bytes(self) -> int:
        """Bytes promised to the videos in flight."""
        return self._booked

    def prepare(self) -> int:
        """Empty the directory and return how many leftovers were removed. Blocks: call it off the loop."""
        return prepare_spool(self.directory)

    @contextmanager
    def booking(self, size: int) -> Iterator[None]:
        """Hold room for `size` bytes.

        Raises:
            StorageFull: the spool's bound, or the free space that the disk must keep, would be crossed.
        """
        if self._booked + size > self._max_bytes:
            raise StorageFull("The gateway's spool is full; send the video again when others are done.")
        unwritten = max(0, self._booked - self._on_disk())
        if shutil.disk_usage(self.directory).free - unwritten - size < self._min_free_bytes:
            raise StorageFull("The gateway's disk has too little free space for this video.")
        self._booked += size
        try:
            yield
        finally:
            self._booked -= size

    def _on_disk(self) -> int:
        """Bytes of the booked ones that are written; there are never more files than decisions in flight."""
        total = 0
        for path in self.directory.iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


def room_needed(content_length: str | None, *, max_body_bytes: int) -> int:
    """Bytes to book for a body: what the client declares, at most `max_body_bytes`; all of that where it does not.

    A body over the limit is refused while it is read, so no more than the limit is ever written.
    """
    if content_length is None or not content_length.isdecimal():
        return max_body_bytes
    return min(int(content_length), max_body_bytes)
