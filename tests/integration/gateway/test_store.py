"""Decisions in SQLite and PostgreSQL: what is kept, who opens it, and a server that is late, gone, slow or back."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.records import SqlStore
from services.contracts import Context, Decision, ModerationRequest
from services.database import StoreUnavailable, StoreUrlError
from tests.integration.gateway.conftest import Running, Start
from tests.servers import PASSWORD, QUOTED, PostgresServer

TIMEOUT_S = 1.0
# What a slow machine may add to a bounded time.
SLACK_S = 6.0


def decision(number: int = 0) -> Decision:
    return Decision(
        id=f"dec_{number:032x}",
        created_at=datetime.now(UTC),
        verdict="allow",
        route="filtered",
        mode="cascade",
        issues=(),
        sha256="a" * 64,
        policy_hash="b" * 64,
        warnings=("quoted 'text', \\u0000, \U0001f525",),
        request_id="r",
        trace_id="t",
    )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/decisions.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url


@pytest.fixture
async def stores() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def opened(stack: AsyncExitStack, url: str, *, pool_size: int = 2, timeout_s: float = TIMEOUT_S) -> SqlStore:
    store = SqlStore(url, pool_size=pool_size, timeout_s=timeout_s)
    stack.push_async_callback(store.close)
    return store


@pytest.fixture
def store(url: str, stores: AsyncExitStack) -> SqlStore:
    return opened(stores, url)


async def test_what_is_added_is_found_whole(store: SqlStore) -> None:
    made = decision()
    await store.add(made, ModerationRequest())
    assert await store.get(made.id) == made
    assert await store.get("dec_unknown") is None
    await store.check()


async def test_several_gateways_may_open_a_new_database_at_once(url: str, stores: AsyncExitStack) -> None:
    # They take turns with the tables: on a busy machine that takes seconds.
    several = [opened(stores, url, timeout_s=30.0) for _ in range(8)]
    await asyncio.gather(*(each.open() for each in several))
    await asyncio.gather(*(each.add(decision(n), ModerationRequest()) for n, each in enumerate(several)))
    found = await asyncio.gather(*(several[0].get(decision(n).id) for n in range(8)))
    assert all(found)


STRANGE = ModerationRequest(
    context=Context(
        title="a\x00b \\u0000 \\\x00",
        description="\x01\x7f\u2028\uffff\U0001f525 ' \" \\ %s $1 :name ; --",
        uploader_id="\x00",
        tags=("\x00", "fire"),
        metadata={"k\x00": "\x00", **{f"key{n}": "\U0001f525" * 1_000 for n in range(60)}},
    )
)


async def test_strange_and_huge_text_is_kept(store: SqlStore) -> None:
    made = decision()
    await store.add(made, STRANGE)
    assert await store.get(made.id) == made


async def test_operators_can_search_in_what_was_asked(postgres: PostgresServer, stores: AsyncExitStack) -> None:
    """PostgreSQL's operators fail on a row with a NUL: one hostile title would break every query over the table."""
    await opened(stores, postgres.url).add(decision(), STRANGE)
    title = "request -> 'context' ->> 'title'"
    rows = postgres.sql(f"SELECT {title}, request::jsonb -> 'context' ->> 'uploader_id' FROM decisions")
    assert rows == [("a\ufffdb \\u0000 \\\ufffd", "\ufffd")]


async def test_a_late_server_is_unavailable_until_it_is_there(
    postgres: PostgresServer, stores: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = opened(stores, postgres.url)
    postgres.kill()
    try:
        for _ in range(3):
            with pytest.raises(StoreUnavailable) as caught:
                await store.open()
            assert PASSWORD not in str(caught.value)
    finally:
        postgres.start()
    await store.add(decision(), ModerationRequest())
    assert PASSWORD not in caplog.text
    assert QUOTED not in caplog.text


async def test_a_wrong_password_is_unavailable_and_not_told(
    postgres: PostgresServer, stores: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(stores, postgres.url.replace(QUOTED, "hunter2"))
    with pytest.raises(StoreUnavailable) as caught:
        await store.check()
    assert "hunter2" not in caplog.text + str(caught.value)


async def test_a_server_that_was_restarted_is_used_again(postgres: PostgresServer, stores: AsyncExitStack) -> None:
    store = opened(stores, postgres.url)
    await asyncio.gather(*(store.add(decision(n), ModerationRequest()) for n in range(4)))
    postgres.kill()
    try:
        with pytest.raises(StoreUnavailable):
            await store.add(decision(5), ModerationRequest())
    finally:
        postgres.start()
    await store.add(decision(6), ModerationRequest())
    assert await store.get(decision(1).id) is not None


async def test_a_server_that_does_not_answer_costs_a_bounded_time(
    postgres: PostgresServer, stores: AsyncExitStack
) -> None:
    store = opened(stores, postgres.url)
    await store.add(decision(), ModerationRequest())
    with postgres.held_up():
        started = time.monotonic()
        results = await asyncio.gather(*(store.get(decision().id) for _ in range(6)), return_exceptions=True)
        took_s = time.monotonic() - started
    assert all(isinstance(each, StoreUnavailable) for each in results)
    assert took_s < TIMEOUT_S + SLACK_S
    async with asyncio.timeout(30):
        while True:
            try:
                assert await store.get(decision().id) is not None
                break
            except StoreUnavailable:
                await asyncio.sleep(0.1)


async def test_a_server_that_does_not_answer_at_the_start_costs_a_bounded_time(
    postgres: PostgresServer, stores: AsyncExitStack
) -> None:
    store = opened(stores, postgres.url)
    with postgres.held_up():
        started = time.monotonic()
        adding = (store.add(decision(n), ModerationRequest()) for n in range(6))
        results = await asyncio.gather(*adding, return_exceptions=True)
        assert time.monotonic() - started < TIMEOUT_S + SLACK_S
    assert all(isinstance(each, StoreUnavailable) for each in results)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("nonsense", "cannot be read"),
        ("postgresql://u:hunter2@h:port/d", "cannot be read"),
        ("mysql://u:hunter2@h/d", "mysql"),
        ("postgresql+psycopg2://u:hunter2@h/d", "psycopg2"),
        ("sqlite+pysqlite:///x.db", "pysqlite"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(wrong: str, says: str) -> None:
    with pytest.raises(StoreUrlError, match=says) as caught:
        SqlStore(wrong, pool_size=1, timeout_s=1.0)
    assert "hunter2" not in str(caught.value)


async def test_a_gateway_on_postgres_refuses_what_it_cannot_record(start: Start, postgres: PostgresServer) -> None:
    gateway: Running = await start(database_url=postgres.url, database_timeout_s=TIMEOUT_S)
    first = await gateway.moderate()
    assert first.status_code == 200
    postgres.kill()
    try:
        refused = await gateway.moderate()
        assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (503, "not_ready", True)
        assert (await gateway.client.get(f"/v1/decisions/{first.json()['id']}")).status_code == 503
        ready = await gateway.client.get("/health/ready")
        assert (ready.status_code, list(ready.json()["missing"])) == (503, ["database"])
    finally:
        postgres.start()
    assert (await gateway.moderate()).status_code == 200
    assert (await gateway.client.get(f"/v1/decisions/{first.json()['id']}")).json() == first.json()


async def test_a_gateway_starts_before_its_database(start: Start, postgres: PostgresServer) -> None:
    postgres.kill()
    try:
        gateway: Running = await start(database_url=postgres.url, database_timeout_s=TIMEOUT_S)
        assert (await gateway.client.get("/health/live")).status_code == 200
        assert (await gateway.moderate()).status_code == 503
    finally:
        postgres.start()
    assert (await gateway.moderate()).status_code == 200


@pytest.mark.parametrize("title", ["\\u0000", "\\ud800\\udc00 pair", "\\ud800 alone", "\\udfff\\ud800"])
async def test_strange_titles_through_the_api(start: Start, url: str, title: str) -> None:
    gateway: Running = await start(database_url=url)
    response = await gateway.moderate(request=f'{{"context": {{"title": "{title}", "metadata": {{"k": "{title}"}}}}}}')
    lone = "alone" in title or "udfff" in title
    assert response.status_code == (400 if lone else 200), response.text
    if not lone:
        found = await gateway.client.get(f"/v1/decisions/{response.json()['id']}")
        assert found.json() == json.loads(response.text)
