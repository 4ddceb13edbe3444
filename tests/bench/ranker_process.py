"""A ranker as a process of its own, and what its front and its engine cost."""

import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ranker_svc.engines.vllm import plugin
from ranker_svc.settings import bundled_model
from tests.bench.helper import Helper, product_environment
from tests.bench.ranker_requests import Asked
from tests.bench.results import percentile
from tests.bench.tree import cpu_seconds, own_cpu_seconds
from tests.bench.wide_llava import SIDE, wide_llava
from winnow.running import running
from winnow.stack import Ports, service_specs, url
from winnow.supervisor import free_ports

READY_S = 240.0
CHILD_SITE = Path(plugin.__file__).with_name("child_site")
"""What vLLM's processes need on their path to import torchvision."""
MODELS = ("bundled, 2 M parameters", "random, 0.2 B parameters")
"""Names of the two models, as the tables have them."""


@dataclass(frozen=True)
class Model:
    """A checkpoint, its precision, and the size of the frames that are sent to it."""

    path: str
    dtype: str
    side: int

    def settings(self, engine: str) -> dict[str, Any]:
        """For `ranker_svc.settings.Settings`."""
        return {"engine": engine, "model": self.path, "dtype": self.dtype}


def model_named(name: str) -> Model:
    """One of MODELS."""
    return Model(bundled_model(), "float32", 160) if name == MODELS[0] else Model(str(wide_llava()), "bfloat16", SIDE)


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU: of the process that speaks HTTP, and of its children, where the vllm engine computes."""

    front: float
    engine: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.front - other.front, self.engine - other.engine)


def cpu_of(pid: int) -> Cpu:
    """What a process and its children have used so far."""
    front = own_cpu_seconds(pid)
    return Cpu(front, cpu_seconds(pid) - front)


@dataclass(frozen=True)
class RankerProcess:
    """A running ranker."""

    url: str
    pid: int

    def cpu(self) -> Cpu:
        return cpu_of(self.pid)


@contextmanager
def ranker_process(data_dir: Path, engine: str, model: Model, **environment: str) -> Iterator[RankerProcess]:
    """`python -m ranker_svc`, ready."""
    ports = Ports(*free_ports(3))
    own = {f"WINNOW_RANKER_{name.upper()}": value for name, value in model.settings(engine).items()}
    specs = [
        replace(spec, environment={**spec.environment, **own, **environment})
        for spec in service_specs(ports, data_dir, environment=product_environment())
        if spec.name == "ranker"
    ]
    with running(specs, data_dir, Console(quiet=True), timeout_s=READY_S) as supervisor:
        (child,) = supervisor.children
        yield RankerProcess(url(ports.ranker), child.pid)


class Numbers:
    """Hands out numbers of requests, each once: nobody is asked about the same frames twice, unless it is wanted."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int) -> int:
        first, self._next = self._next, self._next + count
        return first


def measured(
    client: Helper, ranker: RankerProcess, asked: Asked, first: int, count: int, callers: int, **more: Any
) -> dict[str, Any]:
    """One round: rates a second, seconds of each request, CPU in ms of each request, and the client's raw outcome."""
    before = ranker.cpu()
    got = client.ask(url=ranker.url, asked=asked.json(), first=first, count=count, callers=callers, **more)
    used = ranker.cpu() - before
    seconds = sorted(seconds for _, seconds, status in got["rows"] if status == 200)
    statuses = [status for _, _, status in got["rows"]]
    return {
        "answers": len(seconds) * len(asked.prompts()) / got["elapsed"],
        "requests": len(seconds) / got["elapsed"],
        "p50_ms": 1000 * statistics.median(seconds) if seconds else float("nan"),
        "p95_ms": 1000 * percentile(seconds, 0.95) if seconds else float("nan"),
        "p99_ms": 1000 * percentile(seconds, 0.99) if seconds else float("nan"),
        "front_cpu_ms": 1000 * used.front / count,
        "engine_cpu_ms": 1000 * used.engine / count,
        "client_cpu_ms": 1000 * got["client_cpu"] / count,
        "statuses": {str(status): statuses.count(status) for status in sorted(set(statuses))},
        "raw": got,
    }


def all_answered(round_: dict[str, Any]) -> dict[str, Any]:
    """The figures of a round in which every request was answered."""
    assert set(round_["statuses"]) == {"200"}, round_["statuses"]
    return {key: value for key, value in round_.items() if key not in {"raw", "statuses"}}


def count_for(seconds: float, rate: float, least: int) -> int:
    """Requests that fill so many seconds at this rate."""
    return max(least, round(seconds * rate))


def vllm_environment() -> dict[str, str]:
    """The environment of a helper that runs vLLM by itself: as the ranker sets it up for its engine's processes."""
    given = product_environment()
    path = [str(CHILD_SITE), *filter(None, [given.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(path), "VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_NO_USAGE_STATS": "1"}
    return {"VLLM_LOGGING_LEVEL": "ERROR", **given, **own}
