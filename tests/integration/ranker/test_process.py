"""`python -m ranker_svc` as a process: it starts with the real engine, answers, logs JSON, and stops cleanly."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from services.contracts import RankResult

START_S = 120.0


@contextmanager
def ranker(model: Path, log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "WINNOW_RANKER_PORT": str(port), "WINNOW_RANKER_MODEL": str(model)}
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "ranker_svc"], env=environment, stderr=stderr)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def wait_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        assert process.poll() is None, "the ranker ended while it was starting"
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the ranker did not become ready")


def test_it_starts_answers_and_stops(
    tiny_llava: Path, tmp_path: Path, rank_body: Callable[..., dict[str, Any]]
) -> None:
    with ranker(tiny_llava, tmp_path / "log") as (url, process):
        wait_ready(url, process)
        response = httpx.post(f"{url}/v1/rank", json=rank_body(), timeout=30.0)
        result = RankResult.model_validate_json(response.content)
        assert result.model.engine == "reference"
        assert set(result.timings.stages) == {"decode", "queue", "preprocess", "infer"}
        # A random model says anything; that little of it is Yes or No must be told.
        assert any("on Yes and No" in warning for warning in result.warnings)
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (started,) = [line for line in lines if line["msg"] == "engine started"]
    assert started["fingerprint"] == result.model.fingerprint
    (served,) = [line for line in lines if line["msg"] == "request" and line["route"] == "/v1/rank"]
    assert served["status"] == 200


def test_it_refuses_to_start_without_a_model_and_says_why(tmp_path: Path) -> None:
    with ranker(tmp_path / "absent", tmp_path / "log") as (_, process):
        assert process.wait(START_S) not in (0, None)
    assert "neither a directory nor a hub id" in (tmp_path / "log").read_text()
