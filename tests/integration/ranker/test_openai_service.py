"""The service around the openai engine: its identity, its settings, a pool that is down when it starts."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from ranker_svc.app import create_app
from ranker_svc.engines.create import create_engine
from ranker_svc.settings import Settings
from services.contracts import RankResult
from tests.integration.ranker.chat_server import KEY, ChatServer, chat_servers, engine
from tests.unit.docs.tables import DOCS, cells, section_rows


async def test_identity_is_what_was_set_or_what_the_server_tells() -> None:
    async with chat_servers(ChatServer()) as (server,):
        async with engine(server.url, fingerprint="f" * 64) as asked:
            assert (asked.identity.name, asked.identity.fingerprint) == ("m", "f" * 64)
        async with engine(server.url) as first, engine(server.url) as second:
            assert first.identity == second.identity
            assert first.identity.engine == "openai"
        server.root = "/models/other"
        async with engine(server.url) as third:
            assert third.identity.fingerprint != first.identity.fingerprint


async def test_the_settings_make_it() -> None:
    async with chat_servers(ChatServer(key=KEY)) as (server,):
        made = create_engine(
            Settings(
                engine="openai",
                openai_urls=f"{server.url}/v1 , {server.url}",
                openai_model="m",
                openai_api_key=SecretStr(KEY),
                fingerprint="abc",
            )
        )
        await made.start()
        assert (made.identity.fingerprint, await made.health(), made.waiting) == ("abc", None, 0)
        assert made.collector is not None
        page = (DOCS / "operations/metrics.md").read_text(encoding="utf-8")
        documented = {cells(row)[0]: cells(row)[1:] for row in section_rows(page, "Metrics of model servers")[2:]}
        suffix = {"counter": "_total", "gauge": ""}
        assert documented == {
            f"{each.name}{suffix[each.type]}": [each.type, "replica", each.documentation]
            for each in made.collector.collect()
        }
        samples = [sample for metric in made.collector.collect() for sample in metric.samples]
        # One server, named twice.
        assert {sample.labels["replica"] for sample in samples} == {server.name}
        assert [sample.value for sample in samples if sample.name == "winnow_ranker_replica_up"] == [1.0]
        await made.close()


async def test_a_ranker_whose_pool_is_down_starts_says_so_and_serves_once_it_is_up(
    tmp_path: Path, rank_body: Callable[..., dict[str, Any]]
) -> None:
    server = ChatServer(key=KEY)
    app = create_app(
        Settings(
            engine="openai",
            openai_urls=(server.url,),
            openai_model="m",
            openai_api_key=SecretStr(KEY),
            openai_check_s=0.1,
            calibrators_dir=tmp_path,
        )
    )
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://ranker") as client:
            down = await client.get("/health/ready")
            assert (down.status_code, server.name in down.json()["missing"]["engine"]) == (503, True)
            refused = await client.post("/v1/rank", json=rank_body())
            assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
            async with chat_servers(server):
                async with asyncio.timeout(10.0):
                    while (await client.get("/health/ready")).status_code != 200:
                        await asyncio.sleep(0.02)
                result = RankResult.model_validate_json((await client.post("/v1/rank", json=rank_body())).content)
                metrics = (await client.get("/metrics")).text
    probability = math.exp(-0.5) + math.exp(-4.0)
    assert result.issues[0].answers[0].p_yes == pytest.approx(probability / (probability + math.exp(-1.25)))
    assert result.model.engine == "openai"
    assert result.warnings == ()
    assert f'winnow_ranker_replica_up{{replica="{server.name}"}} 1.0' in metrics
    assert KEY not in metrics


def test_a_pool_without_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="openai_urls"):
        Settings(engine="openai", openai_urls=" , ")
