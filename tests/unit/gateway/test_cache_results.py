"""Looking up and keeping: memory, what a failing cache costs, what is not known."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from gateway.cache import CachedResults, CacheUnavailable, CacheUrlError, MemoryCache, create_result_cache
from gateway.cache.results import REST_S
from gateway.metrics import GatewayMetrics
from gateway.settings import Settings
from services.contracts import RouterState
from services.remembered import Remembered
from tests.unit.gateway.cache_samples import REQUEST, STATE, result


class BrokenCache(MemoryCache):
    """A cache that can be switched off, and counts its questions."""

    def __init__(self) -> None:
        super().__init__(max_bytes=10_000, ttl_s=60)
        self.available = True
        self.asked = 0

    def _require(self) -> None:
        self.asked += 1
        if not self.available:
            raise CacheUnavailable("switched off")

    async def get(self, key: str) -> bytes | None:
        self._require()
        return await super().get(key)

    async def put(self, key: str, entry: bytes) -> None:
        self._require()
        await super().put(key, entry)


class World:
    """The parts of a lookup that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.state: RouterState | None = STATE
        self.registry = CollectorRegistry()
        self.cache = BrokenCache()
        live = Remembered(self._live, ttl_s=0.0001, name="state")
        self.results = CachedResults(self.cache, live, GatewayMetrics(self.registry), clock=lambda: self.now)

    async def _live(self) -> RouterState | None:
        return self.state

    def count(self, outcome: str) -> float:
        return self.registry.get_sample_value("winnow_gateway_cache_requests_total", {"result": outcome}) or 0.0


async def test_a_kept_result_is_found_and_counted() -> None:
    world = World()
    first = await world.results.find(REQUEST)
    await world.results.keep(first, REQUEST, result())
    second = await world.results.find(REQUEST)
    assert (first.outcome, first.result) == ("miss", None)
    assert (second.outcome, second.result) == ("hit", result())
    assert (world.count("miss"), world.count("hit")) == (1, 1)


async def test_a_degraded_result_is_not_kept() -> None:
    world = World()
    lookup = await world.results.find(REQUEST)
    await world.results.keep(lookup, REQUEST, result((0.9, 0.1), ranked=False, rank_missing="unavailable"))
    assert (await world.results.find(REQUEST)).outcome == "miss"


async def test_a_result_made_under_another_state_than_its_key_is_not_kept() -> None:
    world = World()
    lookup = await world.results.find(REQUEST)
    await world.results.keep(lookup, REQUEST, result(bank_revision="r2"))
    assert (await world.results.find(REQUEST)).outcome == "miss"
    world.state = STATE.model_copy(update={"bank_revision": "r2"})
    assert (await world.results.find(REQUEST)).outcome == "miss"


@pytest.mark.parametrize("state", [None, STATE.model_copy(update={"ranker": None})])
async def test_what_is_not_known_bypasses_the_cache(state: RouterState | None) -> None:
    world = World()
    world.state = state
    lookup = await world.results.find(REQUEST)
    await world.results.keep(lookup, REQUEST, result())
    assert (lookup.outcome, world.cache.asked, world.count("bypass")) == ("bypass", 0, 1)


async def test_a_failing_cache_rests_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.cache")
    world = World()
    world.cache.available = False
    outcomes = [(await world.results.find(REQUEST)).outcome for _ in range(5)]
    assert (outcomes, world.cache.asked) == (["error"] * 5, 1)
    world.now += REST_S
    await world.results.find(REQUEST)
    assert world.cache.asked == 2
    world.cache.available = True
    assert (await world.results.find(REQUEST)).outcome == "error"
    world.now += REST_S
    assert (await world.results.find(REQUEST)).outcome == "miss"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_cache_that_fails_while_keeping_is_no_error() -> None:
    world = World()
    lookup = await world.results.find(REQUEST)
    world.cache.available = False
    await world.results.keep(lookup, REQUEST, result())
    assert (await world.results.find(REQUEST)).outcome == "error"


async def test_memory_is_bounded_in_bytes_and_time() -> None:
    now = [0.0]
    cache = MemoryCache(max_bytes=10, ttl_s=5.0, clock=lambda: now[0])
    await cache.put("a", b"12345")
    await cache.put("b", b"12345")
    assert await cache.get("a") == b"12345"
    await cache.put("c", b"1")
    assert [await cache.get(key) for key in "abc"] == [b"12345", None, b"1"]
    await cache.put("huge", b"x" * 11)
    assert await cache.get("huge") is None
    now[0] = 5.1
    assert await cache.get("a") is None


@pytest.mark.parametrize("url", [None, "memory://"])
def test_memory_is_the_default(url: str | None) -> None:
    assert isinstance(create_result_cache(Settings.model_validate({"redis_url": url})), MemoryCache)


def test_the_cache_can_be_switched_off() -> None:
    assert create_result_cache(Settings(cache_ttl_s=0)) is None


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://x", "redis://:hunter2@host:port/0", "redis://:hunter2@h:99999999"]
)
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(CacheUrlError, match="REDIS_URL") as caught:
        create_result_cache(Settings.model_validate({"redis_url": url}))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
