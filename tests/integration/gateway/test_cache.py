"""The result cache through the API, in memory and in Redis: what is reused, what is not, and a Redis in trouble."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest

from services.contracts import Decision
from tests.integration.gateway.conftest import LIVE, RANKER, Running, Start
from tests.servers import PASSWORD, QUOTED, PostgresServer, RedisServer

STATE_TTL_S = 0.05
# Long, so that a busy machine is not taken for a slow Redis; short where Redis is slow.
TIMEOUT_S = 3.0
SHORT_S = 0.2
# What a slow machine may add to a bounded time; without a bound, the wait would not end.
SLACK_S = 20.0


@pytest.fixture(params=["memory", "redis"])
def redis_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


async def started(start: Start, redis_url: str, **settings: Any) -> Running:
    given = {"redis_url": redis_url, "cache_state_ttl_s": STATE_TTL_S, "cache_timeout_s": TIMEOUT_S}
    gateway: Running = await start(**{**given, **settings})
    gateway.router.state = LIVE
    return gateway


@pytest.fixture
async def gateway(start: Start, redis_url: str) -> Running:
    return await started(start, redis_url)


async def decided(gateway: Running, video: bytes = b"a video", **request: Any) -> Decision:
    response = await gateway.moderate(video, json.dumps(request) if request else None)
    assert response.status_code == 200, response.text
    return Decision.model_validate_json(response.content)


async def until_cached(gateway: Running, video: bytes) -> Decision:
    """The decision on a video whose result is kept, once the cache is asked again and answers in time."""
    async with asyncio.timeout(30):
        while (decision := await decided(gateway, video)).route != "cached":
            await asyncio.sleep(0.1)
    return decision


async def outcome(gateway: Running, name: str) -> float:
    return await gateway.metric(f'winnow_gateway_cache_requests_total{{result="{name}"}}')


async def test_the_same_video_is_not_routed_again(gateway: Running) -> None:
    gateway.router.risks["arson"] = 0.9
    gateway.router.ranks = {"arson": 0.95, "smoking": 0.2}
    first, second = await decided(gateway), await decided(gateway)
    assert (first.route, second.route) == ("refined", "cached")
    assert len(gateway.router.asked) == 1
    own = {"id", "created_at", "route", "timings", "request_id", "trace_id"}
    assert second.model_dump(exclude=own) == first.model_dump(exclude=own)
    assert first.id != second.id
    assert set(second.timings.stages) == {"upload", "cache"}
    for each in (first, second):
        found = await gateway.client.get(f"/v1/decisions/{each.id}")
        assert Decision.model_validate_json(found.content) == each
    assert (await outcome(gateway, "hit"), await outcome(gateway, "miss")) == (1, 1)
    assert await gateway.metric('winnow_gateway_decisions_total{route="cached",verdict="block"}') == 1
    assert await gateway.metric('winnow_gateway_stage_duration_seconds_count{stage="cache"}') == 2


async def test_another_question_is_routed(gateway: Running) -> None:
    await decided(gateway)
    assert (await decided(gateway, b"another video")).route == "filtered"
    assert (await decided(gateway, context={"title": "t"})).route == "filtered"
    assert (await decided(gateway, issues=["smoking"])).route == "filtered"
    assert (await decided(gateway, context={"uploader_id": "u", "metadata": {"k": "v"}})).route == "cached"
    assert len(gateway.router.asked) == 4


async def test_a_new_seed_is_noticed(gateway: Running) -> None:
    gateway.router.state = LIVE.model_copy(update={"bank_revision": "rev-0"})
    assert (await decided(gateway)).route == "filtered"
    # Its result was made under rev-1, not under the revision that the key was made of.
    assert (await decided(gateway)).route == "filtered"
    gateway.router.state = LIVE
    await asyncio.sleep(2 * STATE_TTL_S)
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "cached"]
    gateway.router.state = LIVE.model_copy(update={"bank_revision": "rev-2"})
    await asyncio.sleep(2 * STATE_TTL_S)
    assert (await decided(gateway)).route == "filtered"


async def test_a_new_ranker_is_noticed(gateway: Running) -> None:
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "cached"]
    other = RANKER.model_copy(update={"configuration": "ranker-2"})
    for unlike in (LIVE.model_copy(update={"ranker": other}), LIVE.model_copy(update={"ranker": None})):
        gateway.router.state = unlike
        await asyncio.sleep(2 * STATE_TTL_S)
        assert (await decided(gateway)).route == "filtered"


async def test_a_degraded_decision_is_not_repeated(gateway: Running) -> None:
    gateway.router.risks["arson"] = 0.9
    gateway.router.rank_missing = "unavailable"
    assert [(await decided(gateway)).route for _ in range(2)] == ["degraded", "degraded"]
    gateway.router.ranks = {"arson": 0.1}
    assert [(await decided(gateway)).route for _ in range(2)] == ["refined", "cached"]


async def test_a_router_that_does_not_tell_its_state_is_asked_each_time(gateway: Running) -> None:
    gateway.router.state = None
    assert [(await decided(gateway)).route for _ in range(3)] == ["filtered"] * 3
    assert await outcome(gateway, "bypass") == 3


async def test_the_state_costs_no_round_trip_a_request(start: Start) -> None:
    gateway = await started(start, "memory://", cache_state_ttl_s=60)
    await asyncio.gather(*(decided(gateway) for _ in range(10)))
    assert gateway.router.state_asked == 1


async def test_the_cache_can_be_switched_off(start: Start, redis_url: str) -> None:
    gateway = await started(start, redis_url, cache_ttl_s=0)
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "filtered"]
    assert gateway.router.state_asked == 0


async def test_gateways_share_redis(start: Start, redis_server: RedisServer) -> None:
    first = await started(start, redis_server.url)
    await decided(first)
    second = await started(start, redis_server.url, data_dir=first.settings.data_dir / "second")
    assert (await decided(second)).route == "cached"
    assert second.router.asked == []
    other = await started(
        start, redis_server.url, data_dir=first.settings.data_dir / "other", redis_prefix="another-installation:"
    )
    assert (await decided(other)).route == "filtered"


async def test_entries_expire(start: Start, redis_server: RedisServer) -> None:
    gateway = await started(start, redis_server.url, cache_ttl_s=30)
    await decided(gateway)
    with redis_server.client() as client:
        keys = list(client.keys("*"))
        assert [key[:14] for key in keys] == [b"winnow:result:"]
        assert 0 < client.pttl(keys[0]) <= 30_000


@pytest.mark.parametrize("kind", ["text", "empty", "list", "hash", "huge"])
async def test_foreign_entries_are_misses(start: Start, redis_server: RedisServer, kind: str) -> None:
    gateway = await started(start, redis_server.url)
    await decided(gateway)
    with redis_server.client() as client:
        key = next(iter(client.keys("*")))
        client.delete(key)
        match kind:
            case "list":
                client.rpush(key, "x")
            case "hash":
                client.hset(key, "x", "y")
            case _:
                client.set(key, {"text": b"OK", "empty": b"", "huge": b"x" * 50_000_000}[kind])
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "cached"]
    assert await outcome(gateway, "error") == 0


async def test_a_redis_that_goes_and_comes_back(
    start: Start, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = await started(start, redis_server.url)
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "cached"]
    redis_server.kill()
    try:
        assert [(await decided(gateway)).route for _ in range(5)] == ["filtered"] * 5
        assert await outcome(gateway, "error") == 5
    finally:
        redis_server.start()
    await asyncio.sleep(1.1)
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "cached"]
    told = [record.levelname for record in caplog.records if record.name == "gateway.cache.results"]
    assert told == ["WARNING", "INFO"]
    assert PASSWORD not in caplog.text
    assert QUOTED not in caplog.text


async def test_a_redis_that_is_not_there_at_the_start(start: Start, redis_server: RedisServer) -> None:
    redis_server.kill()
    try:
        gateway = await started(start, redis_server.url)
        assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "filtered"]
        assert (await gateway.client.get("/health/ready")).status_code == 200
    finally:
        redis_server.start()


async def test_a_wrong_password_is_no_error(start: Start, redis_server: RedisServer) -> None:
    gateway = await started(start, redis_server.url.replace(QUOTED, "hunter2"))
    assert [(await decided(gateway)).route for _ in range(2)] == ["filtered", "filtered"]
    assert await outcome(gateway, "error") == 2


async def test_a_redis_that_does_not_answer_costs_a_bounded_time(start: Start, redis_server: RedisServer) -> None:
    gateway = await started(start, redis_server.url, cache_timeout_s=SHORT_S)
    await decided(gateway)
    with redis_server.held_up():
        began = time.monotonic()
        videos = [b"video %d" % number for number in range(20)]
        routes = [each.route for each in await asyncio.gather(*(decided(gateway, video) for video in videos))]
        assert time.monotonic() - began < 2 * SHORT_S + SLACK_S
        assert routes == ["filtered"] * 20
    await until_cached(gateway, b"a video")


async def test_an_abandoned_call_answers_nobody_else(start: Start, redis_server: RedisServer) -> None:
    """A connection whose call was given up may not hand its late answer to the next one."""
    gateway = await started(start, redis_server.url, redis_pool_size=1, cache_timeout_s=SHORT_S)
    await decided(gateway, b"first")
    with redis_server.held_up():
        await decided(gateway, b"first")
    first, second = await until_cached(gateway, b"first"), await decided(gateway, b"second")
    assert second.route == "filtered"
    assert first.sha256 != second.sha256


async def test_a_decision_on_postgres_and_redis(
    start: Start, postgres: PostgresServer, redis_server: RedisServer
) -> None:
    gateway = await started(start, redis_server.url, database_url=postgres.url)
    first, second = await decided(gateway), await decided(gateway)
    assert (first.route, second.route) == ("filtered", "cached")
    for each in (first, second):
        found = await gateway.client.get(f"/v1/decisions/{each.id}")
        assert Decision.model_validate_json(found.content) == each
    assert postgres.sql("SELECT route, count(*) FROM decisions GROUP BY route ORDER BY route") == [
        ("cached", 1),
        ("filtered", 1),
    ]
