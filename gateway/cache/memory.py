"""Entries in this process's memory: the embedded default."""

import time

from cachetools import TTLCache

from services.deadline import Clock


class MemoryCache:
    """The least recently used entries go first where there is no room; all are gone with the process.

    Args:
        max_bytes: of all entries together.
        ttl_s: seconds for which an entry is kept.
        clock: monotonic, in seconds.
    """

    def __init__(self, *, max_bytes: int, ttl_s: float, clock: Clock = time.monotonic) -> None:
        self._entries: TTLCache[str, bytes] = TTLCache(max_bytes, ttl_s, timer=clock, getsizeof=len)

    async def get(self, key: str) -> bytes | None:
        """The entry, or None."""
        return self._entries.get(key)

    async def put(self, key: str, entry: bytes) -> None:
        """Keep an entry; one that is larger than the whole cache is dropped."""
        if len(entry) <= self._entries.maxsize:
            self._entries[key] = entry

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
