"""The gateway as a process: its start, a wrong policy, and what becomes of work in flight when it is stopped."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.gateway.conftest import POLICY, StandInRouter
from tests.servers import free_port
from tests.web import serving

VIDEO = {"video": ("clip.mp4", b"a video", "video/mp4")}


@asynccontextmanager
async def gateway_process(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Process, str]]:
    policy, port = tmp_path / "policy.yaml", free_port()
    if not policy.exists():
        policy.write_text(POLICY, encoding="utf-8")
    given = {"port": port, "data_dir": tmp_path / "data", "policy_path": policy, "router_attempts": 1, **settings}
    environment = {f"WINNOW_GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
    command = (sys.executable, "-m", "gateway")
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE, env={**os.environ, **environment})
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def until_live(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if (await client.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def stopped_in_flight(tmp_path: Path, *, work_s: float, grace_s: float) -> tuple[httpx.Response, int, str]:
    """What a client gets whose work is in flight when the gateway is told to stop; the gateway's exit code and log."""
    router = StandInRouter(tmp_path / "router-spool", delay_s=work_s)
    async with (
        serving(router.app()) as router_url,
        gateway_process(tmp_path, router_url=router_url, shutdown_grace_s=grace_s) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
    ):
        await until_live(client)
        answer = asyncio.create_task(client.post("/v1/decisions", files=VIDEO))
        await router.started.wait()
        process.send_signal(signal.SIGTERM)
        response = await answer
        _, log = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    assert list((tmp_path / "data" / "gateway" / "spool").iterdir()) == []
    return response, process.returncode, log.decode()


async def test_work_in_flight_is_finished_when_the_gateway_is_stopped(tmp_path: Path) -> None:
    response, code, log = await stopped_in_flight(tmp_path, work_s=0.5, grace_s=20)
    assert (response.status_code, response.json()["verdict"]) == (200, "allow")
    assert code in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.splitlines()]
    decided = next(line for line in lines if line["msg"] == "decided")
    assert decided["request_id"] == response.headers["X-Request-Id"]
    assert decided["service"] == "gateway"


async def test_work_that_outlasts_the_grace_time_is_refused(tmp_path: Path) -> None:
    response, code, _ = await stopped_in_flight(tmp_path, work_s=60, grace_s=0.2)
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert code in (0, -signal.SIGTERM)


async def test_a_wrong_policy_stops_the_start_and_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.replace("review: 0.4", "review: 4"), encoding="utf-8")
    async with gateway_process(tmp_path) as (process, _):
        _, log = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert "policy.yaml:7:" in log.decode()
    assert "Traceback" not in log.decode()


async def test_a_client_that_hangs_up_takes_its_work_with_it(tmp_path: Path) -> None:
    router = StandInRouter(tmp_path / "router-spool", delay_s=60)
    async with (
        serving(router.app()) as router_url,
        gateway_process(tmp_path, router_url=router_url) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
    ):
        await until_live(client)
        answer = asyncio.create_task(client.post("/v1/decisions", files=VIDEO))
        await router.started.wait()
        answer.cancel()
        spool = tmp_path / "data" / "gateway" / "spool"
        async with asyncio.timeout(10):
            while list(spool.iterdir()):
                await asyncio.sleep(0.02)
        metrics = (await client.get("/metrics")).text
    assert 'route="/v1/decisions",service="gateway",status="499"} 1.0' in metrics
