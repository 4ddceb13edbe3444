"""API keys at the gateway: who is let in, what their key allows, and what a gateway without keys refuses."""

import asyncio
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from gateway.auth import ring as ring_module
from gateway.routes import api
from gateway.settings import Settings
from services.api_keys import digest_of, new_key
from services.telemetry.logs import TraceFilter, json_formatter
from tests.integration.gateway.conftest import Running, Start

BACKEND, DASHBOARD, OLD = new_key(), new_key(), new_key()


def entry(key_id: str, key: str, scopes: str, expires: str = "") -> str:
    return f'- {{id: {key_id}, sha256: "{digest_of(key)}", scopes: [{scopes}]{expires}}}\n'


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    path.write_text(
        entry("backend", BACKEND, "decide, read")
        + entry("dashboard", DASHBOARD, "read")
        + entry("old", OLD, "decide, read", ", expires: 2020-01-01"),
        encoding="utf-8",
    )
    return path


@pytest.fixture
async def guarded(start: Start, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setattr(ring_module, "LOOK_EVERY_S", 0.02)
    running: Running = await start(api_keys_path=keys)
    return running


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_a_key_opens_what_its_scopes_say(guarded: Running) -> None:
    decision = (await guarded.moderate(**bearer(BACKEND))).json()
    assert decision["verdict"] == "allow"
    path = f"/v1/decisions/{decision['id']}"
    for key in (BACKEND, DASHBOARD):
        assert (await guarded.client.get(path, headers=bearer(key))).status_code == 200
        assert (await guarded.client.get("/v1/policy", headers=bearer(key))).status_code == 200
    refused = await guarded.moderate(**bearer(DASHBOARD))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "`decide`" in refused.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": BACKEND}, {"Authorization": f"Basic {BACKEND}"}, bearer(""),
        bearer(BACKEND[:-1]), bearer(BACKEND + "x"), bearer(digest_of(BACKEND)), bearer(OLD), bearer("\u00e9"),
        bearer(new_key()), {"X-Api-Key": BACKEND},
    ],
)  # fmt: skip
async def test_without_a_valid_key_nothing_of_the_body_is_read(guarded: Running, headers: dict[str, str]) -> None:
    read = 0

    async def body() -> Any:
        nonlocal read
        for _ in range(10):
            read += 1
            yield b"x" * 1_000

    given = {**{name: value.encode("latin-1") for name, value in headers.items()}, "Content-Type": b"application/json"}
    response = await guarded.client.post("/v1/decisions", content=body(), headers=given)
    assert (response.status_code, response.json()["code"], read) == (401, "unauthorized", 0)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    for path in ("/v1/policy", "/v1/decisions/dec_1", "/v1/nothing", "/v1"):
        assert (await guarded.client.get(path, headers=headers_of(given))).status_code == 401


def headers_of(given: dict[str, bytes]) -> httpx.Headers:
    return httpx.Headers([(name.encode(), value) for name, value in given.items()])


async def test_probes_and_metrics_need_no_key(guarded: Running) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await guarded.client.get(path, headers={"Host": "gateway.internal"})).status_code == 200
    await guarded.moderate(**bearer(BACKEND))
    assert "backend" not in (await guarded.client.get("/metrics")).text


async def test_the_caller_is_named_in_the_log_and_its_key_is_not(
    guarded: Running, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.addFilter(TraceFilter())
    handler.setFormatter(json_formatter("gateway"))
    logging.getLogger().addHandler(handler)
    try:
        with caplog.at_level(logging.INFO):
            await guarded.moderate(**bearer(BACKEND))
            await guarded.moderate(**bearer(OLD))
    finally:
        logging.getLogger().removeHandler(handler)
    found = [json.loads(line) for line in lines]
    decided = next(line for line in found if line["msg"] == "decided")
    served = [line for line in found if line["msg"] == "request" and line["route"] != "unmatched"]
    assert (decided["caller"], served[0]["caller"]) == ("backend", "backend")
    refused = next(line for line in found if line.get("status") == 401)
    assert "caller" not in refused
    assert not any(key in line for key in (BACKEND, OLD, digest_of(BACKEND)) for line in lines)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_changed_file_is_taken_up_and_a_broken_one_is_not(
    guarded: Running, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def status(key: str) -> int:
        return (await guarded.client.get("/v1/policy", headers=bearer(key))).status_code

    async def is_open(key: str, wanted: bool = True) -> bool:
        return (await status(key) == 200) is wanted

    added = new_key()
    keys.write_text(entry("backend", BACKEND, "read") + entry("new", added, "read"), encoding="utf-8")
    await until(lambda: is_open(added))
    assert await status(DASHBOARD) == 401
    keys.write_text("- broken", encoding="utf-8")

    async def logged() -> bool:
        return any("cannot be used" in record.message for record in caplog.records)

    await until(logged)
    assert (await status(BACKEND), await status(added)) == (200, 200)
    keys.unlink()
    await asyncio.sleep(0.1)
    assert await status(BACKEND) == 200
    beside = keys.with_name("beside")
    beside.write_text(entry("new", added, "read"), encoding="utf-8")
    beside.replace(keys)
    await until(lambda: is_open(BACKEND, False))
    assert await status(added) == 200


async def test_a_file_that_changes_behind_its_time_and_size_is_taken_up(guarded: Running, keys: Path) -> None:
    """So does one that becomes readable: its bytes stay as they are."""
    before, other = keys.stat(), new_key()
    keys.write_text(keys.read_text(encoding="utf-8").replace(digest_of(BACKEND), digest_of(other)), encoding="utf-8")
    os.utime(keys, ns=(before.st_atime_ns, before.st_mtime_ns))

    async def is_open() -> bool:
        return (await guarded.client.get("/v1/policy", headers=bearer(other))).status_code == 200

    await until(is_open)


async def test_a_key_expires_while_the_gateway_runs(keys: Path) -> None:
    times = [datetime(2019, 12, 31, 23, 59, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]
    ring = ring_module.KeyRing(keys, now=lambda: times.pop(0))
    assert [ring.find(OLD) is not None for _ in range(2)] == [True, False]


def test_every_route_asks_for_a_scope() -> None:
    routes = [route for route in api().routes if isinstance(route, APIRoute)]
    assert routes
    for route in routes:
        asked = [each.dependency.__name__ for each in route.dependencies if each.dependency is not None]
        assert any(name.startswith("needs_") for name in asked), route.path


async def test_openapi_names_the_key(guarded: Running, start: Start, tmp_path: Path) -> None:
    document = (await guarded.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"] == {"apiKey": {"type": "http", "scheme": "bearer"}}
    decide = document["paths"]["/v1/decisions"]["post"]
    assert decide["security"] == [{"apiKey": []}]
    body = decide["requestBody"]["content"]
    assert body["application/json"]["schema"]["required"] == ["url"]
    assert "url" not in body["multipart/form-data"]["schema"]["properties"]["request"]["properties"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.1:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8080"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "10.0.0.1"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "evil.example@127.0.0.1"}, 403),
        ({"Host": "127.0.0.1@evil.example"}, 403),
        ({"Host": "localhost:8080", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost:8080", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:8080", "Origin": "null"}, 403),
        ({"Host": "localhost:8080", "Origin": "http://[::1"}, 403),
        ({"Host": "localhost:8080", "Origin": "//localhost:8080"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ],
)
async def test_without_keys_browsers_cannot_be_sent_here(
    gateway: Running, headers: dict[str, str], status: int
) -> None:
    for path in ("/v1/policy", "/openapi.json"):
        response = await gateway.client.get(path, headers=headers)
        assert response.status_code == status
    if status == 403:
        posted = await gateway.moderate(**headers)
        assert (posted.status_code, posted.json()["code"]) == (403, "forbidden")
        assert gateway.router.asked == []
    assert (await gateway.client.get("/health/live", headers=headers)).status_code == 200


def test_without_keys_only_loopback_is_bound(keys: Path) -> None:
    with pytest.raises(ValueError, match="set WINNOW_GATEWAY_API_KEYS_PATH as well"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", api_keys_path=keys).host == "0.0.0.0"
    assert Settings(host="::1").host == "::1"
