"""What happens when a service is gone: the policy's fail mode speaks, and the gateway says which one is missing."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from tests.e2e.conftest import READY_S, Stack
from tests.e2e.test_cascade import decide
from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED
from winnow.stack import Ports, service_specs, url, without_settings
from winnow.supervisor import free_ports


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A cascade that a test may break."""
    ports = Ports(*free_ports(3))
    console = Console(quiet=True)
    # The same video is asked about again, and the cache would know the answer.
    environment = {**without_settings(os.environ), "WINNOW_GATEWAY_CACHE_TTL_S": "0"}
    specs = service_specs(ports, tmp_path, environment=environment)
    with running(specs, tmp_path, console, timeout_s=READY_S) as supervisor:
        fill_bank(supervisor, url(ports.router), BUNDLED / "seeds", tmp_path, console)
        yield Stack(ports, tmp_path, supervisor)


def kill(stack: Stack, name: str) -> None:
    process = next(child for child in stack.supervisor.children if child.spec.name == name)
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    base = {"ranker": stack.ranker, "router": stack.router}[name]
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{base}/health/live", timeout=1)
        except httpx.TransportError:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} survived")


def test_first_the_ranker_goes_then_the_router(own_stack: Stack, violation: Path) -> None:
    with httpx.Client(base_url=own_stack.gateway, timeout=60.0) as client:
        assert decide(client, violation, mode="full").route == "refined"

        kill(own_stack, "ranker")
        decision = decide(client, violation, mode="full")
        assert decision.route == "degraded"
        assert decision.rank_missing == "unavailable"
        assert decision.verdict == "review"
        assert {issue.reason for issue in decision.issues} == {"ranker_missing"}
        assert all(issue.risk is not None and issue.probability is None for issue in decision.issues)

        kill(own_stack, "router")
        decision = decide(client, violation)
        assert (decision.route, decision.verdict, decision.media) == ("degraded", "review", None)
        assert {issue.reason for issue in decision.issues} == {"router_missing"}
        time.sleep(1.5)  # readiness is asked at most once a second
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "router" in ready.json()["missing"]
        assert client.get("/health/live").status_code == 200
        assert 'winnow_gateway_degraded_total{reason="router_unavailable"}' in client.get("/metrics").text
