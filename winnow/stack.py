"""The three services as the embedded default runs them: commands, ports, environment."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from winnow.child import ServiceSpec
from winnow.supervisor import SupervisorError

HOST = "127.0.0.1"
FOREIGN = ("DATABASE_URL", "QDRANT_URL", "REDIS_URL")
ROUTER_TOKEN = "WINNOW_ROUTER_SERVICE_TOKEN"  # noqa: S105 - the name of a variable
RANKER_TOKEN = "WINNOW_RANKER_SERVICE_TOKEN"  # noqa: S105 - the name of a variable
RANKER_ENGINE = "WINNOW_RANKER_ENGINE"
OPENAI = "WINNOW_RANKER_OPENAI_"
OPENAI_URLS = f"{OPENAI}URLS"


class EngineName(StrEnum):
    """The ranker's engines."""

    REFERENCE = "reference"
    VLLM = "vllm"
    OPENAI = "openai"
    DETERMINISTIC = "deterministic"


LOADING: Mapping[str, str] = {
    EngineName.VLLM: "loading its model into vLLM; half a minute for the bundled one, minutes for a large one",
    EngineName.OPENAI: "asking the servers for their model",
}
"""What a ranker does before it listens, where it takes longer than the other services."""


@dataclass(frozen=True)
class Ports:
    """TCP ports on the loopback interface."""

    gateway: int = 8080
    router: int = 8081
    ranker: int = 8082


def url(port: int) -> str:
    """Base URL of a service on this machine."""
    return f"http://{HOST}:{port}"


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without any setting of ours, for a run that must not touch what the user has configured."""
    return {
        name: value for name, value in environment.items() if not name.startswith("WINNOW_") and name not in FOREIGN
    }


def demo_environment(environment: Mapping[str, str], engine: EngineName) -> dict[str, str]:
    """What the services of a demo see: no setting of the user's, but where the servers of `openai` are.

    Raises:
        SupervisorError: they are not named.
    """
    kept = without_settings(environment)
    if engine != EngineName.OPENAI:
        return kept
    if not environment.get(OPENAI_URLS):
        raise SupervisorError(
            f"The engine openai asks servers that run already: set {OPENAI_URLS} to their base URLs. They must serve "
            "the ranker's bundled model; docs/ranker.md says how."
        )
    return kept | {name: value for name, value in environment.items() if name.startswith(OPENAI)}


def service_specs(
    ports: Ports,
    data_dir: Path,
    *,
    environment: Mapping[str, str],
    engine: str | None = None,
    device: str | None = None,
) -> list[ServiceSpec]:
    """The services in the order in which they are started: each after those that it calls.

    Args:
        ports: where they listen.
        data_dir: of all three; each keeps to a directory of its own in it.
        environment: what the services see besides the settings made here, which win. A service token in it is handed
            on to the service's caller, unless that has one already.
        engine: of the ranker; None leaves it to the environment and the ranker's default.
        device: of the ranker's model; None likewise.
    """
    data = str(data_dir.absolute())
    chosen = {RANKER_ENGINE: engine, "WINNOW_RANKER_DEVICE": device}
    ranker = {name: value for name, value in chosen.items() if value is not None}
    asked = ranker.get(RANKER_ENGINE) or environment.get(RANKER_ENGINE, "")
    router = {"WINNOW_ROUTER_RANKER_URLS": url(ports.ranker)}
    router |= _handed_on(environment, RANKER_TOKEN, to="WINNOW_ROUTER_RANKER_TOKEN")
    gateway = {"WINNOW_GATEWAY_ROUTER_URL": url(ports.router)}
    gateway |= _handed_on(environment, ROUTER_TOKEN, to="WINNOW_GATEWAY_ROUTER_TOKEN")
    given = (
        ("ranker", "ranker_svc", ports.ranker, ranker),
        ("router", "router_svc", ports.router, router),
        ("gateway", "gateway", ports.gateway, gateway),
    )
    specs = []
    for name, module, port, settings in given:
        prefix = f"WINNOW_{name.upper()}_"
        own = {f"{prefix}HOST": HOST, f"{prefix}PORT": str(port), f"{prefix}DATA_DIR": data, **settings}
        starting = LOADING.get(asked, "starting") if name == "ranker" else "starting"
        specs.append(ServiceSpec(name, (sys.executable, "-m", module), url(port), {**environment, **own}, starting))
    return specs


def _handed_on(environment: Mapping[str, str], token: str, *, to: str) -> dict[str, str]:
    """The caller's setting of a service's token, where only the service has it; empty counts as unset."""
    return {to: environment[token]} if environment.get(token) and not environment.get(to) else {}
