"""Looking results up before the router is asked, and keeping what it answers; never an error to the client."""

import logging
import time
from dataclasses import dataclass
from typing import Literal

from gateway.cache.entry import decode, encode, keepable
from gateway.cache.key import key_of
from gateway.cache.protocol import CacheUnavailable, ResultCache
from gateway.metrics import GatewayMetrics
from services.contracts import RouteRequest, RouteResult, RouterState
from services.deadline import Clock
from services.remembered import Remembered

logger = logging.getLogger(__name__)

Outcome = Literal["hit", "miss", "bypass", "error"]

REST_S = 1.0
"""Seconds without a question after the cache has failed: a slow one holds up one request now and then, not each."""


@dataclass(frozen=True)
class Lookup:
    """What came of looking.

    Attributes:
        outcome: `hit`, `miss`, `bypass` (what holds now is not known) or `error` (the cache failed, or rests).
        seconds: that it took.
        result: of a hit.
        key: under which a result may be kept; None where it may not.
        state: that the key was made of.
    """

    outcome: Outcome
    seconds: float
    result: RouteResult | None = None
    key: str | None = None
    state: RouterState | None = None


class CachedResults:
    """Results by everything that shapes them.

    Args:
        cache: keeps the entries.
        live: what holds now at router and ranker.
        metrics: count outcomes and time the lookups.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        cache: ResultCache,
        live: Remembered[RouterState],
        metrics: GatewayMetrics,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._cache = cache
        self._live = live
        self._metrics = metrics
        self._clock = clock
        self._rests_until = 0.0
        self._works = True

    async def find(self, request: RouteRequest) -> Lookup:
        """The result that the router would give, if it is kept."""
        started = time.perf_counter()
        lookup = await self._look(request, started)
        self._metrics.cache_requests.labels(lookup.outcome).inc()
        self._metrics.stage_seconds.labels("cache").observe(lookup.seconds)
        return lookup

    async def keep(self, lookup: Lookup, request: RouteRequest, result: RouteResult) -> None:
        """Keep what the router answered after a lookup that found nothing, if it is worth keeping."""
        if lookup.key is None or lookup.state is None or not keepable(result, request, lookup.state):
            return
        entry = encode(lookup.key, result)
        if entry is None or self._clock() < self._rests_until:
            return
        try:
            await self._cache.put(lookup.key, entry)
            self._answered()
        except CacheUnavailable as error:
            self._failed(error)

    async def close(self) -> None:
        """Release what it holds."""
        await self._live.close()
        await self._cache.close()

    async def _look(self, request: RouteRequest, started: float) -> Lookup:
        state = await self._live.current()
        if state is None or state.ranker is None:
            return Lookup("bypass", time.perf_counter() - started)
        key = key_of(request, state)
        if self._clock() < self._rests_until:
            return Lookup("error", time.perf_counter() - started)
        try:
            entry = await self._cache.get(key)
            self._answered()
        except CacheUnavailable as error:
            self._failed(error)
            return Lookup("error", time.perf_counter() - started)
        result = None if entry is None else decode(key, entry, request, state)
        seconds = time.perf_counter() - started
        return Lookup("miss" if result is None else "hit", seconds, result, key, state)

    def _answered(self) -> None:
        if not self._works:
            logger.info("the result cache answers again")
        self._works = True

    def _failed(self, error: CacheUnavailable) -> None:
        self._rests_until = self._clock() + REST_S
        if self._works:
            logger.warning("the result cache cannot be used; videos are routed instead", extra={"reason": str(error)})
        self._works = False
