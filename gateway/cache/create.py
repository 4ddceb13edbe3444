"""Which cache the settings name."""

from gateway.cache.memory import MemoryCache
from gateway.cache.protocol import ResultCache
from gateway.settings import Settings

IN_MEMORY = "memory://"


class CacheUrlError(ValueError):
    """The URL of the cache cannot be used; the message says why, without the URL, which may hold a password."""


def create_result_cache(settings: Settings) -> ResultCache | None:
    """Redis where its URL is set, memory where it is not or says `memory://`; None where the cache is off.

    Nothing is connected yet.

    Raises:
        CacheUrlError: the URL is not one of Redis.
    """
    if settings.cache_ttl_s == 0:
        return None
    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    if url is None or url == IN_MEMORY:
        return MemoryCache(max_bytes=settings.cache_memory_bytes, ttl_s=settings.cache_ttl_s)
    from gateway.cache.redis import RedisCache

    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise CacheUrlError("REDIS_URL must begin with redis://, rediss:// or unix://, or be memory://.")
    try:
        return RedisCache(
            url,
            prefix=f"{settings.redis_prefix}result:",
            ttl_s=settings.cache_ttl_s,
            timeout_s=settings.cache_timeout_s,
            max_connections=settings.redis_pool_size,
        )
    except ValueError:
        # Its text may quote a part of the URL.
        raise CacheUrlError("REDIS_URL cannot be read: it must look like redis://:password@host:6379/0.") from None
