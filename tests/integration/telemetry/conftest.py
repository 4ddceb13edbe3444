"""The three services as processes, with traces going to a collector of ours and real traffic behind them."""

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from services.clients import RouterClient
from services.contracts import Decision, SeedRequest
from services.deadline import Deadline
from services.telemetry.tracing import TracingSettings
from tests.integration.telemetry.collector import Collector, collecting
from tests.media_factory import GREEN, RED, flat, render
from winnow.running import running
from winnow.stack import Ports, service_specs, url, without_settings
from winnow.supervisor import free_ports

READY_S = 180.0
TITLE = "a title that stays with us"
ISSUE = "arson"


@dataclass
class Stack:
    """Running services, and what was asked of them."""

    ports: Ports
    collector: Collector
    clip: Path
    gateway: httpx.Client
    traces: dict[str, str] = field(default_factory=dict)

    def url(self, service: str) -> str:
        return url(getattr(self.ports, service))

    def metrics(self, service: str) -> str:
        return httpx.get(f"{self.url(service)}/metrics", timeout=30, trust_env=False).text

    def moderate(self, traceparent: str | None = None, **asked: object) -> Decision:
        headers = {} if traceparent is None else {"traceparent": traceparent}
        # No other request has this text: the result cache has no answer.
        context = {"title": TITLE, "description": secrets.token_hex(8)}
        files = {
            "video": ("private-name.mp4", self.clip.read_bytes(), "video/mp4"),
            "request": (None, json.dumps({"context": context, **asked}), "application/json"),
        }
        response = self.gateway.post("/v1/decisions", files=files, headers=headers)
        assert response.status_code == 200, response.text
        return Decision.model_validate_json(response.content)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as each:
        yield each


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """Started once; the bank holds a seed of each of two issues."""
    data_dir = tmp_path_factory.mktemp("telemetry")
    clip = render(data_dir / "red.mp4", lambda _: flat(RED), frames=24)
    other = render(data_dir / "green.mp4", lambda _: flat(GREEN), frames=24)
    ports = Ports(*free_ports(3))
    environment = {
        **without_settings(os.environ),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "WINNOW_ROUTER_DECODE_WORKERS": "1",
        "OMP_NUM_THREADS": "1",
    }
    console = Console(quiet=True)
    specs = service_specs(ports, data_dir, environment=environment, engine="deterministic")
    with running(specs, data_dir, console, timeout_s=READY_S) as supervisor:
        _seed(url(ports.router), {ISSUE: clip, "smoking": other})
        supervisor.wait_ready(timeout_s=30)
        with httpx.Client(base_url=url(ports.gateway), timeout=60, trust_env=False) as client:
            yield Stack(ports, collector, clip, client)


def _seed(router_url: str, clips: dict[str, Path]) -> None:
    async def add() -> None:
        async with RouterClient(router_url) as router:
            for issue, clip in clips.items():
                await router.add_seed(clip, SeedRequest(issue=issue, kind="golden"), Deadline.after(60))

    asyncio.run(add())


@pytest.fixture(autouse=True)
def _no_tracing_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apps that a test builds in this process export nothing unless it says so."""
    for field_ in TracingSettings.model_fields.values():
        alias = field_.validation_alias
        for name in [alias] if isinstance(alias, str) else getattr(alias, "choices", []):
            monkeypatch.delenv(str(name), raising=False)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
