"""What keeps entries of the result cache: bytes under a key for a while, or nothing at all."""

from typing import Protocol

MAX_ENTRY_BYTES = 256 * 1024
"""Of an entry as it is kept, compressed. A larger one is not kept, and none that is found is read further."""


class CacheUnavailable(Exception):
    """The cache cannot be reached or did not answer in time; the message says which and is safe to log."""


class ResultCache(Protocol):
    """Keeps entries until their time is over, or until there is no room: it may forget any of them at any time."""

    async def get(self, key: str) -> bytes | None:
        """The entry, at most a little more than MAX_ENTRY_BYTES of it; None where there is none.

        Raises:
            CacheUnavailable: it cannot be asked.
        """

    async def put(self, key: str, entry: bytes) -> None:
        """Keep an entry of at most MAX_ENTRY_BYTES.

        Raises:
            CacheUnavailable: it cannot be asked.
        """

    async def close(self) -> None:
        """Release connections."""
