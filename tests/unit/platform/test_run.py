"""`services.web.server.run` in a process: what it says and how it ends when it cannot start, and when it stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

REPOSITORY = Path(__file__).parents[3]
WAIT_S = 60.0

SAMPLE = """
import asyncio, os, time
from contextlib import asynccontextmanager
from pathlib import Path
from fastapi import Request
from prometheus_client import CollectorRegistry
from pydantic_settings import SettingsConfigDict
from services.settings import ServiceSettings
from services.telemetry.metrics import HttpMetrics
from services.web import Admission, admission_of, create_service_app, failure_of, while_wanted
from services.web.server import run

class Known(Exception):
    pass

class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="WINNOW_SAMPLE_")
    port: int = 0
    fails: str = ""
    work_s: float = 0.5
    start_s: float = 0.0
    exit_delay_s: float = 0.0

def create(settings):
    @asynccontextmanager
    async def lifespan(app):
        (settings.data_dir / "starting").touch()
        try:
            await asyncio.to_thread(time.sleep, settings.start_s)
        finally:
            (settings.data_dir / "let-go").touch()
        if settings.fails == "known":
            raise Known("the model is absent")
        if settings.fails == "unknown":
            raise RuntimeError("a bug")
        if settings.fails == "later":
            failure_of(app).declare("part", "it broke", exit_delay_s=settings.exit_delay_s)
        yield {"greeting": "hello"}
        (settings.data_dir / "closed").touch()

    async def ready(_):
        return {}

    app = create_service_app(
        title="Sample", description="", settings=settings, metrics=HttpMetrics(CollectorRegistry(), "sample"),
        admission=Admission(8, service="sample", retry_after_s=1), lifespan=lifespan, readiness=ready,
    )

    @app.get("/v1/work")
    async def work(request: Request) -> str:
        (settings.data_dir / "working").touch()
        with admission_of(request).place():
            job = asyncio.sleep(settings.work_s, request.state.greeting)
            return await while_wanted(job, receive=request.receive, stopped=admission_of(request).stopped)

    return app

run(create, Settings, service="sample", expected=(Known,))
"""


@contextmanager
def sample(tmp_path: Path, **settings: Any) -> Iterator["subprocess.Popen[bytes]"]:
    (tmp_path / "sample.py").write_text(SAMPLE, encoding="utf-8")
    given = {f"WINNOW_SAMPLE_{name.upper()}": str(value) for name, value in {"data_dir": tmp_path, **settings}.items()}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **given}
    command = [sys.executable, str(tmp_path / "sample.py")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end_of(process: "subprocess.Popen[bytes]") -> tuple[int, list[dict[str, Any]]]:
    _, log = process.communicate(timeout=WAIT_S)
    return process.returncode, [json.loads(line) for line in log.splitlines()]


def refusal(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The one line at level error of a process that ends by itself with code 1."""
    code, lines = end_of(process)
    assert code == 1
    (line,) = [line for line in lines if line["level"] == "ERROR"]
    assert line["service"] == "sample"
    return line


def test_a_wrong_setting_is_named_without_its_value(tmp_path: Path) -> None:
    with sample(tmp_path, port="hunter2") as process:
        line = refusal(process)
    assert "WINNOW_SAMPLE_PORT: " in line["msg"]
    assert "hunter2" not in json.dumps(line)


def test_a_taken_port_is_known_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with sample(tmp_path, port=port, fails="unknown") as process:
            line = refusal(process)
    assert f"127.0.0.1:{port} cannot be bound" in line["msg"]
    assert "exception" not in line


@pytest.mark.parametrize(("fails", "says", "traced"), [("known", "model is absent", False), ("unknown", "a bug", True)])
def test_a_failed_start_is_one_line(tmp_path: Path, fails: str, says: str, traced: bool) -> None:
    with sample(tmp_path, fails=fails) as process:
        line = refusal(process)
    assert line["msg"].startswith("the service cannot start: ")
    assert says in line["msg"]
    assert ("exception" in line) is traced


def test_the_same_parser_and_loop_serve_whatever_else_is_installed(tmp_path: Path) -> None:
    for name in ("httptools", "uvloop"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('nobody asked for it')", encoding="utf-8")
    url = f"http://127.0.0.1:{(port := free_port())}"
    with sample(tmp_path, port=port) as process:
        wait_for(lambda: process.poll() is not None or answers(url))
        assert process.poll() is None
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as caller:
            # A head that has not ended, and has more than 64 KiB already.
            caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 70_000)
            assert caller.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("how", "grace_s", "status"), [(signal.SIGTERM, 20, 200), (signal.SIGINT, 20, 200), (signal.SIGTERM, 0.1, 503)]
)
def test_work_in_flight_is_finished_or_refused(
    tmp_path: Path, how: signal.Signals, grace_s: float, status: int
) -> None:
    port = free_port()
    work_s = 1.0 if status == 200 else 60.0
    with sample(tmp_path, port=port, shutdown_grace_s=grace_s, work_s=work_s) as process:
        answer = asked_when_live(f"http://127.0.0.1:{port}", process, tmp_path / "working", how)
        code, lines = end_of(process)
    assert answer.status_code == status
    assert answer.json() == "hello" if status == 200 else answer.json()["code"] == "not_ready"
    assert code in (0, -how)
    assert [line for line in lines if line["level"] == "ERROR"] == []
    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start_at_once_whatever_its_threads_do(tmp_path: Path, how: signal.Signals) -> None:
    with sample(tmp_path, start_s=WAIT_S * 10) as process:
        wait_for((tmp_path / "starting").exists)
        process.send_signal(how)
        code, lines = end_of(process)
    assert code == 0
    assert [line for line in lines if line["level"] in ("WARNING", "ERROR")] == []
    assert (tmp_path / "let-go").exists()


def test_a_failure_is_seen_first_and_then_ends_the_service_with_code_1(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    with sample(tmp_path, port=port, fails="later", exit_delay_s=3.0) as process:
        wait_for(lambda: answers(url))
        ready, work = (httpx.get(url + path, trust_env=False) for path in ("/health/ready", "/v1/work"))
        metrics = httpx.get(f"{url}/metrics", trust_env=False).text
        line = refusal(process)
    assert (ready.status_code, ready.json()["missing"]) == (503, {"part": "it broke"})
    assert (work.status_code, work.json()["code"], work.json()["retryable"]) == (503, "not_ready", True)
    assert "part: it broke" in work.json()["detail"]
    assert 'winnow_admission_rejected_total{reason="failed",service="sample"} 1.0' in metrics
    assert 'winnow_ready{service="sample"} 0.0' in metrics
    assert line["msg"] == "the service cannot go on: part: it broke"
    assert (tmp_path / "closed").exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def asked_when_live(url: str, process: "subprocess.Popen[bytes]", working: Path, how: signal.Signals) -> httpx.Response:
    """The answer to a request during which the signal is sent."""
    ends = time.monotonic() + WAIT_S
    with httpx.Client(base_url=url, timeout=WAIT_S, trust_env=False) as client, ThreadPoolExecutor(1) as pool:
        while time.monotonic() < ends:
            assert process.poll() is None
            try:
                client.get("/health/live")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        answer = pool.submit(client.get, "/v1/work")
        while not working.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        process.send_signal(how)
        return answer.result(WAIT_S)
