"""The router with a real open_clip model: tiny, random weights, with a head; as a process, too."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from services.contracts import SeedRequest
from tests.integration.router.conftest import (
    StandInRanker,
    make_parts,
    make_settings,
    policy,
    request_for,
    running,
    soon,
)
from tests.unit.encoder.tiny import write_tiny_clip


async def test_a_seed_finds_its_own_video(tmp_path: Path, clips: dict[str, Path], ranker: StandInRanker) -> None:
    model = write_tiny_clip(tmp_path / "model", head=True)
    settings = make_settings(tmp_path / "data", encoder_model=str(model))
    async with running(settings, make_parts(ranker, encoder=None)) as router:
        await router.client.add_seed(clips["red"], SeedRequest(issue="arson"), soon())
        request = request_for(clips["red"], policy("arson", threshold=0.99))
        result = await router.client.route(clips["red"], request, soon())
    assert result.issues[0].risk > 0.99
    assert result.issues[0].escalated
    assert result.rank is not None
    assert len(result.encoder) == 16


def test_the_process_starts_answers_and_stops_cleanly(tmp_path: Path) -> None:
    model = write_tiny_clip(tmp_path / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "WINNOW_ROUTER_PORT": str(port),
        "WINNOW_ROUTER_DATA_DIR": str(tmp_path / "data"),
        "WINNOW_ROUTER_ENCODER_MODEL": str(model),
        "WINNOW_ROUTER_DECODE_WORKERS": "1",
    }
    process = subprocess.Popen([sys.executable, "-m", "router_svc"], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        health = wait_for(f"http://127.0.0.1:{port}/health/ready", process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert health.json()["missing"] == {"seed bank": "empty"}
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in errors


def wait_for(url: str, process: subprocess.Popen[str]) -> httpx.Response:
    until = time.monotonic() + 240  # importing torch on a busy machine
    while time.monotonic() < until and process.poll() is None:
        try:
            return httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the router did not start")
