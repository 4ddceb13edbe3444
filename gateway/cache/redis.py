"""Entries in Redis, shared by gateways: the only module of the gateway that imports redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from gateway.cache.protocol import MAX_ENTRY_BYTES, CacheUnavailable


class RedisCache:
    """Every call takes at most `timeout_s` seconds, waiting for a connection included, and is tried once.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; it may hold a password.
        prefix: of every key, so that several installations may share a server.
        ttl_s: seconds for which an entry is kept.
        timeout_s: for one call.
        max_connections: most connections; further calls wait for one.

    Raises:
        ValueError: not a URL of Redis.
    """

    def __init__(self, url: str, *, prefix: str, ttl_s: float, timeout_s: float, max_connections: int) -> None:
        self._prefix = prefix
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._timeout_s = timeout_s
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)

    async def get(self, key: str) -> bytes | None:
        """The entry, or None. What is no string belongs to somebody else and counts as None."""
        try:
            async with self._reaching():
                found = await self._redis.getrange(self._prefix + key, 0, MAX_ENTRY_BYTES)
        except CacheUnavailable as error:
            if isinstance(error.__cause__, ResponseError) and str(error.__cause__).startswith("WRONGTYPE"):
                return None
            raise
        return found if isinstance(found, bytes) and found else None

    async def put(self, key: str, entry: bytes) -> None:
        """Keep an entry."""
        async with self._reaching():
            await self._redis.set(self._prefix + key, entry, px=self._ttl_ms)

    async def close(self) -> None:
        """Close the connections; a server that does not answer is not waited for."""
        try:
            async with self._reaching():
                await self._redis.aclose()
        except CacheUnavailable:
            return

    @asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as error:
            raise CacheUnavailable(f"no answer within {self._timeout_s:g} s") from error
        except (RedisError, OSError, ValueError) as error:
            # ValueError: options in the URL that make the client read entries as text.
            # The text of an error may quote the URL, and with it a password.
            raise CacheUnavailable(type(error).__name__) from error
