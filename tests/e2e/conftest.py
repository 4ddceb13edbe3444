"""The cascade as users run it: three processes, the bundled models, the bundled seeds, the public API."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from winnow.running import fill_bank, running
from winnow.seeds import BUNDLED
from winnow.stack import Ports, service_specs, url, without_settings
from winnow.supervisor import Supervisor, free_ports

MAX_VIDEO_BYTES = 1_000_000
READY_S = 180.0


@dataclass(frozen=True)
class Stack:
    """A running cascade."""

    ports: Ports
    data_dir: Path
    supervisor: Supervisor

    @property
    def gateway(self) -> str:
        return url(self.ports.gateway)

    @property
    def router(self) -> str:
        return url(self.ports.router)

    @property
    def ranker(self) -> str:
        return url(self.ports.ranker)

    def spooled(self) -> list[Path]:
        """Files that any spool holds."""
        return [path for path in self.data_dir.rglob("*") if path.is_file() and "spool" in path.parts[-2]]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data_dir = tmp_path_factory.mktemp("cascade")
    ports = Ports(*free_ports(3))
    environment = {**without_settings(os.environ), "WINNOW_GATEWAY_MAX_VIDEO_BYTES": str(MAX_VIDEO_BYTES)}
    console = Console(quiet=True)
    specs = service_specs(ports, data_dir, environment=environment)
    with running(specs, data_dir, console, timeout_s=READY_S) as supervisor:
        fill_bank(supervisor, url(ports.router), BUNDLED / "seeds", data_dir, console)
        yield Stack(ports, data_dir, supervisor)


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.gateway, timeout=60.0) as client:
        yield client


@pytest.fixture(scope="session")
def violation() -> Path:
    """A bundled clip that violates an issue."""
    return BUNDLED / "clips" / "test-violation-00000.mp4"


@pytest.fixture(scope="session")
def harmless() -> Path:
    """A bundled clip with nothing in it."""
    return BUNDLED / "clips" / "test-other-00001.mp4"
