"""The pool of the openai engine: which server is asked, retries, servers that come and go."""

import asyncio

import pytest

from ranker_svc.engines.openai.engine import OpenAIEngine
from ranker_svc.engines.protocol import EngineStartError, FrameImage
from services.errors import NotReady, Overloaded
from tests.integration.ranker.chat_server import (
    DISTRIBUTION,
    PROMPTS,
    ChatServer,
    chat_servers,
    engine,
    listed,
    soon,
    until,
)

FINE = (200, listed(DISTRIBUTION))


def metric(asked: OpenAIEngine, name: str) -> dict[str, float]:
    assert asked.collector is not None
    samples = [sample for each in asked.collector.collect() for sample in each.samples]
    return {sample.labels["replica"]: sample.value for sample in samples if sample.name == name}


async def test_requests_go_to_the_least_loaded_and_one_request_to_one_server(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer(), ChatServer()) as servers, engine(*(each.url for each in servers)) as asked:
        for each in servers:
            each.held = asyncio.Event()
        calls = [asyncio.create_task(asked.answer(frames, PROMPTS, soon())) for _ in range(4)]
        await until(lambda: [each.now for each in servers] == [4, 4])
        assert set(metric(asked, "winnow_ranker_replica_in_flight").values()) == {4.0}
        for each in servers:
            each.held.set()
        await asyncio.gather(*calls)
        for each in servers:
            texts = [request["messages"][0]["content"][-1]["text"] for request in each.asked]
            # What was computed of the frames is used for all prompts of the request.
            assert sorted(texts) == sorted(PROMPTS * 2)


async def test_places_are_bounded_and_those_who_wait_are_counted(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url, concurrency=3) as asked:
        server.held = asyncio.Event()
        calls = [asyncio.create_task(asked.answer(frames, PROMPTS, soon())) for _ in range(4)]
        await until(lambda: server.now == 3)
        # Two prompts of the first request, one of the second.
        assert asked.waiting == 3
        calls[3].cancel()
        await asyncio.wait([calls[3]])
        assert asked.waiting == 2
        server.held.set()
        await asyncio.gather(*calls[:3])
        assert (server.peak, asked.waiting) == (3, 0)


@pytest.mark.parametrize("status", [500, 503, 429, 401, 404])
async def test_a_prompt_that_a_server_fails_is_put_to_another(frames: list[FrameImage], status: int) -> None:
    async with chat_servers(ChatServer(), ChatServer()) as (bad, good), engine(bad.url, good.url) as asked:
        bad.answer = lambda body: (status, {}) if len(body["messages"][0]["content"]) > 1 else FINE
        for _ in range(4):
            assert len((await asked.answer(frames, PROMPTS, soon())).answers) == 2
        assert len(good.asked) == 8
        assert metric(asked, "winnow_ranker_replica_retries_total")[bad.name] >= 2


async def test_a_server_that_is_gone_is_left_out_and_taken_back(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer(), ChatServer()) as (first, second), engine(first.url, second.url) as asked:
        await first.stop()
        for _ in range(3):
            assert len((await asked.answer(frames, PROMPTS, soon())).answers) == 2
        await until(lambda: metric(asked, "winnow_ranker_replica_up")[first.name] == 0.0)
        await second.stop()
        await until(lambda: metric(asked, "winnow_ranker_replica_up")[second.name] == 0.0)
        reason = await asked.health()
        assert reason is not None
        assert first.name in reason
        assert second.name in reason
        with pytest.raises(NotReady):
            await asked.answer(frames, PROMPTS, soon())
        await first.start()
        await until(lambda: metric(asked, "winnow_ranker_replica_up")[first.name] == 1.0)
        assert await asked.health() is None
        assert len((await asked.answer(frames, PROMPTS, soon())).answers) == 2


async def test_those_who_wait_for_a_place_are_refused_when_the_last_server_goes(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url, concurrency=1) as asked:
        server.held = asyncio.Event()
        call = asyncio.create_task(asked.answer(frames, PROMPTS, soon()))
        await until(lambda: server.now == 1)
        await server.stop()
        with pytest.raises(NotReady):
            await call


async def test_a_pool_that_is_down_starts_and_becomes_ready(frames: list[FrameImage]) -> None:
    server = ChatServer()
    async with engine(server.url) as asked:
        assert "ConnectError" in str(await asked.health())
        assert asked.identity.fingerprint.startswith("unknown-")
        with pytest.raises(NotReady, match="No model server can be asked"):
            await asked.answer(frames, PROMPTS, soon())
        async with chat_servers(server):
            await until(lambda: metric(asked, "winnow_ranker_replica_up")[server.name] == 1.0)
            assert await asked.health() is None
            assert not asked.identity.fingerprint.startswith("unknown-")
            assert len((await asked.answer(frames, PROMPTS, soon())).answers) == 2


async def test_a_server_that_comes_back_with_another_model_is_not_used(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        await server.stop()
        await until(lambda: metric(asked, "winnow_ranker_replica_up")[server.name] == 0.0)
        server.root = "/models/other"
        await server.start()
        checks = server.checks
        await until(lambda: server.checks > checks + 1)
        assert "another model" in str(await asked.health())


async def test_servers_that_differ_are_a_start_error_unless_the_fingerprint_is_set() -> None:
    first, second = ChatServer(), ChatServer()
    second.root = "/models/other"
    async with chat_servers(first, second):
        with pytest.raises(EngineStartError, match="another model"):
            async with engine(first.url, second.url):
                pass
        async with engine(first.url, second.url, fingerprint="same") as asked:
            assert set(metric(asked, "winnow_ranker_replica_up").values()) == {1.0}


async def test_a_pool_that_is_overloaded_says_so(frames: list[FrameImage]) -> None:
    async with chat_servers(ChatServer(), ChatServer()) as servers, engine(*(each.url for each in servers)) as asked:
        for each in servers:
            each.answer = lambda _: (429, {})
        with pytest.raises(Overloaded):
            await asked.answer(frames, PROMPTS[:1], soon())
        assert [len(each.asked) for each in servers] == [1, 1]


async def test_a_server_that_hangs_is_found_out_by_its_health_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranker_svc.engines.openai.pool._CHECK_TIMEOUT_S", 0.1)
    async with chat_servers(ChatServer()) as (server,), engine(server.url) as asked:
        server.hangs = True
        await until(lambda: metric(asked, "winnow_ranker_replica_up")[server.name] == 0.0)
        assert "in time" in str(await asked.health())
        server.hangs = False
        await until(lambda: metric(asked, "winnow_ranker_replica_up")[server.name] == 1.0)
