"""Traces off, and collectors that are down or hang: nothing of that is felt by requests."""

import base64
import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from PIL import Image

from ranker_svc.app import create_app
from ranker_svc.engines.deterministic import DeterministicEngine
from ranker_svc.settings import Settings
from services.telemetry.tracing import CLOSE_S, Tracing, TracingError, TracingSettings
from tests.integration.router.conftest import WithState
from tests.integration.telemetry.collector import Collector
from winnow.supervisor import free_ports

REQUESTS = 150
"""More spans than the 512 of the exporter's first batch, so that it is at work while requests are served."""


def body() -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    return {
        "frames": [{"time_s": 0.0, "jpeg": base64.b64encode(file.getvalue()).decode()}],
        "issues": [{"id": "arson", "name": "arson", "definition": "Fire."}],
    }


@asynccontextmanager
async def ranker() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(), engine=DeterministicEngine)
    async with app.router.lifespan_context(app) as state:
        transport = httpx.ASGITransport(WithState(app, dict(state)))
        async with httpx.AsyncClient(transport=transport, base_url="http://ranker") as client:
            yield client


async def served() -> tuple[float, float]:
    """Seconds of the slowest of many requests, and of the end of the service; every request is answered."""
    slowest, asked = 0.0, body()
    async with ranker() as client:
        for _ in range(REQUESTS):
            started = time.perf_counter()
            assert (await client.post("/v1/rank", json=asked)).status_code == 200
            slowest = max(slowest, time.perf_counter() - started)
        stopping = time.perf_counter()
    return slowest, time.perf_counter() - stopping


@pytest.mark.parametrize("hangs", [False, True], ids=["down", "hanging"])
async def test_a_collector_that_does_not_answer_costs_nothing(
    hangs: bool, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = collector.url if hangs else f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    # Longer than anything may wait for it.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "50")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    posts = collector.posts
    collector.hanging.set()
    try:
        slowest, stopping = await served()
        assert (collector.posts > posts) is hangs
    finally:
        collector.hanging.clear()
        collector.released.set()
    # A request that waited for the exporter would take its 50 s, not a multiple of the usual milliseconds.
    assert slowest < 5
    assert stopping < CLOSE_S + 5


async def test_the_last_spans_are_sent_when_a_service_ends(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "named-by-hand")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    async with ranker() as client:
        await client.post("/v1/rank", json=body())
    names = {span.name for span in collector.spans if span.service == "named-by-hand"}
    assert {"POST /v1/rank", "decode", "answer"} <= names


@pytest.mark.parametrize(
    "variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_SAMPLER=always_off"]
)
async def test_the_standard_ways_to_switch_it_off(
    variable: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", variable)
    monkeypatch.setenv(*variable.split("="))
    async with ranker() as client:
        assert (await client.post("/v1/rank", json=body())).status_code == 200
    assert [span for span in collector.spans if span.service == variable] == []


OFF = """
import asyncio, sys, tempfile
from pathlib import Path

async def opened(app):
    async with app.router.lifespan_context(app):
        return

def main():
    data = Path(tempfile.mkdtemp())
    import gateway.app, gateway.settings
    asyncio.run(opened(gateway.app.create_app(gateway.settings.Settings(data_dir=data / "g"))))
    import ranker_svc.app, ranker_svc.settings
    from ranker_svc.engines.deterministic import DeterministicEngine
    settings = ranker_svc.settings.Settings(data_dir=data)
    asyncio.run(opened(ranker_svc.app.create_app(settings, engine=DeterministicEngine)))
    import router_svc.app, router_svc.settings
    from router_svc.bank.memory import MemoryIndex
    from services.encoder import HashEncoder
    parts = router_svc.app.Parts(
        encoder=lambda _: HashEncoder(), index=lambda encoder: MemoryIndex(encoder.fingerprint, encoder.dim)
    )
    settings = router_svc.settings.Settings(data_dir=data / "r", decode_workers=1, encoder_model="hash")
    asyncio.run(opened(router_svc.app.create_app(settings, parts)))
    print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))

if __name__ == "__main__":
    main()
"""


def test_without_an_endpoint_nothing_of_it_is_loaded(tmp_path: Any) -> None:
    script = tmp_path / "off.py"
    script.write_text(OFF, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


async def test_an_endpoint_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "services.telemetry.otel", None)
    with pytest.raises(TracingError, match=r"winnow-moderation\[otel\]"):
        async with Tracing(TracingSettings.read(), service="ranker", version="1").running():
            pass


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
    ],
)
def test_a_value_that_cannot_be_used_stops_the_start(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(TracingError, match=variable):
        TracingSettings.read()
