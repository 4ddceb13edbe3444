"""Starts the real services for benchmarks, with the bundled models and seeds, and prepares what is sent to them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from services.contracts import RouteRequest
from services.policy import default_policy_path, load_policy
from tests.bench.helper import product_environment
from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED
from winnow.stack import Ports, service_specs, url
from winnow.supervisor import Supervisor, free_ports

READY_S = 60.0


@dataclass(frozen=True)
class Cascade:
    """Running services."""

    ports: Ports
    supervisor: Supervisor

    @property
    def gateway(self) -> str:
        return url(self.ports.gateway)

    @property
    def router(self) -> str:
        return url(self.ports.router)

    def pids(self) -> dict[str, int]:
        return {child.spec.name: child.pid for child in self.supervisor.children}


@contextmanager
def cascade(
    data_dir: Path,
    services: Sequence[str] = ("ranker", "router", "gateway"),
    *,
    seeds: Path | None = BUNDLED / "seeds",
    **environment: str,
) -> Iterator[Cascade]:
    """The named services; without a ranker the router knows none, so that what escalates is not asked about."""
    if "ranker" not in services:
        environment["WINNOW_ROUTER_RANKER_URLS"] = "none"
    ports = Ports(*free_ports(3))
    specs = [
        replace(spec, environment={**spec.environment, **environment})
        for spec in service_specs(ports, data_dir, environment=product_environment())
        if spec.name in services
    ]
    console = Console(quiet=True)
    with running(specs, data_dir, console, timeout_s=READY_S) as supervisor:
        if seeds is not None:
            fill_bank(supervisor, url(ports.router), seeds, data_dir, console)
        yield Cascade(ports, supervisor)


def bundled_clips() -> list[Path]:
    """The example clips: 160 x 160, about 3.4 s, H.264."""
    return sorted((BUNDLED / "clips").glob("*.mp4"))


def route_json(path: Path) -> str:
    """The JSON part of a route request for every issue of the bundled policy."""
    part = load_policy(default_policy_path()).slice()
    return RouteRequest(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), policy=part).model_dump_json()


def decision_json(title: str = "") -> str:
    """The JSON part of a decision request."""
    return json.dumps({"context": {"title": title}})


def entry(path: Path, request: str) -> dict[str, Any]:
    """What the load client is told to send."""
    return {"path": str(path), "request": request}
