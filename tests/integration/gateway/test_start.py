"""A gateway that cannot start says why in one line, and no secret with it."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.test_process import gateway_process


@pytest.mark.parametrize(
    ("setting", "url", "says"),
    [
        ("database_url", "postgresql://u:hunter2@h:port/d", "DATABASE_URL cannot be read"),
        ("database_url", "mysql://u:hunter2@h/d", "DATABASE_URL names `mysql`"),
        ("redis_url", "redis://:hunter2@h:port/0", "REDIS_URL cannot be read"),
        ("redis_url", "http://:hunter2@h/0", "REDIS_URL must begin with redis://"),
        ("evidence_storage_url", "nowhere://u:hunter2@h/d", "names no storage that is known"),
    ],
)
async def test_a_wrong_url_stops_the_start(tmp_path: Path, setting: str, url: str, says: str) -> None:
    async with gateway_process(tmp_path, **{setting: url}) as (process, _):
        _, log = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert says in log.decode()
    assert "Traceback" not in log.decode()
    assert "hunter2" not in log.decode()


async def test_a_wrong_file_of_keys_stops_the_start_and_names_the_entry(tmp_path: Path) -> None:
    broken = tmp_path / "keys.yaml"
    broken.write_text("- id: a\n  scopes: [read]\n", encoding="utf-8")
    for settings, said in (
        ({"api_keys_path": broken}, "keys.yaml:1:3: [0].sha256: missing"),
        ({"api_keys_path": tmp_path / "none.yaml"}, "none.yaml: cannot be read: No such file or directory"),
        ({"host": "0.0.0.0"}, "set WINNOW_GATEWAY_API_KEYS_PATH as well"),
        ({"fetch_ca_path": broken}, "keys.yaml cannot be read"),
    ):
        async with gateway_process(tmp_path, **settings) as (process, _):
            _, log = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 1
        lines = log.decode().splitlines()
        assert len(lines) == 1, lines
        assert said in json.loads(lines[0])["msg"]


async def test_a_second_gateway_on_one_data_directory_does_not_start(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as (first, url), httpx.AsyncClient(base_url=url, trust_env=False) as client:
        async with asyncio.timeout(60):
            while True:
                try:
                    await client.get("/health/live")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        spool = tmp_path / "data" / "gateway" / "spool"
        (spool / "upload-in-flight").write_bytes(b"a video")
        async with gateway_process(tmp_path) as (second, _):
            _, log = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode == 1
        assert "is used by another process" in log.decode()
        assert "Traceback" not in log.decode()
        assert (spool / "upload-in-flight").exists()
        assert first.returncode is None
