"""The result cache: the same video under the same conditions is not routed again."""

from gateway.cache.create import CacheUrlError, create_result_cache
from gateway.cache.memory import MemoryCache
from gateway.cache.protocol import CacheUnavailable, ResultCache
from gateway.cache.results import CachedResults, Lookup

__all__ = [
    "CacheUnavailable",
    "CacheUrlError",
    "CachedResults",
    "Lookup",
    "MemoryCache",
    "ResultCache",
    "create_result_cache",
]
